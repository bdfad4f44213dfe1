//! `POST /producer`: the answer, the message and the item.

use kit::VERSION;
use kit::aws::Depth;
use kit::http::Request;
use kit::world::World;
use serde_json::json;
use uuid::Uuid;

#[tokio::test]
async fn an_event_is_answered_with_its_id_in_sorted_keys() {
    let world = World::new().await;
    let producer = world.producer().await;
    for request in [
        Request::event().tenant("tenant-3"),
        Request::event()
            .tenant("tenant-3")
            .header("tier", "advanced"),
        Request::event()
            .tenant("tenant-3")
            .header("tier", "advanced")
            .body(r#"{"a":1}"#),
    ] {
        let answer = producer.ask(&request).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let id = answer.field("message_id");
        Uuid::parse_str(&id).expect("a UUID");
        let expected = format!(
            r#"{{"environment":"pool-1","message_id":"{id}","microservice":"producer","tenant_id":"tenant-3","version":"{VERSION}"}}"#
        );
        assert_eq!(answer.text(), expected);
        assert_eq!(answer.header("content-type"), Some("application/json"));
    }
    assert_eq!(
        world.aws.depth(&world.hybrid.queue).await.visible,
        3,
        "with or without the tier, the tenant's own"
    );
    assert_eq!(world.aws.depth(&world.pool.queue).await, Depth::EMPTY);
}

#[tokio::test]
async fn the_message_on_the_queue_is_the_contracts() {
    let world = World::new().await;
    let producer = world.producer().await;
    for (body, expected) in [
        ("", r#"{"event":"Event raised!"}"#),
        (r#"{"b": 1,  "a":[2]}"#, r#"{"b": 1,  "a":[2]}"#),
    ] {
        let id = producer.post("tenant-3", body).await;
        let [message] = &world.aws.receive(&world.hybrid.queue, 60).await[..] else {
            panic!("one message")
        };
        assert_eq!(message.body(), Some(expected));
        let attributes = message.message_attributes().expect("it has attributes");
        let text = |name: &str| {
            attributes
                .get(name)
                .and_then(|value| value.string_value())
                .unwrap_or_default()
        };
        assert_eq!(
            (text("tenant_id"), text("producer_environment")),
            ("tenant-3", "pool-1")
        );
        assert_eq!(text("message_id"), id);
        assert_eq!(attributes.len(), 3, "no trace is exported, so none travels");
        let group = message
            .attributes()
            .and_then(|all| all.get(&"MessageGroupId".into()));
        assert_eq!(
            group.map(String::as_str),
            Some("tenant-3"),
            "fair queues share by tenant"
        );
    }
}

#[tokio::test]
async fn the_stored_item_is_the_contracts_and_keeps_the_payload_byte_for_byte() {
    let world = World::new().await;
    let producer = world.producer().await;
    let _consumer = world.service("consumer", "tenant-3", &[]).await;
    let payload = "{\"b\" : 1.0,\"a\":\"\u{e4}\\u00e4\", \"n\":12345678901234567890}";
    let with = producer.post("tenant-3", payload).await;
    let without = producer.post("tenant-3", "").await;
    world.stored(2, &world.hybrid).await;
    for mut item in world.aws.items(&world.hybrid).await {
        let timestamp = item.remove("timestamp").expect("every item has one");
        assert!(is_timestamp(&timestamp), "{timestamp}");
        let id = item.remove("message_id").expect("the key");
        assert_eq!(
            item.remove("payload").as_deref(),
            (id == with).then_some(payload),
            "{id}"
        );
        assert!(id == with || id == without, "{id}");
        let rest: Vec<_> = item
            .iter()
            .map(|(name, value)| (&**name, &**value))
            .collect();
        let expected = [
            ("consumer_environment", "tenant-3"),
            ("producer_environment", "pool-1"),
            ("tenant_id", "tenant-3"),
        ];
        assert_eq!(rest, expected);
    }
}

#[tokio::test]
async fn an_event_is_accepted_only_once_the_queue_has_confirmed_it() {
    let world = World::new().await;
    let producer = world.producer().await;
    let refusals = [
        json!([{"action": "SQS.SendMessageBatch", "error": {"code": "AccessDenied", "status": 403}}]),
        json!([{"action": "SQS.SendMessageBatch", "partial": {"code": "InternalError"}}]),
    ];
    for refusal in refusals {
        world.endpoint.inject(refusal.clone()).await;
        let answer = producer.ask(&Request::event().tenant("tenant-2")).await;
        assert_eq!(answer.status, 503, "{refusal}: {}", answer.text());
    }
    assert_eq!(world.aws.depth(&world.pool.queue).await, Depth::EMPTY);
    // Refused three times, then accepted: the caller sees one success, the queue one message.
    let thrice = json!([{"action": "SQS.SendMessageBatch", "partial": {"code": "InternalError"}, "limit": 3}]);
    world.endpoint.inject(thrice).await;
    producer.post("tenant-2", "").await;
    assert_eq!(world.endpoint.injected().await, [3]);
    assert_eq!(world.aws.depth(&world.pool.queue).await.visible, 1);
}

#[tokio::test]
async fn a_tenant_without_a_queue_yet_gets_a_503_with_retry_after() {
    let world = World::new().await;
    world.aws.put("/tenant-5/tier", "basic").await;
    let producer = world.producer().await;
    let answer = producer.ask(&Request::event().tenant("tenant-5")).await;
    assert_eq!(
        (answer.status, answer.header("retry-after").is_some()),
        (503, true),
        "{}",
        answer.text()
    );
}

#[tokio::test]
async fn a_silo_posts_to_its_own_queue() {
    let world = World::new().await;
    let producer = world.service("producer", "tenant-1", &[]).await;
    let answer = producer
        .ask(
            &Request::event()
                .tenant("tenant-1")
                .header("tier", "premium"),
        )
        .await;
    assert_eq!(
        (answer.status, &*answer.field("environment")),
        (200, "tenant-1"),
        "{}",
        answer.text()
    );
    assert_eq!(world.aws.depth(&world.silo.queue).await.visible, 1);
}

/// `2024-07-12T16:31:39+0000`.
fn is_timestamp(text: &str) -> bool {
    let shape: String = text
        .chars()
        .map(|c| if c.is_ascii_digit() { '0' } else { c })
        .collect();
    shape == "0000-00-00T00:00:00+0000"
}
