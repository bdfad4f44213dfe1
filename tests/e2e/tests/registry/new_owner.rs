//! A new owner of a tenant id starts from nothing, whatever the earlier owner left.

use std::time::Duration;

use kit::aws::{Depth, Resources};
use kit::http::Request;
use kit::service::Service;
use kit::wait::{PATIENCE, until};
use kit::world::World;
use serde_json::{Value, json};

use crate::Services;

/// The generation of the new owner.
const GENERATION: &str = "1770000000000";
/// A short sweep and registration age.
const QUICK: [(&str, &str); 2] = [
    ("REGISTRY_REFRESH_SECONDS", "1"),
    ("OUTBOX_SWEEP_SECONDS", "1"),
];

/// Longer than a sender retries.
const SEND_FAILS_WITHIN: Duration = Duration::from_secs(90);

/// An owner's view of one tenant id.
struct Owner<'a> {
    tenant: &'a str,
    producer: &'a Service,
    consumer: &'a Service,
    payments: &'a Service,
    /// Where its events are stored.
    events: &'a Resources,
}

impl Owner<'_> {
    async fn post(&self, key: &str, body: &str) -> String {
        let request = Request::event().tenant(self.tenant).key(key).body(body);
        let answer = self.producer.ask(&request).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.field("message_id")
    }

    async fn charge(&self, key: &str, amount: u64) -> String {
        let answer = self
            .payments
            .ask(&Request::charge(self.tenant, key, amount))
            .await;
        assert_eq!(answer.status, 201, "{}", answer.text());
        assert_eq!(answer.header("idempotent-replayed"), None);
        answer.field("id")
    }

    /// The pages of a listing, followed to the end.
    async fn all(&self, of: &Service, path: &str, what: &str) -> Vec<Value> {
        let mut all = Vec::new();
        let mut cursor = String::new();
        loop {
            let request = Request::get(&format!("{path}?limit=2{cursor}")).tenant(self.tenant);
            let answer = of.ask(&request).await;
            assert_eq!(answer.status, 200, "{}", answer.text());
            let page = answer.json();
            all.extend(page[what].as_array().expect("a list").iter().cloned());
            let Some(next) = page["next_cursor"].as_str() else {
                return all;
            };
            cursor = format!("&cursor={next}");
        }
    }

    async fn messages(&self) -> Vec<Value> {
        self.all(self.consumer, "/consumer/messages", "messages")
            .await
    }

    async fn charges(&self) -> Vec<Value> {
        self.all(self.payments, "/payments/charges", "charges")
            .await
    }

    /// Waits for an attempt of payments to send one of the tenant's events that fails for this reason.
    async fn event_fails(&self, reason: &str) {
        let what = format!("an event of {} fails: {reason}", self.tenant);
        until(&what, SEND_FAILS_WITHIN, async || {
            let failed = |line: &Value| line["tenant_id"] == self.tenant && line["code"] == reason;
            self.payments.log().iter().any(failed)
        })
        .await;
    }

    async fn has_messages(&self, count: usize) {
        let what = format!("{} has {count} messages", self.tenant);
        until(&what, PATIENCE, async || {
            self.messages().await.len() == count
        })
        .await;
    }
}

#[tokio::test]
async fn a_new_owner_of_an_id_lists_replays_refunds_and_loses_nothing() {
    let world = World::new().await;
    let services = Services::start(&world, &QUICK).await;
    for (tenant, events) in [
        ("tenant-1", &world.silo),
        ("tenant-2", &world.pool),
        ("tenant-3", &world.hybrid),
    ] {
        let [producer, consumer, payments] = services.of(tenant);
        let owner = Owner {
            tenant,
            producer,
            consumer,
            payments,
            events,
        };
        one_id_two_owners(&world, &owner).await;
    }
}

async fn one_id_two_owners(world: &World, owner: &Owner<'_>) {
    let tenant = owner.tenant;
    // The earlier owner: events with and without keys, a charge, and an event of a charge.
    let kept = owner.post("order-7", "1").await;
    owner.producer.post(tenant, "2").await;
    owner.producer.post(tenant, "3").await;
    let charged = owner.charge("pay-7", 100).await;
    owner.has_messages(4).await;
    let first = Request::get("/consumer/messages?limit=1").tenant(tenant);
    let cursor = owner.consumer.ask(&first).await.field("next_cursor");
    // What is still under way: an event in the outbox, and a message in the queue.
    let error = json!({"code": "InternalError", "status": 500});
    let refuse_sends = json!([
        {"action": "SQS.SendMessage", "error": error},
        {"action": "SQS.SendMessageBatch", "error": error},
    ]);
    world.endpoint.inject(refuse_sends).await;
    owner.charge("pay-8", 200).await;
    owner.event_fails("queue_unavailable").await;

    // The id gets a new owner.
    world
        .aws
        .put(&format!("/{tenant}/generation"), GENERATION)
        .await;
    until("the new owner is seen", PATIENCE, async || {
        let charges = Request::get("/payments/charges").tenant(tenant);
        let (charges, messages) = (
            owner.payments.ask(&charges).await,
            owner.consumer.ask(&first).await,
        );
        charges.json()["charges"] == json!([]) && messages.json()["messages"] == json!([])
    })
    .await;
    // The event in the outbox is never sent. From then on no attempt for the earlier owner is under way.
    owner.event_fails("stale_generation").await;
    let late = [
        ("tenant_id", tenant),
        ("producer_environment", "pool-1"),
        ("message_id", "01a2066a-d34e-77fd-ba12-9db3e3b4528a"),
    ];
    world.endpoint.inject(json!([])).await;
    let queue = &owner.events.queue;
    world.aws.send(queue, r#""late""#, &late).await;

    // Nothing is listed, found or refunded.
    assert_eq!(owner.messages().await, [] as [Value; 0], "{tenant}");
    assert_eq!(owner.charges().await, [] as [Value; 0], "{tenant}");
    let path = format!("/payments/charges/{charged}");
    let get = Request::get(&path).tenant(tenant);
    assert_eq!(owner.payments.ask(&get).await.status, 404);
    let refund = Request::new("POST", &format!("{path}/refunds"))
        .tenant(tenant)
        .key("refund-1")
        .body(r#"{"amount":1}"#);
    assert_eq!(owner.payments.ask(&refund).await.status, 404);
    let old_cursor = Request::get(&format!("/consumer/messages?cursor={cursor}")).tenant(tenant);
    assert_eq!(
        owner.consumer.ask(&old_cursor).await.field("code"),
        "invalid_cursor"
    );

    // Nothing is replayed, nothing is swallowed.
    let again = owner.charge("pay-7", 100).await;
    assert_ne!(again, charged);
    let own = owner.post("order-7", "\"new\"").await;
    assert_ne!(own, kept, "another event under the same key");
    owner.producer.post(tenant, "4").await;
    owner.has_messages(3).await;
    let ids: Vec<_> = owner.messages().await;
    assert!(
        ids.iter().any(|message| message["message_id"] == *own),
        "{ids:?}"
    );
    assert_eq!(owner.charges().await.len(), 1);

    // The late message is dead-lettered.
    until("the late message is dead-lettered", PATIENCE, async || {
        world.aws.depth(&owner.events.dead_letters).await.visible == 1
    })
    .await;
    let dead = world.aws.receive(&owner.events.dead_letters, 600).await;
    let reason = dead[0].message_attributes().and_then(|all| {
        all.get("dead_letter_reason")?
            .string_value()
            .map(ToOwned::to_owned)
    });
    assert!(
        reason
            .as_deref()
            .is_some_and(|reason| reason.starts_with("stale_generation")),
        "{reason:?}"
    );
    until("the queue is empty", PATIENCE, async || {
        world.aws.depth(queue).await == Depth::EMPTY
    })
    .await;
    assert_eq!(owner.messages().await.len(), 3, "{tenant}");

    // A message of the sample's producer, which knows no generations, is the present owner's.
    let sample = [("tenant_id", tenant), ("producer_environment", "pool-1")];
    world.aws.send(queue, "{}", &sample).await;
    owner.has_messages(4).await;
}
