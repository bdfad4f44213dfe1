//! The refresh: it reads Git, the platform, the probe and the queues, and makes views of them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tenantctl::git::{GitError, LogEntry, Oid, on_blocking_thread};
use tenantctl::release::{Release, release_states};
use tenantctl::shared::Shared;
use tenantctl::status::{self, Observed, Probed};
use tenantry_process::health::Condition;
use tenantry_process::metrics::label;
use tenantry_tenancy::environment::Environment;

use super::broken::Unreadable;
use super::{ControlPlane, now};
use crate::history::{Commit, MAX_COMMITS};
use crate::model::{AppPlace, Event, Figures, Part, PoolView, ProbedApp, TenantState, TenantView};
use crate::operations::ActualState;
use crate::probe::Probe;

/// Queues read per refresh, beside the watched ones.
const MAX_QUEUES: usize = 4;
/// Longest wait for the figures of a queue.
const QUEUE_TIMEOUT: Duration = Duration::from_secs(2);
const GIT: &str = "repository";
const PLATFORM: &str = "platform";
const PROBE: &str = "probe";
const QUEUES: &str = "queues";

/// State of the refresh.
struct Refresher {
    probe: Probe,
    /// Environment whose queue was read last.
    last_queue: String,
}

/// The branch at its last fetch. A change fetches, too, and does not wait for the probe.
#[derive(Default)]
pub(super) struct Branch {
    head: Option<Oid>,
    fetched: Option<Instant>,
}

/// Last results of the platform and of the probe.
#[derive(Default)]
pub(super) struct Sources {
    pub(super) observed: Observed,
    probed: HashMap<String, Probed>,
    /// The same in all tenants of a pool.
    answers: Shared<BTreeMap<String, ProbedApp>>,
    places: Shared<BTreeMap<String, AppPlace>>,
}

impl Sources {
    /// Adds the results of probes, and forgets those of tenants that no longer exist.
    fn add_probed(&mut self, answers: Vec<(String, Probed)>, exists: impl Fn(&str) -> bool) {
        for (tenant, mut probed) in answers {
            let before = self.probed.get(&tenant);
            if let Some(before) = before.filter(|before| before.apps == probed.apps) {
                probed.since = before.since;
            }
            probed.apps = self.answers.share(probed.apps);
            self.probed.insert(tenant, probed);
        }
        self.probed.retain(|tenant, _| exists(tenant));
    }
}

/// Result of a fetch.
struct Fetched {
    head: Oid,
    /// `None` if the head is the known one.
    news: Option<News>,
}

struct News {
    entries: Vec<LogEntry>,
    releases: Result<Vec<Release>, Unreadable>,
}

/// Refreshes until it is dropped.
pub(super) async fn run(control: ControlPlane, read: Condition) {
    let mut refresher = Refresher {
        probe: Probe::new(control.0.client.clone()),
        last_queue: String::new(),
    };
    loop {
        let started = Instant::now();
        control.refresh(&mut refresher, &read).await;
        control
            .0
            .metrics
            .histogram("refresh_seconds", vec![])
            .record(started.elapsed().as_secs_f64());
        let pause = control.pause();
        tokio::select! {
            () = control.0.platform.changed(pause) => {}
            () = control.0.wake.notified() => {}
        }
    }
}

impl ControlPlane {
    /// Returns the pause until the next refresh: shortest while an operation is open, longer while a page is, else longest.
    fn pause(&self) -> Duration {
        let timing = self.0.timing;
        let is_open = self.read(|state| {
            let mut tenants = state.operations.open_tenants();
            tenants.next().is_some() || state.deployments.open_tenants().next().is_some()
        });
        let is_watched = self.0.events.receiver_count() > 0 || !self.0.watched.lock().is_empty();
        let is_unsettled = |tenant: &Arc<TenantView>| tenant.state == TenantState::Applied;
        if is_open {
            timing.open_tick
        } else if is_watched
            || (self.0.used.load(Ordering::Relaxed)
                && self.read(|state| state.tenants.values().any(is_unsettled)))
        {
            timing.tick
        } else {
            timing.idle_tick
        }
    }

    /// Reads every source once. `read` becomes true once the repository and the platform have answered.
    async fn refresh(&self, refresher: &mut Refresher, read: &Condition) {
        let mut well = self.fetch(self.0.timing.fetch).await;
        match self.0.platform.observe().await {
            Ok(observed) => {
                self.0.sources.lock().observed = observed;
                self.source(PLATFORM, Ok(self.0.platform.name().to_owned()));
                if self.0.take_back {
                    self.take_back_refused().await;
                }
            }
            Err(reason) => {
                well = false;
                self.source(PLATFORM, Err(reason));
            }
        }
        self.make_views();
        if well && read.set(true) {
            tracing::info!("state read: repository and platform answered");
        }
        self.ask_load_balancer(refresher).await;
        self.make_views();
        self.read_queues(refresher).await;
        self.make_views();
    }

    /// Fetches the branch now, so that a commit of this process is known at once.
    pub(crate) async fn fetch_now(&self) -> bool {
        let well = self.fetch(Duration::ZERO).await;
        self.make_views();
        self.0.wake.notify_one();
        well
    }

    /// Fetches the branch, unless it is known at most this long.
    async fn fetch(&self, at_most: Duration) -> bool {
        let mut branch = self.0.branch.lock().await;
        if branch
            .fetched
            .is_some_and(|fetched| fetched.elapsed() < at_most)
        {
            return true;
        }
        let (repository, known) = (self.0.repository.clone(), branch.head.clone());
        let fetched = on_blocking_thread(move || {
            let head = repository.lock()?.fetch()?;
            if known.as_ref() == Some(&head) {
                return Ok(Fetched { head, news: None });
            }
            let entries = repository.log(&head, known.as_ref(), MAX_COMMITS)?;
            let snapshot = repository.snapshot(&head)?;
            let releases = match release_states(&snapshot) {
                Ok(releases) => Ok(releases),
                Err(error) => Err(Unreadable::since(&repository, &head, &entries, error)?),
            };
            let news = Some(News { entries, releases });
            Ok::<_, GitError>(Fetched { head, news })
        })
        .await;
        branch.fetched = Some(Instant::now());
        let Fetched { head, news } = match fetched {
            Ok(fetched) => fetched,
            Err(error) => {
                self.source(GIT, Err(error.to_string()));
                return false;
            }
        };
        self.source(GIT, Ok(head.short().to_owned()));
        let Some(News { entries, releases }) = news else {
            return true;
        };
        let is_first = branch.head.is_none();
        self.update(|state| {
            if is_first && entries.len() < MAX_COMMITS {
                state.first_commit = entries.last().map(|oldest| oldest.commit.to_string());
            }
            let commits: Vec<Commit> = state.history.extend(entries);
            match releases {
                Ok(found) => {
                    let named = found
                        .into_iter()
                        .map(|one| (one.tenant.clone(), Arc::new(one)));
                    state.releases = named.collect();
                    state.read = state.history.position(head.as_str());
                    state.broken = None;
                }
                Err(unreadable) => state.broken = Some(unreadable.after(state.broken.take())),
            }
            let mut events = Vec::new();
            for commit in &commits {
                state.deployments.record(commit);
                let operation = state.operations.record(commit);
                if !is_first {
                    events.push(Event::Commit(commit.activity.clone()));
                    events.extend(operation.map(|operation| Event::Operation(Box::new(operation))));
                }
            }
            if is_first {
                state.operations.end_past();
            }
            ((), events)
        });
        branch.head = Some(head);
        true
    }

    /// Probes the tenants with open operations, and a few of the others.
    async fn ask_load_balancer(&self, refresher: &mut Refresher) {
        let Some(load_balancer) = self.0.platform.load_balancer() else {
            return;
        };
        let (tenants, urgent) = self.read(|state| {
            // In the order of their ids.
            let tenants: Vec<Arc<TenantView>> = state.tenants.values().cloned().collect();
            let mut urgent: BTreeSet<String> = state.operations.open_tenants().cloned().collect();
            urgent.extend(state.deployments.open_tenants());
            (tenants, urgent)
        });
        let mut urgent = urgent;
        let is_used = self.0.used.load(Ordering::Relaxed);
        if is_used {
            let unsettled = tenants
                .iter()
                .filter(|tenant| tenant.state == TenantState::Applied);
            urgent.extend(unsettled.map(|tenant| tenant.id.clone()));
            urgent.extend(self.0.watched.lock().keys().cloned());
        }
        let views = tenants.iter().map(|tenant| &**tenant);
        let answers = refresher
            .probe
            .ask(&load_balancer, &urgent, is_used, views)
            .await;
        self.0.sources.lock().add_probed(answers, |id| {
            let found = tenants.binary_search_by(|tenant| tenant.id.as_str().cmp(id));
            found.is_ok()
        });
        self.source(PROBE, Ok(load_balancer));
    }

    /// Reads the attributes of some queues: of the watched tenants, of open deployments, and of a few others.
    async fn read_queues(&self, refresher: &mut Refresher) {
        let is_deploying = self.read(|state| state.deployments.open_tenants().next().is_some());
        if !is_deploying && !self.0.used.load(Ordering::Relaxed) {
            return;
        }
        let watched: Vec<String> = self.0.watched.lock().keys().cloned().collect();
        let (mut wanted, all) = self.read(|state| {
            let of = |release: &String| {
                let tenant = state.tenants.get(release)?;
                // Its queue may not be there yet.
                let is_there = tenant.state != TenantState::Committed;
                is_there.then_some(tenant.apps.get("consumer")?.environment.clone())
            };
            let open: BTreeSet<String> = state.deployments.open_tenants().collect();
            let named = watched.iter().chain(&open);
            let wanted: BTreeSet<String> = named
                .map(|name| of(name).unwrap_or_else(|| name.clone()))
                .collect();
            let all: BTreeSet<String> = state
                .tenants
                .keys()
                .filter_map(of)
                .chain(state.pools.keys().cloned())
                .collect();
            (wanted, all)
        });
        wanted.retain(|name| all.contains(name));
        let after = all.range::<str, _>((
            std::ops::Bound::Excluded(refresher.last_queue.as_str()),
            std::ops::Bound::Unbounded,
        ));
        let others: Vec<String> = after
            .chain(all.iter())
            .take(MAX_QUEUES.min(all.len()))
            .cloned()
            .collect();
        refresher.last_queue = others.last().cloned().unwrap_or_default();
        wanted.extend(others);
        let mut found: BTreeMap<String, Figures> = BTreeMap::new();
        let mut failure = None;
        let queues = &self.0.queues;
        let asked = wanted.iter().map(|environment| async move {
            let figures = tokio::time::timeout(QUEUE_TIMEOUT, queues.figures(environment)).await;
            figures.unwrap_or_else(|_| Err(format!("the queue of {environment} does not answer")))
        });
        for (environment, figures) in wanted.iter().zip(join_all(asked).await) {
            match figures {
                Ok(figures) => drop(found.insert(environment.clone(), figures)),
                Err(reason) => failure = Some(reason),
            }
        }
        match failure {
            Some(reason) => self.source(QUEUES, Err(reason)),
            None => self.source(QUEUES, Ok(format!("{} queues", all.len()))),
        }
        self.update(|state| {
            state.queues.extend(found);
            state
                .queues
                .retain(|environment, _| all.contains(environment));
            ((), Vec::new())
        });
    }

    /// Makes the views anew, advances operations and deployments, and reports what changed.
    fn make_views(&self) {
        let fail_after = self.0.timing.fail_after;
        let changed = self.update(|state| {
            let sources = &mut *self.0.sources.lock();
            let observed = &sources.observed;
            let broken = state.broken.as_ref().map(|broken| &broken.blocked);
            let blocked = broken.or(observed.blocked.as_ref());
            let mut before = std::mem::take(&mut state.tenants);
            let mut events = Vec::new();
            let mut tenants = BTreeMap::new();
            let mut pools = BTreeMap::new();
            let mut users: HashMap<&str, usize> = HashMap::new();
            for release in state
                .releases
                .values()
                .filter(|one| one.offboarded_from.is_none())
            {
                let places: BTreeSet<&str> = release
                    .apps
                    .values()
                    .filter_map(|app| app.env_id.as_deref())
                    .collect();
                places
                    .into_iter()
                    .for_each(|pool| *users.entry(pool).or_default() += 1);
            }
            for (name, release) in &state.releases {
                let change = state.history.change(name);
                let changed = change.map_or(0, |(changed, _)| *changed);
                let mut one = observed.of(name, changed, |commit| state.history.position(commit));
                one.blocked = blocked.cloned();
                let change = change.map(|(_, change)| change);
                if matches!(name.parse::<Environment>(), Ok(Environment::Pool(_))) {
                    let count = users.get(name.as_str()).copied().unwrap_or_default();
                    let mut view = status::pool(release, change, &one, count);
                    merge(&mut view.figures, state.queues.get(name));
                    pools.insert(name.clone(), view);
                    continue;
                }
                let mut view = status::tenant(release, change, &one, sources.probed.get(name));
                view.apps = sources.places.share(view.apps);
                let environment = view.apps.get("consumer").map(|place| &place.environment);
                merge(
                    &mut view.figures,
                    environment.and_then(|name| state.queues.get(name)),
                );
                let producer = view
                    .apps
                    .get("producer")
                    .map(|place| place.environment.as_str());
                let pool = producer.and_then(|pool| observed.releases.get(pool));
                if let Some(pool) = pool.filter(|_| producer != Some(name.as_str())) {
                    let (figures, pool) = (&mut view.figures, &pool.figures);
                    figures.requests_per_second =
                        figures.requests_per_second.or(pool.requests_per_second);
                    figures.error_ratio = figures.error_ratio.or(pool.error_ratio);
                }
                let (name, known) = before
                    .remove_entry(name)
                    .map_or_else(|| (name.clone(), None), |(name, known)| (name, Some(known)));
                tenants.insert(name, shared(known, view, &mut events));
            }
            events.extend(before.into_keys().map(|id| Event::TenantGone { id }));
            state
                .history
                .retain(|name| state.releases.contains_key(name));
            state.tenants = tenants;
            state.pools = pools;
            let pools = state
                .pools
                .iter()
                .map(|(name, pool)| (name.clone(), is_ready(pool)))
                .collect();
            let actual = ActualState {
                tenants: &state.tenants,
                pools: &pools,
                position: &|commit| state.history.position(commit),
                read: state.read,
                blocked,
                now: now(),
                fail_after,
            };
            let changed = state.operations.advance(&actual);
            events.extend(
                changed
                    .iter()
                    .map(|one| Event::Operation(Box::new(one.operation.clone()))),
            );
            let deployments = state
                .deployments
                .observe(&state.tenants, &state.pools, now());
            events.extend(
                deployments
                    .into_iter()
                    .map(|one| Event::Deployment(Box::new(one))),
            );
            (changed, events)
        });
        for tracked in changed {
            let operation = &tracked.operation;
            if operation.state.is_end() {
                tracing::info!(
                    operation = operation.id,
                    kind = operation.kind,
                    tenant_id = operation.tenant,
                    state = operation.state.as_str(),
                    actor = operation.actor,
                    code = operation
                        .problem
                        .as_ref()
                        .map(|problem| problem.code.as_str()),
                    "operation ended"
                );
            }
            self.0.callbacks.enqueue(&tracked);
        }
        self.count();
    }

    fn count(&self) {
        let (open, states) = self.read(|state| {
            let mut states: BTreeMap<TenantState, u32> = BTreeMap::new();
            for tenant in state.tenants.values() {
                *states.entry(tenant.state).or_default() += 1;
            }
            (
                state
                    .operations
                    .newest()
                    .filter(|one| !one.state.is_end())
                    .count(),
                states,
            )
        });
        let metrics = &self.0.metrics;
        metrics
            .gauge("operations_open", vec![])
            .set(u32::try_from(open).unwrap_or(u32::MAX));
        for state in TenantState::ALL {
            let count = states.get(&state).copied().unwrap_or_default();
            metrics
                .gauge("tenants", vec![label("state", state.as_str())])
                .set(count);
        }
    }

    /// Records whether a source answered. A failure is logged once.
    fn source(&self, name: &'static str, answer: Result<String, String>) {
        let well = answer.is_ok();
        if !well {
            let labels = vec![label("source", name)];
            self.0
                .metrics
                .counter("refresh_failures_total", labels)
                .increment(1);
        }
        self.update(|state| {
            let before = state.sources.get(name);
            let was_well = before.is_none_or(|before| before.well);
            let last = if well {
                Some(now())
            } else {
                before.and_then(|before| before.last)
            };
            let detail = answer.unwrap_or_else(|reason| reason);
            if was_well && !well {
                tracing::warn!(
                    source = name,
                    reason = detail,
                    "source not read: its last state is shown"
                );
            } else if !was_well && well {
                tracing::info!(source = name, "source answers again");
            }
            let part = Part {
                name: name.to_owned(),
                well,
                detail,
                last,
            };
            state.sources.insert(name, part);
            ((), Vec::new())
        });
    }
}

/// Keeps the known view if nothing of the tenant has changed, and reports a change. One new view is in memory at a time.
fn shared(
    known: Option<Arc<TenantView>>,
    view: TenantView,
    events: &mut Vec<Event>,
) -> Arc<TenantView> {
    let Some(known) = known else {
        let view = Arc::new(view);
        events.push(Event::Tenant(Arc::clone(&view)));
        return view;
    };
    if *known == view {
        return known;
    }
    // The time of a probe and the commit of other tenants are no news.
    let is_news = without_probe(&known) != without_probe(&view);
    let view = Arc::new(view);
    if is_news {
        events.push(Event::Tenant(Arc::clone(&view)));
    }
    view
}

/// The view without what every probe and every commit changes.
fn without_probe(view: &TenantView) -> TenantView {
    let mut view = view.clone();
    if let Some(serving) = &mut view.serving {
        serving.time = serving.since;
        serving.commit = None;
    }
    if let Some(applied) = &mut view.applied {
        applied.commit = None;
    }
    view
}

fn is_ready(pool: &PoolView) -> bool {
    pool.blocked.is_none() && pool.applied.as_ref().is_some_and(|applied| applied.ready)
}

fn merge(figures: &mut Figures, queue: Option<&Figures>) {
    let Some(queue) = queue else { return };
    figures.queue_depth = queue.queue_depth.or(figures.queue_depth);
    figures.dead_letters = queue.dead_letters.or(figures.dead_letters);
    figures.oldest_message_seconds = queue
        .oldest_message_seconds
        .or(figures.oldest_message_seconds);
}
