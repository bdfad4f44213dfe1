//! A registration is younger than its refresh age when it answers, in every environment.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
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
    let slowest = all_refuse(&services, &TENANTS, (403, "tenant_suspended"), &[]).await;
    println!("suspended: the last route refused after {slowest:.1?}");
    for tenant in TENANTS {
        world.aws.remove(tenant).await;
    }
    let slowest = all_refuse(&services, &TENANTS, (404, "tenant_unknown"), &[]).await;
    println!("offboarded: the last route refused after {slowest:.1?}");
}

#[tokio::test]
async fn at_most_fifteen_seconds_after_its_status_alone_changes_no_route_serves_one_of_many_tenants()
 {
    let world = World::new().await;
    let tenants: Vec<_> = (0..100).map(|n| format!("many-{n}")).collect();
    for tenant in &tenants {
        world.aws.register(tenant, "basic", &world.pool).await;
        world.aws.put(&format!("/{tenant}/status"), "active").await;
        let entry = format!("/tenantry/tenants/{tenant}");
        world.aws.put(&entry, "basic").await;
    }
    let services = Services::start(&world, &[]).await;
    for service in &services.pool {
        until("the list confirms the tenants", PATIENCE, async || {
            use_all(&services, &tenants).await;
            let reads = [("purpose", "status"), ("outcome", "ok")];
            service.metrics().await.sum("registry_calls_total", &reads) >= 10.0
        })
        .await;
    }
    let changed = ["many-0", "many-50", "many-99"];
    for tenant in changed {
        world
            .aws
            .put(&format!("/{tenant}/status"), "suspended")
            .await;
    }
    let slowest = all_refuse(&services, &changed, (403, "tenant_suspended"), &tenants).await;
    println!("one of 100 suspended: the last route refused after {slowest:.1?}");
}

/// Asks each service of the pool once as each tenant.
async fn use_all(services: &Services, tenants: &[String]) {
    let paths = ["/producer", "/consumer", "/payments"];
    for tenants in tenants.chunks(10) {
        join_all(tenants.iter().map(async |tenant| {
            for (service, path) in services.pool.iter().zip(paths) {
                service.ask(&Request::get(path).tenant(tenant)).await;
            }
        }))
        .await;
    }
}

/// Asks every route of these tenants again and again, so that each stays in use beside others, until all refuse.
async fn all_refuse(
    services: &Services,
    tenants: &[&str],
    refusal: (u16, &str),
    others: &[String],
) -> Duration {
    let begun = Instant::now();
    let mut served = Vec::new();
    while begun.elapsed() < WITHIN {
        served.clear();
        use_all(services, others).await;
        for tenant in tenants {
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
