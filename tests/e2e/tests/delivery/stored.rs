//! Stored items: their ids and attributes, each once.

use aws_sdk_sqs::types::MessageSystemAttributeName;
use chrono::{TimeZone, Utc};
use futures_util::future::join_all;
use kit::aws::{Depth, event_ids};
use kit::http::Request;
use kit::service::Service;
use kit::wait::{PATIENCE, until};
use kit::world::World;
use serde_json::json;

#[tokio::test]
async fn a_message_of_an_older_producer_is_stored_under_its_sqs_id() {
    let world = World::new().await;
    let body = r#"{"event":"Event raised!"}"#;
    let attributes = [
        ("tenant_id", "tenant-1"),
        ("producer_environment", "tenant-1"),
    ];
    let named = world.aws.send(&world.silo.queue, body, &attributes).await;
    let nameless = world
        .aws
        .send(&world.silo.queue, body, &attributes[..1])
        .await;
    let _consumer = world.service("consumer", "tenant-1", &[]).await;
    world.stored(2, &world.silo).await;
    for item in world.aws.items(&world.silo).await {
        let id = &item["message_id"];
        assert!([&named, &nameless].contains(&id), "{id}");
        let producer = if *id == named { "tenant-1" } else { "unknown" };
        assert_eq!(
            (&*item["producer_environment"], &*item["tenant_id"]),
            (producer, "tenant-1")
        );
        assert_eq!(item.get("payload"), None, "the default is no payload");
    }
}

#[tokio::test]
async fn an_item_has_the_time_at_which_the_queue_accepted_the_message() {
    let world = World::new().await;
    world
        .aws
        .send_events(&world.pool.queue, "tenant-2", &event_ids(1))
        .await;
    let [message] = &world.aws.receive(&world.pool.queue, 1).await[..] else {
        panic!("one message")
    };
    let sent_ms = message
        .attributes()
        .and_then(|all| all.get(&MessageSystemAttributeName::SentTimestamp));
    let sent_ms = sent_ms
        .and_then(|text| text.parse().ok())
        .expect("a number");
    let expected = Utc
        .timestamp_millis_opt(sent_ms)
        .single()
        .expect("a time")
        .format("%Y-%m-%dT%H:%M:%S+0000");
    // Consumed more than a second later, at its second delivery.
    let _consumer = world.consumer().await;
    world.stored(1, &world.pool).await;
    assert_eq!(
        world.aws.items(&world.pool).await[0]["timestamp"],
        expected.to_string()
    );
}

#[tokio::test]
async fn a_redelivery_writes_the_same_item() {
    let world = World::new().await;
    let ids = event_ids(5);
    world
        .aws
        .send_events(&world.pool.queue, "tenant-2", &ids)
        .await;
    world
        .endpoint
        .inject(json!([{"action": "SQS.DeleteMessageBatch", "drop": true}]))
        .await;
    let short_lease = [("VISIBILITY_SECONDS", "2")];
    let mut first = world.service("consumer", "pool-1", &short_lease).await;
    until("the items are stored", PATIENCE, async || {
        world.aws.items(&world.pool).await.len() == 5
    })
    .await;
    until("deleting fails", PATIENCE, async || {
        world.endpoint.calls().await.of("SQS.DeleteMessageBatch") > 0
    })
    .await;
    first.process.kill();
    let before = world.aws.items(&world.pool).await;
    assert_eq!(
        world.aws.depth(&world.pool.queue).await.in_flight,
        5,
        "stored, and not deleted"
    );
    world.endpoint.inject(json!([])).await;
    world.endpoint.forget_calls().await;
    let second = world.service("consumer", "pool-1", &short_lease).await;
    world.drained(&world.pool).await;
    assert_eq!(
        second.metrics().await.sum("received_total", &[]),
        5.0,
        "each came again"
    );
    assert!(
        world.endpoint.calls().await.of("DynamoDB.BatchWriteItem") > 0,
        "each was written again"
    );
    assert_eq!(sorted(world.aws.items(&world.pool).await), sorted(before));
}

fn sorted(mut items: Vec<kit::aws::Item>) -> Vec<kit::aws::Item> {
    items.sort();
    items
}

#[tokio::test]
async fn two_messages_of_one_id_in_one_batch_become_one_item() {
    let world = World::new().await;
    let id = event_ids(1).remove(0);
    world
        .aws
        .send_events(
            &world.pool.queue,
            "tenant-2",
            &[id.clone(), id.clone(), id.clone()],
        )
        .await;
    // The same id under another tenant is another item.
    world
        .aws
        .send_events(&world.pool.queue, "tenant-4", &[id])
        .await;
    let consumer = world.consumer().await;
    world.stored(2, &world.pool).await;
    assert_eq!(consumer.metrics().await.sum("deleted_total", &[]), 4.0);
    assert_eq!(
        world.aws.depth(&world.pool.dead_letters).await,
        Depth::EMPTY
    );
}

#[tokio::test]
async fn consuming_starts_by_itself_before_any_probe() {
    let world = World::new().await;
    world
        .aws
        .send_events(&world.pool.queue, "tenant-2", &event_ids(3))
        .await;
    let consumer = Service::start("consumer", "pool-1", &world.endpoint.url(), &[]).await;
    world.stored(3, &world.pool).await;
    assert_eq!(
        consumer.metrics().await.sum("http_requests_total", &[]),
        0.0,
        "no request was sent"
    );
}

#[tokio::test]
async fn two_consumers_share_a_queue_and_no_message_is_consumed_twice() {
    let world = World::new().await;
    world
        .aws
        .send_events(&world.pool.queue, "tenant-2", &event_ids(300))
        .await;
    let (one, other) = (world.consumer().await, world.consumer().await);
    world.stored(300, &world.pool).await;
    let received = [one.metrics().await, other.metrics().await]
        .map(|metrics| metrics.sum("received_total", &[]));
    assert_eq!(received.iter().sum::<f64>(), 300.0, "{received:?}");
}

#[tokio::test]
async fn events_too_large_for_one_batch_are_all_stored() {
    let world = World::new().await;
    let (producer, _consumer) = (world.producer().await, world.consumer().await);
    // Forty of 250 KiB: four per batch of 1 MiB. On a busy machine some are refused, and sent again.
    let request = Request::event()
        .tenant("tenant-2")
        .body(format!("\"{}\"", "x".repeat(250 * 1024)));
    join_all((0..40).map(async |number| {
        let request = request.clone().key(&format!("large-{number}"));
        until("the event is accepted", 2 * PATIENCE, async || {
            let status = producer.ask(&request).await.status;
            assert!(matches!(status, 200 | 503), "{status}");
            status == 200
        })
        .await;
    }))
    .await;
    world.stored(40, &world.pool).await;
    assert!(
        world
            .aws
            .items(&world.pool)
            .await
            .iter()
            .all(|item| item["payload"].len() == 250 * 1024 + 2)
    );
}
