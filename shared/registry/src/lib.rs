//! The tenant registry: queue, table, tier and status of each tenant, read from Parameter Store and cached.
//!
//! Parameter Store allows 40 reads per second, account and region by default, and all replicas of all services share
//! them. So in steady state a request makes no call:
//!
//! - Known tenants are served from memory and refreshed in the background, several per call, at a bounded rate.
//! - Requests for the same tenant are coalesced, and several tenants share one call.
//! - Unknown names are cached briefly.
//! - While Parameter Store is unavailable, cached tenants stay in use, however old.
//!
//! A tenant is registered if its queue parameter or its tier parameter exists.

mod coalesce;

use std::collections::HashMap;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::future::BoxFuture;
use moka::future::Cache;
use tokio::time::Instant;

use self::coalesce::{Coalescer, Loaded, Waiter};
use tenantry_process::arn::{QueueArn, TableArn};
use tenantry_process::metrics::{Metrics, label};
use tenantry_tenancy::environment::Environment;
use tenantry_tenancy::tenant::{TenantId, Tier};

/// Names that one GetParameters call takes (AWS: 10).
pub const MAX_NAMES_PER_CALL: usize = 10;
/// Parameters read for every tenant: queue, tier and status.
const NAMES_PER_TENANT: usize = 3;
/// Longest wait of a request for a tenant to be loaded; below the 5 s within which a request is answered.
const LOAD_TIMEOUT: Duration = Duration::from_secs(4);
/// Largest difference between the clock that stamps messages and this machine's clock.
const CLOCK_MARGIN: TimeDelta = TimeDelta::seconds(5);

/// A registered tenant, as described by its parameters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tenant {
    pub id: TenantId,
    /// `None` without the parameter: tenants of older installations have no tier.
    pub tier: Option<Tier>,
    /// Queue of its messages; `None` while its infrastructure is being created.
    pub queue: Option<QueueArn>,
    pub status: Status,
    /// Table in the parameter that [`TenantRegistry::new`] was given; `None` without such a parameter.
    pub table: Option<TableArn>,
}

/// A tenant's status, from the parameter `/<tenant>/status`. Accepted messages are stored with either status.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Status {
    /// Requests are answered; the default without the parameter.
    #[default]
    Active,
    /// Requests are refused until the tenant is resumed.
    Suspended,
}

/// The text names no status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a status is one of active, suspended")]
pub struct InvalidStatus;

impl Status {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Suspended => "suspended",
        }
    }
}

impl FromStr for Status {
    type Err = InvalidStatus;

    fn from_str(text: &str) -> Result<Self, InvalidStatus> {
        match text {
            "active" => Ok(Self::Active),
            "suspended" => Ok(Self::Suspended),
            _ => Err(InvalidStatus),
        }
    }
}

/// Limits of a [`TenantRegistry`].
#[derive(Debug, Clone, Copy)]
pub struct RegistryLimits {
    /// Tenants in the cache.
    pub max_tenants: u64,
    /// Unknown names in the cache.
    pub max_unknown: u64,
    /// Age at which a tenant in use is refreshed.
    pub refresh_after: Duration,
    /// Time after the last lookup until a tenant leaves the cache.
    pub forget_after: Duration,
    /// Time that an unknown name stays in the cache.
    pub unknown_for: Duration,
    /// Calls per second for tenants that are not in the cache; each call loads several.
    pub calls_per_second: std::num::NonZeroU32,
    /// Pause between two refresh calls.
    pub refresh_pause: Duration,
}

impl Default for RegistryLimits {
    fn default() -> Self {
        Self {
            max_tenants: 100_000,
            max_unknown: 100_000,
            refresh_after: Duration::from_secs(60),
            forget_after: Duration::from_secs(3600),
            unknown_for: Duration::from_secs(10),
            calls_per_second: std::num::NonZeroU32::new(20).expect("20 is not zero"),
            refresh_pause: Duration::from_millis(200),
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
    /// A parameter of the tenant has an invalid value; an operator must correct the parameter.
    #[error("parameter {name} is wrong: {reason}")]
    Misconfigured { name: String, reason: String },
}

/// Source of parameters: Parameter Store, or a fake in tests.
pub trait ParameterSource: Send + Sync + 'static {
    /// Reads up to [`MAX_NAMES_PER_CALL`] parameters; the map lacks those that do not exist.
    fn get(
        &self,
        names: Vec<String>,
    ) -> BoxFuture<'_, Result<HashMap<String, String>, SourceError>>;
}

/// The parameter source failed.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
pub struct SourceError(pub String);

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
    coalescer: Coalescer,
    metrics: Metrics,
}

/// A tenant in the cache.
struct CachedTenant {
    tenant: Arc<Tenant>,
    loaded_at: Instant,
    /// As `loaded_at`, by the wall clock, for comparison with timestamps of messages.
    loaded_on: DateTime<Utc>,
    used: AtomicBool,
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
            coalescer: Coalescer::new(limits.calls_per_second),
            metrics: metrics.clone(),
        }))
    }

    /// Returns the tenant from the cache, however old; otherwise loads the tenant by a call shared with other requests.
    ///
    /// # Errors
    /// [`LookupError::Unknown`] for an unregistered id, the other variants if the lookup failed.
    pub async fn lookup(&self, id: &TenantId) -> Result<Arc<Tenant>, LookupError> {
        if let Some(entry) = self.0.known.get(id).await {
            entry.used.store(true, Ordering::Relaxed);
            return Ok(Arc::clone(&entry.tenant));
        }
        if self.0.unknown.get(id).await.is_some() {
            return Err(LookupError::Unknown);
        }
        let loaded = self.0.known.try_get_with_by_ref(id, self.0.load(id));
        match tokio::time::timeout(LOAD_TIMEOUT, loaded).await {
            Ok(Ok(entry)) => Ok(Arc::clone(&entry.tenant)),
            Ok(Err(error)) => Err((*error).clone()),
            Err(_) => Err(LookupError::Unavailable("no answer in time".to_owned())),
        }
    }

    /// Returns the tenant as of some moment after `since`: from the cache if the entry is newer, otherwise by a new call. For
    /// callers that must not act on older state.
    ///
    /// # Errors
    /// As [`Self::lookup`].
    pub async fn lookup_since(
        &self,
        id: &TenantId,
        since: DateTime<Utc>,
    ) -> Result<Arc<Tenant>, LookupError> {
        let is_fresh = |loaded_on: DateTime<Utc>| loaded_on > since + CLOCK_MARGIN;
        let known = self.0.known.get(id).await;
        if let Some(entry) = known.as_ref().filter(|entry| is_fresh(entry.loaded_on)) {
            return Ok(Arc::clone(&entry.tenant));
        }
        if self.0.unknown.get(id).await.is_some_and(is_fresh) {
            return Err(LookupError::Unknown);
        }
        self.0.known.invalidate(id).await;
        self.0.unknown.invalidate(id).await;
        let found = self.lookup(id).await;
        if let (Err(LookupError::Unavailable(_) | LookupError::Misconfigured { .. }), Some(entry)) =
            (&found, known)
        {
            // Too old for this caller, but other callers still need the entry while the source is unavailable.
            self.0.known.insert(id.clone(), entry).await;
        }
        found
    }

    /// Refreshes tenants in use; never returns. If a refresh fails, the cached tenants stay in use.
    pub async fn refresh_forever(&self) {
        self.0.refresh_forever().await;
    }
}

impl Inner {
    /// Loads one tenant, together with others that requests wait for.
    async fn load(&self, id: &TenantId) -> Loaded {
        // Another request's load may have ended since the caller read the cache.
        if self.unknown.get(id).await.is_some() {
            return Err(LookupError::Unknown);
        }
        let mut reply = self.coalescer.join(id)?;
        loop {
            tokio::select! {
                biased;
                loaded = &mut reply => match loaded {
                    Ok(loaded) => return loaded,
                    // The request that was loading this tenant was cancelled.
                    Err(_) => reply = self.coalescer.join(id)?,
                },
                // Cancel-safe: a permit that is dropped before it is ready is not taken.
                () = self.coalescer.permit() => self.load_next().await,
            }
        }
    }

    /// Loads the tenants that have waited longest with one call, and answers their waiters.
    async fn load_next(&self) {
        let waiters = self.coalescer.take(self.tenants_per_call());
        if waiters.is_empty() {
            return;
        }
        let read_all = self
            .source
            .get(
                waiters
                    .iter()
                    .flat_map(|waiter| self.names(&waiter.id))
                    .collect(),
            )
            .await;
        self.count("load", if read_all.is_ok() { "ok" } else { "error" });
        for Waiter { id, reply } in waiters {
            let tenant = match &read_all {
                Ok(values) => self.read(&id, values),
                Err(SourceError(reason)) => Err(LookupError::Unavailable(reason.clone())),
            };
            let loaded = match tenant {
                Ok(Some(tenant)) => Ok(cached(tenant)),
                Ok(None) => {
                    self.unknown.insert(id, Utc::now()).await;
                    Err(LookupError::Unknown)
                }
                Err(error) => Err(error),
            };
            // A waiter that has given up was answered by its deadline.
            let _ = reply.send(loaded);
        }
    }

    async fn refresh_forever(&self) {
        loop {
            let due = self.due();
            for ids in due.chunks(self.tenants_per_call()) {
                self.refresh(ids).await;
                tokio::time::sleep(self.limits.refresh_pause).await;
            }
            tokio::time::sleep(self.limits.refresh_after / 4).await;
        }
    }

    /// Tenants due for a refresh: used since their last read, which is old enough.
    fn due(&self) -> Vec<TenantId> {
        self.known
            .iter()
            .filter(|(_, entry)| {
                entry.loaded_at.elapsed() >= self.limits.refresh_after
                    && entry.used.load(Ordering::Relaxed)
            })
            .map(|(id, _)| (*id).clone())
            .collect()
    }

    /// Refreshes up to [`Self::tenants_per_call`] cached tenants with one call.
    async fn refresh(&self, ids: &[TenantId]) {
        let values = match self
            .source
            .get(ids.iter().flat_map(|id| self.names(id)).collect())
            .await
        {
            Ok(values) => values,
            Err(SourceError(reason)) => {
                self.count("refresh", "error");
                tracing::warn!(
                    tenants = ids.len(),
                    reason,
                    "registry refresh failed: cached tenants stay in use"
                );
                return;
            }
        };
        self.count("refresh", "ok");
        for id in ids {
            match self.read(id, &values) {
                Ok(Some(tenant)) => self.known.insert(id.clone(), cached(tenant)).await,
                Ok(None) => {
                    tracing::info!(tenant_id = %id, "tenant is no longer registered: removed from the cache");
                    self.known.invalidate(id).await;
                }
                Err(error) => {
                    tracing::error!(tenant_id = %id, %error, "tenant refresh failed: cached tenant stays in use");
                }
            }
        }
    }

    fn tenants_per_call(&self) -> usize {
        MAX_NAMES_PER_CALL / (NAMES_PER_TENANT + usize::from(self.table.is_some()))
    }

    fn names(&self, id: &TenantId) -> impl Iterator<Item = String> + use<> {
        always(id)
            .into_iter()
            .chain(self.table.map(|table| format!("/{id}/{table}")))
    }

    /// Parses a tenant's parameters; returns `None` without queue and tier.
    fn read(
        &self,
        id: &TenantId,
        values: &HashMap<String, String>,
    ) -> Result<Option<Tenant>, LookupError> {
        let [queue, tier, status] = always(id);
        let (queue, tier) = (value(values, &queue)?, value(values, &tier)?);
        let status = value(values, &status)?.unwrap_or_default();
        let table = match self.table {
            Some(table) => value(values, &format!("/{id}/{table}"))?,
            None => None,
        };
        let tenant = Tenant {
            id: id.clone(),
            tier,
            queue,
            status,
            table,
        };
        Ok((tenant.queue.is_some() || tenant.tier.is_some()).then_some(tenant))
    }

    fn count(&self, purpose: &'static str, outcome: &'static str) {
        self.metrics
            .counter(
                "registry_calls_total",
                vec![label("purpose", purpose), label("outcome", outcome)],
            )
            .increment(1);
    }
}

/// Reads the queue and table of an environment's consumer.
///
/// # Errors
/// A [`LookupError`]; `Unknown` if one of the two parameters does not exist (yet).
pub async fn environment_resources(
    source: &dyn ParameterSource,
    environment: &Environment,
) -> Result<(QueueArn, TableArn), LookupError> {
    let (queue, table) = (
        format!("/{environment}/consumer_sqs"),
        format!("/{environment}/consumer_ddb"),
    );
    let values = read(source, vec![queue.clone(), table.clone()]).await?;
    match (value(&values, &queue)?, value(&values, &table)?) {
        (Some(queue), Some(table)) => Ok((queue, table)),
        _ => Err(LookupError::Unknown),
    }
}

/// Reads the table in an environment's parameter.
///
/// # Errors
/// A [`LookupError`]; `Unknown` if the parameter does not exist (yet).
pub async fn environment_table(
    source: &dyn ParameterSource,
    environment: &Environment,
    parameter: &str,
) -> Result<TableArn, LookupError> {
    let name = format!("/{environment}/{parameter}");
    let values = read(source, vec![name.clone()]).await?;
    value(&values, &name)?.ok_or(LookupError::Unknown)
}

/// Names of the parameters read for every tenant.
fn always(id: &TenantId) -> [String; NAMES_PER_TENANT] {
    ["consumer_sqs", "tier", "status"].map(|name| format!("/{id}/{name}"))
}

async fn read(
    source: &dyn ParameterSource,
    names: Vec<String>,
) -> Result<HashMap<String, String>, LookupError> {
    source
        .get(names)
        .await
        .map_err(|SourceError(reason)| LookupError::Unavailable(reason))
}

/// Parses a parameter's value; returns `None` if the parameter does not exist.
fn value<T>(values: &HashMap<String, String>, name: &str) -> Result<Option<T>, LookupError>
where
    T: FromStr<Err: std::fmt::Display>,
{
    let Some(text) = values.get(name) else {
        return Ok(None);
    };
    let wrong = |error: T::Err| LookupError::Misconfigured {
        name: name.to_owned(),
        reason: error.to_string(),
    };
    text.trim().parse().map(Some).map_err(wrong)
}

fn cached(tenant: Tenant) -> Arc<CachedTenant> {
    Arc::new(CachedTenant {
        tenant: Arc::new(tenant),
        loaded_at: Instant::now(),
        loaded_on: Utc::now(),
        used: AtomicBool::new(false),
    })
}

impl ParameterSource for aws_sdk_ssm::Client {
    fn get(
        &self,
        names: Vec<String>,
    ) -> BoxFuture<'_, Result<HashMap<String, String>, SourceError>> {
        Box::pin(async move {
            let found = self
                .get_parameters()
                .set_names(Some(names))
                .with_decryption(true)
                .send()
                .await
                .map_err(|error| {
                    SourceError(aws_sdk_ssm::error::DisplayErrorContext(&error).to_string())
                })?;
            let parameters = found.parameters.unwrap_or_default();
            Ok(parameters
                .into_iter()
                .filter_map(|found| Some((found.name?, found.value?)))
                .collect())
        })
    }
}

#[cfg(test)]
mod tests;
