//! Another tenant's ids, keys and cursors are useless to a tenant, and a forged message is not stored.

use kit::aws::event_ids;
use kit::http::Request;
use kit::wait::{PATIENCE, until};
use kit::world::World;
use serde_json::json;

#[tokio::test]
async fn a_message_under_another_tenants_id_is_an_item_of_its_own() {
    let world = World::new().await;
    let (producer, consumer) = tokio::join!(world.producer(), world.consumer());
    let theirs = producer.post("tenant-2", r#"{"secret":2}"#).await;
    let keyed = Request::event()
        .tenant("tenant-2")
        .key("order-1")
        .body(r#"{"secret":2}"#);
    let theirs_by_key = producer.ask(&keyed).await.field("message_id");
    world.stored(2, &world.pool).await;
    for id in [&theirs, &theirs_by_key] {
        let attributes = [("tenant_id", "tenant-4"), ("message_id", id.as_str())];
        world
            .aws
            .send(&world.pool.queue, r#"{"stolen":true}"#, &attributes)
            .await;
    }
    world.stored(4, &world.pool).await;
    for item in world.aws.items(&world.pool).await {
        let expected = if item["tenant_id"] == "tenant-2" {
            r#"{"secret":2}"#
        } else {
            r#"{"stolen":true}"#
        };
        assert_eq!(item["payload"], expected, "{item:?}");
    }
    for (tenant, expected) in [
        ("tenant-2", json!({"secret": 2})),
        ("tenant-4", json!({"stolen": true})),
    ] {
        let listed = consumer
            .ask(&Request::get("/consumer/messages").tenant(tenant))
            .await
            .json();
        let messages = listed["messages"].as_array().cloned().expect("a list");
        assert_eq!(messages.len(), 2, "{listed}");
        assert!(
            messages
                .iter()
                .all(|message| message["payload"] == expected && message["tenant_id"] == tenant),
            "{listed}"
        );
    }
}

#[tokio::test]
async fn another_tenants_key_replays_nothing_and_makes_a_charge_of_its_own() {
    let world = World::new().await;
    let payments = world.service("payments", "pool-1", &[]).await;
    let charge = |tenant: &str, amount: u64| {
        let body = json!({"amount": amount, "currency": "EUR", "reference": "order-1"}).to_string();
        Request::new("POST", "/payments/charges")
            .tenant(tenant)
            .key("order-1")
            .body(body)
    };
    let first = payments.ask(&charge("tenant-2", 200)).await;
    assert_eq!(first.status, 201, "{}", first.text());
    let (id, path) = (
        first.field("id"),
        format!("/payments/charges/{}", first.field("id")),
    );
    // Same key, same body, another tenant: no answer shows that the key was used before.
    for amount in [200, 400] {
        let other = payments.ask(&charge("tenant-4", amount)).await;
        assert_eq!(
            other.status,
            if amount == 200 { 201 } else { 422 },
            "{}",
            other.text()
        );
        assert!(
            other.header("idempotent-replayed").is_none() && !other.text().contains(&id),
            "{}",
            other.text()
        );
    }
    let refund = Request::new("POST", &format!("{path}/refunds"))
        .key("r")
        .body(r#"{"amount":1}"#);
    for request in [
        Request::get(&path).tenant("tenant-4"),
        refund.tenant("tenant-4"),
    ] {
        let answer = payments.ask(&request).await;
        assert_eq!(
            (answer.status, &*answer.field("code")),
            (404, "charge_unknown"),
            "{}",
            answer.text()
        );
    }
    let left = payments
        .ask(&Request::get(&path).tenant("tenant-2"))
        .await
        .json();
    assert_eq!(
        (&left["amount"], &left["refunded"]),
        (&json!(200), &json!(0)),
        "{left}"
    );
}

#[tokio::test]
async fn a_cursor_forged_from_another_tenants_ids_shows_none_of_its_data() {
    use base64::Engine;
    let world = World::new().await;
    let consumer = world.consumer().await;
    let ids = event_ids(3);
    world
        .aws
        .send_events(&world.pool.queue, "tenant-2", &ids)
        .await;
    world.stored(3, &world.pool).await;
    for owner in ["tenant-2", "tenant-4", "tenant-4\ntenant-2"] {
        for id in ids
            .iter()
            .map(String::as_str)
            .chain(["", "0", "~", "\u{7f}"])
        {
            let text = format!("{owner}\n{id}\n");
            let cursor = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(text);
            let path = format!("/consumer/messages?cursor={cursor}");
            let answer = consumer.ask(&Request::get(&path).tenant("tenant-4")).await;
            if owner == "tenant-2" {
                assert_eq!(
                    (answer.status, &*answer.field("code")),
                    (400, "invalid_cursor"),
                    "{id:?}"
                );
            }
            assert!(
                [200, 400].contains(&answer.status),
                "{owner:?} {id:?}: {}",
                answer.text()
            );
            if answer.status == 200 {
                assert_eq!(answer.json()["messages"], json!([]), "{owner:?} {id:?}");
            }
        }
    }
}

#[tokio::test]
async fn a_message_in_the_queue_of_another_environment_is_dead_lettered() {
    let world = World::new().await;
    let (_pool, _silo) = tokio::join!(world.consumer(), world.service("consumer", "tenant-1", &[]));
    for (queue, tenant) in [(&world.pool, "tenant-1"), (&world.silo, "tenant-2")] {
        world
            .aws
            .send_events(&queue.queue, tenant, &event_ids(2))
            .await;
    }
    for of in [&world.pool, &world.silo] {
        until("both are dead-lettered", PATIENCE, async || {
            world.aws.depth(&of.dead_letters).await.visible == 2
        })
        .await;
        world.drained(of).await;
        assert_eq!(world.aws.items(of).await.len(), 0, "{}", of.table);
    }
}
