//! Models of DynamoDB, SQS and Parameter Store, for the calls that the service makes, and the faults of each call.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use serde_json::{Map, Value, json};
use tokio::time::Instant;

/// The pool's payments table.
const TABLE: &str = "payments-pool-1-x7k";
/// Time for which DynamoDB remembers a token.
const TOKEN_LIFETIME: Duration = Duration::from_secs(600);

/// An item in DynamoDB's JSON.
type Item = Map<String, Value>;
/// Hash and range key.
type Key = (String, String);

/// The fault and the latencies of one call.
pub(crate) struct CallPlan {
    pub(crate) before: Duration,
    pub(crate) after: Duration,
    pub(crate) fault: Fault,
}

/// Fault of a call.
#[derive(Clone, Copy)]
pub(crate) enum Fault {
    None,
    /// The call has its effect, and its response is lost.
    ResponseLost,
    FailedBeforeEffect,
    FailedAfterEffect,
    Throttled,
    Reset,
    Hung,
}

/// Rates of faults, as shares of calls.
#[derive(Debug, Clone, Copy, Default)]
struct FaultRates {
    response_lost: f64,
    failed_before_effect: f64,
    failed_after_effect: f64,
    throttled: f64,
    reset: f64,
    hung: f64,
    conflict: f64,
    entry_failed: f64,
    unprocessed: f64,
    /// Queries of the index that still return deleted items.
    stale: f64,
    latency_ms: u64,
    slow: f64,
}

/// The AWS services that the replicas' sockets reach.
pub(crate) struct SimulatedAws(Mutex<State>);

pub(crate) struct State {
    rng: fastrand::Rng,
    rates: FaultRates,
    honors_tokens: bool,
    tokens: HashMap<String, (Instant, String)>,
    pub(crate) items: BTreeMap<Key, Item>,
    deleted: Vec<Item>,
    /// Every sent message: queue, tenant, id and body.
    pub(crate) sent: Vec<(String, String, String, String)>,
    pub(crate) lost_responses: usize,
    /// Calls that the service must never make.
    pub(crate) violations: BTreeSet<String>,
}

impl SimulatedAws {
    pub(crate) fn new(mut rng: fastrand::Rng) -> Self {
        let has_faults = rng.u8(..4) > 0;
        let mut share = |max: f64| {
            if has_faults && rng.bool() {
                max * rng.f64()
            } else {
                0.0
            }
        };
        let rates = FaultRates {
            response_lost: share(0.2),
            failed_before_effect: share(0.2),
            failed_after_effect: share(0.15),
            throttled: share(0.2),
            reset: share(0.2),
            hung: share(0.05),
            conflict: share(0.3),
            entry_failed: share(0.3),
            unprocessed: share(0.4),
            stale: share(0.5),
            slow: share(0.2),
            latency_ms: [1, 5, 40][rng.usize(..3)],
        };
        Self(Mutex::new(State {
            honors_tokens: rng.u8(..3) > 0,
            rng,
            rates,
            tokens: HashMap::new(),
            items: BTreeMap::new(),
            deleted: Vec::new(),
            sent: Vec::new(),
            lost_responses: 0,
            violations: BTreeSet::new(),
        }))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock()
    }

    /// Ends all faults.
    pub(crate) fn end_faults(&self) {
        self.lock().rates = FaultRates {
            latency_ms: 5,
            ..FaultRates::default()
        };
    }

    /// Returns the number of entries in the outbox.
    pub(crate) fn waiting(&self) -> usize {
        self.lock()
            .items
            .keys()
            .filter(|(_, sk)| sk.starts_with("outbox#"))
            .count()
    }

    pub(crate) fn plan_call(&self) -> CallPlan {
        let State {
            rng,
            rates,
            lost_responses,
            ..
        } = &mut *self.lock();
        let latency = |rng: &mut fastrand::Rng| {
            let max = if rng.f64() < rates.slow {
                4000
            } else {
                rates.latency_ms
            };
            Duration::from_millis(rng.u64(0..=max))
        };
        let (before, after, mut left) = (latency(rng), latency(rng), rng.f64());
        let faults = [
            (rates.response_lost, Fault::ResponseLost),
            (rates.failed_before_effect, Fault::FailedBeforeEffect),
            (rates.failed_after_effect, Fault::FailedAfterEffect),
            (rates.throttled, Fault::Throttled),
            (rates.reset, Fault::Reset),
            (rates.hung, Fault::Hung),
        ];
        let hit = faults.into_iter().find(|(share, _)| {
            left -= share;
            left < 0.0
        });
        let fault = hit.map_or(Fault::None, |(_, fault)| fault);
        *lost_responses += usize::from(matches!(
            fault,
            Fault::ResponseLost | Fault::FailedAfterEffect
        ));
        CallPlan {
            before,
            after,
            fault,
        }
    }

    /// Applies a call. Returns status and body of the response.
    pub(crate) fn apply(&self, target: &str, body: &Value) -> (u16, Value) {
        let mut state = self.lock();
        match target.rsplit('.').next().unwrap_or_default() {
            "TransactWriteItems" => state.transact(body),
            "GetItem" => {
                let found = state.items.get(&key_of(&body["Key"]));
                (200, found.map_or(json!({}), |item| json!({ "Item": item })))
            }
            "Query" if body["IndexName"] == "outbox" => state.query_outbox(body),
            "BatchWriteItem" => state.delete(body),
            "SendMessageBatch" => state.send(body),
            "GetQueueUrl" => (
                200,
                json!({ "QueueUrl": format!("http://aws.simulated/0/{}", text(&body["QueueName"])) }),
            ),
            "GetParameters" => (200, parameters(body)),
            // An installation without an index: each tenant is looked up by its name.
            "GetParametersByPath" => (200, json!({ "Parameters": [] })),
            _ => {
                state
                    .violations
                    .insert(format!("an unexpected call: {target} {body}"));
                (400, json!({"__type": "UnknownOperationException"}))
            }
        }
    }
}

impl State {
    fn transact(&mut self, body: &Value) -> (u16, Value) {
        let parts = body["TransactItems"].as_array().expect("parts");
        let (token, content) = (
            text(&body["ClientRequestToken"]),
            body["TransactItems"].to_string(),
        );
        let known = self
            .tokens
            .get(token)
            .filter(|(at, _)| self.honors_tokens && at.elapsed() < TOKEN_LIFETIME);
        if let Some((_, before)) = known {
            if *before != content {
                self.violations
                    .insert("a token stands for two transactions".to_owned());
            }
            return (200, json!({}));
        }
        if self.rng.f64() < self.rates.conflict {
            let conflicting = self.rng.usize(..parts.len());
            let code = |n| {
                if n == conflicting {
                    "TransactionConflict"
                } else {
                    "None"
                }
            };
            let reasons: Vec<_> = (0..parts.len())
                .map(|n| json!({ "Code": code(n) }))
                .collect();
            return canceled(&reasons);
        }
        let mut keys = BTreeSet::new();
        let verdicts: Vec<_> = parts
            .iter()
            .map(|part| self.check(part, &mut keys))
            .collect();
        if verdicts.iter().any(Option::is_some) {
            // DynamoDB promises neither the items nor every failed part, so the model varies both.
            let (with_item, all) = (self.rng.bool(), self.rng.bool());
            let mut has_failed = false;
            let reasons: Vec<_> = verdicts
                .into_iter()
                .map(|verdict| match verdict {
                    Some(item) if all || !has_failed => {
                        has_failed = true;
                        let mut reason = json!({"Code": "ConditionalCheckFailed", "Message": "no"});
                        if let Some(item) = item.filter(|_| with_item) {
                            reason["Item"] = json!(item);
                        }
                        reason
                    }
                    _ => json!({"Code": "None"}),
                })
                .collect();
            return canceled(&reasons);
        }
        for part in parts {
            self.apply(part);
        }
        self.tokens
            .insert(token.to_owned(), (Instant::now(), content));
        (200, json!({}))
    }

    /// Checks the condition of a part. Returns the existing item if the condition does not hold.
    fn check(&mut self, part: &Value, keys: &mut BTreeSet<Key>) -> Option<Option<Item>> {
        let (kind, part) = part
            .as_object()
            .and_then(|part| part.iter().next())
            .expect("a part");
        let key = key_of(if kind == "Put" {
            &part["Item"]
        } else {
            &part["Key"]
        });
        if part["TableName"] != TABLE || !keys.insert(key.clone()) {
            self.violations
                .insert(format!("another table, or an item twice: {part}"));
        }
        let item = self.items.get(&key);
        let number = |name: &str| item.map(|item| as_number(&item[name]));
        let given = |name: &str| Some(as_number(&part["ExpressionAttributeValues"][name]));
        let holds = match text(&part["ConditionExpression"]) {
            "attribute_not_exists(sk)" => item.is_none(),
            "refunded = :before" => number("refunded") == given(":before"),
            "refunded = :before AND amount >= :after" => {
                number("refunded") == given(":before") && number("amount") >= given(":after")
            }
            other => {
                let violations = format!("a write without a condition that is known: {other:?}");
                self.violations.insert(violations);
                false
            }
        };
        (!holds).then(|| item.cloned())
    }

    fn apply(&mut self, part: &Value) {
        if let Some(item) = part["Put"]["Item"].as_object() {
            self.items
                .insert(key_of(&part["Put"]["Item"]), item.clone());
        } else if let Some(update) = part["Update"].as_object() {
            assert_eq!(text(&update["UpdateExpression"]), "SET refunded = :after");
            let item = self
                .items
                .get_mut(&key_of(&update["Key"]))
                .expect("its condition holds");
            item.insert(
                "refunded".to_owned(),
                update["ExpressionAttributeValues"][":after"].clone(),
            );
        }
    }

    /// Queries the sparse index, oldest first. The index may lag behind the table.
    fn query_outbox(&mut self, body: &Value) -> (u16, Value) {
        assert_eq!(
            text(&body["KeyConditionExpression"]),
            "outbox_shard = :shard AND outbox_at < :before"
        );
        let values = &body["ExpressionAttributeValues"];
        let (shard, before) = (text(&values[":shard"]["S"]), text(&values[":before"]["S"]));
        let is_stale = self.rng.f64() < self.rates.stale;
        let deleted = self.deleted.iter().filter(|_| is_stale);
        let mut found: Vec<_> = self
            .items
            .values()
            .chain(deleted)
            .filter(|item| {
                item.get("outbox_shard")
                    .is_some_and(|own| own["S"] == shard)
            })
            .filter(|item| text(&item["outbox_at"]["S"]) < before)
            .cloned()
            .collect();
        found.sort_by_key(|item| text(&item["outbox_at"]["S"]).to_owned());
        (
            200,
            json!({ "Items": found, "Count": found.len(), "ScannedCount": found.len() }),
        )
    }

    fn delete(&mut self, body: &Value) -> (u16, Value) {
        let requests = body["RequestItems"][TABLE]
            .as_array()
            .expect("requests")
            .clone();
        let mut left = Vec::new();
        for request in requests {
            if self.rng.f64() < self.rates.unprocessed {
                left.push(request);
                continue;
            }
            let key = key_of(&request["DeleteRequest"]["Key"]);
            if !key.1.starts_with("outbox#") {
                self.violations.insert(format!("{key:?} is deleted"));
            }
            self.deleted.extend(self.items.remove(&key));
        }
        let left = if left.is_empty() {
            json!({})
        } else {
            json!({ TABLE: left })
        };
        (200, json!({ "UnprocessedItems": left }))
    }

    fn send(&mut self, body: &Value) -> (u16, Value) {
        let queue = text(&body["QueueUrl"])
            .rsplit('/')
            .next()
            .unwrap_or_default()
            .to_owned();
        let (mut successful, mut failed) = (Vec::new(), Vec::new());
        for entry in body["Entries"].as_array().expect("entries") {
            let (fails, has_effect) = (self.rng.f64() < self.rates.entry_failed, self.rng.bool());
            if !fails || has_effect {
                let attribute =
                    |name: &str| text(&entry["MessageAttributes"][name]["StringValue"]).to_owned();
                let body = text(&entry["MessageBody"]).to_owned();
                self.sent.push((
                    queue.clone(),
                    attribute("tenant_id"),
                    attribute("message_id"),
                    body,
                ));
            }
            let id = &entry["Id"];
            if fails {
                failed.push(json!({"Id": id, "Code": "InternalError", "SenderFault": false}));
            } else {
                successful.push(json!({"Id": id, "MessageId": "m", "MD5OfMessageBody": "m"}));
            }
        }
        (200, json!({ "Successful": successful, "Failed": failed }))
    }
}

fn canceled(reasons: &[Value]) -> (u16, Value) {
    let body = json!({"__type": "com.amazonaws.dynamodb.v20120810#TransactionCanceledException",
        "Message": "canceled", "CancellationReasons": reasons});
    (400, body)
}

/// Parameters of two tenants of the pool: one uses the pool's queue, the other its own.
fn parameters(body: &Value) -> Value {
    let queue = |name: &str| Some(format!("arn:aws:sqs:us-east-1:000000000000:{name}"));
    let value = |name: &str| match name {
        "/tenant-2/consumer_sqs" => queue("consumer-pool-1-x7k"),
        "/tenant-3/consumer_sqs" => queue("consumer-tenant-3-x7k"),
        "/tenant-2/tier" => Some("basic".to_owned()),
        "/tenant-3/tier" => Some("advanced".to_owned()),
        "/pool-1/payments_ddb" | "/tenant-2/payments_ddb" | "/tenant-3/payments_ddb" => Some(
            format!("arn:aws:dynamodb:us-east-1:000000000000:table/{TABLE}"),
        ),
        _ => None,
    };
    let names = body["Names"]
        .as_array()
        .expect("names")
        .iter()
        .filter_map(Value::as_str);
    let found: Vec<_> = names
        .filter_map(|name| Some(json!({"Name": name, "Value": value(name)?, "Type": "String"})))
        .collect();
    json!({ "Parameters": found })
}

fn key_of(item: &Value) -> Key {
    (
        text(&item["tenant_id"]["S"]).to_owned(),
        text(&item["sk"]["S"]).to_owned(),
    )
}

/// Returns a text, or the empty text for any other value.
pub(crate) fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// Returns the value of a number attribute.
pub(crate) fn as_number(value: &Value) -> u64 {
    text(&value["N"]).parse().expect("a whole number")
}
