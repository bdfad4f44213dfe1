//! Injected faults, so that tests can check how clients handle them.
//!
//! A rule names an action and one effect. Its own seeded random generator decides on each call, so the same calls in
//! the same order meet the same faults. Rules live in memory; there are none at start.
//!
//! An effect applies *before* or *after* the operation runs. An effect after the operation loses or delays its response,
//! or replaces it by an error. Other effects concern a single message or batch entry: the entry fails, or the
//! message is delivered twice or late, as standard queues may do.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use hyper::StatusCode;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

/// Number of rules (ours).
const RULES_MAX: usize = 100;
/// Longest delay of a rule, in milliseconds (ours).
const DELAY_MS_MAX: u64 = 120_000;
/// Longest delivery delay of a rule, in seconds: the limit of `DelaySeconds`.
const LATE_S_MAX: u32 = 900;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
enum When {
    #[default]
    Before,
    After,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct InjectedError {
    pub(crate) code: String,
    /// HTTP status, 400 to 599.
    #[serde(default = "bad_request")]
    pub(crate) status: u16,
}

fn bad_request() -> u16 {
    StatusCode::BAD_REQUEST.as_u16()
}

/// Failure of single batch entries.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct EntryFailure {
    code: String,
}

/// A rule in JSON. Exactly one of the effects is set.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct RuleSpec {
    action: String,
    #[serde(default = "always")]
    rate: f64,
    #[serde(default)]
    seed: u64,
    #[serde(default)]
    when: When,
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<InjectedError>,
    #[serde(skip_serializing_if = "Option::is_none")]
    delay_ms: Option<u64>,
    #[serde(default, skip_serializing_if = "is_false")]
    drop: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    partial: Option<EntryFailure>,
    #[serde(default, skip_serializing_if = "is_false")]
    unprocessed: bool,
    /// A received message becomes visible again at once, so that its receipt handle is stale after the next receive.
    #[serde(default, skip_serializing_if = "is_false")]
    stale: bool,
    /// The queue stores two copies of a sent message, under one message id.
    #[serde(default, skip_serializing_if = "is_false")]
    duplicate: bool,
    /// A sent message is delayed by this many seconds, so that later ones overtake it.
    #[serde(skip_serializing_if = "Option::is_none")]
    late_s: Option<u32>,
}

fn always() -> f64 {
    1.0
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference"
)]
fn is_false(flag: &bool) -> bool {
    !flag
}

#[derive(Debug)]
struct Rule {
    spec: RuleSpec,
    random: fastrand::Rng,
    injected: u64,
}

/// A rule, and how often it applied.
#[derive(Debug, Serialize)]
pub(crate) struct RuleReport {
    #[serde(flatten)]
    spec: RuleSpec,
    injected: u64,
}

/// The fault rules of one endpoint.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    /// Whether there are rules; spares the lock on each call.
    any: AtomicBool,
    rules: Mutex<Vec<Rule>>,
}

/// Faults of one call.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct CallFaults {
    /// Before the operation.
    pub(crate) before: FaultSteps,
    /// After the operation, before the response.
    pub(crate) after: FaultSteps,
}

/// Faults at one point of a call.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct FaultSteps {
    /// Applied first.
    pub(crate) delay: Duration,
    pub(crate) abort: Option<Abort>,
}

/// Early end of a call.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Abort {
    Error(InjectedError),
    /// Closes the connection without a response.
    Drop,
}

impl Faults {
    /// Replaces the rules by a JSON list.
    ///
    /// # Errors
    /// A sentence for the tester; the rules do not change then.
    pub(crate) fn replace(&self, json: &[u8]) -> Result<(), String> {
        let specs: Vec<RuleSpec> = serde_json::from_slice(json).map_err(|error| {
            format!("expected a JSON list of rules like {{\"action\":\"SQS.*\",\"rate\":0.1,\"drop\":true}}: {error}")
        })?;
        if specs.len() > RULES_MAX {
            return Err(format!(
                "{} rules exceed the limit of {RULES_MAX}",
                specs.len()
            ));
        }
        for (index, spec) in specs.iter().enumerate() {
            check(spec).map_err(|reason| format!("rule {index} ({}): {reason}", spec.action))?;
        }
        let rules = specs
            .into_iter()
            .map(|spec| Rule {
                random: fastrand::Rng::with_seed(spec.seed),
                spec,
                injected: 0,
            })
            .collect();
        *self.rules.lock() = rules;
        self.any
            .store(!self.rules.lock().is_empty(), Ordering::Relaxed);
        Ok(())
    }

    pub(crate) fn clear(&self) {
        self.rules.lock().clear();
        self.any.store(false, Ordering::Relaxed);
    }

    pub(crate) fn report(&self) -> Vec<RuleReport> {
        self.rules
            .lock()
            .iter()
            .map(|r| RuleReport {
                spec: r.spec.clone(),
                injected: r.injected,
            })
            .collect()
    }

    /// Decides the faults of one call of `action`, e.g. `SQS.SendMessage`.
    pub(crate) fn for_call(&self, action: &str) -> CallFaults {
        let mut faults = CallFaults::default();
        if !self.any.load(Ordering::Relaxed) {
            return faults;
        }
        for rule in self
            .rules
            .lock()
            .iter_mut()
            .filter(|rule| rule.matches(action) && rule.spec.is_whole_call())
        {
            let steps = match rule.spec.when {
                When::Before => &mut faults.before,
                When::After => &mut faults.after,
            };
            if steps.abort.is_some() || !rule.applies() {
                continue;
            }
            steps.delay += Duration::from_millis(rule.spec.delay_ms.unwrap_or(0));
            steps.abort = match &rule.spec.error {
                Some(error) => Some(Abort::Error(error.clone())),
                None => rule.spec.drop.then_some(Abort::Drop),
            };
        }
        faults
    }

    /// Returns the faults of single entries and messages in a call of `action`.
    pub(crate) fn for_entries(self: &Arc<Self>, action: &str) -> EntryFaults {
        let matching = self.any.load(Ordering::Relaxed)
            && self
                .rules
                .lock()
                .iter()
                .any(|r| r.matches(action) && !r.spec.is_whole_call());
        EntryFaults(matching.then(|| (Arc::clone(self), action.to_owned())))
    }
}

/// Decides the faults of single entries and messages in one call.
#[derive(Debug, Default)]
pub(crate) struct EntryFaults(Option<(Arc<Faults>, String)>);

/// Injected failure of one entry.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct EntryFault {
    pub(crate) code: String,
    /// Whether the entry is processed before it is reported as failed.
    pub(crate) after: bool,
}

impl EntryFaults {
    /// Decides whether the next entry of a batch fails.
    pub(crate) fn draw(&self) -> Option<EntryFault> {
        let (faults, action) = self.0.as_ref()?;
        let mut rules = faults.rules.lock();
        let mut matching = rules.iter_mut().filter(|rule| rule.matches(action));
        matching.find_map(|rule| {
            let code = rule.spec.partial.as_ref()?.code.clone();
            let after = rule.spec.when == When::After;
            rule.applies().then_some(EntryFault { code, after })
        })
    }

    /// Decides whether the next item of a `BatchWriteItem` stays unprocessed.
    pub(crate) fn draw_unprocessed(&self) -> bool {
        self.draw_of(|spec| spec.unprocessed.then_some(()))
            .is_some()
    }

    /// Decides whether the next received message becomes visible again at once.
    pub(crate) fn draw_stale(&self) -> bool {
        self.draw_of(|spec| spec.stale.then_some(())).is_some()
    }

    /// Decides whether the queue stores the next sent message twice.
    pub(crate) fn draw_duplicate(&self) -> bool {
        self.draw_of(|spec| spec.duplicate.then_some(())).is_some()
    }

    /// Decides whether the next sent message is delayed, and by how many seconds.
    pub(crate) fn draw_late_s(&self) -> Option<u32> {
        self.draw_of(|spec| spec.late_s)
    }

    /// Returns the effect of the first rule that has it and applies.
    fn draw_of<T>(&self, effect: impl Fn(&RuleSpec) -> Option<T>) -> Option<T> {
        let (faults, action) = self.0.as_ref()?;
        let mut rules = faults.rules.lock();
        let mut matching = rules.iter_mut().filter(|rule| rule.matches(action));
        matching.find_map(|rule| effect(&rule.spec).filter(|_| rule.applies()))
    }

    /// Whether no rule matches the call.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_none()
    }
}

impl RuleSpec {
    fn is_whole_call(&self) -> bool {
        self.partial.is_none()
            && !self.unprocessed
            && !self.stale
            && !self.duplicate
            && self.late_s.is_none()
    }
}

impl Rule {
    fn matches(&self, action: &str) -> bool {
        match self.spec.action.strip_suffix('*') {
            Some(prefix) => action.starts_with(prefix),
            None => action == self.spec.action,
        }
    }

    fn applies(&mut self) -> bool {
        if self.spec.limit.is_some_and(|limit| self.injected >= limit) {
            return false;
        }
        let hit = self.random.f64() < self.spec.rate;
        self.injected += u64::from(hit);
        hit
    }
}

fn check(spec: &RuleSpec) -> Result<(), String> {
    if !is_action(&spec.action) {
        return Err("action must be \"*\", \"<service>.*\" or \"<service>.<name>\", service one of SQS, SSM, STS, \
                    DynamoDB, DynamoDBStreams"
            .into());
    }
    if !(0.0..=1.0).contains(&spec.rate) {
        return Err(format!("rate {} must be between 0 and 1", spec.rate));
    }
    let effects = [
        spec.error.is_some(),
        spec.delay_ms.is_some(),
        spec.drop,
        spec.partial.is_some(),
        spec.unprocessed,
        spec.stale,
        spec.duplicate,
        spec.late_s.is_some(),
    ];
    if effects.into_iter().filter(|is_set| *is_set).count() != 1 {
        return Err(
            "exactly one of error, delay_ms, drop, partial, unprocessed, stale, duplicate and late_s must be set"
                .into(),
        );
    }
    if let Some(error) = &spec.error
        && !(400..=599).contains(&error.status)
    {
        return Err(format!(
            "error.status {} must be between 400 and 599",
            error.status
        ));
    }
    let codes = [
        spec.error.as_ref().map(|e| &e.code),
        spec.partial.as_ref().map(|p| &p.code),
    ];
    if codes
        .into_iter()
        .flatten()
        .any(|c| c.is_empty() || !c.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'.'))
    {
        return Err("code must be ASCII letters, digits and dots".into());
    }
    if spec.delay_ms.is_some_and(|delay| delay > DELAY_MS_MAX) {
        return Err(format!("delay_ms must be at most {DELAY_MS_MAX}"));
    }
    check_entries(spec)?;
    check_messages(spec)
}

fn is_action(action: &str) -> bool {
    let is_operation = |(service, name): (&str, &str)| {
        matches!(
            service,
            "SQS" | "SSM" | "STS" | "DynamoDB" | "DynamoDBStreams"
        ) && (name == "*" || (!name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric())))
    };
    action == "*" || action.split_once('.').is_some_and(is_operation)
}

/// Checks the effects on single entries of a batch.
fn check_entries(spec: &RuleSpec) -> Result<(), String> {
    if spec.partial.is_some() && !(spec.action.starts_with("SQS.") || spec.action == "*") {
        return Err("partial is for the batch actions of SQS".into());
    }
    if spec.unprocessed
        && !matches!(
            spec.action.as_str(),
            "DynamoDB.BatchWriteItem" | "DynamoDB.*" | "*"
        )
    {
        return Err("unprocessed is for DynamoDB.BatchWriteItem".into());
    }
    if spec.unprocessed && spec.when == When::After {
        return Err("unprocessed items are not written, so \"when\" cannot be \"after\"".into());
    }
    Ok(())
}

/// Checks the effects on single messages, which only calls that send or receive messages can have.
fn check_messages(spec: &RuleSpec) -> Result<(), String> {
    let any = matches!(spec.action.as_str(), "*" | "SQS.*");
    let sends = any
        || matches!(
            spec.action.as_str(),
            "SQS.SendMessage" | "SQS.SendMessageBatch"
        );
    if spec.stale && !any && spec.action != "SQS.ReceiveMessage" {
        return Err("stale is for SQS.ReceiveMessage".into());
    }
    if (spec.duplicate || spec.late_s.is_some()) && !sends {
        return Err("duplicate and late_s are for SQS.SendMessage and SQS.SendMessageBatch".into());
    }
    if spec
        .late_s
        .is_some_and(|late_s| !(1..=LATE_S_MAX).contains(&late_s))
    {
        return Err(format!("late_s must be between 1 and {LATE_S_MAX}"));
    }
    if (spec.stale || spec.duplicate || spec.late_s.is_some()) && spec.when == When::After {
        return Err("stale, duplicate and late_s have no \"when\"".into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(json: &str) -> Arc<Faults> {
        let faults = Arc::new(Faults::default());
        faults.replace(json.as_bytes()).unwrap();
        faults
    }

    #[test]
    fn the_same_seed_repeats_the_same_faults() {
        let rule = r#"[{"action":"SQS.*","rate":0.3,"seed":7,"drop":true}]"#;
        let run = |faults: &Faults| {
            (0..100)
                .map(|_| faults.for_call("SQS.SendMessage").before.abort.is_some())
                .collect::<Vec<_>>()
        };
        let first = run(&faults(rule));
        assert_eq!(first, run(&faults(rule)));
        let hits = first.iter().filter(|hit| **hit).count();
        assert!((15..=45).contains(&hits), "{hits} of 100 at a rate of 0.3");
    }

    #[test]
    fn a_rule_matches_an_action_a_service_or_every_call() {
        for (action, hits) in [
            ("SQS.SendMessage", [true, false]),
            ("SQS.*", [true, false]),
            ("*", [true, true]),
        ] {
            let faults = faults(&format!(r#"[{{"action":"{action}","drop":true}}]"#));
            let got = ["SQS.SendMessage", "SSM.GetParameter"]
                .map(|a| faults.for_call(a).before.abort.is_some());
            assert_eq!(got, hits, "{action}");
        }
    }

    #[test]
    fn a_rule_ends_at_its_limit_and_delays_add_up() {
        let faults = faults(
            r#"[{"action":"*","delay_ms":10},{"action":"*","delay_ms":5,"when":"after"},
                {"action":"*","error":{"code":"ThrottlingException"},"limit":1},{"action":"*","drop":true}]"#,
        );
        let first = faults.for_call("SSM.GetParameter");
        let error = InjectedError {
            code: "ThrottlingException".into(),
            status: 400,
        };
        assert_eq!(
            first.before,
            FaultSteps {
                delay: Duration::from_millis(10),
                abort: Some(Abort::Error(error))
            }
        );
        assert_eq!(
            first.after,
            FaultSteps {
                delay: Duration::from_millis(5),
                abort: None
            }
        );
        assert_eq!(
            faults.for_call("SSM.GetParameter").before.abort,
            Some(Abort::Drop)
        );
        assert_eq!(
            faults
                .report()
                .iter()
                .map(|r| r.injected)
                .collect::<Vec<_>>(),
            [2, 2, 1, 1]
        );
    }

    #[test]
    fn entries_fail_one_by_one() {
        let faults = faults(
            r#"[{"action":"SQS.SendMessageBatch","partial":{"code":"InternalError"},"limit":2}]"#,
        );
        let entries = faults.for_entries("SQS.SendMessageBatch");
        let drawn: Vec<_> = (0..3).map(|_| entries.draw().is_some()).collect();
        assert_eq!(drawn, [true, true, false]);
        assert!(faults.for_entries("SQS.SendMessage").is_empty());
        assert_eq!(
            faults.for_call("SQS.SendMessageBatch"),
            CallFaults::default()
        );
    }

    #[test]
    fn an_invalid_rule_is_reported_and_changes_nothing() {
        let faults = faults(r#"[{"action":"*","drop":true}]"#);
        for (json, word) in [
            ("{", "JSON list"),
            (r#"[{"action":"S3.GetObject","drop":true}]"#, "action"),
            (r#"[{"action":"*","rate":2,"drop":true}]"#, "rate"),
            (r#"[{"action":"*"}]"#, "exactly one"),
            (
                r#"[{"action":"*","drop":true,"delay_ms":1}]"#,
                "exactly one",
            ),
            (
                r#"[{"action":"*","error":{"code":"X","status":200}}]"#,
                "status",
            ),
            (r#"[{"action":"*","error":{"code":"X Y"}}]"#, "code"),
            (r#"[{"action":"*","delay_ms":999999}]"#, "delay_ms"),
            (r#"[{"action":"SSM.*","partial":{"code":"X"}}]"#, "partial"),
            (r#"[{"action":"SQS.*","unprocessed":true}]"#, "unprocessed"),
            (r#"[{"action":"*","dropp":true}]"#, "dropp"),
            (
                r#"[{"action":"SQS.DeleteMessageBatch","stale":true}]"#,
                "stale",
            ),
            (
                r#"[{"action":"SQS.ReceiveMessage","duplicate":true}]"#,
                "duplicate",
            ),
            (r#"[{"action":"SQS.SendMessage","late_s":901}]"#, "late_s"),
            (
                r#"[{"action":"SQS.SendMessage","late_s":1,"when":"after"}]"#,
                "when",
            ),
        ] {
            let error = faults.replace(json.as_bytes()).unwrap_err();
            assert!(error.contains(word), "{json}: {error}");
        }
        assert_eq!(faults.report().len(), 1);
        let many = format!(
            "[{}]",
            vec![r#"{"action":"*","drop":true}"#; RULES_MAX + 1].join(",")
        );
        assert!(faults.replace(many.as_bytes()).is_err());
    }
}
