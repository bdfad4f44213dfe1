//! The applied state, as the control plane reads it. The reconciler and the transitions record it here.
//!
//! Figures are those of the apps' own metrics. Requests of the control plane's probe are left out: they are no tenant's.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use futures_util::future::BoxFuture;
use onboarding::model::{AppFigures, Blocked, Figures, Time};
use onboarding::platform::{AppliedTenant, Observed, Platform, Rollout};
use parking_lot::Mutex;
use tenantctl::git::Oid;
use tenantry_tenancy::environment::Environment;
use tenantry_tenancy::tenant::TenantId;
use tokio::sync::watch;

use crate::environments::Environments;
use crate::topology::{App, Target, TenantState, Topology};

/// Shortest time between two samples of the metrics, with few apps and with many.
const SAMPLE: Duration = Duration::from_secs(1);
const SAMPLE_OF_MANY: Duration = Duration::from_secs(10);
const MANY_APPS: usize = 100;
/// Samples over which rates are computed.
const RATE_SAMPLES: usize = 5;
/// Samples over which the share of errors is computed.
const MAX_SAMPLES: usize = 60;

/// Clones share it.
#[derive(Clone)]
pub(crate) struct Board(Arc<Inner>);

struct Inner {
    environments: Arc<Environments>,
    load_balancer: String,
    state: Mutex<State>,
    samples: Mutex<Samples>,
    changes: watch::Sender<u64>,
}

#[derive(Default)]
struct State {
    commit: Option<String>,
    applied: Topology,
    /// When each release was applied last.
    since: BTreeMap<String, Time>,
    /// Environments in a transition: since when, and its step.
    moving: BTreeMap<Environment, (Time, &'static str)>,
    /// Why the head is not applied.
    blocked: Option<Blocked>,
}

#[derive(Default)]
struct Samples {
    taken: Option<Instant>,
    by_target: BTreeMap<Target, VecDeque<Sample>>,
}

#[derive(Clone, Copy)]
struct Sample {
    at: Instant,
    requests: u64,
    errors: u64,
    /// Of a consumer: the messages that it has stored.
    stored: u64,
}

impl Board {
    pub(crate) fn new(environments: Arc<Environments>, load_balancer: String) -> Self {
        Self(Arc::new(Inner {
            environments,
            load_balancer,
            state: Mutex::default(),
            samples: Mutex::default(),
            changes: watch::Sender::new(0),
        }))
    }

    /// A commit is applied; tenants in a transition follow.
    pub(crate) fn applied(&self, commit: Option<&Oid>, topology: &Topology) {
        let mut state = self.0.state.lock();
        let time = now();
        let names = topology.names();
        for name in &names {
            let is_same = state.applied.is_same(topology, name);
            let since = state.since.entry(name.clone()).or_insert(time);
            if !is_same {
                *since = time;
            }
        }
        state.since.retain(|name, _| names.contains(name));
        state.applied = topology.clone();
        state.commit = commit.map(ToString::to_string).or(state.commit.take());
        state.blocked = None;
        drop(state);
        self.changed();
    }

    /// A commit is not applied: it is not valid.
    pub(crate) fn invalid(&self, commit: &Oid, reason: &dyn std::fmt::Display) {
        let short = commit.short();
        self.blocked(Blocked {
            code: "broken_commit".to_owned(),
            reason: format!(
                "commit {short} is not valid, the last applied commit stays in force: {reason}"
            ),
            remedy: "correct the file in a new commit, and push it".to_owned(),
            since: Some(now()),
            object: None,
        });
    }

    /// A commit is not applied yet: provisioning or a start failed.
    pub(crate) fn failed(&self, commit: &Oid, reason: &dyn std::fmt::Display) {
        let since = self
            .0
            .state
            .lock()
            .blocked
            .as_ref()
            .and_then(|before| before.since);
        self.blocked(Blocked {
            code: "apply_failed".to_owned(),
            reason: format!("commit {} is being applied again: {reason}", commit.short()),
            remedy: "see the log of `local`; it tries again by itself".to_owned(),
            since: since.or(Some(now())),
            object: None,
        });
    }

    fn blocked(&self, blocked: Blocked) {
        self.0.state.lock().blocked = Some(blocked);
        self.changed();
    }

    /// A transition takes a step: the environment's tenant is not as desired yet.
    pub(crate) fn moving(&self, environment: &Environment, step: &'static str) {
        let mut state = self.0.state.lock();
        let begin = (now(), step);
        state.moving.entry(environment.clone()).or_insert(begin).1 = step;
        drop(state);
        self.changed();
    }

    /// The transition has ended.
    pub(crate) fn moved(&self, environment: &Environment) {
        let mut state = self.0.state.lock();
        state.moving.remove(environment);
        state.since.insert(environment.as_str().to_owned(), now());
        drop(state);
        self.changed();
    }

    fn changed(&self) {
        self.0
            .changes
            .send_modify(|count| *count = count.wrapping_add(1));
    }

    fn observed(&self) -> Observed {
        self.sample();
        let state = self.0.state.lock();
        let mut releases = BTreeMap::new();
        for (pool, apps) in &state.applied.pools {
            let targets = apps.iter().map(|app| (pool.clone(), *app)).collect();
            releases.insert(
                pool.to_string(),
                self.release(&state, pool.as_str(), pool, &targets),
            );
        }
        for (id, tenant) in &state.applied.tenants {
            let targets: BTreeSet<Target> = tenant
                .placements
                .iter()
                .filter(|_| matches!(tenant.state, TenantState::Onboarded { .. }))
                .map(|(app, placement)| (placement.environment.clone(), *app))
                .collect();
            let silo = Environment::Silo(TenantId::clone(id));
            releases.insert(
                id.to_string(),
                self.release(&state, id.as_str(), &silo, &targets),
            );
        }
        Observed {
            releases,
            blocked: state.blocked.clone(),
            // `local` builds each commit as a whole: it refuses no single object. It has no namespaces.
            ..Observed::default()
        }
    }

    fn release(
        &self,
        state: &State,
        name: &str,
        own: &Environment,
        targets: &BTreeSet<Target>,
    ) -> AppliedTenant {
        let moving = state.moving.get(own);
        let begin = moving.map(|(begin, _)| begin);
        let since = begin.or_else(|| state.since.get(name)).copied();
        let rollout = Rollout {
            current: moving.is_none(),
            commit: state.commit.clone(),
            time: since.unwrap_or_else(now),
            release: state.applied.versions.get(name).cloned(),
            message: moving.map(|(_, step)| (*step).to_owned()),
        };
        AppliedTenant {
            rollout: Some(rollout),
            blocked: None,
            figures: self.figures(targets),
        }
    }

    /// Samples the metrics of all apps, unless that was done a moment ago.
    fn sample(&self) {
        let targets = self.0.environments.targets();
        let pause = if targets.len() > MANY_APPS {
            SAMPLE_OF_MANY
        } else {
            SAMPLE
        };
        let mut samples = self.0.samples.lock();
        if samples.taken.is_some_and(|taken| taken.elapsed() < pause) {
            return;
        }
        let at = Instant::now();
        samples.taken = Some(at);
        samples
            .by_target
            .retain(|target, _| targets.contains(target));
        for target in targets {
            let Some((requests, errors)) = self.0.environments.requests(&target) else {
                continue;
            };
            let stored = match &target {
                (_, App::Consumer) => self.0.environments.writes(&target),
                _ => None,
            };
            let of_target = samples.by_target.entry(target).or_default();
            // An app that started anew counts from zero.
            if of_target
                .back()
                .is_some_and(|last| last.requests > requests)
            {
                of_target.clear();
            }
            of_target.push_back(Sample {
                at,
                requests,
                errors,
                stored: stored.unwrap_or_default(),
            });
            if of_target.len() > MAX_SAMPLES {
                of_target.pop_front();
            }
        }
    }

    fn figures(&self, targets: &BTreeSet<Target>) -> Figures {
        let samples = self.0.samples.lock();
        let (mut rate, mut requests, mut errors) = (0.0, 0_u64, 0_u64);
        let mut stored_per_second = None;
        let mut apps = BTreeMap::new();
        for target in targets {
            let Some(found) = samples.by_target.get(target) else {
                continue;
            };
            let (Some(first), Some(last)) = (found.front(), found.back()) else {
                continue;
            };
            let before = found.iter().rev().nth(RATE_SAMPLES).unwrap_or(first);
            let seconds = last.at.duration_since(before.at).as_secs_f64();
            let of_app = per_second(last.requests - before.requests, seconds);
            rate += of_app;
            if target.1 == App::Consumer {
                stored_per_second = Some(per_second(
                    last.stored.saturating_sub(before.stored),
                    seconds,
                ));
            }
            let of_minute = (
                last.requests - first.requests,
                last.errors.saturating_sub(first.errors),
            );
            requests += of_minute.0;
            errors += of_minute.1;
            let figures = AppFigures {
                requests_per_second: Some(of_app),
                error_ratio: ratio(of_minute.1, of_minute.0),
            };
            apps.insert(target.1.as_str().to_owned(), figures);
        }
        Figures {
            requests_per_second: Some((rate * 10.0).round() / 10.0),
            error_ratio: ratio(errors, requests),
            restarts: Some(0),
            stored_per_second,
            apps,
            ..Figures::default()
        }
    }
}

/// A rate with one digit after the point; 0 before the second sample.
fn per_second(count: u64, seconds: f64) -> f64 {
    if seconds <= 0.0 {
        return 0.0;
    }
    #[expect(clippy::cast_precision_loss, reason = "a count of a few seconds")]
    let rate = count as f64 / seconds;
    (rate * 10.0).round() / 10.0
}

fn ratio(part: u64, whole: u64) -> Option<f64> {
    #[expect(clippy::cast_precision_loss, reason = "a ratio of counts of a minute")]
    let ratio = part as f64 / whole as f64;
    (whole > 0).then_some(ratio)
}

impl Platform for Board {
    fn name(&self) -> &'static str {
        "local"
    }

    fn observe(&self) -> BoxFuture<'_, Result<Observed, String>> {
        Box::pin(std::future::ready(Ok(self.observed())))
    }

    fn changed(&self, within: Duration) -> BoxFuture<'_, ()> {
        let mut changes = self.0.changes.subscribe();
        Box::pin(async move {
            // Over the time, or ended with the board: both mean to read again.
            let _ = tokio::time::timeout(within, changes.changed()).await;
        })
    }

    fn runs_any_release(&self) -> bool {
        true
    }

    fn load_balancer(&self) -> Option<String> {
        Some(self.0.load_balancer.clone())
    }

    fn writes(&self, environment: &str, app: &str) -> Option<u64> {
        let target = (environment.parse().ok()?, App::named(app)?);
        self.0.environments.writes(&target)
    }
}

fn now() -> Time {
    SystemTime::now().into()
}
