//! Faults on request, so that tests can see how clients bear them.
//!
//! A rule names an action and one effect; its own seeded generator decides each time, so the same calls in
//! the same order meet the same faults. Rules live in memory and start empty. An effect acts *before* the
//! work, or *after* it: the work is done and the answer is lost, late, or an error. Some befall single messages:
//! an entry that fails, and what standard queues may do to any message: deliver it twice, or late.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use hyper::StatusCode;
use serde::{Deserialize, Serialize};

/// Rules at a time (ours).
const RULES_MAX: usize = 100;
/// Longest delay a rule may ask for, in milliseconds (ours).
const DELAY_MS_MAX: u64 = 120_000;
/// Longest a rule may hold a message back, in seconds: as long as a sender may.
const LATE_S_MAX: u32 = 900;

/// When an effect acts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
enum When {
    #[default]
    Before,
    After,
}

/// The error a rule answers with.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct InjectedError {
    /// AWS error code.
    pub(crate) code: String,
    /// HTTP status, 400–599.
    #[serde(default = "bad_request")]
    pub(crate) status: u16,
}

fn bad_request() -> u16 {
    StatusCode::BAD_REQUEST.as_u16()
}

/// The failure of single batch entries.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Partial {
    code: String,
}

/// A rule as it is written and shown. Exactly one of the effects is set.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Spec {
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
    partial: Option<Partial>,
    #[serde(default, skip_serializing_if = "is_false")]
    unprocessed: bool,
    /// A received message is visible again at once: it is delivered again, and then this receipt handle is stale.
    #[serde(default, skip_serializing_if = "is_false")]
    stale: bool,
    /// The queue keeps two copies of a sent message, under one id.
    #[serde(default, skip_serializing_if = "is_false")]
    duplicate: bool,
    /// A sent message can be received only after so many seconds; later ones overtake it.
    #[serde(skip_serializing_if = "Option::is_none")]
    late_s: Option<u32>,
}

fn always() -> f64 {
    1.0
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde calls it with a reference"
)]
fn is_false(flag: &bool) -> bool {
    !flag
}

#[derive(Debug)]
struct Rule {
    spec: Spec,
    random: fastrand::Rng,
    injected: u64,
}

/// A rule as shown, with how often it acted.
#[derive(Debug, Serialize)]
pub(crate) struct RuleReport {
    #[serde(flatten)]
    spec: Spec,
    injected: u64,
}

/// The fault rules of one endpoint.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    any: AtomicBool,
    rules: Mutex<Vec<Rule>>,
}

/// What happens to one call.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Plan {
    /// Before the work.
    pub(crate) before: Steps,
    /// After the work, before the answer.
    pub(crate) after: Steps,
}

/// What happens at one point of a call.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Steps {
    /// Wait this long first.
    pub(crate) delay: Duration,
    /// Then end the call.
    pub(crate) end: Option<End>,
}

/// How a call ends early.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// With an error.
    Error(InjectedError),
    /// With a closed connection and no answer.
    Drop,
}

impl Faults {
    /// Replaces the rules by the given JSON list.
    ///
    /// # Errors
    /// A sentence that says what is wrong; the rules stay as they were.
    pub(crate) fn replace(&self, json: &[u8]) -> Result<(), String> {
        let specs: Vec<Spec> = serde_json::from_slice(json).map_err(|error| {
            format!("expected a JSON list of rules like {{\"action\":\"SQS.*\",\"rate\":0.1,\"drop\":true}}: {error}")
        })?;
        if specs.len() > RULES_MAX {
            return Err(format!(
                "{} rules are too many, the limit is {RULES_MAX}",
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
        *self.rules() = rules;
        self.any.store(!self.rules().is_empty(), Ordering::Relaxed);
        Ok(())
    }

    /// Removes all rules.
    pub(crate) fn clear(&self) {
        self.rules().clear();
        self.any.store(false, Ordering::Relaxed);
    }

    /// The rules and how often each acted.
    pub(crate) fn report(&self) -> Vec<RuleReport> {
        self.rules()
            .iter()
            .map(|r| RuleReport {
                spec: r.spec.clone(),
                injected: r.injected,
            })
            .collect()
    }

    /// Decides what happens to a call of `action`, e.g. `SQS.SendMessage`.
    pub(crate) fn plan(&self, action: &str) -> Plan {
        let mut plan = Plan::default();
        if !self.any.load(Ordering::Relaxed) {
            return plan;
        }
        for rule in self
            .rules()
            .iter_mut()
            .filter(|rule| rule.concerns(action) && rule.spec.is_whole_call())
        {
            let steps = match rule.spec.when {
                When::Before => &mut plan.before,
                When::After => &mut plan.after,
            };
            if steps.end.is_some() || !rule.hits() {
                continue;
            }
            steps.delay += Duration::from_millis(rule.spec.delay_ms.unwrap_or(0));
            steps.end = match &rule.spec.error {
                Some(error) => Some(End::Error(error.clone())),
                None => rule.spec.drop.then_some(End::Drop),
            };
        }
        plan
    }

    /// The injected failures of single entries of a call of `action`.
    pub(crate) fn entries(self: &Arc<Self>, action: &str) -> EntryFaults {
        let concerned = self.any.load(Ordering::Relaxed)
            && self
                .rules()
                .iter()
                .any(|r| r.concerns(action) && !r.spec.is_whole_call());
        EntryFaults(concerned.then(|| (Arc::clone(self), action.to_owned())))
    }

    fn rules(&self) -> MutexGuard<'_, Vec<Rule>> {
        // Rules stay whole whoever panics.
        self.rules.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Decides entry by entry of one call.
#[derive(Debug, Default)]
pub(crate) struct EntryFaults(Option<(Arc<Faults>, String)>);

/// The injected failure of one entry.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct EntryFault {
    /// Error code of the entry.
    pub(crate) code: String,
    /// Whether the entry's work is done all the same.
    pub(crate) after: bool,
}

impl EntryFaults {
    /// Whether, and how, the next entry of a batch fails.
    pub(crate) fn draw(&self) -> Option<EntryFault> {
        let (faults, action) = self.0.as_ref()?;
        let mut rules = faults.rules();
        let mut concerned = rules.iter_mut().filter(|rule| rule.concerns(action));
        concerned.find_map(|rule| {
            let code = rule.spec.partial.as_ref()?.code.clone();
            let after = rule.spec.when == When::After;
            rule.hits().then_some(EntryFault { code, after })
        })
    }

    /// Whether the next item of a `BatchWriteItem` is left unprocessed.
    pub(crate) fn draw_unprocessed(&self) -> bool {
        self.draw_of(|spec| spec.unprocessed.then_some(()))
            .is_some()
    }

    /// Whether the lease of the next received message ends at once.
    pub(crate) fn draw_stale(&self) -> bool {
        self.draw_of(|spec| spec.stale.then_some(())).is_some()
    }

    /// Whether the queue keeps the next sent message twice.
    pub(crate) fn draw_duplicate(&self) -> bool {
        self.draw_of(|spec| spec.duplicate.then_some(())).is_some()
    }

    /// For how many seconds the next sent message is held back, if it is.
    pub(crate) fn draw_late_s(&self) -> Option<u32> {
        self.draw_of(|spec| spec.late_s)
    }

    /// What the first rule with this effect that hits says of it.
    fn draw_of<T>(&self, effect: impl Fn(&Spec) -> Option<T>) -> Option<T> {
        let (faults, action) = self.0.as_ref()?;
        let mut rules = faults.rules();
        let mut concerned = rules.iter_mut().filter(|rule| rule.concerns(action));
        concerned.find_map(|rule| effect(&rule.spec).filter(|_| rule.hits()))
    }

    /// Whether no rule concerns the call.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_none()
    }
}

impl Spec {
    fn is_whole_call(&self) -> bool {
        self.partial.is_none()
            && !self.unprocessed
            && !self.stale
            && !self.duplicate
            && self.late_s.is_none()
    }
}

impl Rule {
    fn concerns(&self, action: &str) -> bool {
        match self.spec.action.strip_suffix('*') {
            Some(prefix) => action.starts_with(prefix),
            None => action == self.spec.action,
        }
    }

    fn hits(&mut self) -> bool {
        if self.spec.limit.is_some_and(|limit| self.injected >= limit) {
            return false;
        }
        let hit = self.random.f64() < self.spec.rate;
        self.injected += u64::from(hit);
        hit
    }
}

fn check(spec: &Spec) -> Result<(), String> {
    let well_formed = spec.action == "*"
        || spec.action.split_once('.').is_some_and(|(service, name)| {
            matches!(
                service,
                "SQS" | "SSM" | "STS" | "DynamoDB" | "DynamoDBStreams"
            ) && (name == "*"
                || (!name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric())))
        });
    if !well_formed {
        return Err(
            "action must be \"*\", \"<service>.*\" or \"<service>.<name>\", service one of SQS, SSM, STS, \
                    DynamoDB, DynamoDBStreams"
                .into(),
        );
    }
    if !(0.0..=1.0).contains(&spec.rate) {
        return Err(format!("rate {} must be between 0 and 1", spec.rate));
    }
    let effects = usize::from(spec.error.is_some())
        + usize::from(spec.delay_ms.is_some())
        + usize::from(spec.drop)
        + usize::from(spec.partial.is_some())
        + usize::from(spec.unprocessed)
        + usize::from(spec.stale)
        + usize::from(spec.duplicate)
        + usize::from(spec.late_s.is_some());
    if effects != 1 {
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
    check_messages(spec)
}

/// What befalls single messages, and only with the calls that send or receive them.
fn check_messages(spec: &Spec) -> Result<(), String> {
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
        return Err("what befalls single messages has no \"when\"".into());
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
                .map(|_| faults.plan("SQS.SendMessage").before.end.is_some())
                .collect::<Vec<_>>()
        };
        let first = run(&faults(rule));
        assert_eq!(first, run(&faults(rule)));
        let hits = first.iter().filter(|hit| **hit).count();
        assert!((15..=45).contains(&hits), "{hits} of 100 at a rate of 0.3");
    }

    #[test]
    fn a_rule_concerns_its_action_service_or_everything() {
        for (action, hits) in [
            ("SQS.SendMessage", [true, false]),
            ("SQS.*", [true, false]),
            ("*", [true, true]),
        ] {
            let faults = faults(&format!(r#"[{{"action":"{action}","drop":true}}]"#));
            let got = ["SQS.SendMessage", "SSM.GetParameter"]
                .map(|a| faults.plan(a).before.end.is_some());
            assert_eq!(got, hits, "{action}");
        }
    }

    #[test]
    fn a_limit_ends_a_rule_and_delays_add_up() {
        let faults = faults(
            r#"[{"action":"*","delay_ms":10},{"action":"*","delay_ms":5,"when":"after"},
                {"action":"*","error":{"code":"ThrottlingException"},"limit":1},{"action":"*","drop":true}]"#,
        );
        let first = faults.plan("SSM.GetParameter");
        let error = InjectedError {
            code: "ThrottlingException".into(),
            status: 400,
        };
        assert_eq!(
            first.before,
            Steps {
                delay: Duration::from_millis(10),
                end: Some(End::Error(error))
            }
        );
        assert_eq!(
            first.after,
            Steps {
                delay: Duration::from_millis(5),
                end: None
            }
        );
        assert_eq!(faults.plan("SSM.GetParameter").before.end, Some(End::Drop));
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
        let entries = faults.entries("SQS.SendMessageBatch");
        let drawn: Vec<_> = (0..3).map(|_| entries.draw().is_some()).collect();
        assert_eq!(drawn, [true, true, false]);
        assert!(faults.entries("SQS.SendMessage").is_empty());
        assert_eq!(faults.plan("SQS.SendMessageBatch"), Plan::default());
    }

    #[test]
    fn mistakes_are_named_and_change_nothing() {
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
