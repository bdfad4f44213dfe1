//! Things that break while events are on their way: whatever a client got a 200 for is stored once, and nothing is set
//! aside that could have been stored.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::json;
use tests::aws::{Depth, Resources};
use tests::endpoint::Endpoint;
use tests::http::Request;
use tests::process::{Exit, fixed_port};
use tests::service::Service;
use tests::traffic::Traffic;
use tests::wait::{PATIENCE, until};
use tests::world::World;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

/// So that what a killed consumer had in hand comes back soon.
const SHORT_LEASE: (&str, &str) = ("VISIBILITY_SECONDS", "2");

fn event_ids(count: usize) -> Vec<String> {
    (0..count).map(|_| uuid::Uuid::new_v4().to_string()).collect()
}

/// The set of the ids, each of which must have come once.
fn once_each(ids: Vec<String>) -> BTreeSet<String> {
    let (count, set) = (ids.len(), BTreeSet::from_iter(ids));
    assert_eq!(set.len(), count, "no id was given to two events");
    set
}

/// Nothing was set aside, and nothing is left.
async fn assert_all_consumed(world: &World, of: &Resources) {
    world.drained(of).await;
    assert_eq!(world.aws.depth(&of.dead_letters).await, Depth::EMPTY, "nothing is set aside");
}

async fn writes(world: &World) -> u64 {
    world.endpoint.calls().await.of("DynamoDB.BatchWriteItem")
}

#[tokio::test]
async fn sigterm_in_mid_batch_finishes_what_is_in_hand_and_loses_nothing() {
    let world = World::new().await;
    let ids = event_ids(60);
    world.aws.send_events(&world.pool.queue, "tenant-2", &ids).await;
    world.endpoint.inject(json!([{"action": "DynamoDB.BatchWriteItem", "delay_ms": 500}])).await;
    let consumer = world.service("consumer", "pool-1", &[("MAX_IN_HAND", "20")]).await;
    until("a batch is being stored", PATIENCE, async || writes(&world).await > 0).await;
    let ended = consumer.stop().await;
    assert_eq!(ended.stderr(), [""; 0]);
    let stored = world.aws.stored_ids(&world.pool).await.len();
    assert!((10..60).contains(&stored), "it stopped in the middle: {stored} of 60");
    let depth = world.aws.depth(&world.pool.queue).await;
    assert_eq!(depth, Depth { visible: 60 - stored as u64, in_flight: 0 }, "nothing is stranded");
    world.endpoint.inject(json!([])).await;
    let _next = world.consumer().await;
    world.stored(60, &world.pool).await;
    assert_eq!(world.aws.stored_ids(&world.pool).await, once_each(ids));
    assert_all_consumed(&world, &world.pool).await;
}

#[tokio::test]
async fn sigterm_while_the_table_is_down_ends_in_time_and_loses_nothing() {
    let world = World::new().await;
    world.aws.send_events(&world.pool.queue, "tenant-2", &event_ids(20)).await;
    world
        .endpoint
        .inject(json!([{"action": "DynamoDB.*", "error": {"code": "InternalServerError", "status": 500}}]))
        .await;
    let consumer = world.consumer().await;
    until("storing fails", PATIENCE, async || writes(&world).await > 2).await;
    consumer.stop().await;
    world.endpoint.inject(json!([])).await;
    let _next = world.consumer().await;
    world.stored(20, &world.pool).await;
    assert_all_consumed(&world, &world.pool).await;
}

#[tokio::test]
async fn sigterm_while_the_endpoint_is_gone_ends_in_time() {
    let mut world = World::new().await;
    let (producer, consumer) = (world.producer().await, world.consumer().await);
    world.endpoint.process.kill();
    until("receives fail", PATIENCE, async || {
        consumer.metrics().await.sum("receive_calls_total", &[("outcome", "error")]) >= 3.0
    })
    .await;
    consumer.stop().await;
    producer.stop().await;
}

#[tokio::test]
async fn a_request_in_hand_at_sigterm_is_answered() {
    let world = World::new().await;
    let mut producer = world.producer().await;
    producer.post("tenant-2", "").await;
    world.endpoint.forget_calls().await;
    world.endpoint.inject(json!([{"action": "SQS.SendMessageBatch", "delay_ms": 1000}])).await;
    let request = Request::event().tenant("tenant-2");
    let ending = async {
        let sending = async || world.endpoint.calls().await.of("SQS.SendMessageBatch") > 0;
        until("the event is on its way", PATIENCE, sending).await;
        producer.process.signal("TERM");
        producer.process.exit(PATIENCE).await
    };
    let to = producer.address;
    let (answer, exit) = tokio::join!(request.ask(to), ending);
    assert_eq!((answer.status, exit), (200, Exit::Code(0)), "{}", answer.text());
    assert_eq!(world.aws.depth(&world.pool.queue).await.visible, 2);
    assert!(request.send(to).await.is_err(), "nobody listens any more");
}

#[tokio::test]
async fn a_client_that_never_finishes_its_request_does_not_keep_a_service_from_ending_well() {
    let world = World::new().await;
    let starts: [&[u8]; 4] = [
        b"",
        b"GET",
        b"POST /producer HTTP/1.1\r\ntenantID: ten",
        b"GET /producer HTTP/1.1\r\nhost: x\r\n\r\n",
    ];
    for start in starts {
        let producer = world.service("producer", "pool-1", &[("SHUTDOWN_GRACE_SECONDS", "5")]).await;
        let mut held = TcpStream::connect(producer.address).await.expect("it listens");
        held.write_all(start).await.expect("it reads");
        // Served after the other one was accepted: that one is being read now.
        assert!(producer.is_ready().await);
        let ended = producer.stop().await;
        assert_eq!(ended.stderr(), [""; 0], "after {:?}", String::from_utf8_lossy(start));
    }
}

#[tokio::test]
async fn a_consumer_killed_in_mid_batch_again_and_again_loses_and_doubles_nothing() {
    let world = World::new().await;
    let ids = event_ids(60);
    world.aws.send_events(&world.pool.queue, "tenant-2", &ids).await;
    // Killed before the write, killed between the write and the delete, killed before the delete's answer.
    for (action, when) in [
        ("DynamoDB.BatchWriteItem", "before"),
        ("DynamoDB.BatchWriteItem", "after"),
        ("SQS.DeleteMessageBatch", "after"),
    ] {
        world.endpoint.inject(json!([{"action": action, "when": when, "delay_ms": 700}])).await;
        world.endpoint.forget_calls().await;
        let mut consumer = Service::start("consumer", "pool-1", &world.endpoint.url(), &[SHORT_LEASE]).await;
        until("it is in the middle", PATIENCE, async || world.endpoint.calls().await.of(action) > 0).await;
        consumer.process.kill();
    }
    world.endpoint.inject(json!([])).await;
    let _last = world.service("consumer", "pool-1", &[SHORT_LEASE]).await;
    world.stored(60, &world.pool).await;
    assert_eq!(world.aws.stored_ids(&world.pool).await, once_each(ids));
    assert_all_consumed(&world, &world.pool).await;
}

#[tokio::test]
async fn producer_and_consumer_killed_while_clients_post_store_every_event_once() {
    let world = World::new().await;
    let port = fixed_port().to_string();
    let fixed = [("PORT", port.as_str())];
    let start_producer = || world.service("producer", "pool-1", &fixed);
    let start_consumer = || world.service("consumer", "pool-1", &[SHORT_LEASE]);
    let (mut producer, mut consumer) = (start_producer().await, start_consumer().await);
    let traffic = Traffic::default();
    let scenario = async {
        for _ in 0..3 {
            traffic.more(40).await;
            producer.process.kill();
            producer = start_producer().await;
            traffic.more(20).await;
            consumer.process.kill();
            consumer = start_consumer().await;
        }
        traffic.more(40).await;
        traffic.stop();
    };
    let to = std::net::SocketAddr::from(([127, 0, 0, 1], port.parse().expect("a number")));
    tokio::join!(traffic.post(to, "tenant-2", 6, true), scenario);
    let accepted = once_each(traffic.accepted());
    assert!(traffic.failures().1 > 0, "clients noticed the kills");
    // Every event had a key and was repeated until it was accepted: no item more, no item less.
    world.stored(accepted.len(), &world.pool).await;
    assert_eq!(world.aws.stored_ids(&world.pool).await, accepted);
    assert_all_consumed(&world, &world.pool).await;
}

#[tokio::test]
async fn an_endpoint_gone_for_ten_seconds_costs_no_event_no_restart_and_no_delivery() {
    const OUTAGE: Duration = Duration::from_secs(10);
    let folder = tempfile::tempdir().expect("a scratch folder");
    let mut world = World::over(Endpoint::kept(folder.path().to_owned()).await).await;
    let mut producer = world.producer().await;
    let mut consumer = world.service("consumer", "pool-1", &[("VISIBILITY_SECONDS", "5")]).await;
    let (traffic, to) = (Traffic::default(), producer.address);
    let scenario = async {
        traffic.more(100).await;
        world.endpoint.process.kill();
        let gone = Instant::now();
        until("ten seconds are over", 2 * OUTAGE, async || gone.elapsed() >= OUTAGE).await;
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
        world.aws.stored_ids(&world.pool).await.is_superset(&accepted)
    })
    .await;
    until("both are ready", PATIENCE, async || producer.is_ready().await && consumer.is_ready().await).await;
    assert_all_consumed(&world, &world.pool).await;
    // A send whose answer was lost may be stored beyond them, but only one of those that were refused.
    let stored = world.aws.items(&world.pool).await.len();
    assert!((accepted.len()..=accepted.len() + refused).contains(&stored), "{stored} of {}", accepted.len());
}

#[tokio::test]
async fn an_endpoint_that_hangs_for_seconds_costs_no_event_and_no_restart() {
    const HANG: Duration = Duration::from_secs(6);
    let world = World::new().await;
    let (mut producer, mut consumer) =
        (world.producer().await, world.service("consumer", "pool-1", &[("VISIBILITY_SECONDS", "5")]).await);
    let (traffic, to) = (Traffic::default(), producer.address);
    let scenario = async {
        traffic.more(50).await;
        world.endpoint.process.freeze().await;
        let hanging = Instant::now();
        until("the time is over", 2 * HANG, async || hanging.elapsed() >= HANG).await;
        world.endpoint.process.resume();
        traffic.more(50).await;
        traffic.stop();
    };
    tokio::join!(traffic.post(to, "tenant-2", 4, false), scenario);
    let accepted = once_each(traffic.accepted());
    assert_eq!(traffic.failures().1, 0, "every client gets an answer");
    assert!(producer.process.is_running() && consumer.process.is_running());
    until("every accepted event is stored", PATIENCE, async || {
        world.aws.stored_ids(&world.pool).await.is_superset(&accepted)
    })
    .await;
    assert_all_consumed(&world, &world.pool).await;
}

#[tokio::test]
async fn a_table_that_fails_for_seconds_costs_no_delivery() {
    let world = World::new().await;
    let consumer = world.service("consumer", "pool-1", &[SHORT_LEASE]).await;
    let failures =
        [("ThrottlingException", 400), ("InternalServerError", 500), ("ResourceNotFoundException", 400)];
    let mut sent = 0;
    for (code, status) in failures {
        world
            .endpoint
            .inject(json!([{"action": "DynamoDB.BatchWriteItem", "error": {"code": code, "status": status}}]))
            .await;
        world.endpoint.forget_calls().await;
        world.aws.send_events(&world.pool.queue, "tenant-2", &event_ids(20)).await;
        // Longer than a lease: without extensions, the messages would come again.
        let begun = Instant::now();
        until("storing has failed for three seconds", PATIENCE, async || {
            begun.elapsed() >= Duration::from_secs(3) && writes(&world).await >= 4
        })
        .await;
        assert_eq!(world.aws.items(&world.pool).await.len(), sent);
        world.endpoint.inject(json!([])).await;
        sent += 20;
        world.stored(sent, &world.pool).await;
    }
    assert_all_consumed(&world, &world.pool).await;
    let metrics = consumer.metrics().await;
    assert_eq!(metrics.sum("received_total", &[]), sent as f64, "each came once");
    assert!(metrics.sum("store_retries_total", &[]) > 0.0);
}

#[tokio::test]
async fn partial_failures_of_every_batch_call_cost_no_event_and_double_none() {
    let world = World::new().await;
    let (producer, consumer) =
        (world.producer().await, world.service("consumer", "pool-1", &[SHORT_LEASE]).await);
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
    let plain: Vec<_> = plain.iter().filter(|a| a.status == 200).map(|a| a.field("message_id")).collect();
    assert!(plain.len() > 90, "retries make almost all of them succeed: {}", plain.len());
    let expected: BTreeSet<_> = accepted.union(&once_each(plain)).cloned().collect();
    until("every accepted event is stored", 2 * PATIENCE, async || {
        world.aws.stored_ids(&world.pool).await.is_superset(&expected)
    })
    .await;
    assert!(
        world.endpoint.injected().await.iter().all(|acted| *acted > 0),
        "{:?}",
        world.endpoint.injected().await
    );
    world.endpoint.inject(json!([])).await;
    assert_all_consumed(&world, &world.pool).await;
    let of_keys =
        world.aws.items(&world.pool).await.into_iter().filter(|item| item["tenant_id"] == "tenant-2").count();
    assert_eq!(of_keys, accepted.len(), "a repeat is not another item");
    assert!(producer.metrics().await.sum("send_retries_total", &[]) > 0.0);
    assert!(consumer.metrics().await.sum("receive_retries_total", &[]) > 0.0);
}

#[tokio::test]
async fn a_consumer_that_cannot_tell_whom_it_serves_holds_the_message_instead_of_setting_it_aside() {
    let world = World::new().await;
    let _consumer = world.service("consumer", "pool-1", &[SHORT_LEASE]).await;
    world
        .endpoint
        .inject(json!([{"action": "SSM.*", "error": {"code": "InternalServerError", "status": 500}}]))
        .await;
    world.endpoint.forget_calls().await;
    world.aws.send_events(&world.pool.queue, "tenant-4", &event_ids(5)).await;
    until("it has asked in vain", PATIENCE, async || world.endpoint.calls().await.with_prefix("SSM.") >= 4)
        .await;
    assert_eq!(world.aws.depth(&world.pool.queue).await, Depth { visible: 0, in_flight: 5 });
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
    until("it says so", 2 * PATIENCE, async || !consumer.is_ready().await).await;
    world.endpoint.inject(json!([])).await;
    until("it is ready again", 2 * PATIENCE, async || consumer.is_ready().await).await;
    world.aws.send_events(&world.pool.queue, "tenant-2", &event_ids(1)).await;
    world.stored(1, &world.pool).await;
}
