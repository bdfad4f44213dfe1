//! Moves, suspensions and offboardings while clients post: every message answered 200 is stored once and listed, every
//! payment is recorded once and answered as before.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use aws_sdk_dynamodb::error::ProvideErrorMetadata as _;
use aws_sdk_sqs::operation::get_queue_attributes::GetQueueAttributesError;
use aws_sdk_sqs::types::QueueAttributeName::{
    ApproximateNumberOfMessages, ApproximateNumberOfMessagesNotVisible,
};
use futures_util::future::join_all;
use kit::http::Request;
use kit::wait::{PATIENCE, until};
use serde_json::{Value, json};

use crate::{ACCOUNT, Installation};

/// Clients that post at once, per tenant.
const CLIENTS: usize = 8;
/// Pause of a client between two answers, so that six tenants share two cores.
const PACE: Duration = Duration::from_millis(200);
/// Time limit of a move on any machine: it waits twice for older registrations, and once for an idle long poll.
const MOVED_WITHIN: Duration = Duration::from_secs(180);
/// Every pair of tiers.
const PAIRS: [(&str, &str); 6] = [
    ("advanced", "basic"),
    ("premium", "basic"),
    ("basic", "advanced"),
    ("basic", "premium"),
    ("premium", "advanced"),
    ("advanced", "premium"),
];

/// Answers to the clients of one tenant.
#[derive(Default)]
struct Posts {
    accepted: RefCell<BTreeSet<String>>,
    /// Answers other than 200, by status; 0 for none. Their events may be stored all the same.
    open: RefCell<BTreeMap<u16, usize>>,
    is_over: Cell<bool>,
}

impl Posts {
    /// [`CLIENTS`] clients of a tenant, until [`Self::is_over`] is set.
    async fn run(&self, installation: &Installation, tenant: &str) {
        join_all((0..CLIENTS).map(async |client| {
            let mut pace = tokio::time::interval(PACE);
            let mut number = 0;
            while !self.is_over.get() {
                pace.tick().await;
                number += 1;
                let body = json!({"client": client, "number": number}).to_string();
                let mut request = Request::event().tenant(tenant).body(body);
                // Ids that come from a key are stored by another way than those that come from the time.
                if number % 3 == 0 {
                    request = request.key(&format!("key-{client}-{number}"));
                }
                let answer = installation.local.ask(&request).await;
                if answer.status == 200 {
                    let is_new = self
                        .accepted
                        .borrow_mut()
                        .insert(answer.field("message_id"));
                    assert!(is_new, "each event has an id of its own");
                } else {
                    *self.open.borrow_mut().entry(answer.status).or_default() += 1;
                }
            }
        }))
        .await;
    }

    /// Runs the clients around this change, with some posts before and after.
    async fn around(
        &self,
        installation: &Installation,
        tenant: &str,
        change: impl Future<Output = ()>,
    ) {
        let conduct = async {
            self.has(CLIENTS * 5).await;
            change.await;
            let more = self.accepted.borrow().len() + CLIENTS * 5;
            self.has(more).await;
            self.is_over.set(true);
        };
        tokio::join!(self.run(installation, tenant), conduct);
    }

    /// Events without a 200.
    fn unclear(&self) -> usize {
        self.open.borrow().values().sum()
    }

    async fn has(&self, count: usize) {
        until(
            &format!("{count} events are accepted"),
            3 * PATIENCE,
            async || self.accepted.borrow().len() >= count,
        )
        .await;
    }
}

impl Installation {
    async fn has_moved(&self, tenant: &str, to: &str) {
        let what = format!("{tenant} has moved to {to}");
        until(&what, MOVED_WITHIN, async || {
            let tier = self.parameter(&format!("/{tenant}/tier")).await;
            let unfinished = self.parameter(&format!("/{tenant}/move")).await;
            tier.as_deref() == Some(to) && unfinished.is_none()
        })
        .await;
    }

    /// Ids of all events that the tenant's consumer lists.
    async fn listed(&self, tenant: &str) -> Vec<String> {
        let (mut ids, mut path) = (Vec::new(), "/consumer/messages?limit=100".to_owned());
        loop {
            let page = self.local.ask(&Request::get(&path).tenant(tenant)).await;
            assert_eq!(page.status, 200, "{}", page.text());
            let page = page.json();
            let messages = page["messages"].as_array().expect("a page has messages");
            let id = |message: &Value| {
                message["message_id"]
                    .as_str()
                    .unwrap_or_default()
                    .to_owned()
            };
            ids.extend(messages.iter().map(id));
            match page["next_cursor"].as_str() {
                Some(cursor) => path = format!("/consumer/messages?limit=100&cursor={cursor}"),
                None => return ids,
            }
        }
    }

    /// Waits until every accepted event is listed, then checks that it is listed once and stored nowhere else.
    async fn lists_exactly(&self, tenant: &str, accepted: &BTreeSet<String>, open: usize) {
        let what = format!("{tenant}'s {} events are listed", accepted.len());
        until(&what, 3 * PATIENCE, async || {
            let listed: BTreeSet<_> = self.listed(tenant).await.into_iter().collect();
            accepted.is_subset(&listed)
        })
        .await;
        let listed = self.listed(tenant).await;
        let ids: BTreeSet<_> = listed.iter().collect();
        assert_eq!(ids.len(), listed.len(), "nothing is listed twice");
        assert!(
            listed.len() <= accepted.len() + open,
            "only what was posted"
        );
        self.is_stranded_nowhere(tenant).await;
    }

    /// Asserts that the tenant has items in its registered tables alone, and that no queue has a message.
    async fn is_stranded_nowhere(&self, tenant: &str) {
        let aws = self.local.aws();
        let tables = aws.dynamodb.list_tables().send().await.expect("listed");
        for table in tables.table_names.unwrap_or_default() {
            let app = table.split('-').next().unwrap_or_default();
            let home = self.parameter(&format!("/{tenant}/{app}_ddb")).await;
            if home.is_some_and(|arn| arn.ends_with(&format!("/{table}"))) {
                continue;
            }
            let items = aws
                .dynamodb
                .query()
                .table_name(&table)
                .key_condition_expression("tenant_id = :tenant")
                .expression_attribute_values(
                    ":tenant",
                    aws_sdk_dynamodb::types::AttributeValue::S(tenant.to_owned()),
                );
            // The table of a silo that its tenant has left is deleted.
            let count = match items.send().await {
                Ok(items) => items.count,
                Err(error) => {
                    let is_missing = error.code() == Some("ResourceNotFoundException");
                    assert!(is_missing, "{table}: {error:?}");
                    0
                }
            };
            assert_eq!(count, 0, "{tenant} has items in {table}, which it has left");
        }
        let queues = aws.sqs.list_queues().send().await.expect("listed");
        for url in queues.queue_urls.unwrap_or_default() {
            if url.contains("consumer-") {
                // The queue of a silo that its tenant has left is deleted.
                until(&format!("{url} is empty"), 3 * PATIENCE, async || {
                    let counts = aws
                        .sqs
                        .get_queue_attributes()
                        .queue_url(&url)
                        .attribute_names(ApproximateNumberOfMessages)
                        .attribute_names(ApproximateNumberOfMessagesNotVisible);
                    match counts.send().await {
                        Ok(counts) => {
                            let counts = counts.attributes.expect("there are counts");
                            counts.values().all(|count| count == "0")
                        }
                        Err(error) => {
                            let missing = error.as_service_error();
                            missing.is_some_and(GetQueueAttributesError::is_queue_does_not_exist)
                        }
                    }
                })
                .await;
            }
        }
    }

    /// Posts events one after the other; returns their ids.
    async fn posts(&self, tenant: &str, count: usize) -> BTreeSet<String> {
        let mut ids = BTreeSet::new();
        for number in 0..count {
            let mut request = Request::event().tenant(tenant).body(number.to_string());
            // Ids that come from a key are stored by another way than those that come from the time.
            if number % 3 == 0 {
                request = request.key(&uuid::Uuid::new_v4().to_string());
            }
            let answer = self.local.ask(&request).await;
            assert_eq!(answer.status, 200, "{}", answer.text());
            ids.insert(answer.field("message_id"));
        }
        ids
    }

    async fn onboarded(&self, tenant: &str, tier: &str) {
        self.onboard(tenant, tier).await;
        let home = |own: bool| if own { tenant } else { "pool-1" };
        let environments = [
            home(tier == "premium"),
            home(tier != "basic"),
            home(tier == "premium"),
        ];
        self.answers(tenant, environments).await;
    }
}

#[tokio::test]
async fn eight_clients_post_while_a_tenant_moves_between_any_two_tiers_and_no_message_is_lost() {
    let installation = Installation::new().await;
    let moves = PAIRS.map(|(from, to)| (format!("{from}-to-{to}"), from, to));
    for (tenant, from, _) in &moves {
        installation.onboarded(tenant, from).await;
    }
    join_all(moves.iter().map(async |(tenant, from, to)| {
        let posts = Posts::default();
        let begun = Instant::now();
        let moving = async {
            installation.tenantctl(&["move", tenant, "--to", to]);
            installation.has_moved(tenant, to).await;
        };
        Box::pin(posts.around(&installation, tenant, moving)).await;
        let took = begun.elapsed();
        let (unclear, accepted, open) = (posts.unclear(), posts.accepted.take(), posts.open.take());
        println!(
            "{from} to {to}: {} accepted, others {open:?}, {took:.1?}",
            accepted.len()
        );
        assert!(
            open.keys().all(|status| matches!(status, 0 | 503)),
            "no POST is refused for good: {open:?}"
        );
        installation.lists_exactly(tenant, &accepted, unclear).await;
    }))
    .await;
}

/// Events that are stored before a move, and events that still wait in the former queue after its switch.
const STORED: usize = 15;
const WAITING: usize = 60;

#[tokio::test]
async fn messages_in_the_former_queue_and_items_in_the_former_table_are_listed_after_the_move() {
    let installation = Installation::new().await;
    let moves = PAIRS
        .into_iter()
        .filter(|(from, to)| [from, to].contains(&&"basic"));
    let moves: Vec<_> = moves
        .map(|(from, to)| (format!("waits-{from}-{to}"), from, to))
        .collect();
    let (mut accepted, mut queues) = (BTreeMap::new(), BTreeMap::new());
    for (tenant, from, _) in &moves {
        installation.onboarded(tenant, from).await;
        let posted = installation.posts(tenant, STORED).await;
        installation.lists_exactly(tenant, &posted, 0).await;
        accepted.insert(tenant, posted);
        let queue = installation
            .parameter(&format!("/{tenant}/consumer_sqs"))
            .await;
        let queue = queue.expect("registered");
        let name = queue.rsplit(':').next().expect("a name");
        let url = format!("{}/{ACCOUNT}/{name}", installation.local.endpoint_url());
        queues.insert(tenant, url);
    }
    // Each receive is late, so that the consumers get ten messages in twenty seconds.
    let late = json!([{"action": "SQS.ReceiveMessage", "delay_ms": 20_000, "rate": 1.0}]);
    installation.local.controls().inject(late).await;
    for (tenant, _, _) in &moves {
        let posted = installation.posts(tenant, WAITING).await;
        accepted.get_mut(tenant).expect("onboarded").extend(posted);
    }
    join_all(moves.iter().map(async |(tenant, _, to)| {
        installation.tenantctl(&["move", tenant, "--to", to]);
        until(&format!("{tenant} is switched"), MOVED_WITHIN, async || {
            let tier = installation.parameter(&format!("/{tenant}/tier")).await;
            tier.as_deref() == Some(*to)
        })
        .await;
        let depth = installation.local.aws().depth(&queues[tenant]).await;
        assert!(
            depth.visible > 0,
            "messages wait in the former queue: {depth:?}"
        );
    }))
    .await;
    installation.local.controls().inject(json!([])).await;
    join_all(moves.iter().map(async |(tenant, _, to)| {
        installation.has_moved(tenant, to).await;
        installation
            .lists_exactly(tenant, &accepted[tenant], 0)
            .await;
    }))
    .await;
}

#[tokio::test]
async fn a_tenant_that_moves_there_and_back_keeps_every_message() {
    let installation = Installation::new().await;
    installation.onboarded("restless", "basic").await;
    let posts = Posts::default();
    let moving = async {
        for to in [
            "premium", "basic", "advanced", "premium", "advanced", "basic",
        ] {
            installation.tenantctl(&["move", "restless", "--to", to]);
            installation.has_moved("restless", to).await;
        }
    };
    Box::pin(posts.around(&installation, "restless", moving)).await;
    let accepted = posts.accepted.take();
    installation
        .lists_exactly("restless", &accepted, posts.unclear())
        .await;
}

#[tokio::test]
async fn a_move_that_is_revoked_or_replaced_midway_keeps_every_message() {
    let installation = Installation::new().await;
    installation.onboarded("undecided", "premium").await;
    let posts = Posts::default();
    let moving = async {
        for (to, reaches) in [
            ("basic", "moving"),
            ("premium", "active"),
            ("advanced", "moving"),
        ] {
            installation.tenantctl(&["move", "undecided", "--to", to]);
            until(&format!("{to} is begun"), MOVED_WITHIN, async || {
                let status = installation.parameter("/undecided/status").await;
                status.as_deref() == Some(reaches)
            })
            .await;
        }
        installation.tenantctl(&["move", "undecided", "--to", "basic"]);
        installation.has_moved("undecided", "basic").await;
    };
    Box::pin(posts.around(&installation, "undecided", moving)).await;
    let accepted = posts.accepted.take();
    installation
        .lists_exactly("undecided", &accepted, posts.unclear())
        .await;
}

#[tokio::test]
async fn a_kill_at_any_point_of_a_move_loses_nothing_and_the_next_start_finishes_it() {
    let mut installation = Installation::new().await;
    let (mut accepted, mut open) = (BTreeSet::new(), 0);
    let mut from = "basic";
    installation.onboarded("killed", from).await;
    for (step, to) in ["premium", "basic", "advanced", "basic"]
        .into_iter()
        .enumerate()
    {
        let posts = Posts::default();
        let conduct = async {
            posts.has(CLIENTS * 3).await;
            installation.tenantctl(&["move", "killed", "--to", to]);
            // Each kill comes at another point: while the move is recorded, copied, switched or settled.
            match step % 2 {
                0 => {
                    until("the move has begun", PATIENCE, async || {
                        installation.parameter("/killed/move").await.is_some()
                    })
                    .await;
                }
                _ => {
                    until("the tenant is switched", MOVED_WITHIN, async || {
                        installation.parameter("/killed/tier").await.as_deref() == Some(to)
                    })
                    .await;
                }
            }
            posts.is_over.set(true);
        };
        tokio::join!(posts.run(&installation, "killed"), conduct);
        accepted.append(&mut posts.accepted.borrow_mut());
        open += posts.unclear();
        installation.local.process.kill();
        installation = installation.restart().await;
        installation.has_moved("killed", to).await;
        installation.lists_exactly("killed", &accepted, open).await;
        println!(
            "{from} to {to}: killed and finished, {} accepted",
            accepted.len()
        );
        from = to;
    }
}

#[tokio::test]
async fn events_stay_behind_only_where_the_move_says_so() {
    let installation = Installation::new().await;
    installation.onboarded("leaver", "basic").await;
    installation.posts_and_lists("leaver").await;
    let pool = installation.parameter("/leaver/consumer_ddb").await;
    installation.tenantctl(&["move", "leaver", "--to", "advanced", "--leave-data"]);
    installation.has_moved("leaver", "advanced").await;
    assert_eq!(installation.listed("leaver").await, Vec::<String>::new());
    assert_ne!(installation.parameter("/leaver/consumer_ddb").await, pool);
    installation.posts_and_lists("leaver").await;
    // The next move takes along what it finds in the home that it leaves, and meets what was left.
    installation.tenantctl(&["move", "leaver", "--to", "basic"]);
    installation.has_moved("leaver", "basic").await;
    until("both events are listed", PATIENCE, async || {
        installation.listed("leaver").await.len() == 2
    })
    .await;
    installation.is_stranded_nowhere("leaver").await;
}

#[tokio::test]
async fn messages_accepted_before_a_suspension_are_listed_after_the_resumption() {
    let installation = Installation::new().await;
    for tier in ["basic", "advanced", "premium"] {
        let tenant = format!("paused-{tier}");
        installation.onboarded(&tenant, tier).await;
        let posts = Posts::default();
        let change = async {
            installation.tenantctl(&["suspend", &tenant]);
            installation.is_gone(&tenant).await;
            installation.tenantctl(&["resume", &tenant]);
        };
        Box::pin(posts.around(&installation, &tenant, change)).await;
        let accepted = posts.accepted.take();
        installation
            .lists_exactly(&tenant, &accepted, posts.unclear())
            .await;
    }
}

#[tokio::test]
async fn a_consumer_stores_every_accepted_message_of_an_offboarded_tenant_before_it_ends() {
    let installation = Installation::new().await;
    for tier in ["basic", "advanced", "premium"] {
        let tenant = format!("gone-{tier}");
        installation.onboarded(&tenant, tier).await;
        let posts = Posts::default();
        let conduct = async {
            posts.has(CLIENTS * 5).await;
            let charge = Request::charge(&tenant, "last", 500);
            assert_eq!(installation.local.ask(&charge).await.status, 201);
            let message = json!({"tenant_id": tenant, "tenant_tier": tier});
            installation.send("offboarding", &message).await;
            installation.is_gone(&tenant).await;
            posts.is_over.set(true);
        };
        tokio::join!(posts.run(&installation, &tenant), conduct);
        let table = installation
            .parameter(&format!("/{tenant}/consumer_ddb"))
            .await
            .expect("the registration stays");
        let table = table.rsplit('/').next().expect("a name").to_owned();
        let stored = async || -> BTreeSet<String> {
            let items = installation.local.aws().scan(&table).await;
            let own = items
                .into_iter()
                .filter(|item| item["tenant_id"] == *tenant);
            own.map(|item| item["message_id"].as_str().unwrap_or_default().to_owned())
                .collect()
        };
        // The payment's event is a message, too.
        let wanted = posts.accepted.borrow().len() + 1;
        until(
            &format!("{wanted} events of {tenant} are stored"),
            3 * PATIENCE,
            async || stored().await.len() >= wanted,
        )
        .await;
        let stored = stored().await;
        assert!(posts.accepted.borrow().is_subset(&stored));
        installation.is_stranded_nowhere(&tenant).await;
    }
}

impl Installation {
    /// Repeats a request that writes payments until it is answered, as clients do. A refusal says when to try again.
    async fn pays(&self, request: &Request) -> (u16, Vec<u8>) {
        let deadline = Instant::now() + MOVED_WITHIN;
        let mut pace = tokio::time::interval(PACE);
        loop {
            pace.tick().await;
            let answer = self.local.ask(request).await;
            match answer.status {
                200 | 201 => return (answer.status, answer.body),
                503 => {
                    assert!(answer.header("retry-after").is_some(), "{}", answer.text());
                    assert!(Instant::now() < deadline, "never again: {}", answer.text());
                }
                status => panic!("{status}: {}", answer.text()),
            }
        }
    }
}

#[tokio::test]
async fn payments_move_with_their_keys_and_refunds_and_are_never_doubled_or_lost() {
    let installation = Installation::new().await;
    let moves = [
        ("premium", "basic"),
        ("basic", "premium"),
        ("premium", "advanced"),
        ("advanced", "premium"),
    ];
    let moves = moves.map(|(from, to)| (format!("pays-{from}-{to}"), from, to));
    for (tenant, from, _) in &moves {
        installation.onboarded(tenant, from).await;
    }
    join_all(moves.iter().map(async |(tenant, _, to)| {
        let (is_over, count) = (Cell::new(false), Cell::new(0_u64));
        // Each answer by its request, to be compared with that of a repeat.
        let answers = RefCell::new(Vec::new());
        let charged = RefCell::new(BTreeMap::new());
        let client = async |client: u64| {
            let mut number = 0;
            while !is_over.get() {
                number += 1;
                let key = format!("c-{client}-{number}");
                let request = Request::charge(tenant, &key, 100);
                let (_, body) = installation.pays(&request).await;
                let id: Value = serde_json::from_slice(&body).expect("JSON");
                let id = id["id"].as_str().expect("a charge has an id").to_owned();
                answers.borrow_mut().push((request, body));
                let request = Request::refund(tenant, &format!("r-{client}-{number}"), &id, 40);
                let (_, body) = installation.pays(&request).await;
                answers.borrow_mut().push((request, body));
                charged.borrow_mut().insert(id, 40_u64);
                count.set(count.get() + 2);
                // Some clients do not know their answer, and repeat.
                let (request, body) =
                    answers.borrow()[fastrand::usize(..answers.borrow().len())].clone();
                assert_eq!(
                    installation.pays(&request).await,
                    (200, body),
                    "a replay, byte for byte"
                );
            }
        };
        let conduct = async {
            until("some payments are made", PATIENCE, async || {
                count.get() >= 10
            })
            .await;
            installation.tenantctl(&["move", tenant, "--to", to]);
            installation.has_moved(tenant, to).await;
            let after = count.get() + 10;
            until("payments go on", PATIENCE, async || count.get() >= after).await;
            is_over.set(true);
        };
        tokio::join!(join_all((0..3).map(client)), conduct);
        for (request, body) in answers.take() {
            assert_eq!(
                installation.pays(&request).await,
                (200, body),
                "a replay after the move, byte for byte"
            );
        }
        let charged = charged.take();
        let table = installation
            .parameter(&format!("/{tenant}/payments_ddb"))
            .await
            .expect("registered");
        let items = installation
            .local
            .aws()
            .scan(table.rsplit('/').next().expect("a name"))
            .await;
        let of_kind = |kind: &str| {
            // Each range key begins with the generation of its owner.
            let is = |item: &&Value| {
                let sk = item["sk"].as_str().unwrap_or_default();
                let of_owner = sk.split_once('#').map_or("", |(_generation, sk)| sk);
                item["tenant_id"] == **tenant && of_owner.starts_with(kind)
            };
            items.iter().filter(is).collect::<Vec<_>>()
        };
        assert_eq!(of_kind("charge#").len(), charged.len(), "each charge once");
        assert!(of_kind("charge#").iter().all(|item| item["refunded"] == 40));
        assert_eq!(of_kind("refund#").len(), charged.len(), "each refund once");
        assert_eq!(of_kind("key#").len(), 2 * charged.len(), "each key once");
        // One event of each charge and refund, in the present table.
        until("each event is stored once", 3 * PATIENCE, async || {
            installation.listed(tenant).await.len() == 2 * charged.len()
        })
        .await;
        installation.is_stranded_nowhere(tenant).await;
        println!("{tenant}: {} charges and as many refunds", charged.len());
    }))
    .await;
}

#[tokio::test]
async fn one_tenants_move_does_not_hold_up_other_tenants() {
    let installation = Installation::new().await;
    installation.onboarded("slow", "premium").await;
    installation.posts_and_lists("slow").await;
    // Only a copy makes this call, so the move cannot go on.
    let failed = json!({"code": "InternalFailure", "status": 500});
    let faults = json!([{"action": "DynamoDB.BatchGetItem", "error": failed, "rate": 1.0}]);
    installation.local.controls().inject(faults).await;
    installation.tenantctl(&["move", "slow", "--to", "basic"]);
    until("the move has begun", PATIENCE, async || {
        installation.parameter("/slow/move").await.is_some()
    })
    .await;
    installation.onboarded("quick", "advanced").await;
    installation.posts_and_lists("quick").await;
    assert!(
        installation.parameter("/slow/move").await.is_some(),
        "the move goes on"
    );
    installation.local.controls().inject(json!([])).await;
    installation.has_moved("slow", "basic").await;
}
