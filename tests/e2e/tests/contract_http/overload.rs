//! Overload, and dependencies that fail or hang.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use kit::http::{Answer, Request};
use kit::service::Service;
use kit::world::World;
use serde_json::json;

/// Time limit of an answer by the contract.
const ANSWER: Duration = Duration::from_secs(5);

/// Posts, and asserts a refusal with `Retry-After` within the contract's time.
async fn unavailable(producer: &Service, tenant: &str) -> Answer {
    let asked = Instant::now();
    let answer = producer.ask(&Request::event().tenant(tenant)).await;
    let took = asked.elapsed();
    assert_eq!(answer.status, 503, "{}", answer.text());
    assert!(took < ANSWER, "answered after {took:?}: {}", answer.text());
    let wait = answer
        .header("retry-after")
        .and_then(|text| text.parse::<u64>().ok());
    assert!(
        wait.is_some_and(|seconds| seconds >= 1),
        "Retry-After: {wait:?}"
    );
    answer
}

#[tokio::test]
async fn a_queue_that_hangs_is_503_within_five_seconds() {
    let world = World::new().await;
    let producer = world.producer().await;
    producer.post("tenant-2", "").await;
    world.endpoint.process.freeze().await;
    // A tenant whose queue was used before, and a tenant whose registration is not cached.
    let (known, unknown) = tokio::join!(
        unavailable(&producer, "tenant-2"),
        unavailable(&producer, "tenant-4")
    );
    world.endpoint.process.resume();
    assert_eq!(
        (&*known.field("code"), &*unknown.field("code")),
        ("queue_timed_out", "registry_unavailable")
    );
    producer.post("tenant-2", "").await;
}

#[tokio::test]
async fn a_queue_that_drops_every_call_is_503_within_five_seconds() {
    let world = World::new().await;
    let producer = world.producer().await;
    world
        .endpoint
        .inject(json!([{"action": "SQS.*", "drop": true}]))
        .await;
    unavailable(&producer, "tenant-2").await;
    world.endpoint.inject(json!([])).await;
    producer.post("tenant-2", "").await;
}

#[tokio::test]
async fn an_endpoint_that_is_gone_is_503_within_five_seconds() {
    let mut world = World::new().await;
    let producer = world.producer().await;
    producer.post("tenant-2", "").await;
    world.endpoint.process.kill();
    unavailable(&producer, "tenant-2").await;
}

#[tokio::test]
async fn a_slow_registry_before_a_hanging_queue_is_503_within_five_seconds() {
    let world = World::new().await;
    let producer = world.producer().await;
    let slow =
        json!([{"action": "SSM.*", "delay_ms": 2500}, {"action": "SQS.*", "delay_ms": 20_000}]);
    world.endpoint.inject(slow).await;
    unavailable(&producer, "tenant-2").await;
}

#[tokio::test]
async fn a_full_buffer_is_503_at_once_and_what_was_accepted_is_sent() {
    let world = World::new().await;
    let producer = world.producer().await;
    producer.post("tenant-2", "").await;
    world
        .endpoint
        .inject(json!([{"action": "SQS.SendMessageBatch", "delay_ms": 1000}]))
        .await;
    // 80 events of 255 KiB are 20 MiB; the producer holds 16.
    let large = Request::event()
        .tenant("tenant-2")
        .body(format!("\"{}\"", "x".repeat(255 * 1024)));
    let answers = join_all((0..80).map(|_| large.send(producer.address))).await;
    let answers: Vec<_> = answers
        .into_iter()
        .map(|answer| answer.expect("each is answered"))
        .collect();
    let accepted = answers.iter().filter(|answer| answer.status == 200).count();
    let refused: Vec<_> = answers
        .iter()
        .filter(|answer| answer.status != 200)
        .collect();
    assert!(!refused.is_empty() && accepted > 0, "{accepted} accepted");
    for answer in refused {
        assert_eq!(
            (answer.status, answer.header("retry-after").is_some()),
            (503, true),
            "{}",
            answer.text()
        );
    }
    let depth = world.aws.depth(&world.pool.queue).await;
    assert!(
        depth.visible > accepted as u64,
        "every 200 is on the queue: {accepted} of {depth:?}"
    );
}

#[tokio::test]
async fn a_tenant_past_its_rate_is_429_and_its_neighbor_is_not() {
    let world = World::new().await;
    let producer = world
        .service("producer", "pool-1", &[("TENANT_RATE_PER_SECOND", "1")])
        .await;
    let request = Request::event().tenant("tenant-2");
    let answers = join_all((0..10).map(|_| producer.ask(&request))).await;
    let limited: Vec<_> = answers
        .iter()
        .filter(|answer| answer.status == 429)
        .collect();
    assert!(
        !limited.is_empty() && limited.len() < 10,
        "{} of 10 at once are limited",
        limited.len()
    );
    for answer in limited {
        assert_eq!(answer.field("code"), "rate_exceeded");
        let wait = answer
            .header("retry-after")
            .and_then(|text| text.parse::<u64>().ok());
        assert!(
            wait.is_some_and(|seconds| (1..=2).contains(&seconds)),
            "Retry-After: {wait:?}"
        );
    }
    producer.post("tenant-4", "").await;
    // The probe is no tenant's request.
    assert!(producer.is_ready().await);
}

#[tokio::test]
async fn no_rate_is_set_by_default() {
    let world = World::new().await;
    let producer = world.producer().await;
    let request = Request::event().tenant("tenant-2");
    let answers = join_all((0..200).map(|_| producer.ask(&request))).await;
    assert!(answers.iter().all(|answer| answer.status == 200));
    assert_eq!(world.aws.depth(&world.pool.queue).await.visible, 200);
}

#[tokio::test]
async fn a_registry_that_is_down_leaves_known_tenants_served_and_unknown_ones_503() {
    let world = World::new().await;
    let producer = world
        .service("producer", "pool-1", &[("REGISTRY_REFRESH_SECONDS", "1")])
        .await;
    producer.post("tenant-2", "").await;
    world
        .endpoint
        .inject(
            json!([{"action": "SSM.*", "error": {"code": "InternalServerError", "status": 500}}]),
        )
        .await;
    world.endpoint.forget_calls().await;
    let unknown = unavailable(&producer, "tenant-4").await;
    assert_eq!(unknown.field("code"), "registry_unavailable");
    // During two failed refreshes and after them.
    kit::wait::until("the refresh fails", kit::wait::PATIENCE, async || {
        producer.post("tenant-2", "").await;
        producer.metrics().await.sum(
            "registry_calls_total",
            &[("purpose", "refresh"), ("outcome", "error")],
        ) >= 2.0
    })
    .await;
    producer.post("tenant-2", "").await;
    world.endpoint.inject(json!([])).await;
    kit::wait::until(
        "the other tenant is served",
        kit::wait::PATIENCE,
        async || {
            producer
                .ask(&Request::event().tenant("tenant-4"))
                .await
                .status
                == 200
        },
    )
    .await;
}

#[tokio::test]
async fn a_table_that_cannot_be_read_is_503_within_five_seconds() {
    let world = World::new().await;
    let consumer = world.consumer().await;
    let list = Request::get("/consumer/messages").tenant("tenant-2");
    assert_eq!(consumer.ask(&list).await.status, 200);
    world
        .endpoint
        .inject(
            json!([{"action": "DynamoDB.Query", "error": {"code": "AccessDenied", "status": 403}}]),
        )
        .await;
    let refused = consumer.ask(&list).await;
    world.endpoint.process.freeze().await;
    let asked = Instant::now();
    let hung = consumer.ask(&list).await;
    let took = asked.elapsed();
    world.endpoint.process.resume();
    for answer in [refused, hung] {
        assert_eq!(
            (answer.status, answer.header("retry-after").is_some()),
            (503, true),
            "{}",
            answer.text()
        );
    }
    assert!(took < ANSWER, "answered after {took:?}");
}
