//! The steps that move a tenant's data, over an endpoint whose calls fail.

use std::collections::BTreeSet;
use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use kit::aws::{Aws, Depth, REGION, Resources, event_ids};
use kit::endpoint::Endpoint;
use serde_json::json;
use tenantctl::data::DataClients;
use tenantctl::data::copy::{self, Content, Settled};
use tenantctl::data::moves::{Change, ConsumerHome, Finished, Mover, Relocation, Timing};
use tenantctl::data::settle::{SettleError, Wanted, settle};
use tenantry_process::arn::{QueueArn, TableArn};
use tenantry_process::aws::AwsSettings;
use tenantry_tenancy::tenant::TenantId;

/// Times that a test does not wait for.
const TIMING: Timing = Timing {
    refresh: Duration::from_millis(50),
    request: Duration::from_millis(50),
    count: Duration::from_millis(20),
    late: Duration::from_millis(20),
};

/// A pool and a silo, and the mover between them.
struct Scene {
    endpoint: Endpoint,
    aws: Aws,
    pool: Resources,
    silo: Resources,
    pool_payments: String,
    silo_payments: String,
    mover: Mover,
}

impl Scene {
    async fn new() -> Self {
        let endpoint = Endpoint::ephemeral().await;
        let aws = endpoint.aws();
        let settings = AwsSettings::for_endpoint(&endpoint.url(), REGION);
        Self {
            pool: aws.create("pool-1").await,
            silo: aws.create("acme").await,
            pool_payments: aws.create_payments("pool-1").await,
            silo_payments: aws.create_payments("acme").await,
            mover: Mover {
                clients: DataClients::new(&settings),
                timing: TIMING,
            },
            aws,
            endpoint,
        }
    }

    /// A call of each kind fails now and then, also after its effect.
    async fn with_faults(&self) {
        let rule = |action: &str, effect: serde_json::Value| {
            let mut rule = json!({"action": action, "rate": 0.15, "seed": fastrand::u32(..)});
            let all = rule.as_object_mut().expect("an object");
            all.extend(effect.as_object().expect("an object").clone());
            rule
        };
        let failed = json!({"error": {"code": "InternalFailure", "status": 500}});
        let lost = json!({"drop": true, "when": "after"});
        // A lost answer to a receive hides its messages for half a minute, so receives only fail.
        let mut rules = vec![
            rule("*", failed),
            rule("DynamoDB.BatchWriteItem", json!({"unprocessed": true})),
            rule("SQS.ReceiveMessage", json!({"stale": true})),
        ];
        rules.extend(
            ["DynamoDB.*", "SQS.SendMessage", "SQS.DeleteMessage"]
                .map(|action| rule(action, lost.clone())),
        );
        let rules = json!(rules);
        self.endpoint.inject(rules).await;
    }

    fn to_pool(&self) -> Relocation {
        relocation(&self.silo, &self.pool, true)
    }
}

fn table(name: &str) -> TableArn {
    let arn = format!("arn:aws:dynamodb:{REGION}:000000000000:table/{name}");
    arn.parse().expect("valid")
}

fn home(of: &Resources) -> ConsumerHome {
    let queue = format!("arn:aws:sqs:{REGION}:000000000000:{}", of.table);
    ConsumerHome {
        queue: queue.parse::<QueueArn>().expect("valid"),
        table: table(&of.table),
    }
}

fn relocation(from: &Resources, to: &Resources, has_own_queue: bool) -> Relocation {
    Relocation {
        tenant: acme(),
        consumer: Some(Change {
            from: home(from),
            to: home(to),
        }),
        payments: None,
        leave_data: false,
        has_own_queue,
    }
}

fn acme() -> TenantId {
    "acme".parse().expect("valid")
}

fn item(fields: &[(&str, &str)]) -> std::collections::HashMap<String, AttributeValue> {
    let value = |text: &str| match text.parse::<u64>() {
        Ok(_) => AttributeValue::N(text.to_owned()),
        Err(_) => AttributeValue::S(text.to_owned()),
    };
    let field = |(name, text): &(&str, &str)| ((*name).to_owned(), value(text));
    fields.iter().map(field).collect()
}

impl Scene {
    async fn put(&self, table: &str, fields: &[(&str, &str)]) {
        let put = self.aws.dynamodb.put_item().table_name(table);
        put.set_item(Some(item(fields))).send().await.expect("put");
    }

    async fn put_events(&self, of: &Resources, tenant: &str, ids: &[String]) {
        for id in ids {
            self.put(
                &of.table,
                &[
                    ("tenant_id", tenant),
                    ("message_id", id),
                    ("payload", "\"x\""),
                ],
            )
            .await;
        }
    }

    /// The range keys of a tenant's items, with one attribute of each.
    async fn partition(&self, table: &str, attribute: &str) -> BTreeSet<(String, String)> {
        let query = self
            .aws
            .dynamodb
            .query()
            .table_name(table)
            .key_condition_expression("tenant_id = :t")
            .expression_attribute_values(":t", AttributeValue::S("acme".to_owned()));
        let items = query.send().await.expect("read").items.unwrap_or_default();
        let text = |value: Option<&AttributeValue>| match value {
            Some(AttributeValue::S(text) | AttributeValue::N(text)) => text.clone(),
            _ => String::new(),
        };
        let of = |item: &std::collections::HashMap<_, _>| {
            let key = item.get("sk").or_else(|| item.get("message_id"));
            (text(key), text(item.get(attribute)))
        };
        items.iter().map(of).collect()
    }
}

#[tokio::test]
async fn messages_dead_letters_and_items_of_a_silo_are_in_the_pool_once_though_every_call_may_fail()
{
    let scene = Scene::new().await;
    let (stored, late, dead) = (event_ids(130), event_ids(45), event_ids(3));
    scene.put_events(&scene.silo, "acme", &stored).await;
    let neighbors = event_ids(2);
    scene.put_events(&scene.pool, "other", &neighbors).await;
    scene
        .aws
        .send_events(&scene.silo.queue, "acme", &late)
        .await;
    scene
        .aws
        .send_events(&scene.silo.dead_letters, "acme", &dead)
        .await;
    scene.with_faults().await;
    let mut total = Finished::default();
    for _ in 0..40 {
        // A step that fails is repeated, as its caller does.
        let Ok(finished) = scene.mover.finish(&scene.to_pool()).await else {
            continue;
        };
        total.add(finished);
        if finished == Finished::default() {
            break;
        }
    }
    scene.endpoint.inject(json!([])).await;
    let finished = scene
        .mover
        .finish(&scene.to_pool())
        .await
        .expect("no fault");
    assert_eq!(finished, Finished::default(), "a repeat finds nothing");
    assert!(total.is_whole() && scene.aws.items(&scene.silo).await.is_empty());
    let ids: BTreeSet<_> = stored.into_iter().chain(neighbors).collect();
    assert_eq!(scene.aws.stored_ids(&scene.pool).await, ids);
    assert_eq!(scene.aws.items(&scene.pool).await.len(), ids.len());
    assert_eq!(scene.aws.depth(&scene.silo.queue).await, Depth::EMPTY);
    let received = |url: String| {
        let aws = scene.aws.clone();
        async move {
            let mut ids = BTreeSet::new();
            loop {
                let batch = aws.receive(&url, 600).await;
                if batch.is_empty() {
                    return ids;
                }
                ids.extend(batch.iter().map(|message| {
                    let attributes = message.message_attributes().expect("attributes");
                    assert!(attributes.contains_key("accepted_at"), "{attributes:?}");
                    attributes["message_id"]
                        .string_value()
                        .expect("text")
                        .to_owned()
                }));
            }
        }
    };
    assert_eq!(
        received(scene.pool.queue.clone()).await,
        late.into_iter().collect()
    );
    assert_eq!(
        received(scene.pool.dead_letters.clone()).await,
        dead.into_iter().collect()
    );
}

#[tokio::test]
async fn a_copy_leaves_the_source_and_never_overwrites_what_the_other_home_has_stored() {
    let scene = Scene::new().await;
    let derived = "5f0d2c2e-93f6-5c4b-9d0e-7a1c6b38e4d5";
    for (of, payload) in [(&scene.silo, "\"first\""), (&scene.pool, "\"second\"")] {
        scene
            .put(
                &of.table,
                &[
                    ("tenant_id", "acme"),
                    ("message_id", derived),
                    ("listed_at", "a#b"),
                    ("payload", payload),
                ],
            )
            .await;
    }
    let ids = event_ids(30);
    scene.put_events(&scene.silo, "acme", &ids).await;
    scene.with_faults().await;
    let mut copied = 0;
    while copied < 30 {
        copied += scene.mover.copy(&scene.to_pool()).await.unwrap_or(0);
        scene.endpoint.inject(json!([])).await;
    }
    assert_eq!(
        scene.mover.copy(&scene.to_pool()).await.expect("no fault"),
        0
    );
    assert_eq!(scene.aws.items(&scene.silo).await.len(), 31);
    let pool = scene.partition(&scene.pool.table, "payload").await;
    assert_eq!(pool.len(), 31);
    assert!(pool.contains(&(derived.to_owned(), "\"second\"".to_owned())));
}

#[tokio::test]
async fn payments_are_equal_after_their_copy_and_their_outbox_moves_last() {
    let scene = Scene::new().await;
    let (from, to) = (table(&scene.silo_payments), table(&scene.pool_payments));
    let clients = &scene.mover.clients;
    for (sk, attribute, value) in [
        ("charge#1", "refunded", "40"),
        ("refund#1#2", "refunded", "40"),
        ("key#a", "made", "one"),
        ("outbox#e", "outbox_shard", "one"),
    ] {
        let fields = [("tenant_id", "acme"), ("sk", sk), (attribute, value)];
        scene.put(&scene.silo_payments, &fields).await;
    }
    // An earlier copy, before the last refund.
    let old = [("tenant_id", "acme"), ("sk", "charge#1"), ("refunded", "0")];
    scene.put(&scene.pool_payments, &old).await;
    let copied = copy::copy_payments(clients, &acme(), &from, &to)
        .await
        .expect("copied");
    assert_eq!(copied, 3);
    let there = scene.partition(&scene.pool_payments, "refunded").await;
    let keys: Vec<_> = there
        .iter()
        .map(|(sk, refunded)| (&**sk, &**refunded))
        .collect();
    assert_eq!(
        keys,
        [("charge#1", "40"), ("key#a", ""), ("refund#1#2", "40")]
    );
    assert!(
        !copy::is_outbox_empty(clients, &acme(), &from)
            .await
            .expect("read")
    );
    let settled = copy::settle(clients, &acme(), Content::Payments, &from, &to).await;
    assert_eq!(
        settled.expect("settled"),
        Settled {
            moved: 4,
            conflicts: 0
        }
    );
    assert!(scene.partition(&scene.silo_payments, "sk").await.is_empty());
    assert!(
        !copy::is_outbox_empty(clients, &acme(), &to)
            .await
            .expect("read")
    );
}

#[tokio::test]
async fn a_payment_written_too_late_in_the_former_home_is_kept_there_and_counted() {
    let scene = Scene::new().await;
    let (from, to) = (table(&scene.silo_payments), table(&scene.pool_payments));
    for (of, made, refunded) in [
        (&scene.silo_payments, "one", "60"),
        (&scene.pool_payments, "two", "40"),
    ] {
        scene
            .put(
                of,
                &[("tenant_id", "acme"), ("sk", "key#a"), ("made", made)],
            )
            .await;
        let charge = [
            ("tenant_id", "acme"),
            ("sk", "charge#1"),
            ("refunded", refunded),
        ];
        scene.put(of, &charge).await;
    }
    let late = [("tenant_id", "acme"), ("sk", "charge#2"), ("refunded", "0")];
    scene.put(&scene.silo_payments, &late).await;
    let clients = &scene.mover.clients;
    let settled = copy::settle(clients, &acme(), Content::Payments, &from, &to).await;
    assert_eq!(
        settled.expect("settled"),
        Settled {
            moved: 1,
            conflicts: 2
        }
    );
    assert_eq!(scene.partition(&scene.silo_payments, "sk").await.len(), 2);
    assert_eq!(scene.partition(&scene.pool_payments, "sk").await.len(), 3);
}

#[tokio::test]
async fn a_move_that_leaves_the_data_moves_messages_alone() {
    let scene = Scene::new().await;
    let (stored, late) = (event_ids(3), event_ids(4));
    scene.put_events(&scene.silo, "acme", &stored).await;
    scene
        .aws
        .send_events(&scene.silo.queue, "acme", &late)
        .await;
    let relocation = Relocation {
        leave_data: true,
        ..scene.to_pool()
    };
    assert_eq!(scene.mover.copy(&relocation).await.expect("no step"), 0);
    let finished = scene.mover.finish(&relocation).await.expect("finished");
    assert_eq!((finished.forwarded, finished.events.moved), (4, 0));
    assert_eq!(scene.aws.items(&scene.silo).await.len(), 3);
    assert_eq!(scene.aws.depth(&scene.pool.queue).await.visible, 4);
}

#[tokio::test]
async fn a_former_home_that_is_gone_has_nothing_left() {
    let scene = Scene::new().await;
    let gone = scene.aws.create("gone").await;
    let (queue, table) = (&gone.queue, &gone.table);
    let (sqs, dynamodb) = (&scene.aws.sqs, &scene.aws.dynamodb);
    sqs.delete_queue()
        .queue_url(queue)
        .send()
        .await
        .expect("deleted");
    dynamodb
        .delete_table()
        .table_name(table)
        .send()
        .await
        .expect("deleted");
    let relocation = relocation(&gone, &scene.pool, true);
    let finished = scene.mover.finish(&relocation).await.expect("finished");
    assert_eq!(finished, Finished::default());
}

#[tokio::test]
async fn the_wait_for_registrations_starts_over_while_parameter_store_fails() {
    let scene = Scene::new().await;
    let gone = json!([{"action": "SSM.*", "drop": true, "rate": 1.0}]);
    scene.endpoint.inject(gone).await;
    let relocation = scene.to_pool();
    let waiting = scene.mover.wait_until_known(&relocation);
    let result = tokio::time::timeout(Duration::from_secs(1), waiting).await;
    assert!(result.is_err(), "ten times the wait, and still waiting");
    scene.endpoint.inject(json!([])).await;
    scene
        .mover
        .wait_until_known(&relocation)
        .await
        .expect("known");
}

#[tokio::test]
async fn a_message_that_reaches_a_silos_queue_after_the_end_of_the_move_is_forwarded_later() {
    let scene = Scene::new().await;
    let relocation = scene.to_pool();
    let finished = scene.mover.finish(&relocation).await.expect("finished");
    assert_eq!(finished, Finished::default());
    let late = event_ids(2);
    scene
        .aws
        .send_events(&scene.silo.queue, "acme", &late)
        .await;
    let finished = scene.mover.finish_late(&relocation).await;
    assert_eq!(finished.expect("finished").forwarded, 2);
    assert_eq!(scene.aws.depth(&scene.silo.queue).await, Depth::EMPTY);
    assert_eq!(scene.aws.depth(&scene.pool.queue).await.visible, 2);
}

impl Scene {
    /// The parameters of a tenant that has moved from premium to basic, as Terraform writes them.
    async fn switch_to_pool(&self) {
        let (aws, silo) = (&self.aws, home(&self.silo));
        aws.point("pool-1", &self.pool).await;
        aws.point_payments("pool-1", &self.pool_payments).await;
        aws.register("acme", "basic", &self.pool).await;
        aws.point_payments("acme", &self.pool_payments).await;
        let payments = table(&self.silo_payments);
        for (name, value) in [
            ("status", "moving"),
            ("moved_from", "acme"),
            ("unsettled_consumer", "acme"),
            ("unsettled_payments", "acme"),
            ("retained_consumer_sqs", silo.queue.as_str()),
            ("retained_consumer_ddb", silo.table.as_str()),
            ("retained_payments_ddb", payments.as_str()),
        ] {
            aws.put(&format!("/acme/{name}"), value).await;
        }
        aws.put("/tenantry/refused/acme", "moved").await;
    }

    async fn parameter(&self, name: &str) -> Option<String> {
        let found = self.aws.ssm.get_parameter().name(name).send().await.ok()?;
        found.parameter?.value
    }
}

fn in_pool() -> Wanted {
    Wanted {
        tenant: acme(),
        pool: "pool-1".parse().expect("valid"),
        has_consumer: false,
        has_payments: false,
        leave_data: false,
    }
}

#[tokio::test]
async fn settle_ends_a_move_that_terraform_has_begun_and_a_repeat_finds_nothing() {
    let scene = Scene::new().await;
    scene.switch_to_pool().await;
    let (stored, waiting) = (event_ids(3), event_ids(2));
    scene.put_events(&scene.silo, "acme", &stored).await;
    scene
        .aws
        .send_events(&scene.silo.queue, "acme", &waiting)
        .await;
    let charge = [
        ("tenant_id", "acme"),
        ("sk", "charge#1"),
        ("refunded", "40"),
    ];
    scene.put(&scene.silo_payments, &charge).await;
    let finished = settle(&scene.mover, &in_pool()).await.expect("settled");
    let moved = (
        finished.forwarded,
        finished.events.moved,
        finished.payments.moved,
    );
    assert_eq!(moved, (2, 3, 1));
    assert_eq!(scene.aws.items(&scene.silo).await, []);
    assert_eq!(scene.aws.items(&scene.pool).await.len(), 3);
    assert_eq!(scene.aws.depth(&scene.pool.queue).await.visible, 2);
    assert_eq!(scene.partition(&scene.silo_payments, "sk").await.len(), 0);
    assert_eq!(scene.partition(&scene.pool_payments, "sk").await.len(), 1);
    let status = scene.parameter("/acme/status").await;
    assert_eq!(status.as_deref(), Some("active"));
    for name in [
        "/acme/unsettled_consumer",
        "/acme/unsettled_payments",
        "/tenantry/refused/acme",
    ] {
        assert_eq!(scene.parameter(name).await, None, "{name}");
    }
    let repeated = settle(&scene.mover, &in_pool()).await.expect("settled");
    assert_eq!(repeated, Finished::default());
}

#[tokio::test]
async fn a_tenant_suspended_while_its_move_is_settled_stays_suspended() {
    let scene = Scene::new().await;
    scene.switch_to_pool().await;
    let wanted = in_pool();
    let suspend = scene.aws.put("/acme/status", "suspended");
    let (settled, ()) = tokio::join!(settle(&scene.mover, &wanted), suspend);
    settled.expect("settled");
    for name in ["/acme/status", "/tenantry/refused/acme"] {
        let value = scene.parameter(name).await;
        assert_eq!(value.as_deref(), Some("suspended"), "{name}");
    }
}

#[tokio::test]
async fn settle_refuses_a_move_that_the_cluster_has_not_applied() {
    let scene = Scene::new().await;
    scene.switch_to_pool().await;
    let wanted = Wanted {
        has_consumer: true,
        ..in_pool()
    };
    let refused = settle(&scene.mover, &wanted).await;
    assert!(
        matches!(refused, Err(SettleError::NotApplied(_, "consumer_sqs", _))),
        "{refused:?}"
    );
}
