//! Views of a made-up platform, for the tests of the pages.

use std::sync::Arc;

use std::collections::BTreeMap;

use tenantry_service::error::ApiError;

use super::page::Context;
use crate::access::Actor;
use crate::model::{
    AppFigures, AppPlace, Applied, Blocked, DeadLetterView, Desired, Figures, ProbedApp, QueueView,
    Serving, TenantState, TenantView, Time,
};

pub(super) fn now() -> Time {
    Time::parse("2026-01-31T12:00:00Z").expect("it is a time")
}

fn earlier(seconds: i64) -> Time {
    Time::of_millis(now().millis() - seconds * 1000)
}

pub(super) fn context() -> Context {
    Context {
        actor: Actor::local(),
        has_session: false,
        now: now(),
        repository: "/tmp/tenantry/gitops.git".to_owned(),
        broken: None,
    }
}

/// The tenant with this number: every tier, every state.
pub(super) fn tenant(number: usize) -> TenantView {
    let id = format!("tenant-{number}");
    let tier = ["premium", "basic", "advanced"][number % 3];
    let state = match number {
        4 => TenantState::Blocked,
        5 => TenantState::Suspended,
        7 => TenantState::Committed,
        _ => TenantState::Serving,
    };
    let apps = ["consumer", "payments", "producer"].map(|app| {
        let is_own = tier == "premium" || (tier == "advanced" && app == "consumer");
        let environment = if is_own {
            id.clone()
        } else {
            "pool-1".to_owned()
        };
        (
            app.to_owned(),
            AppPlace {
                environment,
                routed: true,
            },
        )
    });
    let is_blocked = state == TenantState::Blocked;
    let commit = "4f6c1e0b8a7d2f3340b0a9c4c5d6e7f8a9b0c1d2".to_owned();
    let figures = Figures {
        requests_per_second: Some(number as f64 * 1.7 % 90.0),
        error_ratio: Some(0.002),
        queue_depth: Some((number * 7 % 40) as u64),
        oldest_message_seconds: number.is_multiple_of(4).then_some(73.0),
        dead_letters: Some(u64::from(number == 4)),
        restarts: Some(0),
        last_error: is_blocked.then(|| "producer: 503 queue_unavailable".to_owned()),
        stored_per_second: Some(3.2),
        apps: ["consumer", "payments", "producer"]
            .map(|app| {
                (
                    app.to_owned(),
                    AppFigures {
                        requests_per_second: Some(2.5),
                        error_ratio: Some(0.0),
                    },
                )
            })
            .into(),
    };
    TenantView {
        path: format!("gitops/application-plane/production/tenants/{tier}/{id}.yaml"),
        tier: tier.to_owned(),
        state,
        since: Some(earlier(4000)),
        release: "0.1.x".to_owned(),
        suspended: state == TenantState::Suspended,
        held: (number == 6).then(|| "audit until Friday".to_owned()),
        delete_data: false,
        apps: Arc::new(apps.into()),
        labels: BTreeMap::from([("team".to_owned(), "billing".to_owned())]),
        desired: Some(Desired {
            commit: commit.clone(),
            time: earlier(5000),
            actor: "ada".to_owned(),
            release: "0.1.x".to_owned(),
        }),
        applied: Some(Applied {
            commit: Some(commit.clone()),
            time: earlier(4100),
            release: Some("0.1.4".to_owned()),
            ready: !is_blocked,
            message: None,
        }),
        serving: Some(Serving {
            commit: Some(commit),
            time: earlier(1),
            since: earlier(4000),
            answers: true,
            apps: Arc::new(
                ["consumer", "producer"]
                    .map(|app| {
                        (
                            app.to_owned(),
                            ProbedApp {
                                status: Some(200),
                                environment: Some(id.clone()),
                                error: None,
                            },
                        )
                    })
                    .into(),
            ),
        }),
        blocked: is_blocked.then(|| Blocked {
            code: "chart_version_not_found".to_owned(),
            reason: "chart version 0.9.x of helm-tenant-chart was not found in the registry"
                .to_owned(),
            remedy: "publish the chart, or run: tenantctl deploy --tenant tenant-4 0.1".to_owned(),
            since: Some(earlier(600)),
            object: Some("HelmRelease/flux-tenants/tenant-4".to_owned()),
        }),
        figures,
        id,
    }
}

pub(super) fn queue() -> Result<QueueView, ApiError> {
    Ok(QueueView {
        name: "consumer-tenant-3-x11".to_owned(),
        visible: 12,
        in_flight: 7,
        delayed: 0,
        dead_letter: Some(DeadLetterView {
            name: "consumer-tenant-3-x11-dlq".to_owned(),
            messages: 2,
        }),
    })
}

pub(super) fn parameters(tenant: &str) -> Result<Vec<(String, String)>, ApiError> {
    let parameter = |name: &str, value: &str| (format!("/{tenant}/{name}"), value.to_owned());
    let arn = "arn:aws:dynamodb:us-east-1:000000000000:table";
    Ok(vec![
        parameter("consumer_ddb", &format!("{arn}/consumer-{tenant}-x11")),
        parameter(
            "consumer_sqs",
            &format!("arn:aws:sqs:us-east-1:000000000000:consumer-{tenant}-x11"),
        ),
        parameter("payments_ddb", &format!("{arn}/payments-pool-1-k2s")),
        parameter("tier", "advanced"),
    ])
}
