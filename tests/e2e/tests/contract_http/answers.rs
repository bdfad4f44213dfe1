//! The identity answer of each environment.

use kit::VERSION;
use kit::http::Request;
use kit::wait::{PATIENCE, until};
use kit::world::World;

fn identity(environment: &str, service: &str, tenant: &str) -> String {
    format!(
        r#"{{"environment":"{environment}","microservice":"{service}","tenant_id":{tenant},"version":"{VERSION}"}}"#
    )
}

#[tokio::test]
async fn each_service_names_environment_itself_and_tenant_in_sorted_keys() {
    let world = World::new().await;
    for name in ["producer", "consumer", "payments"] {
        let service = world.service(name, "pool-1", &[]).await;
        let path = format!("/{name}");
        for header in ["tenantID", "TenantID", "tenantid", "TENANTID"] {
            let answer = service
                .ask(&Request::get(&path).header(header, "tenant-2"))
                .await;
            assert_eq!(answer.status, 200, "{header}");
            assert_eq!(
                answer.text(),
                identity("pool-1", name, "\"tenant-2\""),
                "{header}"
            );
            assert_eq!(answer.header("content-type"), Some("application/json"));
        }
        let anonymous = service.ask(&Request::get(&path)).await;
        assert_eq!(
            (anonymous.status, anonymous.text()),
            (200, &*identity("pool-1", name, "null"))
        );
    }
}

#[tokio::test]
async fn a_silo_names_itself() {
    let world = World::new().await;
    let producer = world.service("producer", "tenant-1", &[]).await;
    let owner = producer
        .ask(&Request::get("/producer").tenant("tenant-1"))
        .await;
    assert_eq!(
        (owner.status, owner.text()),
        (200, &*identity("tenant-1", "producer", "\"tenant-1\""))
    );
    let anonymous = producer.ask(&Request::get("/producer")).await;
    assert_eq!(
        (anonymous.status, anonymous.text()),
        (200, &*identity("tenant-1", "producer", "null"))
    );
}

#[tokio::test]
async fn a_silo_forbids_every_other_tenant_on_every_route() {
    let world = World::new().await;
    for name in ["producer", "consumer", "payments"] {
        let service = world.service(name, "tenant-1", &[]).await;
        let mut routes = vec![Request::get(&format!("/{name}"))];
        match name {
            "producer" => routes.push(Request::event()),
            "consumer" => routes.push(Request::get("/consumer/messages")),
            _ => {}
        }
        for route in routes {
            // Registered or not: the silo's answer does not show which.
            for tenant in ["tenant-2", "tenant-9"] {
                let answer = service.ask(&route.clone().tenant(tenant)).await;
                assert_eq!(
                    answer.status,
                    403,
                    "{route:?} as {tenant}: {}",
                    answer.text()
                );
                assert_eq!(
                    answer.field("code"),
                    "foreign_tenant",
                    "{route:?} as {tenant}"
                );
            }
        }
    }
}

#[tokio::test]
async fn a_pool_refuses_a_tenant_that_is_not_registered() {
    let world = World::new().await;
    for name in ["producer", "consumer", "payments"] {
        let service = world.service(name, "pool-1", &[]).await;
        let mut routes = vec![Request::get(&format!("/{name}"))];
        match name {
            "producer" => routes.push(Request::event()),
            "consumer" => routes.push(Request::get("/consumer/messages")),
            _ => {}
        }
        for route in routes {
            let answer = service.ask(&route.clone().tenant("tenant-9")).await;
            assert_eq!(
                (answer.status, &*answer.field("code")),
                (404, "tenant_unknown"),
                "{route:?}"
            );
        }
    }
}

#[tokio::test]
async fn registrations_take_effect_without_a_restart() {
    let world = World::new().await;
    let quick = [
        ("REGISTRY_REFRESH_SECONDS", "1"),
        ("REGISTRY_UNKNOWN_SECONDS", "1"),
    ];
    let producer = world.service("producer", "pool-1", &quick).await;
    let status = async |request: Request| producer.ask(&request).await.status;
    let event = || Request::event().tenant("tenant-5");
    assert_eq!(status(event()).await, 404);
    world.aws.register("tenant-5", "basic", &world.pool).await;
    until("the new tenant is served", PATIENCE, async || {
        status(event()).await == 200
    })
    .await;
    world
        .aws
        .register("tenant-5", "advanced", &world.hybrid)
        .await;
    until("its new tier counts", PATIENCE, async || {
        status(event().header("tier", "basic")).await == 400
    })
    .await;
    assert_eq!(status(event().header("tier", "advanced")).await, 200);
    assert!(
        world.aws.depth(&world.hybrid.queue).await.visible > 0,
        "its new queue counts, too"
    );
    world.aws.remove("tenant-5").await;
    until("it is gone", PATIENCE, async || {
        status(event()).await == 404
    })
    .await;
}
