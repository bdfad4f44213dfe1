//! Every kind of fault that the endpoint can inject, as its rules. Pure.

use serde_json::{Value, json};

/// Default rate of a fault.
pub const RATE: f64 = 0.05;
/// Delay longer than the time-out of an attempt (3 s).
const TIMEOUT_MS: u64 = 3_500;
/// Delay longer than the time-out of a long poll, which is 5 s beyond its wait.
const POLL_TIMEOUT_MS: u64 = 6_500;
/// Delay of a slow answer, within every time-out.
const SLOW_MS: u64 = 250;

/// Calls for messages and items.
const ENGINE: [&str; 8] = [
    "SQS.SendMessage",
    "SQS.SendMessageBatch",
    "SQS.ReceiveMessage",
    "SQS.DeleteMessage",
    "SQS.DeleteMessageBatch",
    "SQS.ChangeMessageVisibilityBatch",
    "DynamoDB.BatchWriteItem",
    "DynamoDB.PutItem",
];
/// Calls with several entries.
const BATCHES: [&str; 3] = [
    "SQS.SendMessageBatch",
    "SQS.DeleteMessageBatch",
    "SQS.ChangeMessageVisibilityBatch",
];

/// A kind of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Kind {
    /// AWS throttles.
    Throttles,
    Errors500,
    Errors503,
    /// No answer within the time-out; half of these calls are done all the same.
    TimeOuts,
    /// The connection is closed before the call is done.
    Resets,
    /// The call is done, and the connection is closed.
    LostAnswers,
    /// A late answer within the time-out.
    SlowAnswers,
    /// Entries of a batch fail; some of them are done all the same.
    PartialFailures,
    /// Items of a BatchWriteItem stay unprocessed.
    UnprocessedItems,
    /// Leases that end at once: the message is delivered again, and the first receipt handle is stale.
    StaleHandles,
    /// The queue delivers a message twice.
    Duplicates,
    /// Later messages overtake earlier ones.
    OutOfOrder,
}

impl Kind {
    pub const ALL: [Self; 12] = [
        Self::Throttles,
        Self::Errors500,
        Self::Errors503,
        Self::TimeOuts,
        Self::Resets,
        Self::LostAnswers,
        Self::SlowAnswers,
        Self::PartialFailures,
        Self::UnprocessedItems,
        Self::StaleHandles,
        Self::Duplicates,
        Self::OutOfOrder,
    ];

    /// The name in the table.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Throttles => "throttles",
            Self::Errors500 => "errors 500",
            Self::Errors503 => "errors 503",
            Self::TimeOuts => "time-outs",
            Self::Resets => "resets before the work",
            Self::LostAnswers => "resets after the work",
            Self::SlowAnswers => "slow answers",
            Self::PartialFailures => "partial batch failures",
            Self::UnprocessedItems => "unprocessed items",
            Self::StaleHandles => "stale receipt handles",
            Self::Duplicates => "duplicates",
            Self::OutOfOrder => "out of order",
        }
    }

    pub fn rules(self, rate: f64) -> Vec<Value> {
        let on = |actions: &[&str], effect: Value| -> Vec<Value> {
            actions
                .iter()
                .map(|action| rule(action, rate, &effect))
                .collect()
        };
        let error =
            |code: &str, status: u16| json!({ "error": { "code": code, "status": status } });
        let partial = |when: &str| json!({ "partial": { "code": "InternalError" }, "when": when });
        match self {
            Self::Throttles => on(&["SQS.*"], error("RequestThrottled", 400))
                .into_iter()
                .chain(on(
                    &["SSM.*", "DynamoDB.*"],
                    error("ThrottlingException", 400),
                ))
                .collect(),
            Self::Errors500 => on(&["*"], error("InternalFailure", 500)),
            Self::Errors503 => on(&["*"], error("ServiceUnavailable", 503)),
            Self::TimeOuts => [("before", rate / 2.0), ("after", rate / 2.0)]
                .into_iter()
                .flat_map(|(when, rate)| {
                    ENGINE.into_iter().chain(["SSM.*"]).map(move |action| {
                        let polls = action == "SQS.ReceiveMessage";
                        let delay_ms = if polls { POLL_TIMEOUT_MS } else { TIMEOUT_MS };
                        rule(action, rate, &json!({ "delay_ms": delay_ms, "when": when }))
                    })
                })
                .collect(),
            Self::Resets => on(&["*"], json!({ "drop": true })),
            Self::LostAnswers => on(&["*"], json!({ "drop": true, "when": "after" })),
            Self::SlowAnswers => on(&["*"], json!({ "delay_ms": SLOW_MS })),
            Self::PartialFailures => on(&BATCHES, partial("before"))
                .into_iter()
                .chain(on(&BATCHES, partial("after")))
                .collect(),
            Self::UnprocessedItems => {
                on(&["DynamoDB.BatchWriteItem"], json!({ "unprocessed": true }))
            }
            Self::StaleHandles => on(&["SQS.ReceiveMessage"], json!({ "stale": true })),
            Self::Duplicates => on(
                &["SQS.SendMessage", "SQS.SendMessageBatch"],
                json!({ "duplicate": true }),
            ),
            Self::OutOfOrder => on(
                &["SQS.SendMessage", "SQS.SendMessageBatch"],
                json!({ "late_s": 2 }),
            ),
        }
    }
}

/// Rules for a Parameter Store that does not answer.
pub fn no_parameters() -> Vec<Value> {
    vec![rule("SSM.*", 1.0, &json!({ "drop": true }))]
}

/// Rules that refuse every call for expired credentials.
pub fn expired_credentials() -> Vec<Value> {
    let error = json!({ "error": { "code": "ExpiredTokenException", "status": 400 } });
    vec![rule("*", 1.0, &error)]
}

/// Gives each rule a seed of its own: with a common seed, all rules of a call would take effect on the same calls.
pub fn seed_rules(rules: &mut [Value], rng: &mut fastrand::Rng) {
    for rule in rules {
        rule["seed"] = rng.u32(..).into();
    }
}

fn rule(action: &str, rate: f64, effect: &Value) -> Value {
    let mut rule = json!({ "action": action, "rate": rate });
    if let (Some(rule), Some(effect)) = (rule.as_object_mut(), effect.as_object()) {
        rule.extend(effect.clone());
    }
    rule
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_kind_has_a_name_of_its_own_and_rules_at_its_rate() {
        let names: BTreeSet<_> = Kind::ALL.iter().map(|kind| kind.name()).collect();
        assert_eq!(names.len(), Kind::ALL.len());
        for kind in Kind::ALL {
            let rules = kind.rules(RATE);
            let rates: f64 = rules.iter().filter_map(|rule| rule["rate"].as_f64()).sum();
            assert!(!rules.is_empty() && rates > 0.0, "{kind:?}");
            assert!(
                rules.iter().all(|rule| rule["action"].is_string()),
                "{rules:?}"
            );
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_rule_seeds_and_each_rule_gets_its_own() {
        let rule_seeds = || {
            let mut rules = Kind::TimeOuts.rules(RATE);
            seed_rules(&mut rules, &mut fastrand::Rng::with_seed(7));
            rules
                .iter()
                .filter_map(|rule| rule["seed"].as_u64())
                .collect::<Vec<_>>()
        };
        assert_eq!(rule_seeds(), rule_seeds());
        assert_eq!(BTreeSet::from_iter(rule_seeds()).len(), rule_seeds().len());
    }
}
