//! An endpoint that is gone, hangs or fails in part.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use crate::traffic::Traffic;
use futures_util::future::join_all;
use kit::aws::{Depth, event_ids};
use kit::endpoint::Endpoint;
use kit::http::Request;
use kit::wait::{PATIENCE, until};
use kit::world::World;
use serde_json::json;

use crate::{SHORT_LEASE, assert_all_consumed, once_each, writes};

#[tokio::test]
async fn an_endpoint_gone_for_ten_seconds_costs_no_event_no_restart_and_no_delivery() {
    const OUTAGE: Duration = Duration::from_secs(10);
    let folder = tempfile::tempdir().expect("a scratch folder");
    let mut world = World::over(Endpoint::kept(folder.path().to_owned()).await).await;
    let mut producer = world.producer().await;
    let mut consumer = world
        .service("consumer", "pool-1", &[("VISIBILITY_SECONDS", "5")])
        .await;
    let (traffic, to) = (Traffic::default(), producer.address);
    let scenario = async {
        traffic.more(100).await;
        world.endpoint.process.kill();
        let gone = Instant::now();
        until("ten seconds are over", 2 * OUTAGE, async || {
            gone.elapsed() >= OUTAGE
        })
        .await;
        world.endpoint.start_again().await;
        traffic.more(100).await;
        traffic.stop();
    };
    tokio::join!(traffic.post(to, "tenant-2", 4, false), scenario);
    let accepted = once_each(traffic.accepted());
    let (refused, unanswered) = traffic.failures();
    assert!(refused > 0, "there was an outage");
    assert_eq!(unanswered, 0, "every client gets an answer all the same");
    assert!(producer.process.is_running() && consumer.process.is_running());
    until("every accepted event is stored", PATIENCE, async || {
        world
            .aws
            .stored_ids(&world.pool)
            .await
            .is_superset(&accepted)
    })
    .await;
    until("both are ready", PATIENCE, async || {
        producer.is_ready().await && consumer.is_ready().await
    })
    .await;
    assert_all_consumed(&world, &world.pool).await;
    // A send whose answer was lost may be stored, too, but only of an event that was refused.
    let stored = world.aws.items(&world.pool).await.len();
    assert!(
        (accepted.len()..=accepted.len() + refused).contains(&stored),
        "{stored} of {}",
        accepted.len()
    );
}

#[tokio::test]
async fn an_endpoint_that_hangs_for_seconds_costs_no_event_and_no_restart() {
    const HANG: Duration = Duration::from_secs(6);
    let world = World::new().await;
    let (mut producer, mut consumer) = (
        world.producer().await,
        world
            .service("consumer", "pool-1", &[("VISIBILITY_SECONDS", "5")])
            .await,
    );
    let (traffic, to) = (Traffic::default(), producer.address);
    let scenario = async {
        traffic.more(50).await;
        world.endpoint.process.freeze().await;
        let hanging = Instant::now();
        until("the time is over", 2 * HANG, async || {
            hanging.elapsed() >= HANG
        })
        .await;
        world.endpoint.process.resume();
        traffic.more(50).await;
        traffic.stop();
    };
    tokio::join!(traffic.post(to, "tenant-2", 4, false), scenario);
    let accepted = once_each(traffic.accepted());
    assert_eq!(traffic.failures().1, 0, "every client gets an answer");
    assert!(producer.process.is_running() && consumer.process.is_running());
    until("every accepted event is stored", PATIENCE, async || {
        world
            .aws
            .stored_ids(&world.pool)
            .await
            .is_superset(&accepted)
    })
    .await;
    assert_all_consumed(&world, &world.pool).await;
}

#[tokio::test]
async fn a_table_that_fails_for_seconds_costs_no_delivery() {
    let world = World::new().await;
    let consumer = world.service("consumer", "pool-1", &[SHORT_LEASE]).await;
    let failures = [
        ("ThrottlingException", 400),
        ("InternalServerError", 500),
        ("ResourceNotFoundException", 400),
    ];
    let mut sent = 0;
    for (code, status) in failures {
        world
            .endpoint
            .inject(json!([{"action": "DynamoDB.BatchWriteItem", "error": {"code": code, "status": status}}]))
            .await;
        world.endpoint.forget_calls().await;
        world
            .aws
            .send_events(&world.pool.queue, "tenant-2", &event_ids(20))
            .await;
        // Longer than a lease: without extensions, the messages would be redelivered.
        let begun = Instant::now();
        until(
            "storing has failed for three seconds",
            PATIENCE,
            async || begun.elapsed() >= Duration::from_secs(3) && writes(&world).await >= 4,
        )
        .await;
        assert_eq!(world.aws.items(&world.pool).await.len(), sent);
        world.endpoint.inject(json!([])).await;
        sent += 20;
        world.stored(sent, &world.pool).await;
    }
    assert_all_consumed(&world, &world.pool).await;
    let metrics = consumer.metrics().await;
    assert_eq!(
        metrics.sum("received_total", &[]),
        sent as f64,
        "each came once"
    );
    assert!(metrics.sum("store_retries_total", &[]) > 0.0);
}

#[tokio::test]
async fn partial_failures_of_every_batch_call_cost_no_event_and_double_none() {
    let world = World::new().await;
    let (producer, consumer) = (
        world.producer().await,
        world.service("consumer", "pool-1", &[SHORT_LEASE]).await,
    );
    world
        .endpoint
        .inject(json!([
            {"action": "SQS.SendMessageBatch", "rate": 0.3, "seed": 1, "partial": {"code": "InternalError"}},
            {"action": "SQS.SendMessageBatch", "rate": 0.1, "seed": 2, "when": "after", "partial": {"code": "InternalError"}},
            {"action": "SQS.SendMessageBatch", "rate": 0.1, "seed": 3, "when": "after", "drop": true},
            {"action": "SQS.ReceiveMessage", "rate": 0.1, "seed": 4, "error": {"code": "RequestThrottled"}},
            {"action": "SQS.DeleteMessageBatch", "rate": 0.3, "seed": 5, "partial": {"code": "InternalError"}},
            {"action": "SQS.DeleteMessageBatch", "rate": 0.1, "seed": 6, "when": "after", "partial": {"code": "InternalError"}},
            {"action": "DynamoDB.BatchWriteItem", "rate": 0.3, "seed": 7, "unprocessed": true},
            {"action": "DynamoDB.BatchWriteItem", "rate": 0.1, "seed": 8, "when": "after", "error": {"code": "InternalServerError", "status": 500}},
        ]))
        .await;
    let traffic = Traffic::default();
    let stop = async {
        traffic.more(200).await;
        traffic.stop();
    };
    tokio::join!(traffic.post(producer.address, "tenant-2", 20, true), stop);
    let accepted = once_each(traffic.accepted());
    let plain: Vec<_> = join_all((0..100).map(|n| {
        let request = Request::event().tenant("tenant-4").body(n.to_string());
        async move { request.ask(producer.address).await }
    }))
    .await;
    let plain: Vec<_> = plain
        .iter()
        .filter(|a| a.status == 200)
        .map(|a| a.field("message_id"))
        .collect();
    assert!(
        plain.len() > 90,
        "retries make almost all of them succeed: {}",
        plain.len()
    );
    let expected: BTreeSet<_> = accepted.union(&once_each(plain)).cloned().collect();
    until("every accepted event is stored", 2 * PATIENCE, async || {
        world
            .aws
            .stored_ids(&world.pool)
            .await
            .is_superset(&expected)
    })
    .await;
    assert!(
        world
            .endpoint
            .injected()
            .await
            .iter()
            .all(|acted| *acted > 0),
        "{:?}",
        world.endpoint.injected().await
    );
    world.endpoint.inject(json!([])).await;
    assert_all_consumed(&world, &world.pool).await;
    let of_keys = world
        .aws
        .items(&world.pool)
        .await
        .into_iter()
        .filter(|item| item["tenant_id"] == "tenant-2")
        .count();
    assert_eq!(of_keys, accepted.len(), "a repeat is not another item");
    assert!(producer.metrics().await.sum("send_retries_total", &[]) > 0.0);
    assert!(consumer.metrics().await.sum("receive_retries_total", &[]) > 0.0);
}

#[tokio::test]
async fn a_consumer_that_cannot_look_up_a_tenant_holds_its_message() {
    let world = World::new().await;
    let _consumer = world.service("consumer", "pool-1", &[SHORT_LEASE]).await;
    world
        .endpoint
        .inject(
            json!([{"action": "SSM.*", "error": {"code": "InternalServerError", "status": 500}}]),
        )
        .await;
    world.endpoint.forget_calls().await;
    world
        .aws
        .send_events(&world.pool.queue, "tenant-4", &event_ids(5))
        .await;
    until("it has asked in vain", PATIENCE, async || {
        world.endpoint.calls().await.with_prefix("SSM.") >= 4
    })
    .await;
    assert_eq!(
        world.aws.depth(&world.pool.queue).await,
        Depth {
            visible: 0,
            in_flight: 5
        }
    );
    world.endpoint.inject(json!([])).await;
    world.stored(5, &world.pool).await;
    assert_all_consumed(&world, &world.pool).await;
}

#[tokio::test]
async fn a_consumer_whose_queue_fails_is_not_ready_after_a_while_and_recovers() {
    let world = World::new().await;
    let consumer = world.consumer().await;
    world
        .endpoint
        .inject(json!([{"action": "SQS.ReceiveMessage", "error": {"code": "AccessDenied", "status": 403}}]))
        .await;
    until("it says so", 2 * PATIENCE, async || {
        !consumer.is_ready().await
    })
    .await;
    world.endpoint.inject(json!([])).await;
    until("it is ready again", 2 * PATIENCE, async || {
        consumer.is_ready().await
    })
    .await;
    world
        .aws
        .send_events(&world.pool.queue, "tenant-2", &event_ids(1))
        .await;
    world.stored(1, &world.pool).await;
}
