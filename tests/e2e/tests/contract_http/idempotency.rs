//! `Idempotency-Key`: the same key of the same tenant never yields a second stored message.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use kit::http::Request;
use kit::world::World;

fn keyed(tenant: &str, key: &str, body: &str) -> Request {
    Request::event().tenant(tenant).key(key).body(body)
}

#[tokio::test]
async fn a_repeat_gets_the_same_id_and_one_item_also_from_a_new_producer() {
    let world = World::new().await;
    let _consumer = world.consumer().await;
    let request = keyed("tenant-2", "order-1", r#"{"n":1}"#);
    let first = world.producer().await;
    let ids = [first.ask(&request).await, first.ask(&request).await];
    first.stop().await;
    let second = world.producer().await;
    let again = second.ask(&request).await;
    for answer in ids.iter().chain([&again]) {
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(answer.text(), again.text(), "the same answer each time");
    }
    // A later event of the same queue proves that the repeats have been consumed.
    second.post("tenant-2", "").await;
    world.stored(2, &world.pool).await;
}

#[tokio::test]
async fn repeats_at_once_at_two_replicas_become_one_item() {
    let world = World::new().await;
    let _consumer = world.consumer().await;
    let (one, other) = tokio::join!(world.producer(), world.producer());
    let request = keyed("tenant-2", "order-1", r#"{"n":1}"#);
    let sends = (0..20)
        .map(|n| if n % 2 == 0 { &one } else { &other })
        .map(|replica| replica.ask(&request));
    let answers = join_all(sends).await;
    assert!(answers.iter().all(|answer| answer.status == 200));
    let ids: BTreeSet<_> = answers
        .iter()
        .map(|answer| answer.field("message_id"))
        .collect();
    assert_eq!(ids.len(), 1, "{ids:?}");
    world.stored(1, &world.pool).await;
    assert_eq!(world.aws.stored_ids(&world.pool).await, ids);
}

#[tokio::test]
async fn a_key_with_another_body_is_refused_and_the_first_item_stays() {
    let world = World::new().await;
    let _consumer = world.consumer().await;
    let producer = world.producer().await;
    let first = producer
        .ask(&keyed("tenant-2", "order-1", r#"{"n":1}"#))
        .await;
    assert_eq!(first.status, 200, "{}", first.text());
    for body in [r#"{"n":2}"#, "", r#"{"n":1} "#] {
        let other = producer.ask(&keyed("tenant-2", "order-1", body)).await;
        if body.trim() == r#"{"n":1}"# {
            assert_eq!(
                other.status, 200,
                "space around the JSON is not another body"
            );
        } else {
            assert_eq!(
                (other.status, &*other.field("code")),
                (422, "idempotency_key_reused"),
                "{body:?}"
            );
        }
    }
    world.stored(1, &world.pool).await;
    // A replica that has not seen the first body accepts the second, but cannot replace the item.
    let unaware = world.producer().await;
    let late = unaware
        .ask(&keyed("tenant-2", "order-1", r#"{"n":3}"#))
        .await;
    assert!([200, 422].contains(&late.status), "{}", late.text());
    world.drained(&world.pool).await;
    let [item] = &world.aws.items(&world.pool).await[..] else {
        panic!("one item")
    };
    assert_eq!(
        (item["payload"].as_str(), item["message_id"].as_str()),
        (r#"{"n":1}"#, &*first.field("message_id"))
    );
}

#[tokio::test]
async fn the_keys_of_two_tenants_are_independent() {
    let world = World::new().await;
    let _consumer = world.consumer().await;
    let producer = world.producer().await;
    let mut ids = BTreeSet::new();
    for (tenant, body) in [("tenant-2", r#"{"of":2}"#), ("tenant-4", r#"{"of":4}"#)] {
        for key in ["order-1", "order-2"] {
            let answer = producer.ask(&keyed(tenant, key, body)).await;
            assert_eq!(
                (answer.status, &*answer.field("tenant_id")),
                (200, tenant),
                "{}",
                answer.text()
            );
            ids.insert(answer.field("message_id"));
        }
    }
    assert_eq!(ids.len(), 4, "two keys of two tenants");
    world.stored(4, &world.pool).await;
    for item in world.aws.items(&world.pool).await {
        let expected = if item["tenant_id"] == "tenant-2" {
            r#"{"of":2}"#
        } else {
            r#"{"of":4}"#
        };
        assert_eq!(item["payload"], expected);
    }
}

#[tokio::test]
async fn a_request_that_was_not_accepted_does_not_consume_its_key() {
    let world = World::new().await;
    let _consumer = world.consumer().await;
    let producer = world.producer().await;
    let refuse = serde_json::json!([{"action": "SQS.SendMessageBatch", "error": {"code": "AccessDenied", "status": 403}}]);
    world.endpoint.inject(refuse).await;
    assert_eq!(
        producer
            .ask(&keyed("tenant-2", "order-1", r#"{"n":1}"#))
            .await
            .status,
        503
    );
    world.endpoint.inject(serde_json::json!([])).await;
    let accepted = producer
        .ask(&keyed("tenant-2", "order-1", r#"{"n":1}"#))
        .await;
    assert_eq!(accepted.status, 200, "{}", accepted.text());
    world.stored(1, &world.pool).await;
}
