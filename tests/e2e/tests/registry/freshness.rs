//! A registration is younger than its refresh age when it answers, in every environment.

use std::time::{Duration, Instant};

use kit::http::Request;
use kit::wait::{PATIENCE, until};
use kit::world::World;

use crate::Services;

/// The promise: time from the change of a parameter until no route serves the tenant.
const WITHIN: Duration = Duration::from_secs(15);
const TENANTS: [&str; 3] = ["tenant-1", "tenant-2", "tenant-3"];

/// Requests to every tenant route of a tenant, with the index of their service.
fn routes(tenant: &str) -> Vec<(usize, Request)> {
    let id = "01a2066a-d34e-77fd-ba12-9db3e3b4528a";
    let refund = format!("/payments/charges/{id}/refunds");
    let get = |path: &str| Request::get(path).tenant(tenant);
    vec![
        (0, get("/producer")),
        (0, Request::event().tenant(tenant)),
        (1, get("/consumer")),
        (1, get("/consumer/messages")),
        (2, get("/payments")),
        (2, get("/payments/charges")),
        (2, get(&format!("/payments/charges/{id}"))),
        (2, Request::charge(tenant, "k", 5)),
        (
            2,
            Request::new("POST", &refund)
                .tenant(tenant)
                .key("r")
                .body(r#"{"amount":1}"#),
        ),
    ]
}

/// The routes that still answer the tenant with another status than this.
async fn still_served(services: &Services, tenant: &str, refusal: (u16, &str)) -> Vec<String> {
    let mut served = Vec::new();
    for (at, request) in routes(tenant) {
        let answer = services.of(tenant)[at].ask(&request).await;
        if (answer.status, &*answer.field("code")) != refusal {
            served.push(format!("{tenant} {request:?}: {}", answer.text()));
        }
    }
    served
}

#[tokio::test]
async fn at_most_fifteen_seconds_after_its_parameter_changes_no_route_serves_a_tenant() {
    let world = World::new().await;
    let services = Services::start(&world, &[]).await;
    for tenant in TENANTS {
        let served = still_served(&services, tenant, (403, "tenant_suspended")).await;
        assert_eq!(served.len(), routes(tenant).len(), "all routes");
    }
    for tenant in TENANTS {
        world
            .aws
            .put(&format!("/{tenant}/status"), "suspended")
            .await;
    }
    let slowest = all_refuse(&services, (403, "tenant_suspended")).await;
    println!("suspended: the last route refused after {slowest:.1?}");
    for tenant in TENANTS {
        world.aws.remove(tenant).await;
    }
    let slowest = all_refuse(&services, (404, "tenant_unknown")).await;
    println!("offboarded: the last route refused after {slowest:.1?}");
}

/// Asks every route again and again, so that each tenant stays in use, until all refuse.
async fn all_refuse(services: &Services, refusal: (u16, &str)) -> Duration {
    let begun = Instant::now();
    let mut served = Vec::new();
    while begun.elapsed() < WITHIN {
        served.clear();
        for tenant in TENANTS {
            served.extend(still_served(services, tenant, refusal).await);
        }
        if served.is_empty() {
            return begun.elapsed();
        }
    }
    panic!("still served after {WITHIN:?}: {served:#?}");
}

#[tokio::test]
async fn an_idle_registration_is_read_again_before_it_answers() {
    let world = World::new().await;
    let services = Services::start(&world, &[("REGISTRY_REFRESH_SECONDS", "1")]).await;
    for tenant in TENANTS {
        still_served(&services, tenant, (403, "tenant_suspended")).await;
        world
            .aws
            .put(&format!("/{tenant}/status"), "suspended")
            .await;
    }
    let begun = Instant::now();
    until("the registrations are old", PATIENCE, async || {
        begun.elapsed() > Duration::from_millis(1100)
    })
    .await;
    for tenant in TENANTS {
        // The very first answer of each route.
        let served = still_served(&services, tenant, (403, "tenant_suspended")).await;
        assert!(served.is_empty(), "{served:#?}");
    }
}

#[tokio::test]
async fn payments_of_a_moving_tenant_are_read_and_not_written() {
    let world = World::new().await;
    let payments = world.service("payments", "pool-1", &[]).await;
    world.aws.put("/tenant-2/status", "moving").await;
    let refused = payments.ask(&Request::charge("tenant-2", "k", 5)).await;
    assert_eq!(
        (refused.status, &*refused.field("code")),
        (503, "tenant_moving")
    );
    assert!(refused.header("retry-after").is_some());
    let list = Request::get("/payments/charges").tenant("tenant-2");
    assert_eq!(payments.ask(&list).await.status, 200);
    let producer = world.producer().await;
    producer.post("tenant-2", "").await;
}
