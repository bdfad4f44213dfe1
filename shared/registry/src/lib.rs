//! The tenant registry: queue, table, tier and status of each tenant, read from Parameter Store and cached.
//!
//! Parameter Store allows 40 reads per second, account and region by default, and all replicas of all services share
//! them. So in steady state a request makes no call:
//!
//! - A registration older than its refresh age is read again before it answers. Tenants in use are read in the background
//!   before they are due, several per call, so their requests wait for nothing.
//! - With many tenants in use, a pool reads the short list of tenants that are not active instead of each tenant, and of
//!   each tenant the status alone, ten per call.
//! - Requests for the same tenant are coalesced, and several tenants share one call.
//! - Ids that may be made up have a small rate of their own, and unknown names are cached briefly.
//! - Only while Parameter Store fails or is slow, cached tenants stay in use, however old.
//!
//! A tenant is registered if its queue parameter or its tier parameter exists. `docs/decisions/registry-freshness.md` has
//! the arithmetic.

mod cached;
mod coalesce;
mod index;
mod permits;
mod refresh;
mod source;
mod status;
mod tenant;

use std::collections::HashMap;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use moka::future::Cache;
use parking_lot::Mutex;
use tokio::time::{Instant, timeout};

use tenantry_process::metrics::{Metrics, label};
use tenantry_tenancy::tenant::TenantId;

use self::cached::{CachedTenant, ReadAt};
use self::coalesce::{Join, Lane, Loaded};
use self::index::Index;
use self::permits::Permits;
pub use self::source::{
    MAX_NAMES_PER_CALL, ParameterPage, ParameterSource, SourceError, environment_resources,
    environment_table,
};
use self::status::StatusReads;
use self::tenant::NAMES_PER_TENANT;
pub use self::tenant::{InvalidStatus, Status, Tenant};

/// Longest wait of a request for a tenant to be loaded; below the 5 s within which a request is answered.
const LOAD_TIMEOUT: Duration = Duration::from_secs(4);
/// Longest wait of a request for a cached tenant to be read again while Parameter Store fails or is slow. After it, the
/// cached tenant answers.
const REFRESH_TIMEOUT: Duration = Duration::from_secs(1);
/// Longest duration of a background call.
const CALL_TIMEOUT: Duration = Duration::from_secs(2);
/// Time after which a call in progress counts as failed; below [`REFRESH_TIMEOUT`].
const SLOW_CALL: Duration = Duration::from_millis(900);
/// Time after a failed call in which a request of a cached tenant waits for no call, unless a call succeeds. The background
/// refresh makes at least one call in it.
const FAILING_FOR: Duration = Duration::from_secs(5);
/// Largest difference between the clock that stamps messages and this machine's clock.
const CLOCK_MARGIN: TimeDelta = TimeDelta::seconds(5);
/// Listed ids, and unlisted ones, that may wait for a call at once. An unlisted id may be made up, so only as many wait as
/// leave the connections to others.
const MAX_WAITING: usize = 10_000;
const MAX_UNLISTED_WAITING: usize = 128;

/// Limits of a [`TenantRegistry`].
#[derive(Debug, Clone, Copy)]
pub struct RegistryLimits {
    /// Tenants in the cache.
    pub max_tenants: u64,
    /// Unknown names in the cache.
    pub max_unknown: u64,
    /// Age at which a tenant is read again before it answers.
    pub refresh_after: Duration,
    /// Time after the last lookup until a tenant leaves the cache.
    pub forget_after: Duration,
    /// Time that an unknown name stays in the cache.
    pub unknown_for: Duration,
    /// Calls per second that requests wait for; each call loads several tenants.
    pub calls_per_second: u32,
    /// Of these, calls per second for ids that the index does not list and that do not exist.
    pub unlisted_calls_per_second: u32,
    /// Such calls at once, after an idle time.
    pub unlisted_calls_at_once: u32,
    /// Whether the index of tenants is read: in a pool, which any id may reach.
    pub reads_index: bool,
}

impl Default for RegistryLimits {
    fn default() -> Self {
        Self {
            max_tenants: 100_000,
            max_unknown: 100_000,
            refresh_after: Duration::from_secs(10),
            forget_after: Duration::from_secs(3600),
            unknown_for: Duration::from_secs(10),
            calls_per_second: 20,
            unlisted_calls_per_second: 1,
            unlisted_calls_at_once: 20,
            reads_index: false,
        }
    }
}

/// Why a tenant lookup failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LookupError {
    /// No parameter names the tenant.
    #[error("the tenant is not registered")]
    Unknown,
    /// Not in the cache, and Parameter Store is unavailable; try again.
    #[error("the tenant registry cannot be read now: {0}")]
    Unavailable(String),
    /// Not in the cache, or too old, and too many ids are being looked up; try again.
    #[error("too many tenants are being looked up")]
    Busy,
    /// A parameter of the tenant has an invalid value; an operator must correct the parameter.
    #[error("parameter {name} is wrong: {reason}")]
    Misconfigured { name: String, reason: String },
}

/// Cached lookups of tenants. Clones share the same cache.
#[derive(Clone)]
pub struct TenantRegistry(Arc<Inner>);

struct Inner {
    source: Arc<dyn ParameterSource>,
    /// Parameter of a tenant's table, if tables are read.
    table: Option<&'static str>,
    limits: RegistryLimits,
    known: Cache<TenantId, Arc<CachedTenant>>,
    /// Names that were not found, and the time of that lookup.
    unknown: Cache<TenantId, DateTime<Utc>>,
    index: Option<Index>,
    status_reads: StatusReads,
    trusted: Lane,
    unlisted: Lane,
    permits: Permits,
    /// Time of the last failed call; `None` after a call that succeeded.
    failed_at: Mutex<Option<Instant>>,
    metrics: Metrics,
}

impl TenantRegistry {
    /// Creates a registry with an empty cache. `table` names the parameter of each tenant's table, for a service that needs
    /// tables.
    pub fn new(
        source: Arc<dyn ParameterSource>,
        limits: RegistryLimits,
        metrics: &Metrics,
        table: Option<&'static str>,
    ) -> Self {
        metrics.describe_counter(
            "registry_calls_total",
            "Calls to Parameter Store, by purpose and outcome",
        );
        Self(Arc::new(Inner {
            source,
            table,
            limits,
            known: Cache::builder()
                .max_capacity(limits.max_tenants)
                .time_to_idle(limits.forget_after)
                .build(),
            unknown: Cache::builder()
                .max_capacity(limits.max_unknown)
                .time_to_live(limits.unknown_for)
                .build(),
            index: limits.reads_index.then(Index::default),
            status_reads: StatusReads::default(),
            trusted: Lane::new(MAX_WAITING),
            unlisted: Lane::new(MAX_UNLISTED_WAITING),
            permits: Permits::new(
                limits.calls_per_second,
                limits.unlisted_calls_per_second,
                limits.unlisted_calls_at_once,
            ),
            failed_at: Mutex::default(),
            metrics: metrics.clone(),
        }))
    }

    /// Returns the tenant from the cache, if it is younger than its refresh age; otherwise reads the tenant, by a call
    /// shared with other requests. The id may be made up: it never delays a registered one.
    ///
    /// # Errors
    /// [`LookupError::Unknown`] for an unregistered id, the other variants if the lookup failed.
    pub async fn lookup(&self, id: &TenantId) -> Result<Arc<Tenant>, LookupError> {
        self.0.lookup(id, false).await
    }

    /// As [`Self::lookup`], for an id that is not made up: a token, a message or an item proves it.
    ///
    /// # Errors
    /// As [`Self::lookup`].
    pub async fn lookup_proved(&self, id: &TenantId) -> Result<Arc<Tenant>, LookupError> {
        self.0.lookup(id, true).await
    }

    /// Returns the tenant as of some moment after `since`: from the cache if the entry is newer, otherwise by a new call. For
    /// callers that have proof of the id and must not act on older state.
    ///
    /// # Errors
    /// As [`Self::lookup`].
    pub async fn lookup_since(
        &self,
        id: &TenantId,
        since: DateTime<Utc>,
    ) -> Result<Arc<Tenant>, LookupError> {
        let is_fresh = |read_on: DateTime<Utc>| read_on > since + CLOCK_MARGIN;
        if let Some(entry) = self.0.known.get(id).await
            && is_fresh(entry.read_at.on)
        {
            return Ok(Arc::clone(&entry.tenant));
        }
        if self.0.unknown.get(id).await.is_some_and(is_fresh) {
            return Err(LookupError::Unknown);
        }
        self.0.wait_for(id, true, Join::Later).await
    }

    /// Reads the index of tenants for the first time. Without the index, a cold tenant's id may be made up, too.
    pub async fn read_index(&self) {
        self.0.read_index().await;
    }

    /// Keeps tenants in use and the index fresh; never returns.
    pub async fn keep_fresh(&self) {
        self.0.keep_fresh().await;
    }
}

impl Inner {
    async fn lookup(&self, id: &TenantId, is_proved: bool) -> Result<Arc<Tenant>, LookupError> {
        let mut cached = self.known.get(id).await;
        if let Some(entry) = &cached {
            entry.mark_used();
            if self.is_fresh(entry) || self.is_failing() {
                return Ok(Arc::clone(&entry.tenant));
            }
            if self.is_confirmed(entry) {
                self.wait_for_status(id).await;
                cached = self.known.get(id).await;
            }
        }
        if let Some(entry) = cached {
            if self.is_confirmed(&entry) {
                return Ok(Arc::clone(&entry.tenant));
            }
            return self.read_again(id, &entry).await;
        }
        if self.unknown.get(id).await.is_some() {
            return Err(LookupError::Unknown);
        }
        let is_trusted = is_proved || self.index.as_ref().is_none_or(|index| index.lists(id));
        self.wait_for(id, is_trusted, Join::Any).await
    }

    /// Reads a cached tenant that is too old. The cached tenant answers if Parameter Store fails, or if the list of refused
    /// tenants has confirmed it meanwhile; a lack of permits is no reason.
    async fn read_again(
        &self,
        id: &TenantId,
        cached: &CachedTenant,
    ) -> Result<Arc<Tenant>, LookupError> {
        let begun = Instant::now();
        let mut load = pin!(self.load(id, true, Join::Any));
        loop {
            match timeout(REFRESH_TIMEOUT, &mut load).await {
                Ok(Ok(entry)) => return Ok(Arc::clone(&entry.tenant)),
                Ok(Err(LookupError::Unavailable(_))) => return Ok(Arc::clone(&cached.tenant)),
                Ok(Err(error @ LookupError::Misconfigured { .. })) => {
                    let kept = self.known.get(id).await;
                    return kept.map(|kept| Arc::clone(&kept.tenant)).ok_or(error);
                }
                Ok(Err(error)) => return Err(error),
                Err(_) if self.is_failing() || self.is_confirmed(cached) => {
                    return Ok(Arc::clone(&cached.tenant));
                }
                Err(_) if begun.elapsed() >= LOAD_TIMEOUT => return Err(LookupError::Busy),
                Err(_) => {}
            }
        }
    }

    /// Loads a tenant within the time of a request.
    async fn wait_for(
        &self,
        id: &TenantId,
        is_trusted: bool,
        join: Join,
    ) -> Result<Arc<Tenant>, LookupError> {
        match timeout(LOAD_TIMEOUT, self.load(id, is_trusted, join)).await {
            Ok(loaded) => loaded.map(|entry| Arc::clone(&entry.tenant)),
            Err(_) if is_trusted => Err(LookupError::Unavailable("no answer in time".to_owned())),
            Err(_) => Err(LookupError::Busy),
        }
    }

    fn is_fresh(&self, entry: &CachedTenant) -> bool {
        entry.age() < self.limits.refresh_after
            || (entry.status_age() < self.status_reads.are_valid_for() && self.is_confirmed(entry))
    }

    /// Whether the list of refused tenants agrees with the entry's status.
    fn is_confirmed(&self, entry: &CachedTenant) -> bool {
        self.index
            .as_ref()
            .is_some_and(|index| index.confirms(&entry.tenant))
    }

    /// Whether the last call failed, not long ago.
    fn is_failing(&self) -> bool {
        self.failed_at
            .lock()
            .is_some_and(|at| at.elapsed() < FAILING_FOR)
    }

    fn note_failure(&self) {
        *self.failed_at.lock() = Some(Instant::now());
    }

    /// Loads one tenant, together with others that requests wait for.
    async fn load(&self, id: &TenantId, is_trusted: bool, join: Join) -> Loaded {
        let lane = self.lane(is_trusted);
        let mut reply = lane.join(id, join)?;
        // Requests that arrive together share a call, also while permits are saved.
        tokio::task::yield_now().await;
        loop {
            tokio::select! {
                biased;
                loaded = &mut reply => match loaded {
                    Ok(loaded) => return loaded,
                    // The request that was loading this tenant was canceled.
                    Err(_) => reply = lane.join(id, join)?,
                },
                // Cancel-safe: a permit that is dropped before it is ready is not taken.
                () = self.permits.take(!is_trusted) => self.load_next(is_trusted).await,
            }
        }
    }

    fn lane(&self, is_trusted: bool) -> &Lane {
        if is_trusted {
            &self.trusted
        } else {
            &self.unlisted
        }
    }

    /// Loads the tenants that have waited longest with one call, and answers their waiters.
    async fn load_next(&self, is_trusted: bool) {
        let mut batch = self.lane(is_trusted).take(self.tenants_per_call());
        if batch.ids.is_empty() {
            return;
        }
        let read_at = ReadAt::now();
        let read_all = self.call("load", &batch.ids).await;
        let mut is_any_registered = false;
        while let Some(id) = batch.ids.last() {
            let loaded = match &read_all {
                Ok(values) => self.settle(id, values, read_at).await,
                Err(SourceError(reason)) => Err(LookupError::Unavailable(reason.clone())),
            };
            is_any_registered |= loaded.is_ok();
            batch.answer_last(&loaded);
        }
        if !is_trusted && is_any_registered {
            self.permits.return_unlisted();
        }
    }

    /// Reads the parameters of tenants with one call.
    async fn call(
        &self,
        purpose: &'static str,
        ids: &[TenantId],
    ) -> Result<HashMap<String, String>, SourceError> {
        let names = ids.iter().flat_map(|id| tenant::names(id, self.table));
        let mut get = self.source.get(names.collect());
        let outcome = match timeout(SLOW_CALL, &mut get).await {
            Ok(outcome) => outcome,
            Err(_) => {
                // The call goes on; requests of cached tenants need not wait for it.
                self.note_failure();
                get.await
            }
        };
        self.count(purpose, outcome.is_ok());
        if outcome.is_ok() {
            *self.failed_at.lock() = None;
        } else {
            self.note_failure();
        }
        outcome
    }

    /// Caches what a call found about a tenant.
    async fn settle(
        &self,
        id: &TenantId,
        values: &HashMap<String, String>,
        read_at: ReadAt,
    ) -> Loaded {
        match tenant::parse(id, self.table, values) {
            Ok(Some(tenant)) => {
                let has_status = values.contains_key(&tenant::status_name(id));
                let entry = CachedTenant::new(Arc::new(tenant), read_at, has_status);
                self.known.insert(id.clone(), Arc::clone(&entry)).await;
                Ok(entry)
            }
            Ok(None) => {
                if self.known.remove(id).await.is_some() {
                    tracing::info!(tenant_id = %id, "tenant is no longer registered: removed from the cache");
                }
                self.unknown.insert(id.clone(), read_at.on).await;
                Err(LookupError::Unknown)
            }
            Err(error) => {
                if tenant::is_of_status(id, &error) {
                    // The value may be meant to refuse the tenant, so no older status answers.
                    self.known.invalidate(id).await;
                } else if let Some(before) = self.known.get(id).await {
                    tracing::error!(tenant_id = %id, %error, "tenant refresh failed: cached tenant stays in use");
                    let status = tenant::value(values, &tenant::status_name(id))?;
                    let tenant = Tenant {
                        status: status.unwrap_or_default(),
                        ..Tenant::clone(&before.tenant)
                    };
                    let entry = CachedTenant::new(Arc::new(tenant), read_at, status.is_some());
                    self.known.insert(id.clone(), entry).await;
                }
                Err(error)
            }
        }
    }

    fn tenants_per_call(&self) -> usize {
        MAX_NAMES_PER_CALL / (NAMES_PER_TENANT + usize::from(self.table.is_some()))
    }

    fn count(&self, purpose: &'static str, is_ok: bool) {
        let outcome = if is_ok { "ok" } else { "error" };
        self.metrics
            .counter(
                "registry_calls_total",
                vec![label("purpose", purpose), label("outcome", outcome)],
            )
            .increment(1);
    }
}

#[cfg(test)]
mod tests;
