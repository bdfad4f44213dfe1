//! The probe: it asks the load balancer for each app of a tenant, as a client does.
//!
//! Each refresh probes the tenants with an open operation, and a few of the others in the order of their ids. Both numbers are
//! bounded.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures_util::StreamExt as _;
use futures_util::stream;
use serde::Deserialize;
use tenantctl::status::{Probed, ProbedApp, Time};
use tenantry_process::retry::with_causes;
use tenantry_tenancy::tenant::TENANT_HEADER;

use crate::model::TenantView;

/// Longest wait for one answer.
const TIMEOUT: Duration = Duration::from_secs(3);
/// Probes at a time.
const AT_ONCE: usize = 16;
/// Tenants with an open operation probed per refresh.
const MAX_URGENT: usize = 128;
/// Other tenants probed per refresh.
const MAX_OTHERS: usize = 8;
/// Largest response body read.
const MAX_BYTES: usize = 16 * 1024;
const APPS: [&str; 3] = ["producer", "consumer", "payments"];

pub(crate) struct Probe {
    client: reqwest::Client,
    /// The last of the other tenants that was probed.
    last: String,
}

#[derive(Deserialize)]
struct Identity {
    environment: String,
}

impl Probe {
    pub(crate) const fn new(client: reqwest::Client) -> Self {
        Self {
            client,
            last: String::new(),
        }
    }

    /// Probes the urgent tenants; with `all`, some of the others, too. Returns the results by tenant.
    pub(crate) async fn ask<'a>(
        &mut self,
        load_balancer: &str,
        urgent: &BTreeSet<String>,
        all: bool,
        tenants: impl Iterator<Item = &'a TenantView> + Clone,
    ) -> Vec<(String, Probed)> {
        let others = tenants
            .clone()
            .filter(|tenant| all && !urgent.contains(&tenant.id));
        let after: Vec<_> = others
            .clone()
            .filter(|tenant| tenant.id > self.last)
            .take(MAX_OTHERS)
            .collect();
        let rest = MAX_OTHERS - after.len();
        let before = others
            .take_while(|tenant| tenant.id <= self.last)
            .take(rest);
        let some_others: Vec<_> = after.into_iter().chain(before).collect();
        self.last = some_others
            .last()
            .map(|tenant| tenant.id.clone())
            .unwrap_or_default();
        let urgent = tenants
            .filter(|tenant| urgent.contains(&tenant.id))
            .take(MAX_URGENT);
        let asked = urgent.chain(some_others).map(|tenant| {
            let commit = tenant
                .applied
                .as_ref()
                .and_then(|applied| applied.commit.clone());
            let wanted: BTreeMap<String, bool> = APPS
                .into_iter()
                .map(|app| {
                    let routed = tenant.apps.get(app).is_some_and(|place| place.routed);
                    (app.to_owned(), routed)
                })
                .collect();
            self.one(load_balancer.to_owned(), tenant.id.clone(), wanted, commit)
        });
        stream::iter(asked.collect::<Vec<_>>())
            .buffer_unordered(AT_ONCE)
            .collect()
            .await
    }

    fn one(
        &self,
        load_balancer: String,
        tenant: String,
        wanted: BTreeMap<String, bool>,
        commit: Option<String>,
    ) -> impl Future<Output = (String, Probed)> + use<> {
        let client = self.client.clone();
        async move {
            let time = Time::from(SystemTime::now());
            let mut apps = BTreeMap::new();
            for (app, routed) in wanted {
                let answer = app_of(&client, &load_balancer, &tenant, &app).await;
                apps.insert(app, compared(answer, routed));
            }
            let probed = Probed {
                time,
                since: time,
                commit,
                apps: Arc::new(apps),
            };
            (tenant, probed)
        }
    }
}

/// Compares an answer with whether there is a route.
fn compared(answer: Result<(u16, Option<String>), String>, routed: bool) -> ProbedApp {
    let (status, environment, error) = match answer {
        Ok((status @ 200, environment)) if routed => (Some(status), environment, None),
        // The app wants a token, or has answered this tenant as often as it may: it answers.
        Ok((status @ (401 | 429), _)) if routed => (Some(status), None, None),
        Ok((status, _)) if routed => {
            let error = format!("the load balancer answers {status}, not 200");
            (Some(status), None, Some(error))
        }
        // Without a route the load balancer has no rule, or the service refuses the tenant.
        Ok((status @ (403 | 404 | 401), _)) => (Some(status), None, None),
        Ok((status, environment)) => {
            let error = format!("the load balancer answers {status}, although there is no route");
            (Some(status), environment, Some(error))
        }
        // Without an answer it is not known whether the tenant has gone.
        Err(reason) => (None, None, Some(reason)),
    };
    ProbedApp {
        status,
        environment,
        error,
    }
}

async fn app_of(
    client: &reqwest::Client,
    load_balancer: &str,
    tenant: &str,
    app: &str,
) -> Result<(u16, Option<String>), String> {
    let failed = |error: reqwest::Error| {
        let error = with_causes(&error.without_url());
        format!("the load balancer does not answer for {app}: {error}")
    };
    let request = client
        .get(format!("{load_balancer}/{app}"))
        .timeout(TIMEOUT)
        .header(TENANT_HEADER, tenant);
    let response = request.send().await.map_err(failed)?;
    let status = response.status().as_u16();
    let is_small = response
        .content_length()
        .is_some_and(|bytes| bytes <= MAX_BYTES as u64);
    if status != 200 || !is_small {
        return Ok((status, None));
    }
    let body = response.bytes().await.map_err(failed)?;
    let identity: Option<Identity> = serde_json::from_slice(&body).ok();
    Ok((status, identity.map(|identity| identity.environment)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_compared_with_the_route() {
        let ok = || Ok((200, Some("pool-1".to_owned())));
        assert_eq!(compared(ok(), true).error, None);
        assert!(
            compared(ok(), false).error.is_some(),
            "an app that must not answer"
        );
        assert_eq!(compared(Ok((404, None)), false).error, None);
        assert!(compared(Ok((404, None)), true).error.is_some());
        assert_eq!(compared(Ok((401, None)), true).error, None);
        for routed in [true, false] {
            assert!(
                compared(Err("no answer".to_owned()), routed)
                    .error
                    .is_some()
            );
        }
    }
}
