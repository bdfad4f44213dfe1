//! [`ControlPlane`]: the present state of all tenants, and their changes.
//!
//! Reads come from memory: a background task keeps the state equal to the branch's head, to the platform and to the probe.
//! A change is committed and pushed before its response. So an accepted change survives a crash: it is in Git.

mod broken;
mod change;
mod refresh;
mod state;
mod take_back;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use parking_lot::{Mutex, RwLock};
use tenantctl::git::{Repository, on_blocking_thread};
use tenantctl::status::Time;
use tenantry_process::aws::AwsSettings;
use tenantry_process::health::Condition;
use tenantry_process::metrics::Metrics;
use tenantry_process::retry::with_causes;
use tenantry_service::error::ApiError;
use tokio::sync::{Notify, broadcast, watch};
use tokio_util::sync::CancellationToken;

pub(crate) use self::broken::MAX_BROKEN;
pub use self::change::Submission;
pub(crate) use self::change::{apply_error, id_of, not_read, request_error};
pub(crate) use self::state::State;
use crate::access::{Actor, Verb};
use crate::callback::Callbacks;
use crate::history;
use crate::model::{
    Activity, ActivityPage, DeploymentView, Event, Health, Operation, Part, PeekedMessage,
    PoolView, QueueView, TenantPage, TenantQuery, TenantView,
};
use crate::platform::Platform;
use crate::queues::Queues;

/// Events kept for a slow receiver.
const EVENTS: usize = 1024;
/// Largest number of tenants, operations or commits on one page.
pub const MAX_LIMIT: usize = 1_000;
/// Commits searched for the activity of one tenant.
const MAX_SEARCHED: usize = 2_000;

/// The control plane. Clones share the state.
#[derive(Clone)]
pub struct ControlPlane(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) repository: Repository,
    pub(crate) platform: Arc<dyn Platform>,
    pub(crate) queues: Queues,
    /// Asks the load balancer and the embedded endpoint. One client for all, because each holds the certificates of all authorities.
    pub(crate) client: reqwest::Client,
    pub(crate) timing: Timing,
    pub(crate) callbacks: Callbacks,
    pub(crate) metrics: Metrics,
    take_back: bool,
    state: RwLock<State>,
    events: broadcast::Sender<Event>,
    /// Counts the changes of the state.
    changes: watch::Sender<u64>,
    /// Ends the pause between two refreshes.
    wake: Notify,
    branch: tokio::sync::Mutex<refresh::Branch>,
    sources: Mutex<refresh::Sources>,
    /// Whether a client has sent a request. Until then, only tenants with open operations are probed.
    used: AtomicBool,
    /// Tenants and pools whose figures an open page shows, with the number of pages.
    watched: Mutex<HashMap<String, usize>>,
}

/// How often the control plane reads its sources.
#[derive(Debug, Clone, Copy)]
pub struct Timing {
    /// Pause between two refreshes while no page is open, unless the platform reports a change.
    pub idle_tick: Duration,
    /// Pause between two refreshes while a page is open.
    pub tick: Duration,
    /// Pause between two refreshes while an operation is open.
    pub open_tick: Duration,
    /// Age at which the branch is fetched again.
    pub fetch: Duration,
    /// A blocked operation fails after this time.
    pub fail_after: Duration,
}

/// Parts of a control plane.
pub struct Settings {
    pub repository: Repository,
    pub platform: Arc<dyn Platform>,
    pub aws: AwsSettings,
    pub timing: Timing,
    pub callbacks: Callbacks,
    pub metrics: Metrics,
    /// Whether a commit takes back what the cluster refuses.
    pub take_back: bool,
    /// As [`client`] makes it.
    pub client: reqwest::Client,
}

/// Returns the client that asks the load balancer. It trusts the system's authorities, and those of this PEM text.
///
/// # Errors
/// One sentence: the text has no certificate.
pub fn client(authorities: Option<&str>) -> Result<reqwest::Client, String> {
    let mut builder = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy();
    if let Some(pem) = authorities {
        let found = reqwest::Certificate::from_pem_bundle(pem.as_bytes());
        let found = found.map_err(|error| error.to_string())?;
        if found.is_empty() {
            return Err("it has no certificate in PEM".to_owned());
        }
        builder = builder.tls_certs_merge(found);
    }
    builder.build().map_err(|error| with_causes(&error))
}

/// Keeps a tenant's figures fresh while it lives, for a page that shows them.
pub struct Watch {
    control: ControlPlane,
    tenant: String,
}

impl ControlPlane {
    pub fn new(settings: Settings) -> Self {
        let Settings {
            repository,
            platform,
            aws,
            timing,
            callbacks,
            metrics,
            take_back,
            client,
        } = settings;
        metrics.describe_gauge("operations_open", "Operations that have not ended");
        metrics.describe_gauge("tenants", "Tenants, by state");
        metrics.describe_counter("changes_total", "Changes asked for, by kind and outcome");
        metrics.describe_counter(
            "refresh_failures_total",
            "Failed reads of a source, by source",
        );
        metrics.describe_counter(
            "taken_back_total",
            "Commits that take back what the cluster refuses",
        );
        metrics.describe_histogram("refresh_seconds", "Time to read all sources once");
        Self(Arc::new(Inner {
            queues: Queues::new(&aws, client.clone()),
            client,
            repository,
            platform,
            timing,
            callbacks,
            metrics,
            take_back,
            state: RwLock::default(),
            events: broadcast::channel(EVENTS).0,
            changes: watch::Sender::new(0),
            wake: Notify::new(),
            branch: tokio::sync::Mutex::default(),
            sources: Mutex::default(),
            used: AtomicBool::new(false),
            watched: Mutex::default(),
        }))
    }

    /// Keeps the state fresh and drives deployments until the token is canceled. `read` becomes true once every source was
    /// read.
    pub async fn run(self, read: Condition, shutdown: CancellationToken) {
        let deployments = crate::rollout::drive(self.clone());
        let refreshes = refresh::run(self.clone(), read);
        let callbacks = self.0.callbacks.clone().deliver(self.clone());
        shutdown
            .run_until_cancelled(async { tokio::join!(deployments, refreshes, callbacks) })
            .await;
    }

    /// Records that a client has sent a request. From now on all tenants are probed, a few per refresh.
    pub(crate) fn touch(&self) {
        if !self.0.used.swap(true, Ordering::Relaxed) {
            self.wake();
        }
    }

    /// Tenants by id, from memory.
    pub fn tenants(&self, query: &TenantQuery) -> TenantPage {
        self.0.state.read().page(query)
    }

    pub fn tenant(&self, id: &str) -> Option<TenantView> {
        let state = self.0.state.read();
        state
            .tenants
            .get(id)
            .map(|tenant| TenantView::clone(tenant))
    }

    pub fn pools(&self) -> Vec<PoolView> {
        self.0.state.read().pools.values().cloned().collect()
    }

    /// Newest first.
    pub fn deployments(&self) -> Vec<DeploymentView> {
        self.0.state.read().deployments.views()
    }

    pub fn deployment(&self, id: &str) -> Option<DeploymentView> {
        self.0.state.read().deployments.view(id)
    }

    /// Operations that this process knows, newest first.
    pub fn operations(&self, tenant: Option<&str>, limit: usize) -> Vec<Operation> {
        let state = self.0.state.read();
        let is_wanted = |operation: &&Operation| {
            tenant.is_none_or(|tenant| operation.tenants.iter().any(|one| one == tenant))
        };
        let found = state
            .operations
            .newest()
            .filter(is_wanted)
            .take(limit.min(MAX_LIMIT));
        found.cloned().collect()
    }

    /// Commits, newest first, after a commit.
    ///
    /// # Errors
    /// 400 for an unknown cursor; 503 if the repository cannot be read.
    pub async fn activity(
        &self,
        tenant: Option<&str>,
        limit: usize,
        after: Option<&str>,
    ) -> Result<ActivityPage, ApiError> {
        let limit = limit.clamp(1, MAX_LIMIT);
        let is_wanted =
            |one: &Activity| tenant.is_none_or(|tenant| one.tenants.iter().any(|of| of == tenant));
        let found: Vec<Activity> = match after {
            Some(after) => self.older(after, MAX_SEARCHED).await?,
            None => self.read(|state| state.history.activity().cloned().collect()),
        };
        let searched = found.last().map(|last| last.commit.clone());
        let mut wanted: Vec<Activity> = found
            .into_iter()
            .filter(is_wanted)
            .take(limit + 1)
            .collect();
        let next_cursor = if wanted.len() > limit {
            wanted.truncate(limit);
            wanted.last().map(|last| last.commit.clone())
        } else {
            searched.filter(|_| !wanted.is_empty() || tenant.is_some())
        };
        let is_first = |commit: &str| self.0.state.read().first_commit.as_deref() == Some(commit);
        Ok(ActivityPage {
            next_cursor: next_cursor.filter(|commit| !is_first(commit)),
            activity: wanted,
        })
    }

    /// Commits before a commit, newest first.
    async fn older(&self, after: &str, max: usize) -> Result<Vec<Activity>, ApiError> {
        let unknown = || {
            let msg = "BadRequest: the cursor is not valid; start again without a cursor";
            ApiError::bad_request("invalid_cursor", msg)
        };
        let after = tenantctl::git::Oid::parse(after).ok_or_else(unknown)?;
        let repository = self.0.repository.clone();
        let entries = on_blocking_thread(move || repository.log(&after, None, max + 1)).await;
        // Git does not have the commit.
        let entries = entries.map_err(|_| unknown())?;
        let older = entries.into_iter().skip(1);
        Ok(older
            .map(|entry| history::commit(0, entry).activity)
            .collect())
    }

    /// Returns the changes of operations, tenants and deployments from now on. A receiver that lags gets `Lagged`, and reads
    /// the state anew.
    pub fn subscribe(&self) -> broadcast::Receiver<Event> {
        self.0.events.subscribe()
    }

    /// Keeps the figures of a tenant or pool fresh until the value is dropped.
    pub fn watch(&self, tenant: &str) -> Watch {
        *self.0.watched.lock().entry(tenant.to_owned()).or_default() += 1;
        self.0.wake.notify_one();
        Watch {
            control: self.clone(),
            tenant: tenant.to_owned(),
        }
    }

    /// The queue of a tenant or a pool.
    ///
    /// # Errors
    /// 404; 503 if SQS cannot be reached.
    pub async fn queue(&self, release: &str) -> Result<QueueView, ApiError> {
        self.0.queues.view(&self.consumer_of(release)?).await
    }

    /// Messages of a queue without receiving them; of its dead-letter queue with `dead`.
    ///
    /// # Errors
    /// 403 without the role; 404; 501 where the endpoint has no way to do that, as on AWS.
    pub async fn peek(
        &self,
        actor: &Actor,
        release: &str,
        dead: bool,
        limit: usize,
    ) -> Result<Vec<PeekedMessage>, ApiError> {
        actor.check(Verb::Peek)?;
        let environment = self.consumer_of(release)?;
        let found = self.0.queues.peek(&environment, dead, limit).await?;
        // Tenants of a pool share its queue; each sees its own messages.
        let is_own = |message: &PeekedMessage| {
            environment == release
                || message
                    .attributes
                    .get("tenant_id")
                    .is_some_and(|tenant| tenant == release)
        };
        Ok(found.into_iter().filter(is_own).collect())
    }

    /// Moves the dead-letter queue's messages back to the queue: of a pool, those of all its tenants.
    ///
    /// # Errors
    /// 403 without the role; 404; 409 while a move runs.
    pub async fn redrive(&self, actor: &Actor, release: &str) -> Result<(), ApiError> {
        actor.check(Verb::Redrive)?;
        let environment = self.consumer_of(release)?;
        self.0.queues.redrive(&environment).await?;
        tracing::info!(actor = actor.name, release, environment, "redrive started");
        self.0.wake.notify_one();
        Ok(())
    }

    /// The environment whose consumer has the messages of a tenant or pool.
    fn consumer_of(&self, release: &str) -> Result<String, ApiError> {
        let state = self.0.state.read();
        if state.pools.contains_key(release) {
            return Ok(release.to_owned());
        }
        let tenant = state
            .tenants
            .get(release)
            .ok_or_else(|| no_tenant(release))?;
        let place = tenant
            .apps
            .get("consumer")
            .map(|place| place.environment.clone());
        place.ok_or_else(|| {
            let msg = format!(
                "NotFound: {release} has no consumer and so no queue: it is offboarded; name another tenant"
            );
            ApiError::new(axum::http::StatusCode::NOT_FOUND, "no_consumer", msg)
        })
    }

    pub fn health(&self) -> Health {
        let state = self.0.state.read();
        let head_time = state.history.activity().next().map(|newest| newest.time);
        let open = state.operations.open_tenants().count();
        let mut parts: Vec<Part> = state.sources.values().cloned().collect();
        parts.push(Part {
            name: "operations".to_owned(),
            well: true,
            detail: format!("{open} tenants with an open operation"),
            last: None,
        });
        Health {
            platform: self.0.platform.name().to_owned(),
            repository: self.0.repository.address().to_string(),
            branch: self.0.repository.branch().to_string(),
            head: state.history.head().map(str::to_owned),
            head_time,
            parts,
            version: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }

    pub(crate) fn read<T>(&self, read: impl FnOnce(&State) -> T) -> T {
        read(&self.0.state.read())
    }

    /// Changes the state, and reports the changes.
    pub(crate) fn update<T>(&self, change: impl FnOnce(&mut State) -> (T, Vec<Event>)) -> T {
        let (result, events) = change(&mut self.0.state.write());
        let has_changed = !events.is_empty();
        for event in events {
            self.send(event);
        }
        if has_changed {
            self.0
                .changes
                .send_modify(|count| *count = count.wrapping_add(1));
        }
        result
    }

    pub(crate) fn send(&self, event: Event) {
        // Fails if there is no receiver.
        let _ = self.0.events.send(event);
    }

    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.0.changes.subscribe()
    }

    pub(crate) fn wake(&self) {
        self.0.wake.notify_one();
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let mut watched = self.control.0.watched.lock();
        if let Some(count) = watched.get_mut(&self.tenant) {
            *count -= 1;
            if *count == 0 {
                watched.remove(&self.tenant);
            }
        }
    }
}

pub(crate) fn now() -> Time {
    SystemTime::now().into()
}

/// 404.
pub(crate) fn no_tenant(id: &str) -> ApiError {
    let shown: String = id.chars().take(40).collect();
    let msg = format!("NotFound: there is no tenant {shown:?}; GET /tenants lists all tenants");
    ApiError::new(axum::http::StatusCode::NOT_FOUND, "tenant_unknown", msg)
}
