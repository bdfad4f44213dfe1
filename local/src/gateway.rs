//! Load balancer: routes by path prefix and `TenantID` header.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use axum::{Extension, Router};
use localaws::hosts::{AllowedHosts, ForeignRequest};
use parking_lot::RwLock;
use tenantry_process::metrics::Metrics;
use tenantry_service::error::ApiError;
use tenantry_service::source::Proxies;
use tenantry_service::stack;
use tenantry_tenancy::tenant::{TENANT_HEADER, TenantId};
use tokio_util::task::task_tracker::TaskTrackerToken;
use tower::ServiceExt;

use crate::environments::{Backend, Environments};
use crate::topology::{App, Placement, TenantSpec};

/// Load balancer. Clones share the rules.
#[derive(Clone)]
pub(crate) struct Gateway(Arc<Inner>);

struct Inner {
    allowed_hosts: AllowedHosts,
    rules: RwLock<Rules>,
    /// Serves requests that match no rule, and those with a [`ForeignRequest`].
    no_match: Router,
}

/// Backend by tenant and app.
type Rules = HashMap<(String, App), Backend>;

impl Gateway {
    pub(crate) fn new(allowed_hosts: AllowedHosts) -> Self {
        let no_match = async |foreign: Option<Extension<ForeignRequest>>| {
            if let Some(Extension(foreign)) = foreign {
                return ApiError::new(foreign.status(), "foreign_request", foreign.to_string());
            }
            let msg = "NotFound: no routing rule matches; set the header tenantID to a registered tenant, for example tenant-1, \
                       and use /producer, /consumer or /payments";
            ApiError::new(StatusCode::NOT_FOUND, "no_rule", msg)
        };
        let no_match = Router::new().fallback(no_match);
        let no_match = stack::around(
            no_match,
            Metrics::new("load-balancer", "local"),
            Proxies::default(),
        );
        Self(Arc::new(Inner {
            allowed_hosts,
            rules: RwLock::default(),
            no_match,
        }))
    }

    /// Replaces the rules: one for each routed and running app of a tenant.
    pub(crate) fn set_rules(
        &self,
        tenants: &BTreeMap<TenantId, TenantSpec>,
        environments: &Environments,
    ) {
        let rule = |tenant: &TenantSpec, app: App, placement: &Placement| {
            let backend = environments
                .backend(&(placement.environment.clone(), app))
                .filter(|_| placement.routed)?;
            Some(((tenant.id.to_string(), app), backend))
        };
        let rules = tenants
            .values()
            .flat_map(|tenant| {
                tenant
                    .placements
                    .iter()
                    .filter_map(move |(app, placement)| rule(tenant, *app, placement))
            })
            .collect();
        *self.0.rules.write() = rules;
    }

    pub(crate) fn router(&self) -> Router {
        Router::new().fallback(route).with_state(self.clone())
    }

    fn backend(&self, tenants: &HeaderMap, app: App) -> Option<(Router, TaskTrackerToken)> {
        // As AWS's load balancer does: one of the header's values must match, in any case. A tenant id is lower case.
        let values = tenants
            .get_all(TENANT_HEADER)
            .iter()
            .filter_map(|value| value.to_str().ok());
        let rules = self.0.rules.read();
        values
            .filter_map(|tenant| rules.get(&(tenant.to_ascii_lowercase(), app)))
            .next()
            .map(Backend::start_request)
    }
}

async fn route(State(gateway): State<Gateway>, mut request: Request) -> Response {
    let allowed = gateway
        .0
        .allowed_hosts
        .check(request.uri(), request.headers());
    let target = match allowed {
        Ok(()) => {
            app_of(request.uri().path()).and_then(|app| gateway.backend(request.headers(), app))
        }
        Err(foreign) => {
            request.extensions_mut().insert(foreign);
            None
        }
    };
    let (router, _until_answered) = match target {
        Some((router, token)) => (router, Some(token)),
        None => (gateway.0.no_match.clone(), None),
    };
    router
        .oneshot(request)
        .await
        .unwrap_or_else(|never| match never {})
}

/// Returns the app whose prefix the path has: `/producer` and every path below it.
fn app_of(path: &str) -> Option<App> {
    let prefix = path.strip_prefix('/')?.split('/').next()?;
    App::ALL.into_iter().find(|app| app.as_str() == prefix)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_is_a_whole_path_segment() {
        assert_eq!(app_of("/producer"), Some(App::Producer));
        assert_eq!(app_of("/consumer/messages"), Some(App::Consumer));
        for path in [
            "/",
            "/producers",
            "/x/producer",
            "",
            "//producer",
            "/PRODUCER",
        ] {
            assert_eq!(app_of(path), None, "{path}");
        }
    }
}
