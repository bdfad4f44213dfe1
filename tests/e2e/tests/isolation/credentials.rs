//! `TENANT_ROLE_ARN`: a pool's consumer reads each tenant's messages with credentials that reach no other tenant's.

use std::collections::BTreeMap;

use futures_util::future::join_all;
use kit::aws::event_ids;
use kit::endpoint::Principal;
use kit::http::Request;
use kit::service::Service;
use kit::wait::{PATIENCE, until};
use kit::world::World;
use serde_json::json;

const ROLE: &str = "arn:aws:iam::000000000000:role/reader-role-pool-1";

/// The pool's consumer with the role, and three messages each of two tenants stored.
async fn consumer_with_role(world: &World) -> Service {
    world.endpoint.keep_sessions_to("tenant", "tenant_id").await;
    let consumer = world
        .service("consumer", "pool-1", &[("TENANT_ROLE_ARN", ROLE)])
        .await;
    for tenant in ["tenant-2", "tenant-4"] {
        world
            .aws
            .send_events(&world.pool.queue, tenant, &event_ids(3))
            .await;
    }
    world.stored(6, &world.pool).await;
    world.endpoint.forget_calls().await;
    consumer
}

async fn list(consumer: &Service, tenant: &str) -> (u16, usize) {
    let answer = consumer
        .ask(&Request::get("/consumer/messages").tenant(tenant))
        .await;
    let count = answer.json()["messages"].as_array().map_or(0, Vec::len);
    (answer.status, count)
}

#[tokio::test]
async fn each_tenants_messages_are_read_with_a_session_of_its_own_and_never_with_the_pools() {
    let world = World::new().await;
    let consumer = consumer_with_role(&world).await;
    let tenants = ["tenant-2", "tenant-4"];
    // All at once, and again: a session is requested once.
    for _ in 0..2 {
        let lists = (0..20).map(|n| list(&consumer, tenants[n % 2]));
        assert!(
            join_all(lists)
                .await
                .iter()
                .all(|listed| *listed == (200, 3))
        );
    }
    let calls = world.endpoint.calls().await;
    assert_eq!(calls.of("STS.AssumeRole"), 2, "one for each tenant");
    let principals = world.endpoint.principals().await;
    let [account, sessions @ ..] = &principals[..] else {
        panic!("the account is always there")
    };
    assert_eq!(
        (account.session.as_ref(), account.calls.of("DynamoDB.Query")),
        (None, 0),
        "{account:?}"
    );
    assert_eq!(sessions.len(), 2, "{sessions:?}");
    for (
        Principal {
            session,
            tags,
            calls,
        },
        tenant,
    ) in sessions.iter().zip(tenants)
    {
        let expected =
            format!("arn:aws:sts::000000000000:assumed-role/reader-role-pool-1/consumer-{tenant}");
        assert_eq!(session.as_deref(), Some(&*expected));
        assert_eq!(
            *tags,
            BTreeMap::from([("tenant".to_owned(), tenant.to_owned())])
        );
        // A page has two sources.
        assert_eq!(calls.of("DynamoDB.Query"), 2 * 20);
        assert_eq!(
            calls.clone().without("DynamoDB.Query").with_prefix(""),
            0,
            "and nothing else"
        );
    }
    assert_eq!(
        consumer
            .metrics()
            .await
            .sum("tenant_roles_assumed_total", &[("outcome", "ok")]),
        2.0
    );
}

#[tokio::test]
async fn without_its_session_a_tenant_gets_a_503_with_retry_after_and_nothing_is_read() {
    let world = World::new().await;
    let consumer = consumer_with_role(&world).await;
    assert_eq!(list(&consumer, "tenant-4").await, (200, 3));
    for fault in [
        json!([{"action": "STS.AssumeRole", "error": {"code": "AccessDenied", "status": 403}}]),
        json!([{"action": "STS.AssumeRole", "error": {"code": "ServiceUnavailable", "status": 503}}]),
        json!([{"action": "STS.AssumeRole", "drop": true}]),
        json!([{"action": "STS.AssumeRole", "delay_ms": 60_000}]),
    ] {
        world.endpoint.inject(fault.clone()).await;
        world.endpoint.forget_calls().await;
        let asked = tokio::time::Instant::now();
        let answer = consumer
            .ask(&Request::get("/consumer/messages").tenant("tenant-2"))
            .await;
        assert!(
            asked.elapsed() < std::time::Duration::from_secs(5),
            "{fault}"
        );
        assert_eq!(
            (answer.status, &*answer.field("code")),
            (503, "credentials_unavailable"),
            "{}",
            answer.text()
        );
        assert!(answer.header("retry-after").is_some());
        assert_eq!(
            world.endpoint.calls().await.of("DynamoDB.Query"),
            0,
            "{fault}: nothing is read instead"
        );
        assert_eq!(
            list(&consumer, "tenant-4").await,
            (200, 3),
            "{fault}: a session that is there is used"
        );
    }
    world.endpoint.inject(json!([])).await;
    until("it is served again", PATIENCE, async || {
        list(&consumer, "tenant-2").await == (200, 3)
    })
    .await;
}

#[tokio::test]
async fn an_invalid_role_is_an_error_at_the_start() {
    let mut command = kit::service::command("consumer", "pool-1", "http://127.0.0.1:1");
    command.env("TENANT_ROLE_ARN", "reader-role-pool-1");
    let mut process = kit::process::Process::start("consumer", command);
    assert_eq!(process.exit(PATIENCE).await, kit::process::Exit::Code(2));
    assert!(
        process.stderr().join("\n").contains("TENANT_ROLE_ARN"),
        "{:?}",
        process.stderr()
    );
}
