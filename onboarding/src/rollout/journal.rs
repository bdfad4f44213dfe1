//! Deployments as the history records them: [`Deployments`], and which step is next. Pure; nothing here commits or reads.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::MAX_WAVES;
use super::plan::{Plan, WavePlan};
use crate::history::Commit;
use crate::model::{
    Blocked, DeploymentState, DeploymentView, Figures, Gate, PoolView, TenantState, TenantView,
    Time, WaveState, WaveView,
};

/// Deployments kept.
const MAX_DEPLOYMENTS: usize = 50;

#[derive(Debug, Default)]
pub(crate) struct Deployments {
    by_id: HashMap<String, Deployment>,
    /// Oldest first.
    order: VecDeque<String>,
}

#[derive(Debug, Clone)]
pub(super) struct Deployment {
    pub(super) view: DeploymentView,
    pub(super) plan: Plan,
    /// The commit that records the start: it has the former releases.
    pub(super) start: String,
    /// Restarts when the present wave began to bake.
    restarts_before: Option<u64>,
}

/// The next step of a deployment.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Step {
    Commit(usize),
    Hold(usize, Blocked),
    Finish,
}

/// What a commit records of a deployment.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Entry {
    pub(super) id: String,
    #[serde(flatten)]
    pub(super) event: JournalEvent,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(super) enum JournalEvent {
    Start {
        plan: Plan,
    },
    Wave {
        wave: usize,
    },
    /// The wave's tenants have the release already.
    Empty {
        wave: usize,
    },
    Held {
        wave: usize,
        code: String,
        reason: String,
    },
    Continued {
        wave: usize,
    },
    Done,
    Reverted,
}
impl Deployments {
    /// Applies what a commit records of a deployment.
    pub(crate) fn record(&mut self, commit: &Commit) {
        let Some(entry) = commit.recorded.deployment.clone() else {
            return;
        };
        let Ok(Entry { id, event }) = serde_json::from_value(entry) else {
            return;
        };
        let time = commit.activity.time;
        if let JournalEvent::Start { plan } = event {
            if !self.by_id.contains_key(&id) {
                self.order.push_back(id.clone());
                self.by_id
                    .insert(id.clone(), Deployment::new(id, plan, commit));
            }
            while self.order.len() > MAX_DEPLOYMENTS
                && let Some(oldest) = self.order.pop_front()
            {
                self.by_id.remove(&oldest);
            }
            return;
        }
        let Some(deployment) = self.by_id.get_mut(&id) else {
            return;
        };
        match event {
            JournalEvent::Start { .. } => {}
            JournalEvent::Wave { wave } | JournalEvent::Empty { wave } => {
                let is_empty = matches!(event, JournalEvent::Empty { .. });
                for before in deployment.view.waves.iter_mut().take(wave) {
                    before.state = WaveState::Good;
                    before.ended.get_or_insert(time);
                }
                if let Some(wave) = deployment.view.waves.get_mut(wave) {
                    wave.state = if is_empty {
                        WaveState::Good
                    } else {
                        WaveState::Applying
                    };
                    wave.tenants.clone_from(&commit.activity.tenants);
                    wave.commit = Some(commit.activity.commit.clone());
                    wave.committed = Some(time);
                    wave.ended = is_empty.then_some(time);
                }
                deployment.restarts_before = None;
            }
            JournalEvent::Held { wave, code, reason } => {
                deployment.view.state = DeploymentState::Held;
                deployment.view.problem = Some(held(&id, code, reason));
                if let Some(wave) = deployment.view.waves.get_mut(wave) {
                    wave.state = WaveState::Bad;
                    wave.ended = Some(time);
                }
            }
            JournalEvent::Continued { wave } => {
                deployment.view.state = DeploymentState::Running;
                deployment.view.problem = None;
                if let Some(wave) = deployment.view.waves.get_mut(wave) {
                    wave.state = WaveState::Good;
                }
            }
            JournalEvent::Done => {
                deployment.view.state = DeploymentState::Done;
                for wave in &mut deployment.view.waves {
                    wave.state = WaveState::Good;
                    wave.ended.get_or_insert(time);
                }
            }
            JournalEvent::Reverted => {
                deployment.view.state = DeploymentState::Reverted;
                for wave in deployment
                    .view
                    .waves
                    .iter_mut()
                    .filter(|wave| wave.commit.is_some())
                {
                    wave.state = WaveState::Reverted;
                }
            }
        }
    }

    /// Newest first.
    pub(crate) fn views(&self) -> Vec<DeploymentView> {
        let newest = self.order.iter().rev().filter_map(|id| self.by_id.get(id));
        newest.map(|deployment| deployment.view.clone()).collect()
    }

    pub(super) fn get(&self, id: &str) -> Option<Deployment> {
        self.by_id.get(id).cloned()
    }

    pub(crate) fn view(&self, id: &str) -> Option<DeploymentView> {
        self.by_id.get(id).map(|deployment| deployment.view.clone())
    }

    /// Tenants of waves that are being applied or watched.
    pub(crate) fn open_tenants(&self) -> impl Iterator<Item = String> {
        let running = self
            .by_id
            .values()
            .filter(|one| one.view.state == DeploymentState::Running);
        let waves = running.flat_map(|one| &one.view.waves);
        let open =
            waves.filter(|wave| matches!(wave.state, WaveState::Applying | WaveState::Baking));
        open.flat_map(|wave| wave.tenants.clone())
    }

    /// Compares open waves with their tenants. Returns the deployments that changed.
    pub(crate) fn observe(
        &mut self,
        tenants: &BTreeMap<String, Arc<TenantView>>,
        pools: &BTreeMap<String, PoolView>,
        now: Time,
    ) -> Vec<DeploymentView> {
        let mut changed = Vec::new();
        for deployment in self.by_id.values_mut() {
            if deployment.view.state != DeploymentState::Running {
                continue;
            }
            let before = deployment.view.clone();
            deployment.observe(tenants, pools, now);
            if deployment.view != before {
                changed.push(deployment.view.clone());
            }
        }
        changed
    }

    /// The next step of each deployment that has one.
    pub(super) fn steps(&self) -> Vec<(String, Plan, Step)> {
        let open = self.order.iter().filter_map(|id| self.by_id.get(id));
        let step =
            |one: &Deployment| Some((one.view.id.clone(), one.plan.clone(), next(&one.view)?));
        open.filter_map(step).collect()
    }
}

impl Deployment {
    fn new(id: String, plan: Plan, start: &Commit) -> Self {
        let wave = |wave: &WavePlan| WaveView {
            name: wave.name(),
            state: WaveState::Waiting,
            tenants: Vec::new(),
            commit: None,
            committed: None,
            serving: None,
            ended: None,
            figures: Figures::default(),
        };
        Self {
            view: DeploymentView {
                id,
                tier: plan.tier.clone(),
                release: plan.release.clone(),
                state: DeploymentState::Running,
                actor: start.activity.actor.clone(),
                started: start.activity.time,
                bake_seconds: plan.bake_seconds,
                gate: plan.gate,
                waves: plan.waves.iter().take(MAX_WAVES).map(wave).collect(),
                problem: None,
            },
            plan,
            start: start.activity.commit.clone(),
            restarts_before: None,
        }
    }

    fn observe(
        &mut self,
        tenants: &BTreeMap<String, Arc<TenantView>>,
        pools: &BTreeMap<String, PoolView>,
        now: Time,
    ) {
        let (gate, bake) = (self.view.gate, Duration::from_secs(self.view.bake_seconds));
        let is_open =
            |wave: &&mut WaveView| matches!(wave.state, WaveState::Applying | WaveState::Baking);
        let Some(wave) = self.view.waves.iter_mut().find(is_open) else {
            return;
        };
        let found: Vec<Member> = wave
            .tenants
            .iter()
            .map(|name| Member::of(name, tenants, pools))
            .collect();
        if let Some(blocked) = found.iter().find_map(|member| member.blocked.clone()) {
            wave.state = WaveState::Bad;
            self.view.problem = Some(blocked);
            return;
        }
        wave.figures = together(found.iter().map(|member| &member.figures));
        if wave.state == WaveState::Applying {
            if !found.iter().all(|member| member.settled) {
                return;
            }
            wave.state = WaveState::Baking;
            wave.serving = Some(now);
        }
        let before = *self
            .restarts_before
            .get_or_insert(wave.figures.restarts.unwrap_or_default());
        if let Some((code, reason)) = above(&gate, &wave.figures, before) {
            wave.state = WaveState::Bad;
            self.view.problem = Some(held(&self.view.id, code.to_owned(), reason));
            return;
        }
        // A tenant that no longer answers makes the wave bad; one that is changed by hand meanwhile only takes longer.
        let has_baked = wave.serving.is_some_and(|since| now.since(since) >= bake);
        if has_baked && found.iter().all(|member| member.settled) {
            wave.state = WaveState::Good;
            wave.ended = Some(now);
        }
    }
}

/// One tenant or pool of a wave.
struct Member {
    settled: bool,
    blocked: Option<Blocked>,
    figures: Figures,
}

impl Member {
    fn of(
        name: &str,
        tenants: &BTreeMap<String, Arc<TenantView>>,
        pools: &BTreeMap<String, PoolView>,
    ) -> Self {
        if let Some(pool) = pools.get(name) {
            return Self {
                settled: pool.applied.as_ref().is_some_and(|applied| applied.ready),
                blocked: pool.blocked.clone(),
                figures: pool.figures.clone(),
            };
        }
        let Some(tenant) = tenants.get(name) else {
            // It left meanwhile.
            return Self {
                settled: true,
                blocked: None,
                figures: Figures::default(),
            };
        };
        let is_probed = match (&tenant.serving, &tenant.applied) {
            (Some(serving), Some(applied)) => serving.commit == applied.commit,
            _ => false,
        };
        let settled = match tenant.state {
            TenantState::Serving => is_probed,
            TenantState::Suspended | TenantState::Offboarded => true,
            TenantState::Committed | TenantState::Applied | TenantState::Blocked => false,
        };
        Self {
            settled,
            blocked: tenant
                .blocked
                .clone()
                .filter(|_| tenant.state == TenantState::Blocked),
            figures: tenant.figures.clone(),
        }
    }
}

/// The figures of a wave: the worst of its tenants, and the sum of restarts.
fn together<'a>(figures: impl Iterator<Item = &'a Figures>) -> Figures {
    let mut all = Figures::default();
    let larger = |one: Option<f64>, two: Option<f64>| match (one, two) {
        (Some(one), Some(two)) => Some(one.max(two)),
        (one, two) => one.or(two),
    };
    let sum = |one: Option<u64>, two: Option<u64>| match (one, two) {
        (Some(one), Some(two)) => Some(one + two),
        (one, two) => one.or(two),
    };
    for one in figures {
        all.requests_per_second = larger(all.requests_per_second, one.requests_per_second);
        all.error_ratio = larger(all.error_ratio, one.error_ratio);
        all.oldest_message_seconds = larger(all.oldest_message_seconds, one.oldest_message_seconds);
        all.queue_depth = all.queue_depth.max(one.queue_depth);
        all.dead_letters = all.dead_letters.max(one.dead_letters);
        all.restarts = sum(all.restarts, one.restarts);
        if all.last_error.is_none() {
            all.last_error.clone_from(&one.last_error);
        }
    }
    all
}

/// The first figure above its limit.
fn above(gate: &Gate, figures: &Figures, restarts_before: u64) -> Option<(&'static str, String)> {
    let restarts = figures
        .restarts
        .unwrap_or_default()
        .saturating_sub(restarts_before);
    if let Some(ratio) = figures
        .error_ratio
        .filter(|ratio| *ratio > gate.max_error_ratio)
    {
        let reason = format!(
            "{:.2}% of requests were answered with 5xx; the limit is {:.2}%",
            ratio * 100.0,
            gate.max_error_ratio * 100.0
        );
        return Some(("error_ratio", reason));
    }
    if let Some(age) = figures
        .oldest_message_seconds
        .filter(|age| *age > gate.max_oldest_message_seconds)
    {
        let reason = format!(
            "the oldest message is {age:.0} s old; the limit is {:.0} s",
            gate.max_oldest_message_seconds
        );
        return Some(("oldest_message", reason));
    }
    (restarts > gate.max_restarts).then(|| {
        let reason = format!(
            "pods restarted {restarts} times; the limit is {}",
            gate.max_restarts
        );
        ("restarts", reason)
    })
}

fn held(id: &str, code: String, reason: String) -> Blocked {
    Blocked {
        code,
        reason,
        remedy: format!(
            "POST /deployments/{id}/revert gives the tenants their former releases; POST /deployments/{id}/continue begins the \
             next wave"
        ),
        since: None,
        object: None,
    }
}

/// The next step of a deployment; `None` while a wave is applied or watched, and at the end.
fn next(view: &DeploymentView) -> Option<Step> {
    if view.state != DeploymentState::Running {
        return None;
    }
    for (at, wave) in view.waves.iter().enumerate() {
        match wave.state {
            WaveState::Good | WaveState::Reverted => {}
            WaveState::Waiting => return Some(Step::Commit(at)),
            WaveState::Applying | WaveState::Baking => return None,
            WaveState::Bad => {
                let problem = view.problem.clone();
                let problem = problem.unwrap_or_else(|| {
                    held(&view.id, "bad".to_owned(), "the wave was bad".to_owned())
                });
                return Some(Step::Hold(at, problem));
            }
        }
    }
    Some(Step::Finish)
}
