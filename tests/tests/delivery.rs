//! From the queue to the table: what is stored, what is set aside, and what it costs.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use aws_sdk_sqs::types::{Message, MessageSystemAttributeName, QueueAttributeName};
use chrono::{TimeZone, Utc};
use futures_util::future::join_all;
use serde_json::json;
use tests::aws::{Aws, Depth, Resources};
use tests::http::Request;
use tests::service::Service;
use tests::wait::{PATIENCE, eventually, until};
use tests::world::World;

/// What a dead-letter queue got, once it has this many messages.
async fn dead_letters(aws: &Aws, of: &Resources, count: u64) -> Vec<Message> {
    let what = format!("{count} messages in {}", of.dead_letters);
    until(&what, PATIENCE, async || aws.depth(&of.dead_letters).await.visible >= count).await;
    let mut all = Vec::new();
    while all.len() < usize::try_from(count).expect("a few") {
        all.extend(aws.receive(&of.dead_letters, 600).await);
    }
    assert_eq!(aws.depth(&of.dead_letters).await.visible, 0, "no more than {count}");
    all
}

fn attribute<'a>(message: &'a Message, name: &str) -> &'a str {
    message.message_attributes().and_then(|all| all.get(name)?.string_value()).unwrap_or_default()
}

fn event_ids(count: usize) -> Vec<String> {
    (0..count).map(|_| uuid::Uuid::new_v4().to_string()).collect()
}

#[tokio::test]
async fn one_message_without_attributes_is_set_aside_and_its_nine_neighbours_are_stored() {
    let world = World::new().await;
    let ids = event_ids(9);
    world.aws.send_events(&world.pool.queue, "tenant-2", &ids[..5]).await;
    world.aws.send(&world.pool.queue, "poison", &[]).await;
    world.aws.send_events(&world.pool.queue, "tenant-2", &ids[5..]).await;
    let consumer = world.consumer().await;
    world.stored(9, &world.pool).await;
    assert_eq!(world.aws.stored_ids(&world.pool).await, ids.into_iter().collect());
    let [poison] = &dead_letters(&world.aws, &world.pool, 1).await[..] else { panic!("one message") };
    assert_eq!(poison.body(), Some("poison"));
    assert!(attribute(poison, "set_aside_reason").starts_with("no_tenant"), "{poison:?}");
    assert_eq!(consumer.metrics().await.sum("set_aside_total", &[]), 1.0);
}

#[tokio::test]
async fn what_can_never_be_stored_is_set_aside_with_its_reason_and_all_it_carried() {
    let world = World::new().await;
    let long_id = "i".repeat(129);
    let large = "x".repeat(410 * 1024);
    type Case<'a> = (&'a str, &'a str, &'a [(&'a str, &'a str)]);
    let cases: [Case; 7] = [
        ("no_tenant", "1", &[("producer_environment", "pool-1"), ("message_id", "a")]),
        ("invalid_tenant", "2", &[("tenant_id", "Tenant!")]),
        ("invalid_tenant", "3", &[("tenant_id", "pool-1")]),
        ("foreign_tenant", "4", &[("tenant_id", "tenant-9"), ("colour", "blue")]),
        ("foreign_tenant", "5", &[("tenant_id", "tenant-3")]),
        ("invalid_id", "6", &[("tenant_id", "tenant-2"), ("message_id", &long_id)]),
        ("too_large", &large, &[("tenant_id", "tenant-2")]),
    ];
    for (_, body, attributes) in cases {
        world.aws.send(&world.pool.queue, body, attributes).await;
    }
    let _consumer = world.consumer().await;
    let set_aside = dead_letters(&world.aws, &world.pool, 7).await;
    for (reason, body, attributes) in cases {
        let found = set_aside.iter().find(|message| message.body() == Some(body)).expect("it is there");
        assert!(attribute(found, "set_aside_reason").starts_with(reason), "{reason}");
        assert!(attributes.iter().all(|(name, value)| attribute(found, name) == *value), "{reason}");
    }
    world.drained(&world.pool).await;
    assert_eq!(world.aws.items(&world.pool).await.len(), 0);
}

#[tokio::test]
async fn a_silo_never_stores_a_message_of_another_tenant() {
    let world = World::new().await;
    let consumer = world.service("consumer", "tenant-1", &[]).await;
    let ids = event_ids(3);
    world.aws.send_events(&world.silo.queue, "tenant-1", &ids[..1]).await;
    world.aws.send_events(&world.silo.queue, "tenant-2", &ids[1..]).await;
    let set_aside = dead_letters(&world.aws, &world.silo, 2).await;
    assert!(
        set_aside.iter().all(|message| attribute(message, "set_aside_reason").starts_with("foreign_tenant"))
    );
    world.stored(1, &world.silo).await;
    assert_eq!(world.aws.items(&world.silo).await[0]["tenant_id"], "tenant-1");
    assert_eq!(consumer.metrics().await.sum("poison_total", &[("reason", "foreign_tenant")]), 2.0);
}

#[tokio::test]
async fn a_message_of_an_older_producer_is_stored_under_its_sqs_id() {
    let world = World::new().await;
    let body = r#"{"event":"Event raised!"}"#;
    let attributes = [("tenant_id", "tenant-1"), ("producer_environment", "tenant-1")];
    let named = world.aws.send(&world.silo.queue, body, &attributes).await;
    let nameless = world.aws.send(&world.silo.queue, body, &attributes[..1]).await;
    let _consumer = world.service("consumer", "tenant-1", &[]).await;
    world.stored(2, &world.silo).await;
    for item in world.aws.items(&world.silo).await {
        let id = &item["message_id"];
        assert!([&named, &nameless].contains(&id), "{id}");
        let producer = if *id == named { "tenant-1" } else { "unknown" };
        assert_eq!((&*item["producer_environment"], &*item["tenant_id"]), (producer, "tenant-1"));
        assert_eq!(item.get("payload"), None, "the default is no payload");
    }
}

#[tokio::test]
async fn an_item_has_the_time_at_which_the_queue_took_the_message() {
    let world = World::new().await;
    world.aws.send_events(&world.pool.queue, "tenant-2", &event_ids(1)).await;
    let [message] = &world.aws.receive(&world.pool.queue, 1).await[..] else { panic!("one message") };
    let sent_ms = message.attributes().and_then(|all| all.get(&MessageSystemAttributeName::SentTimestamp));
    let sent_ms = sent_ms.and_then(|text| text.parse().ok()).expect("a number");
    let expected =
        Utc.timestamp_millis_opt(sent_ms).single().expect("a time").format("%Y-%m-%dT%H:%M:%S+0000");
    // Consumed more than a second later, at its second delivery.
    let _consumer = world.consumer().await;
    world.stored(1, &world.pool).await;
    assert_eq!(world.aws.items(&world.pool).await[0]["timestamp"], expected.to_string());
}

#[tokio::test]
async fn a_redelivery_writes_the_same_item() {
    let world = World::new().await;
    let ids = event_ids(5);
    world.aws.send_events(&world.pool.queue, "tenant-2", &ids).await;
    world.endpoint.inject(json!([{"action": "SQS.DeleteMessageBatch", "drop": true}])).await;
    let short_lease = [("VISIBILITY_SECONDS", "2")];
    let mut first = world.service("consumer", "pool-1", &short_lease).await;
    until("the items are stored", PATIENCE, async || world.aws.items(&world.pool).await.len() == 5).await;
    until("deleting fails", PATIENCE, async || world.endpoint.calls().await.of("SQS.DeleteMessageBatch") > 0)
        .await;
    first.process.kill();
    let before = world.aws.items(&world.pool).await;
    assert_eq!(world.aws.depth(&world.pool.queue).await.in_flight, 5, "stored, and not deleted");
    world.endpoint.inject(json!([])).await;
    world.endpoint.forget_calls().await;
    let second = world.service("consumer", "pool-1", &short_lease).await;
    world.drained(&world.pool).await;
    assert_eq!(second.metrics().await.sum("received_total", &[]), 5.0, "each came again");
    assert!(world.endpoint.calls().await.of("DynamoDB.BatchWriteItem") > 0, "each was written again");
    assert_eq!(sorted(world.aws.items(&world.pool).await), sorted(before));
}

fn sorted(mut items: Vec<tests::aws::Item>) -> Vec<tests::aws::Item> {
    items.sort();
    items
}

#[tokio::test]
async fn two_messages_of_one_id_in_one_batch_become_one_item() {
    let world = World::new().await;
    let id = event_ids(1).remove(0);
    world.aws.send_events(&world.pool.queue, "tenant-2", &[id.clone(), id.clone(), id.clone()]).await;
    // The same id under another tenant is another item.
    world.aws.send_events(&world.pool.queue, "tenant-4", &[id]).await;
    let consumer = world.consumer().await;
    world.stored(2, &world.pool).await;
    assert_eq!(consumer.metrics().await.sum("deleted_total", &[]), 4.0);
    assert_eq!(world.aws.depth(&world.pool.dead_letters).await, Depth::EMPTY);
}

#[tokio::test]
async fn consuming_starts_by_itself_before_any_probe() {
    let world = World::new().await;
    world.aws.send_events(&world.pool.queue, "tenant-2", &event_ids(3)).await;
    let consumer = Service::start("consumer", "pool-1", &world.endpoint.url(), &[]).await;
    world.stored(3, &world.pool).await;
    assert_eq!(consumer.metrics().await.sum("http_requests_total", &[]), 0.0, "nobody has asked it anything");
}

#[tokio::test]
async fn a_probe_makes_no_aws_call() {
    let world = World::new().await;
    let long_poll = [("RECEIVE_WAIT_SECONDS", "20")];
    let (producer, consumer) =
        (world.producer().await, world.service("consumer", "pool-1", &long_poll).await);
    let payments = world.service("payments", "pool-1", &[]).await;
    // The first receive does not wait; the second does, for longer than this test takes.
    until("it long-polls", PATIENCE, async || world.endpoint.calls().await.of("SQS.ReceiveMessage") >= 2)
        .await;
    let before = world.endpoint.calls().await;
    for _ in 0..50 {
        for (service, path) in [(&producer, "producer"), (&consumer, "consumer"), (&payments, "payments")] {
            let probe = Request::get(&format!("/{path}/readiness-probe"));
            assert_eq!(service.ask(&probe).await.status, 200, "{path}");
            for page in ["/readyz", "/livez", "/metrics"] {
                assert_eq!(Request::get(page).ask(service.admin).await.status, 200, "{path} {page}");
            }
        }
    }
    assert_eq!(world.endpoint.calls().await, before);
}

#[tokio::test]
async fn an_idle_consumer_makes_one_receive_at_a_time() {
    let wait = Duration::from_secs(1);
    let world = World::new().await;
    let consumer = world.consumer().await;
    world.endpoint.forget_calls().await;
    let begun = Instant::now();
    let receives = eventually("four receives", PATIENCE, async || {
        let receives = world.endpoint.calls().await.of("SQS.ReceiveMessage");
        (receives >= 4).then_some(receives)
    })
    .await;
    let polls = u32::try_from(receives).expect("a few");
    // The first may have begun before the count did.
    assert!(begun.elapsed() + wait / 10 >= wait * (polls - 1), "{polls} receives in {:?}", begun.elapsed());
    let calls = world.endpoint.calls().await;
    assert_eq!(
        calls.with_prefix(""),
        calls.of("SQS.ReceiveMessage"),
        "an idle consumer does nothing else: {calls:?}"
    );
    consumer.stop().await;
}

#[tokio::test]
async fn a_post_in_steady_state_makes_one_call_and_none_to_the_registry() {
    let world = World::new().await;
    let producer = world.producer().await;
    producer.post("tenant-2", "").await;
    producer.post("tenant-3", "").await;
    world.endpoint.forget_calls().await;
    for n in 0..25 {
        producer.post("tenant-2", &n.to_string()).await;
        producer.post("tenant-3", &n.to_string()).await;
    }
    let calls = world.endpoint.calls().await;
    assert_eq!(calls.with_prefix("SSM."), 0, "{calls:?}");
    assert_eq!(calls.of("SQS.SendMessageBatch"), 50, "a lone message leaves at once: {calls:?}");
    assert_eq!(calls.with_prefix(""), 50, "and nothing else is called: {calls:?}");
}

#[tokio::test]
async fn an_unknown_tenant_asked_for_again_and_again_costs_one_look_up() {
    let world = World::new().await;
    let producer = world.producer().await;
    world.endpoint.forget_calls().await;
    let request = Request::event().tenant("tenant-9");
    let answers = join_all((0..50).map(|_| producer.ask(&request))).await;
    assert!(answers.iter().all(|answer| answer.status == 404));
    assert_eq!(world.endpoint.calls().await.with_prefix("SSM."), 1);
}

#[tokio::test]
async fn a_tenant_registered_a_moment_ago_is_not_taken_for_an_unknown_one() {
    let world = World::new().await;
    let consumer = world.consumer().await;
    let early = consumer.ask(&Request::get("/consumer").tenant("tenant-5")).await;
    assert_eq!(
        early.status, 404,
        "somebody could not wait for the tenant: the consumer has heard of no such name"
    );
    world.aws.register("tenant-5", "basic", &world.pool).await;
    let id = world.producer().await.post("tenant-5", "").await;
    world.stored(1, &world.pool).await;
    assert_eq!(world.aws.stored_ids(&world.pool).await, BTreeSet::from([id]), "what was accepted is stored");
}

#[tokio::test]
async fn a_tenant_that_has_just_moved_into_the_pool_is_served_there() {
    let world = World::new().await;
    let consumer = world.consumer().await;
    let before = consumer.ask(&Request::get("/consumer/messages").tenant("tenant-3")).await;
    assert_eq!(before.status, 403, "its messages are still elsewhere");
    world.aws.register("tenant-3", "basic", &world.pool).await;
    let id = world.producer().await.post("tenant-3", "").await;
    world.stored(1, &world.pool).await;
    assert_eq!(world.aws.stored_ids(&world.pool).await, BTreeSet::from([id]), "what was accepted is stored");
}

#[tokio::test]
async fn forty_tenants_at_once_at_a_fresh_producer_are_all_served_by_few_look_ups() {
    let world = World::new().await;
    let tenants: Vec<_> = (0..40).map(|n| format!("acme-{n}")).collect();
    for tenant in &tenants {
        world.aws.register(tenant, "basic", &world.pool).await;
    }
    let producer = world.producer().await;
    world.endpoint.forget_calls().await;
    let requests: Vec<_> = tenants.iter().map(|tenant| Request::event().tenant(tenant)).collect();
    let answers = join_all(requests.iter().map(|request| producer.ask(request))).await;
    let refused: Vec<_> =
        answers.iter().filter(|answer| answer.status != 200).map(|a| a.field("code")).collect();
    assert_eq!(refused, [""; 0]);
    let look_ups = world.endpoint.calls().await.with_prefix("SSM.");
    println!("40 tenants at once: {look_ups} calls to Parameter Store");
    assert!(look_ups <= 40, "each at most once: {look_ups}");
}

#[tokio::test]
async fn two_consumers_of_one_queue_share_it_without_taking_a_message_twice() {
    let world = World::new().await;
    world.aws.send_events(&world.pool.queue, "tenant-2", &event_ids(300)).await;
    let (one, other) = (world.consumer().await, world.consumer().await);
    world.stored(300, &world.pool).await;
    let received =
        [one.metrics().await, other.metrics().await].map(|metrics| metrics.sum("received_total", &[]));
    assert_eq!(received.iter().sum::<f64>(), 300.0, "{received:?}");
}

#[tokio::test]
async fn without_a_dead_letter_queue_poison_stays_on_the_queue_and_its_neighbours_are_stored() {
    let world = World::new().await;
    let policy = [(QueueAttributeName::RedrivePolicy, String::new())].into();
    let request =
        world.aws.sqs.set_queue_attributes().queue_url(&world.pool.queue).set_attributes(Some(policy));
    request.send().await.expect("the policy is taken away");
    world.aws.send(&world.pool.queue, "poison", &[]).await;
    world.aws.send_events(&world.pool.queue, "tenant-2", &event_ids(9)).await;
    let consumer = world.consumer().await;
    until("the good ones are stored", PATIENCE, async || world.aws.items(&world.pool).await.len() == 9).await;
    until("they are deleted", PATIENCE, async || consumer.metrics().await.sum("deleted_total", &[]) == 9.0)
        .await;
    let left = world.aws.depth(&world.pool.queue).await;
    assert_eq!(left.visible + left.in_flight, 1, "{left:?}");
    assert_eq!(world.aws.depth(&world.pool.dead_letters).await, Depth::EMPTY);
}

#[tokio::test]
async fn events_too_large_for_one_batch_are_all_stored() {
    let world = World::new().await;
    let (producer, _consumer) = (world.producer().await, world.consumer().await);
    // Forty of 250 KiB: four to a batch of 1 MiB.
    let request = Request::event().tenant("tenant-2").body(format!("\"{}\"", "x".repeat(250 * 1024)));
    let answers = join_all((0..40).map(|_| producer.ask(&request))).await;
    assert!(answers.iter().all(|answer| answer.status == 200));
    world.stored(40, &world.pool).await;
    assert!(world.aws.items(&world.pool).await.iter().all(|item| item["payload"].len() == 250 * 1024 + 2));
}

#[tokio::test]
async fn under_load_a_message_costs_a_fraction_of_a_call() {
    const MESSAGES: usize = 200;
    const BACKLOG: usize = 800;
    let world = World::new().await;
    let producer = world.producer().await;
    producer.post("tenant-2", "").await;
    world.endpoint.forget_calls().await;
    let request = Request::event().tenant("tenant-2").body(r#"{"n":1}"#);
    let answers = join_all((0..MESSAGES).map(|_| producer.ask(&request))).await;
    let ids: BTreeSet<_> = answers.iter().map(|answer| answer.field("message_id")).collect();
    assert_eq!(ids.len(), MESSAGES);
    let sends = world.endpoint.calls().await.of("SQS.SendMessageBatch");
    let per_message = |calls: u64, messages: usize| calls as f64 / messages as f64;
    println!("{MESSAGES} posts at once: {sends} sends, {:.2} a message", per_message(sends, MESSAGES));
    assert!(per_message(sends, MESSAGES) <= 0.5, "{sends} sends for {MESSAGES} messages");

    // For a consumer that starts late.
    world.aws.send_events(&world.pool.queue, "tenant-2", &event_ids(BACKLOG - MESSAGES - 1)).await;
    world.endpoint.forget_calls().await;
    let consumer = world.consumer().await;
    until("the backlog is stored", PATIENCE, async || {
        consumer.metrics().await.sum("deleted_total", &[]) >= BACKLOG as f64
    })
    .await;
    let calls = world.endpoint.calls().await;
    let [receive, write, delete] =
        ["SQS.ReceiveMessage", "DynamoDB.BatchWriteItem", "SQS.DeleteMessageBatch"]
            .map(|action| calls.of(action));
    let cost = per_message(receive + write + delete, BACKLOG);
    println!(
        "a backlog of {BACKLOG}: {receive} receives, {write} writes, {delete} deletes, {cost:.2} a message"
    );
    assert!(cost <= 0.35, "{calls:?}");
    assert_eq!(world.aws.items(&world.pool).await.len(), BACKLOG);
}
