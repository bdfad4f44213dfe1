//! Messages of tenants that have moved away are forwarded; a silo leaves a pool's queue alone.

use std::net::SocketAddr;

use kit::aws::{Depth, event_ids};
use kit::http::{Answer, Request};
use kit::wait::{PATIENCE, until};
use kit::world::World;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

const REFRESH: (&str, &str) = ("REGISTRY_REFRESH_SECONDS", "1");

#[tokio::test]
async fn a_late_message_becomes_the_same_item_in_the_home_that_the_tenant_has_moved_to() {
    let world = World::new().await;
    let home = world.aws.create("tenant-4").await;
    world.aws.put("/tenant-4/moved_from", "pool-1").await;
    world.aws.register("tenant-4", "advanced", &home).await;
    let ids = event_ids(12);
    world
        .aws
        .send_events(&world.pool.queue, "tenant-4", &ids)
        .await;
    // A message of the sample's own producer has no id of ours: that of its first queue counts.
    let attributes = [
        ("tenant_id", "tenant-4"),
        ("producer_environment", "pool-1"),
        ("color", "blue"),
    ];
    let plain = world
        .aws
        .send(&world.pool.queue, "{\"plain\":1}", &attributes)
        .await;
    let pool = world.service("consumer", "pool-1", &[REFRESH]).await;
    world.drained(&world.pool).await;
    assert_eq!(world.aws.items(&world.pool).await, []);
    assert_eq!(
        world.aws.depth(&world.pool.dead_letters).await,
        Depth::EMPTY,
        "nothing is dead-lettered"
    );
    let forwarded = world.aws.receive(&home.queue, 0).await;
    let color = forwarded.iter().find_map(|message| {
        let attributes = message.message_attributes()?;
        attributes.get("color")?.string_value()
    });
    assert!(
        color.is_none_or(|color| color == "blue") && !forwarded.is_empty(),
        "attributes are kept: {forwarded:?}"
    );
    assert_eq!(pool.metrics().await.sum("forwarded_total", &[]), 13.0);

    let _silo = world.service("consumer", "tenant-4", &[REFRESH]).await;
    world.stored(13, &home).await;
    let mut expected: std::collections::BTreeSet<_> = ids.into_iter().collect();
    expected.insert(plain);
    assert_eq!(world.aws.stored_ids(&home).await, expected);
}

#[tokio::test]
async fn a_late_message_is_forwarded_once_the_other_queue_can_be_reached() {
    let world = World::new().await;
    world.aws.put("/tenant-2/moved_from", "pool-1").await;
    world
        .aws
        .register("tenant-2", "advanced", &world.hybrid)
        .await;
    let fault = serde_json::json!([{"action": "SQS.SendMessage", "drop": true, "rate": 1.0}]);
    let ids = event_ids(1);
    world
        .aws
        .send_events(&world.pool.queue, "tenant-2", &ids)
        .await;
    world.endpoint.inject(fault).await;
    let pool = world.service("consumer", "pool-1", &[REFRESH]).await;
    until("forwards fail", PATIENCE, async || {
        pool.metrics().await.sum("forward_failures_total", &[]) >= 2.0
    })
    .await;
    assert_eq!(world.aws.depth(&world.pool.queue).await.in_flight, 1);
    world.endpoint.inject(serde_json::json!([])).await;
    world.drained(&world.pool).await;
    assert_eq!(world.aws.depth(&world.hybrid.queue).await.visible, 1);
}

#[tokio::test]
async fn the_pool_says_that_a_tenant_has_moved_rather_than_that_it_is_foreign() {
    let world = World::new().await;
    let consumer = world.consumer().await;
    let list = Request::get("/consumer/messages").tenant("tenant-3");
    let foreign = consumer.ask(&list).await;
    assert_eq!(
        (foreign.status, &*foreign.field("code")),
        (403, "tenant_not_served")
    );
    world.aws.put("/tenant-4/moved_from", "pool-1").await;
    world
        .aws
        .register("tenant-4", "advanced", &world.hybrid)
        .await;
    let moved = consumer
        .ask(&Request::get("/consumer/messages").tenant("tenant-4"))
        .await;
    assert_eq!(
        (moved.status, &*moved.field("code")),
        (503, "tenant_moving")
    );
    assert!(moved.header("retry-after").is_some());
}

#[tokio::test]
async fn a_silo_never_consumes_the_pools_queue_that_its_tenants_parameters_name() {
    let world = World::new().await;
    world.aws.register("tenant-1", "basic", &world.pool).await;
    let ids = event_ids(5);
    world
        .aws
        .send_events(&world.pool.queue, "tenant-2", &ids)
        .await;
    let url = world.endpoint.url();
    let silo = kit::service::Service::start("consumer", "tenant-1", &url, &[]).await;
    until(
        "the silo has looked for its queue twice",
        PATIENCE,
        async || {
            let waits = |line: &&serde_json::Value| {
                let message = line["message"].as_str().unwrap_or_default();
                message.starts_with("waiting for the environment's queue")
            };
            silo.log().iter().filter(waits).count() >= 2
        },
    )
    .await;
    assert!(!silo.is_ready().await);
    assert_eq!(world.aws.depth(&world.pool.queue).await.visible, 5);
    let _pool = world.consumer().await;
    world.stored(5, &world.pool).await;
}

/// Sends a request whose body arrives after this change. The service asks for the body once it has admitted the request.
async fn with_late_body(
    to: SocketAddr,
    request: Request,
    change: impl Future<Output = ()>,
) -> Answer {
    const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";
    let request = request.header("expect", "100-continue");
    let bytes = request.header("connection", "close").bytes();
    let end = bytes
        .windows(4)
        .position(|window| window == b"\r\n\r\n")
        .expect("a head ends");
    let (head, body) = bytes.split_at(end + 4);
    let mut stream = TcpStream::connect(to).await.expect("it listens");
    stream.write_all(head).await.expect("sent");
    let mut asked = [0; CONTINUE.len()];
    stream.read_exact(&mut asked).await.expect("it answers");
    assert_eq!(asked, CONTINUE);
    change.await;
    stream.write_all(body).await.expect("sent");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.expect("it answers");
    let answer = Answer::parse(&answer).expect("HTTP");
    answer.expect("a complete answer")
}

#[tokio::test]
async fn a_charge_whose_body_is_slow_is_not_written_after_the_payments_began_to_move() {
    let world = World::new().await;
    let payments = world.service("payments", "pool-1", &[REFRESH]).await;
    assert_eq!(
        payments
            .ask(&Request::charge("tenant-2", "before", 100))
            .await
            .status,
        201
    );
    let moving = async {
        // The second change is read at least a refresh age after the request was admitted.
        world.aws.put("/tenant-2/status", "suspended").await;
        until("the tenant is refused", PATIENCE, async || {
            payments
                .ask(&Request::charge("tenant-2", "before", 100))
                .await
                .status
                == 403
        })
        .await;
        world.aws.put("/tenant-2/status", "moving").await;
        until("charges are refused", PATIENCE, async || {
            payments
                .ask(&Request::charge("tenant-2", "before", 100))
                .await
                .field("code")
                == "tenant_moving"
        })
        .await;
    };
    let late = Box::pin(with_late_body(
        payments.address,
        Request::charge("tenant-2", "late", 100),
        moving,
    ))
    .await;
    assert_eq!((late.status, &*late.field("code")), (503, "tenant_moving"));
    world.aws.put("/tenant-2/status", "active").await;
    until("charges are recorded", PATIENCE, async || {
        payments
            .ask(&Request::charge("tenant-2", "before", 100))
            .await
            .status
            == 200
    })
    .await;
    // Had it been written, this would be a replay.
    assert_eq!(
        payments
            .ask(&Request::charge("tenant-2", "late", 100))
            .await
            .status,
        201
    );
}

#[tokio::test]
async fn an_event_whose_body_is_slow_is_sent_to_the_queue_that_is_registered_when_it_has_arrived() {
    let world = World::new().await;
    let producer = world.service("producer", "pool-1", &[REFRESH]).await;
    let event = |body: &str| Request::event().tenant("tenant-4").body(body);
    let moved = async {
        // The second change is read at least a refresh age after the request was admitted.
        let status = async |status: &str| world.aws.put("/tenant-4/status", status).await;
        status("suspended").await;
        let answers = async |status: u16| {
            until(&format!("an answer {status}"), PATIENCE, async || {
                producer.ask(&event("\"new\"")).await.status == status
            })
            .await;
        };
        answers(403).await;
        let home = &world.hybrid;
        world.aws.register("tenant-4", "advanced", home).await;
        status("active").await;
        answers(200).await;
    };
    let posted = Box::pin(with_late_body(producer.address, event("\"late\""), moved)).await;
    assert_eq!(posted.status, 200, "{}", posted.text());
    let received = world.aws.receive(&world.hybrid.queue, 600).await;
    let mut bodies: Vec<_> = received
        .iter()
        .filter_map(|message| message.body())
        .collect();
    bodies.sort_unstable();
    assert_eq!(bodies, ["\"late\"", "\"new\""]);
}
