//! Services that are terminated or killed during their work.

use crate::traffic::Traffic;
use kit::aws::{Depth, event_ids};
use kit::http::Request;
use kit::process::{Exit, fixed_port};
use kit::service::Service;
use kit::wait::{PATIENCE, until};
use kit::world::World;
use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::{SHORT_LEASE, assert_all_consumed, once_each, writes};

#[tokio::test]
async fn sigterm_in_mid_batch_finishes_what_is_in_hand_and_loses_nothing() {
    let world = World::new().await;
    let ids = event_ids(60);
    world
        .aws
        .send_events(&world.pool.queue, "tenant-2", &ids)
        .await;
    world
        .endpoint
        .inject(json!([{"action": "DynamoDB.BatchWriteItem", "delay_ms": 500}]))
        .await;
    let consumer = world
        .service("consumer", "pool-1", &[("MAX_IN_HAND", "20")])
        .await;
    until("a batch is being stored", PATIENCE, async || {
        writes(&world).await > 0
    })
    .await;
    let ended = consumer.stop().await;
    assert_eq!(ended.stderr(), [""; 0]);
    let stored = world.aws.stored_ids(&world.pool).await.len();
    assert!(
        (10..60).contains(&stored),
        "it stopped in the middle: {stored} of 60"
    );
    let depth = world.aws.depth(&world.pool.queue).await;
    assert_eq!(
        depth,
        Depth {
            visible: 60 - stored as u64,
            in_flight: 0
        },
        "nothing is stranded"
    );
    world.endpoint.inject(json!([])).await;
    let _next = world.consumer().await;
    world.stored(60, &world.pool).await;
    assert_eq!(world.aws.stored_ids(&world.pool).await, once_each(ids));
    assert_all_consumed(&world, &world.pool).await;
}

#[tokio::test]
async fn sigterm_while_the_table_is_down_ends_in_time_and_loses_nothing() {
    let world = World::new().await;
    world
        .aws
        .send_events(&world.pool.queue, "tenant-2", &event_ids(20))
        .await;
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
        consumer
            .metrics()
            .await
            .sum("receive_calls_total", &[("outcome", "error")])
            >= 3.0
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
    world
        .endpoint
        .inject(json!([{"action": "SQS.SendMessageBatch", "delay_ms": 1000}]))
        .await;
    let request = Request::event().tenant("tenant-2");
    let ending = async {
        let sending = async || world.endpoint.calls().await.of("SQS.SendMessageBatch") > 0;
        until("the event is on its way", PATIENCE, sending).await;
        producer.process.signal("TERM");
        producer.process.exit(PATIENCE).await
    };
    let to = producer.address;
    let (answer, exit) = tokio::join!(request.ask(to), ending);
    assert_eq!(
        (answer.status, exit),
        (200, Exit::Code(0)),
        "{}",
        answer.text()
    );
    assert_eq!(world.aws.depth(&world.pool.queue).await.visible, 2);
    assert!(request.send(to).await.is_err(), "the port is closed");
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
        let producer = world
            .service("producer", "pool-1", &[("SHUTDOWN_GRACE_SECONDS", "5")])
            .await;
        let mut held = TcpStream::connect(producer.address)
            .await
            .expect("it listens");
        held.write_all(start).await.expect("it reads");
        // This request is answered after the other connection was accepted, so that the server now reads the other.
        assert!(producer.is_ready().await);
        let ended = producer.stop().await;
        assert_eq!(
            ended.stderr(),
            [""; 0],
            "after {:?}",
            String::from_utf8_lossy(start)
        );
    }
}

#[tokio::test]
async fn a_consumer_killed_in_mid_batch_again_and_again_loses_and_doubles_nothing() {
    let world = World::new().await;
    let ids = event_ids(60);
    world
        .aws
        .send_events(&world.pool.queue, "tenant-2", &ids)
        .await;
    // Killed before the write, killed between the write and the delete, killed before the delete's answer.
    for (action, when) in [
        ("DynamoDB.BatchWriteItem", "before"),
        ("DynamoDB.BatchWriteItem", "after"),
        ("SQS.DeleteMessageBatch", "after"),
    ] {
        world
            .endpoint
            .inject(json!([{"action": action, "when": when, "delay_ms": 700}]))
            .await;
        world.endpoint.forget_calls().await;
        let mut consumer =
            Service::start("consumer", "pool-1", &world.endpoint.url(), &[SHORT_LEASE]).await;
        until("it is in the middle", PATIENCE, async || {
            world.endpoint.calls().await.of(action) > 0
        })
        .await;
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
    // Every event had a key and was repeated until it was accepted: exactly one item each.
    world.stored(accepted.len(), &world.pool).await;
    assert_eq!(world.aws.stored_ids(&world.pool).await, accepted);
    assert_all_consumed(&world, &world.pool).await;
}
