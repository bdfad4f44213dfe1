//! Calls to AWS, as the endpoint counts them.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use kit::aws::event_ids;
use kit::http::Request;
use kit::wait::{PATIENCE, eventually, until};
use kit::world::World;

#[tokio::test]
async fn a_probe_makes_no_aws_call() {
    let world = World::new().await;
    let long_poll = [("RECEIVE_WAIT_SECONDS", "20")];
    let (producer, consumer) = (
        world.producer().await,
        world.service("consumer", "pool-1", &long_poll).await,
    );
    // The sweeper of this service does not run during the test.
    let payments = world
        .service("payments", "pool-1", &[("OUTBOX_SWEEP_SECONDS", "3600")])
        .await;
    // The first receive does not wait; the second waits longer than this test takes.
    until("it long-polls", PATIENCE, async || {
        world.endpoint.calls().await.of("SQS.ReceiveMessage") >= 2
    })
    .await;
    let before = world.endpoint.calls().await;
    for _ in 0..50 {
        for (service, path) in [
            (&producer, "producer"),
            (&consumer, "consumer"),
            (&payments, "payments"),
        ] {
            let probe = Request::get(&format!("/{path}/readiness-probe"));
            assert_eq!(service.ask(&probe).await.status, 200, "{path}");
            for page in ["/readyz", "/livez", "/metrics"] {
                assert_eq!(
                    Request::get(page).ask(service.admin).await.status,
                    200,
                    "{path} {page}"
                );
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
    // The first receive may have begun before the counts were set to zero.
    assert!(
        begun.elapsed() + wait / 10 >= wait * (polls - 1),
        "{polls} receives in {:?}",
        begun.elapsed()
    );
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
    assert_eq!(
        calls.of("SQS.SendMessageBatch"),
        50,
        "a lone message leaves at once: {calls:?}"
    );
    assert_eq!(
        calls.with_prefix(""),
        50,
        "and nothing else is called: {calls:?}"
    );
}

#[tokio::test]
async fn repeated_requests_of_an_unknown_tenant_cost_one_look_up() {
    let world = World::new().await;
    let producer = world.producer().await;
    world.endpoint.forget_calls().await;
    let request = Request::event().tenant("tenant-9");
    let answers = join_all((0..50).map(|_| producer.ask(&request))).await;
    assert!(answers.iter().all(|answer| answer.status == 404));
    assert_eq!(world.endpoint.calls().await.with_prefix("SSM."), 1);
}

#[tokio::test]
async fn forty_tenants_at_once_at_a_new_producer_cost_few_look_ups() {
    let world = World::new().await;
    let tenants: Vec<_> = (0..40).map(|n| format!("acme-{n}")).collect();
    for tenant in &tenants {
        world.aws.register(tenant, "basic", &world.pool).await;
    }
    let producer = world.producer().await;
    world.endpoint.forget_calls().await;
    let requests: Vec<_> = tenants
        .iter()
        .map(|tenant| Request::event().tenant(tenant))
        .collect();
    let answers = join_all(requests.iter().map(|request| producer.ask(request))).await;
    let refused: Vec<_> = answers
        .iter()
        .filter(|answer| answer.status != 200)
        .map(|a| a.field("code"))
        .collect();
    assert_eq!(refused, [""; 0]);
    let look_ups = world.endpoint.calls().await.with_prefix("SSM.");
    println!("40 tenants at once: {look_ups} calls to Parameter Store");
    assert!(look_ups <= 40, "each at most once: {look_ups}");
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
    let ids: BTreeSet<_> = answers
        .iter()
        .map(|answer| answer.field("message_id"))
        .collect();
    assert_eq!(ids.len(), MESSAGES);
    let sends = world.endpoint.calls().await.of("SQS.SendMessageBatch");
    let per_message = |calls: u64, messages: usize| calls as f64 / messages as f64;
    println!(
        "{MESSAGES} posts at once: {sends} sends, {:.2} a message",
        per_message(sends, MESSAGES)
    );
    assert!(
        per_message(sends, MESSAGES) <= 0.5,
        "{sends} sends for {MESSAGES} messages"
    );

    // For a consumer that starts late.
    world
        .aws
        .send_events(
            &world.pool.queue,
            "tenant-2",
            &event_ids(BACKLOG - MESSAGES - 1),
        )
        .await;
    world.endpoint.forget_calls().await;
    let consumer = world.consumer().await;
    until("the backlog is stored", PATIENCE, async || {
        consumer.metrics().await.sum("deleted_total", &[]) >= BACKLOG as f64
    })
    .await;
    let calls = world.endpoint.calls().await;
    let [receive, write, delete] = [
        "SQS.ReceiveMessage",
        "DynamoDB.BatchWriteItem",
        "SQS.DeleteMessageBatch",
    ]
    .map(|action| calls.of(action));
    let cost = per_message(receive + write + delete, BACKLOG);
    println!(
        "a backlog of {BACKLOG}: {receive} receives, {write} writes, {delete} deletes, {cost:.2} a message"
    );
    assert!(cost <= 0.35, "{calls:?}");
    assert_eq!(world.aws.items(&world.pool).await.len(), BACKLOG);
}
