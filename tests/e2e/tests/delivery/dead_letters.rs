//! A message that can never be stored is dead-lettered with the reason; no other message is.

use std::collections::BTreeSet;

use aws_sdk_sqs::types::{Message, QueueAttributeName};
use kit::aws::{Aws, Depth, Resources, event_ids};
use kit::http::Request;
use kit::wait::{PATIENCE, until};
use kit::world::World;

/// The messages of a dead-letter queue, once it has this many.
async fn dead_letters(aws: &Aws, of: &Resources, count: u64) -> Vec<Message> {
    let what = format!("{count} messages in {}", of.dead_letters);
    until(&what, PATIENCE, async || {
        aws.depth(&of.dead_letters).await.visible >= count
    })
    .await;
    let mut all = Vec::new();
    while all.len() < usize::try_from(count).expect("a few") {
        all.extend(aws.receive(&of.dead_letters, 600).await);
    }
    assert_eq!(
        aws.depth(&of.dead_letters).await.visible,
        0,
        "no more than {count}"
    );
    all
}

fn attribute<'a>(message: &'a Message, name: &str) -> &'a str {
    message
        .message_attributes()
        .and_then(|all| all.get(name)?.string_value())
        .unwrap_or_default()
}

#[tokio::test]
async fn one_message_without_attributes_is_dead_lettered_and_its_nine_neighbors_are_stored() {
    let world = World::new().await;
    let ids = event_ids(9);
    world
        .aws
        .send_events(&world.pool.queue, "tenant-2", &ids[..5])
        .await;
    world.aws.send(&world.pool.queue, "poison", &[]).await;
    world
        .aws
        .send_events(&world.pool.queue, "tenant-2", &ids[5..])
        .await;
    let consumer = world.consumer().await;
    world.stored(9, &world.pool).await;
    assert_eq!(
        world.aws.stored_ids(&world.pool).await,
        ids.into_iter().collect()
    );
    let [poison] = &dead_letters(&world.aws, &world.pool, 1).await[..] else {
        panic!("one message")
    };
    assert_eq!(poison.body(), Some("poison"));
    assert!(
        attribute(poison, "dead_letter_reason").starts_with("no_tenant"),
        "{poison:?}"
    );
    assert_eq!(
        consumer.metrics().await.sum("dead_lettered_total", &[]),
        1.0
    );
}

#[tokio::test]
async fn a_poison_message_is_dead_lettered_with_its_reason_body_and_attributes() {
    let world = World::new().await;
    let long_id = "i".repeat(129);
    let large = "x".repeat(410 * 1024);
    type Case<'a> = (&'a str, &'a str, &'a [(&'a str, &'a str)]);
    let cases: [Case; 7] = [
        (
            "no_tenant",
            "1",
            &[("producer_environment", "pool-1"), ("message_id", "a")],
        ),
        ("invalid_tenant", "2", &[("tenant_id", "Tenant!")]),
        ("invalid_tenant", "3", &[("tenant_id", "pool-1")]),
        (
            "foreign_tenant",
            "4",
            &[("tenant_id", "tenant-9"), ("color", "blue")],
        ),
        ("foreign_tenant", "5", &[("tenant_id", "tenant-3")]),
        (
            "invalid_id",
            "6",
            &[("tenant_id", "tenant-2"), ("message_id", &long_id)],
        ),
        ("too_large", &large, &[("tenant_id", "tenant-2")]),
    ];
    for (_, body, attributes) in cases {
        world.aws.send(&world.pool.queue, body, attributes).await;
    }
    let _consumer = world.consumer().await;
    let moved = dead_letters(&world.aws, &world.pool, 7).await;
    for (reason, body, attributes) in cases {
        let found = moved
            .iter()
            .find(|message| message.body() == Some(body))
            .expect("it is there");
        assert!(
            attribute(found, "dead_letter_reason").starts_with(reason),
            "{reason}"
        );
        assert!(
            attributes
                .iter()
                .all(|(name, value)| attribute(found, name) == *value),
            "{reason}"
        );
    }
    world.drained(&world.pool).await;
    assert_eq!(world.aws.items(&world.pool).await.len(), 0);
}

#[tokio::test]
async fn a_silo_never_stores_a_message_of_another_tenant() {
    let world = World::new().await;
    let consumer = world.service("consumer", "tenant-1", &[]).await;
    let ids = event_ids(3);
    world
        .aws
        .send_events(&world.silo.queue, "tenant-1", &ids[..1])
        .await;
    world
        .aws
        .send_events(&world.silo.queue, "tenant-2", &ids[1..])
        .await;
    let moved = dead_letters(&world.aws, &world.silo, 2).await;
    assert!(
        moved
            .iter()
            .all(|message| attribute(message, "dead_letter_reason").starts_with("foreign_tenant"))
    );
    world.stored(1, &world.silo).await;
    assert_eq!(
        world.aws.items(&world.silo).await[0]["tenant_id"],
        "tenant-1"
    );
    assert_eq!(
        consumer
            .metrics()
            .await
            .sum("poison_total", &[("reason", "foreign_tenant")]),
        2.0
    );
}

#[tokio::test]
async fn without_a_dead_letter_queue_poison_stays_on_the_queue_and_its_neighbors_are_stored() {
    let world = World::new().await;
    let policy = [(QueueAttributeName::RedrivePolicy, String::new())].into();
    let request = world
        .aws
        .sqs
        .set_queue_attributes()
        .queue_url(&world.pool.queue)
        .set_attributes(Some(policy));
    request.send().await.expect("the policy is taken away");
    world.aws.send(&world.pool.queue, "poison", &[]).await;
    world
        .aws
        .send_events(&world.pool.queue, "tenant-2", &event_ids(9))
        .await;
    let consumer = world.consumer().await;
    until("the good ones are stored", PATIENCE, async || {
        world.aws.items(&world.pool).await.len() == 9
    })
    .await;
    until("they are deleted", PATIENCE, async || {
        consumer.metrics().await.sum("deleted_total", &[]) == 9.0
    })
    .await;
    let left = world.aws.depth(&world.pool.queue).await;
    assert_eq!(left.visible + left.in_flight, 1, "{left:?}");
    assert_eq!(
        world.aws.depth(&world.pool.dead_letters).await,
        Depth::EMPTY
    );
}

#[tokio::test]
async fn a_tenant_registered_a_moment_ago_is_not_unknown() {
    let world = World::new().await;
    let consumer = world.consumer().await;
    let early = consumer
        .ask(&Request::get("/consumer").tenant("tenant-5"))
        .await;
    assert_eq!(early.status, 404, "the tenant is not registered yet");
    world.aws.register("tenant-5", "basic", &world.pool).await;
    let id = world.producer().await.post("tenant-5", "").await;
    world.stored(1, &world.pool).await;
    assert_eq!(
        world.aws.stored_ids(&world.pool).await,
        BTreeSet::from([id]),
        "the accepted events are stored"
    );
}

#[tokio::test]
async fn a_tenant_that_has_just_moved_into_the_pool_is_served_there() {
    let world = World::new().await;
    let consumer = world.consumer().await;
    let before = consumer
        .ask(&Request::get("/consumer/messages").tenant("tenant-3"))
        .await;
    assert_eq!(before.status, 403, "its messages are still elsewhere");
    world.aws.register("tenant-3", "basic", &world.pool).await;
    let id = world.producer().await.post("tenant-3", "").await;
    world.stored(1, &world.pool).await;
    assert_eq!(
        world.aws.stored_ids(&world.pool).await,
        BTreeSet::from([id]),
        "the accepted events are stored"
    );
}
