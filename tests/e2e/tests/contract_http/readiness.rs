//! The readiness probe: answered from cached state, whatever the dependencies do.

use std::time::{Duration, Instant};

use kit::endpoint::Endpoint;
use kit::http::{Answer, Request};
use kit::service::Service;
use kit::wait::{PATIENCE, until};
use kit::world::World;

/// Time limit of a probe by the contract.
const PROBE: Duration = Duration::from_millis(10);

async fn probe(service: &Service, name: &str) -> Answer {
    service
        .ask(&Request::get(&format!("/{name}/readiness-probe")))
        .await
}

#[tokio::test]
async fn every_ready_service_answers_ok() {
    let world = World::new().await;
    for (name, environment) in [
        ("producer", "pool-1"),
        ("consumer", "pool-1"),
        ("payments", "pool-1"),
        ("consumer", "tenant-3"),
    ] {
        let service = world.service(name, environment, &[]).await;
        let answer = probe(&service, name).await;
        assert_eq!(
            (answer.status, answer.text()),
            (200, r#"{"Status":"OK"}"#),
            "{name} of {environment}"
        );
        let admin = Request::get("/readyz").ask(service.admin).await;
        assert_eq!(admin.status, 200, "{}", admin.text());
        assert_eq!(Request::get("/livez").ask(service.admin).await.status, 200);
    }
}

#[tokio::test]
async fn a_consumer_waits_for_its_parameters_and_needs_no_restart() {
    let endpoint = Endpoint::ephemeral().await;
    let aws = endpoint.aws();
    let consumer = Service::start("consumer", "pool-1", &endpoint.url(), &[]).await;
    let answer = probe(&consumer, "consumer").await;
    assert_eq!(
        (answer.status, answer.text()),
        (500, r#"{"Status":"NotReady"}"#)
    );
    let admin = Request::get("/readyz").ask(consumer.admin).await;
    assert_eq!(admin.status, 503, "{}", admin.text());
    assert_eq!(
        Request::get("/livez").ask(consumer.admin).await.status,
        200,
        "waiting is not a reason to be killed"
    );
    let pool = aws.create("pool-1").await;
    aws.point("pool-1", &pool).await;
    let consumer = consumer.ready().await;
    assert_eq!(
        probe(&consumer, "consumer").await.text(),
        r#"{"Status":"OK"}"#
    );
}

#[tokio::test]
async fn a_consumer_waits_for_a_queue_that_its_parameters_already_name() {
    let endpoint = Endpoint::ephemeral().await;
    let aws = endpoint.aws();
    aws.put(
        "/pool-1/consumer_sqs",
        "arn:aws:sqs:us-east-1:000000000000:consumer-pool-1-x7k",
    )
    .await;
    aws.put(
        "/pool-1/consumer_ddb",
        "arn:aws:dynamodb:us-east-1:000000000000:table/consumer-pool-1-x7k",
    )
    .await;
    let consumer = Service::start("consumer", "pool-1", &endpoint.url(), &[]).await;
    until("the queue was asked for", PATIENCE, async || {
        endpoint.calls().await.of("SQS.GetQueueUrl") > 0
    })
    .await;
    assert_eq!(probe(&consumer, "consumer").await.status, 500);
    aws.create("pool-1").await;
    consumer.ready().await;
}

#[tokio::test]
async fn no_service_is_ready_before_it_has_reached_the_registry() {
    let endpoint = Endpoint::ephemeral().await;
    endpoint
        .inject(serde_json::json!([{"action": "SSM.*", "drop": true}]))
        .await;
    for name in ["producer", "payments"] {
        let service = Service::start(name, "pool-1", &endpoint.url(), &[]).await;
        until("the registry was asked", PATIENCE, async || {
            endpoint.calls().await.with_prefix("SSM.") > 0
        })
        .await;
        assert_eq!(probe(&service, name).await.status, 500, "{name}");
        endpoint.inject(serde_json::json!([])).await;
        service.ready().await;
        endpoint
            .inject(serde_json::json!([{"action": "SSM.*", "drop": true}]))
            .await;
        endpoint.forget_calls().await;
    }
}

#[tokio::test]
async fn a_probe_is_answered_at_once_while_aws_hangs() {
    let world = World::new().await;
    let consumer = world.consumer().await;
    world.endpoint.process.freeze().await;
    let mut fastest = Duration::MAX;
    for _ in 0..40 {
        let asked = Instant::now();
        let answer = probe(&consumer, "consumer").await;
        fastest = fastest.min(asked.elapsed());
        assert_eq!(answer.text(), r#"{"Status":"OK"}"#);
    }
    world.endpoint.process.resume();
    // The fastest probe counts: a busy machine delays some, never all.
    assert!(
        fastest < PROBE,
        "no probe was answered within {PROBE:?}; the fastest took {fastest:?}"
    );
}

#[tokio::test]
async fn a_draining_service_is_no_longer_ready() {
    let world = World::new().await;
    let mut consumer = world.consumer().await;
    // A slow write keeps the consumer from ending.
    world
        .endpoint
        .inject(serde_json::json!([{"action": "DynamoDB.BatchWriteItem", "delay_ms": 2000}]))
        .await;
    world
        .aws
        .send_events(&world.pool.queue, "tenant-2", &["held".to_owned()])
        .await;
    until("the message is being stored", PATIENCE, async || {
        world.endpoint.calls().await.of("DynamoDB.BatchWriteItem") > 0
    })
    .await;
    consumer.process.signal("TERM");
    until("the admin port says so", PATIENCE, async || {
        let asked = Request::get("/readyz").send(consumer.admin).await;
        asked.is_ok_and(|answer| answer.status == 503 && answer.text().contains("draining"))
    })
    .await;
    assert!(consumer.process.is_running());
    consumer.stop().await;
    assert_eq!(world.aws.items(&world.pool).await.len(), 1);
}
