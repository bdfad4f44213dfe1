//! Operations: each commit with a request's id is one. They are derived from the history, so a restart loses none.
//!
//! An operation ends when its tenants answer, or no longer do, as the load balancer shows; [`end_of`] decides that, purely. A
//! blocked operation fails once nothing has progressed for the configured time.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use crate::history::Commit;
use crate::model::{Blocked, Operation, OperationState, TenantState, TenantView, Time, Times};

/// Time after which an applied change is expected to be answered.
const ANSWERS_WITHIN: Duration = Duration::from_secs(30);
/// Operations kept; an older one is read from Git when it is asked for.
const MAX_OPERATIONS: usize = 2_000;

/// An operation and what the process needs beside it.
#[derive(Debug, Clone)]
pub(crate) struct Tracked {
    pub(crate) operation: Operation,
    /// The order of its commit.
    position: u64,
    blocked_since: Option<Time>,
    pub(crate) reply_to: Option<String>,
    pub(crate) callback: Option<String>,
}

#[derive(Debug, Default)]
pub(crate) struct Operations {
    by_id: HashMap<String, Tracked>,
    /// Oldest first.
    order: VecDeque<String>,
}

/// The actual state, with which operations are compared.
pub(crate) struct ActualState<'a> {
    pub(crate) tenants: &'a BTreeMap<String, Arc<TenantView>>,
    /// Pools, by name: whether each is as desired, and the order of the applied commit.
    pub(crate) pools: &'a BTreeMap<String, bool>,
    /// The order of a commit.
    pub(crate) position: &'a dyn Fn(&str) -> u64,
    /// The order of the commit whose tenants these are. A tenant of a later one may be missing.
    pub(crate) read: u64,
    /// What blocks every tenant.
    pub(crate) blocked: Option<&'a Blocked>,
    pub(crate) now: Time,
    /// A blocked operation fails after this time.
    pub(crate) fail_after: Duration,
}

impl Operations {
    /// Adds the operation of a commit, if it has one. Returns it.
    pub(crate) fn record(&mut self, commit: &Commit) -> Option<Operation> {
        let tracked = of_commit(commit)?;
        let operation = tracked.operation.clone();
        self.insert(tracked);
        Some(operation)
    }

    /// Ends the operations whose tenants all have a later one. At a start nothing is known of how they ended.
    pub(crate) fn end_past(&mut self) {
        let mut changed_later: HashSet<String> = HashSet::new();
        for id in self.order.iter().rev() {
            let Some(tracked) = self.by_id.get_mut(id) else {
                continue;
            };
            let tenants = &tracked.operation.tenants;
            let is_past = tenants.iter().all(|it| changed_later.contains(it));
            changed_later.extend(tenants.iter().cloned());
            if is_past && !tenants.is_empty() {
                tracked.end_past();
            }
        }
    }

    /// Adds an operation that needed no commit.
    pub(crate) fn record_done(&mut self, operation: Operation) {
        self.insert(Tracked {
            operation,
            position: 0,
            blocked_since: None,
            reply_to: None,
            callback: None,
        });
    }

    fn insert(&mut self, mut tracked: Tracked) {
        let id = tracked.operation.id.clone();
        if let Some(before) = self.by_id.get(&id) {
            // The request was accepted before its commit was read.
            let accepted = before.operation.times.accepted;
            tracked.operation.times.accepted = accepted.or(tracked.operation.times.accepted);
        } else {
            self.order.push_back(id.clone());
        }
        self.by_id.insert(id, tracked);
        while self.order.len() > MAX_OPERATIONS
            && let Some(oldest) = self.order.pop_front()
        {
            self.by_id.remove(&oldest);
        }
    }

    pub(crate) fn get(&self, id: &str) -> Option<&Tracked> {
        self.by_id.get(id)
    }

    /// Sets the time at which the API accepted the request.
    pub(crate) fn accepted(&mut self, id: &str, time: Time) {
        if let Some(tracked) = self.by_id.get_mut(id) {
            let times = &mut tracked.operation.times;
            times.accepted.get_or_insert(time);
            // Git's clock counts whole seconds.
            times.committed = times.committed.max(Some(time));
        }
    }

    /// Newest first.
    pub(crate) fn newest(&self) -> impl Iterator<Item = &Operation> {
        let found = self.order.iter().rev();
        found
            .filter_map(|id| self.by_id.get(id))
            .map(|tracked| &tracked.operation)
    }

    /// Tenants of operations that have not ended.
    pub(crate) fn open_tenants(&self) -> impl Iterator<Item = &String> {
        let open = self
            .by_id
            .values()
            .filter(|one| !one.operation.state.is_end());
        open.flat_map(|one| &one.operation.tenants)
    }

    /// Compares each open operation with the actual state. Returns the changed operations.
    pub(crate) fn advance(&mut self, actual: &ActualState<'_>) -> Vec<Tracked> {
        let mut changed = Vec::new();
        for id in &self.order {
            let Some(tracked) = self.by_id.get_mut(id) else {
                continue;
            };
            if tracked.operation.state.is_end() {
                continue;
            }
            let before = tracked.operation.clone();
            tracked.step(actual);
            if tracked.operation != before {
                changed.push(tracked.clone());
            }
        }
        changed
    }
}

/// How far one tenant of an operation is.
#[derive(Debug, Clone, PartialEq)]
enum Progress {
    Waiting(Option<Blocked>),
    Applied,
    /// It answers, with routes or without.
    Serving,
    Gone,
}

impl Tracked {
    pub(crate) fn step(&mut self, actual: &ActualState<'_>) {
        let progress: Vec<Progress> = self
            .operation
            .tenants
            .iter()
            .map(|tenant| progress(tenant, self.position, actual))
            .collect();
        let blocked = progress.iter().find_map(|one| match one {
            Progress::Waiting(blocked) => blocked.clone(),
            _ => None,
        });
        let operation = &mut self.operation;
        operation.problem.clone_from(&blocked);
        if let Some(blocked) = blocked {
            let since = *self.blocked_since.get_or_insert(actual.now);
            if actual.now.since(since) >= actual.fail_after {
                operation.state = OperationState::Failed;
                operation.times.ended = Some(actual.now);
                operation.problem = Some(blocked);
            }
            return;
        }
        self.blocked_since = None;
        if progress
            .iter()
            .any(|one| matches!(one, Progress::Waiting(_)))
        {
            return;
        }
        if operation.state < OperationState::Applied {
            operation.state = OperationState::Applied;
            operation.times.applied = Some(actual.now);
            // One state at a time: each is reported.
            return;
        }
        if progress.contains(&Progress::Applied) {
            self.wait_for_answer(actual);
            return;
        }
        let is_gone = !progress.is_empty() && progress.iter().all(|one| *one == Progress::Gone);
        (operation.state, operation.problem) = end_of(&operation.kind, is_gone);
        operation.times.ended = Some(actual.now);
    }
}

impl Tracked {
    /// Ends an operation that later ones followed before this process started: as it was meant to, without a time.
    pub(crate) fn end_past(&mut self) {
        let operation = &mut self.operation;
        let is_gone = ends_gone(&operation.kind);
        (operation.state, operation.problem) = end_of(&operation.kind, is_gone);
    }

    /// Says what the load balancer answers, once that takes long.
    fn wait_for_answer(&mut self, actual: &ActualState<'_>) {
        let operation = &mut self.operation;
        let waited = operation.times.applied.map(|since| actual.now.since(since));
        let Some(waited) = waited.filter(|waited| *waited >= ANSWERS_WITHIN) else {
            return;
        };
        let tenants = operation
            .tenants
            .iter()
            .filter_map(|id| actual.tenants.get(id));
        let reason = tenants.filter_map(|tenant| unanswered(tenant)).next();
        let reason = reason.unwrap_or_else(|| {
            "it has not been asked through the load balancer; set LOAD_BALANCER_URL".to_owned()
        });
        operation.problem = Some(Blocked {
            code: "not_answering".to_owned(),
            reason: format!("applied, but not as it should be through the load balancer: {reason}"),
            remedy: "look at the tenant's routes and pods (`kubectl get httproutes,ingresses,pods -A -l tenantry/tenant=ID`), \
                     and whether the control plane reaches LOAD_BALANCER_URL and trusts its certificate"
                .to_owned(),
            since: operation.times.applied,
            object: None,
        });
        if waited >= actual.fail_after {
            operation.state = OperationState::Failed;
            operation.times.ended = Some(actual.now);
        }
    }
}

/// What the probe found wrong, by app.
fn unanswered(tenant: &TenantView) -> Option<String> {
    let apps = &tenant.serving.as_ref()?.apps;
    let wrong = apps.iter().filter_map(|(app, found)| {
        let error = found.error.as_ref()?;
        Some(format!("{app}: {error}"))
    });
    let wrong: Vec<String> = wrong.collect();
    (!wrong.is_empty()).then(|| wrong.join("; "))
}

/// Whether an operation of this kind ends when its tenant answers no more.
pub(crate) fn ends_gone(kind: &str) -> bool {
    matches!(kind, "suspend" | "offboard" | "forget")
}

/// The end of an operation whose tenants have reached the desired state.
fn end_of(kind: &str, is_gone: bool) -> (OperationState, Option<Blocked>) {
    let replaced = |by: &str| {
        let problem = Blocked {
            code: "replaced".to_owned(),
            reason: format!(
                "a later change replaced this one before it was served: the tenant is {by}"
            ),
            remedy: "see the tenant's later operations; ask again if the change is still wanted"
                .to_owned(),
            since: None,
            object: None,
        };
        (OperationState::Failed, Some(problem))
    };
    match (kind, is_gone) {
        ("onboard" | "resume", true) => replaced("suspended or offboarded"),
        (kind, false) if ends_gone(kind) => replaced("served again"),
        (_, true) => (OperationState::Gone, None),
        (_, false) => (OperationState::Serving, None),
    }
}

fn progress(tenant: &str, position: u64, actual: &ActualState<'_>) -> Progress {
    if let Some(is_current) = actual.pools.get(tenant) {
        return if *is_current {
            Progress::Serving
        } else {
            Progress::Waiting(None)
        };
    }
    let Some(view) = actual.tenants.get(tenant) else {
        if position > actual.read {
            return Progress::Waiting(actual.blocked.cloned());
        }
        // Its record is deleted. The platform has nothing of it any more, or never had.
        return Progress::Gone;
    };
    let applied = view.applied.as_ref().filter(|applied| applied.ready);
    let applied = applied.and_then(|applied| applied.commit.as_deref());
    if applied.is_none_or(|commit| (actual.position)(commit) < position) {
        return Progress::Waiting(view.blocked.clone());
    }
    let probed = view.serving.as_ref().filter(|serving| {
        let commit = serving.commit.as_deref();
        commit.is_some_and(|commit| (actual.position)(commit) >= position)
    });
    match (view.state, probed) {
        (TenantState::Offboarded | TenantState::Suspended, Some(probed)) => {
            let is_silent = probed.apps.values().all(|app| app.error.is_none());
            if is_silent {
                Progress::Gone
            } else {
                Progress::Applied
            }
        }
        (TenantState::Serving, Some(_)) => Progress::Serving,
        (TenantState::Blocked | TenantState::Committed, _) => {
            Progress::Waiting(view.blocked.clone())
        }
        _ => Progress::Applied,
    }
}

/// The operation of a commit.
pub(crate) fn of_commit(commit: &Commit) -> Option<Tracked> {
    let id = commit.recorded.id.as_ref()?.to_string();
    let request = commit.recorded.request.as_ref();
    let text = |key: &str| request.and_then(|request| Some(request.get(key)?.as_str()?.to_owned()));
    let activity = &commit.activity;
    let mut tenants = activity.tenants.clone();
    if tenants.is_empty() {
        // The commit lists a file anew that is there already.
        tenants.extend(text("tenant"));
    }
    let operation = Operation {
        id,
        kind: text("action").unwrap_or_else(|| "change".to_owned()),
        tenant: text("tenant"),
        tenants,
        state: OperationState::Committed,
        actor: activity.actor.clone(),
        commit: Some(activity.commit.clone()),
        subject: activity.subject.clone(),
        times: Times {
            committed: Some(activity.time),
            ..Times::default()
        },
        problem: None,
    };
    Some(Tracked {
        operation,
        position: commit.position,
        blocked_since: None,
        reply_to: commit.recorded.reply_to.as_ref().map(ToString::to_string),
        callback: commit.recorded.callback.clone(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::History;

    const FILE: &str = "application-plane/production/tenants/basic/acme.yaml";
    /// States that an operation may pass from its commit to its end.
    const STEPS: usize = 2;

    fn entry(number: u8, action: &str) -> tenantctl::git::LogEntry {
        tenantctl::git::LogEntry {
            commit: tenantctl::git::Oid::parse(&format!("{number:02x}").repeat(20)).expect("an id"),
            seconds: i64::from(number),
            author: "tenantctl".to_owned(),
            message: format!(
                "Change\n\nRequest: {{\"action\":\"{action}\",\"tenant\":\"acme\"}}\nRequest-Id: r-{number}\n"
            ),
            paths: vec![FILE.parse().expect("a path")],
        }
    }

    fn view(state: &str, commit: u8, error: Option<&str>) -> BTreeMap<String, Arc<TenantView>> {
        let commit = format!("{commit:02x}").repeat(20);
        let app = serde_json::json!({ "status": 200, "environment": null, "error": error });
        let view = serde_json::json!({
            "id": "acme", "tier": "basic", "state": state, "since": null, "release": "0.0.x", "suspended": false, "held": null,
            "delete_data": false, "apps": {}, "labels": {}, "path": FILE, "desired": null,
            "applied": { "commit": commit, "time": "2026-01-31T12:00:00Z", "release": null, "ready": true, "message": null },
            "serving": { "commit": commit, "time": "2026-01-31T12:00:00Z", "since": "2026-01-31T12:00:00Z", "answers": true,
                "apps": { "producer": app } },
            "blocked": null, "figures": serde_json::to_value(crate::model::Figures::default()).expect("figures") });
        let view = serde_json::from_value(view).expect("a view");
        BTreeMap::from([("acme".to_owned(), Arc::new(view))])
    }

    /// Returns the state of the first action's operation, compared with this tenant.
    fn state_of(
        actions: &[&str],
        tenants: &BTreeMap<String, Arc<TenantView>>,
    ) -> (OperationState, Option<String>) {
        let mut history = History::default();
        let entries = (1..)
            .zip(actions)
            .map(|(number, action)| entry(number, action));
        let mut entries: Vec<_> = entries.collect();
        entries.reverse();
        let commits = history.extend(entries);
        let mut operations = Operations::default();
        for commit in &commits {
            operations.record(commit);
        }
        let read = history.head().map_or(0, |head| history.position(head));
        for _ in 0..STEPS {
            operations.advance(&ActualState {
                tenants,
                pools: &BTreeMap::new(),
                position: &|commit| history.position(commit),
                read,
                blocked: None,
                now: Time::of_seconds(100),
                fail_after: Duration::from_secs(60),
            });
        }
        let operation = operations
            .get("r-1")
            .expect("it is known")
            .operation
            .clone();
        (
            operation.state,
            operation.problem.map(|problem| problem.code),
        )
    }

    #[test]
    fn an_operation_ends_only_at_its_own_commit_or_a_later_one() {
        let serving = OperationState::Serving;
        assert_eq!(
            state_of(&["onboard"], &view("serving", 1, None)),
            (serving, None)
        );
        assert_eq!(
            state_of(&["onboard", "move"], &view("serving", 2, None)),
            (serving, None)
        );
        assert_eq!(
            state_of(&["onboard"], &view("serving", 9, None)).0,
            OperationState::Committed,
            "an older commit"
        );
        assert_eq!(
            state_of(&["onboard"], &view("applied", 1, None)).0,
            OperationState::Applied
        );
        assert_eq!(
            state_of(&["suspend"], &view("suspended", 1, None)).0,
            OperationState::Gone
        );
        assert_eq!(
            state_of(&["suspend"], &view("suspended", 1, Some("answers"))).0,
            OperationState::Applied
        );
        assert_eq!(
            state_of(&["forget"], &BTreeMap::new()).0,
            OperationState::Gone
        );
    }

    #[test]
    fn an_operation_of_a_commit_whose_tenants_are_not_read_waits() {
        let mut history = History::default();
        let commits = history.extend(vec![entry(1, "onboard")]);
        let mut operations = Operations::default();
        operations.record(&commits[0]);
        let blocked = Blocked {
            code: "broken_commit".to_owned(),
            reason: "line 3".to_owned(),
            remedy: "correct it".to_owned(),
            since: None,
            object: None,
        };
        operations.advance(&ActualState {
            tenants: &BTreeMap::new(),
            pools: &BTreeMap::new(),
            position: &|commit| history.position(commit),
            read: 0,
            blocked: Some(&blocked),
            now: Time::of_seconds(100),
            fail_after: Duration::from_secs(60),
        });
        let operation = &operations.get("r-1").expect("it is known").operation;
        assert_eq!(operation.state, OperationState::Committed);
        assert_eq!(operation.problem.as_ref(), Some(&blocked));
    }

    #[test]
    fn operations_of_the_past_end_as_they_were_meant_to_without_a_time() {
        let mut history = History::default();
        let entries = vec![entry(3, "move"), entry(2, "offboard"), entry(1, "onboard")];
        let mut operations = Operations::default();
        for commit in &history.extend(entries) {
            operations.record(commit);
        }
        operations.end_past();
        let states = ["r-1", "r-2", "r-3"].map(|id| {
            let operation = &operations.get(id).expect("it is known").operation;
            (operation.state, operation.times.ended)
        });
        assert_eq!(
            states.map(|(state, _)| state),
            [
                OperationState::Serving,
                OperationState::Gone,
                OperationState::Committed
            ]
        );
        assert!(states.iter().all(|(_, ended)| ended.is_none()));
    }

    #[test]
    fn an_operation_that_a_later_one_replaced_fails_and_says_so() {
        let replaced = (OperationState::Failed, Some("replaced".to_owned()));
        assert_eq!(
            state_of(&["onboard", "offboard"], &view("offboarded", 2, None)),
            replaced
        );
        assert_eq!(
            state_of(&["suspend", "resume"], &view("serving", 2, None)),
            replaced
        );
    }
}
