//! `GET /consumer/messages`: the caller's own stored messages, newest first, paged.

use kit::http::Request;
use kit::service::Service;
use kit::world::World;
use serde_json::Value;

async fn page(consumer: &Service, tenant: &str, query: &str) -> (Vec<Value>, Option<String>) {
    let answer = consumer
        .ask(&Request::get(&format!("/consumer/messages?{query}")).tenant(tenant))
        .await;
    assert_eq!(answer.status, 200, "{query}: {}", answer.text());
    let body = answer.json();
    let messages = body["messages"].as_array().cloned().expect("a list");
    (
        messages,
        body["next_cursor"].as_str().map(ToOwned::to_owned),
    )
}

fn ids(messages: &[Value]) -> Vec<String> {
    messages
        .iter()
        .map(|message| message["message_id"].as_str().expect("an id").to_owned())
        .collect()
}

#[tokio::test]
async fn messages_are_listed_newest_first_and_paged_without_gaps_or_repeats() {
    let world = World::new().await;
    let (producer, consumer) = tokio::join!(world.producer(), world.consumer());
    let mut newest_first = Vec::new();
    for n in 0..25 {
        newest_first.insert(
            0,
            producer.post("tenant-2", &format!("{{\"n\":{n}}}")).await,
        );
        producer.post("tenant-4", "").await;
    }
    world.stored(50, &world.pool).await;
    let (all, end) = page(&consumer, "tenant-2", "limit=100").await;
    assert_eq!(ids(&all), newest_first);
    assert_eq!(end, None);
    let (by_default, more) = page(&consumer, "tenant-2", "").await;
    assert_eq!(
        ids(&by_default),
        newest_first[..20],
        "20 where the caller does not say"
    );
    assert!(more.is_some());
    for limit in [1, 7, 24, 25] {
        let (mut seen, mut query) = (Vec::new(), format!("limit={limit}"));
        loop {
            let (messages, next) = page(&consumer, "tenant-2", &query).await;
            assert!(messages.len() <= limit, "{limit}");
            seen.extend(ids(&messages));
            match next {
                Some(cursor) => query = format!("limit={limit}&cursor={cursor}"),
                None => break,
            }
            assert!(seen.len() <= 25, "pages of {limit} never end: {seen:?}");
        }
        assert_eq!(seen, newest_first, "pages of {limit}");
    }
}

#[tokio::test]
async fn events_with_an_idempotency_key_are_listed_in_their_order_too() {
    let world = World::new().await;
    let (producer, consumer) = tokio::join!(world.producer(), world.consumer());
    let mut newest_first = Vec::new();
    for n in 0..8 {
        let request = Request::event()
            .tenant("tenant-2")
            .key(&format!("order-{n}"));
        let request = if n % 2 == 0 {
            request
        } else {
            Request::event().tenant("tenant-2")
        };
        newest_first.insert(0, producer.ask(&request).await.field("message_id"));
    }
    world.stored(8, &world.pool).await;
    assert_eq!(ids(&page(&consumer, "tenant-2", "").await.0), newest_first);
}

#[tokio::test]
async fn a_listed_message_has_sorted_keys_and_its_payload_as_it_was_sent() {
    let world = World::new().await;
    let (producer, consumer) = tokio::join!(world.producer(), world.consumer());
    let id = producer.post("tenant-2", r#"{"b": 1, "a": [2.0]}"#).await;
    world.stored(1, &world.pool).await;
    let timestamp = world.aws.items(&world.pool).await[0]["timestamp"].clone();
    let answer = consumer
        .ask(&Request::get("/consumer/messages").tenant("tenant-2"))
        .await;
    let expected = format!(
        r#"{{"messages":[{{"consumer_environment":"pool-1","message_id":"{id}","payload":{{"b": 1, "a": [2.0]}},"producer_environment":"pool-1","tenant_id":"tenant-2","timestamp":"{timestamp}"}}],"next_cursor":null}}"#
    );
    assert_eq!(answer.text(), expected);
}

#[tokio::test]
async fn a_tenant_never_sees_anothers_messages_nor_uses_its_cursor() {
    let world = World::new().await;
    let (producer, consumer) = tokio::join!(world.producer(), world.consumer());
    for _ in 0..3 {
        producer.post("tenant-2", r#"{"secret":2}"#).await;
    }
    world.stored(3, &world.pool).await;
    assert_eq!(
        page(&consumer, "tenant-4", "limit=100").await,
        (vec![], None)
    );
    let (_, cursor) = page(&consumer, "tenant-2", "limit=1").await;
    let cursor = cursor.expect("two more");
    let stolen = consumer
        .ask(&Request::get(&format!("/consumer/messages?cursor={cursor}")).tenant("tenant-4"))
        .await;
    assert_eq!(
        (stolen.status, &*stolen.field("code")),
        (400, "invalid_cursor"),
        "{}",
        stolen.text()
    );
    let anonymous = consumer.ask(&Request::get("/consumer/messages")).await;
    assert_eq!(
        (anonymous.status, &*anonymous.field("code")),
        (404, "tenant_missing")
    );
}

#[tokio::test]
async fn a_pool_does_not_list_for_a_tenant_whose_messages_are_elsewhere() {
    let world = World::new().await;
    let consumer = world.consumer().await;
    let answer = consumer
        .ask(&Request::get("/consumer/messages").tenant("tenant-3"))
        .await;
    assert_eq!(answer.status, 403, "{}", answer.text());
    let silo = world.service("consumer", "tenant-3", &[]).await;
    assert_eq!(page(&silo, "tenant-3", "").await, (vec![], None));
}

#[tokio::test]
async fn messages_too_large_for_one_page_are_paged_without_gaps_or_repeats() {
    let world = World::new().await;
    let (producer, consumer) = tokio::join!(world.producer(), world.consumer());
    let mut newest_first = Vec::new();
    for _ in 0..12 {
        newest_first.insert(
            0,
            producer
                .post("tenant-2", &format!("\"{}\"", "x".repeat(200 * 1024)))
                .await,
        );
    }
    world.stored(12, &world.pool).await;
    let (mut seen, mut query) = (Vec::new(), "limit=100".to_owned());
    loop {
        let (messages, next) = page(&consumer, "tenant-2", &query).await;
        seen.extend(ids(&messages));
        let Some(cursor) = next else { break };
        query = format!("limit=100&cursor={cursor}");
        assert!(seen.len() <= 12, "the pages never end: {seen:?}");
    }
    assert_eq!(seen, newest_first);
}

#[tokio::test]
async fn a_body_that_is_no_json_is_listed_as_a_string() {
    let world = World::new().await;
    let consumer = world.consumer().await;
    world
        .aws
        .send(
            &world.pool.queue,
            "plain \"text\"",
            &[("tenant_id", "tenant-2")],
        )
        .await;
    world.stored(1, &world.pool).await;
    let (messages, _) = page(&consumer, "tenant-2", "").await;
    assert_eq!(messages[0]["payload"], "plain \"text\"");
    assert_eq!(messages[0]["producer_environment"], "unknown");
}
