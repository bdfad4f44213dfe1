//! The tenant registry: which queue and tier a tenant has, read from Parameter Store and kept close.
//!
//! Parameter Store allows 40 reads a second per account and region by default, shared by every replica of every
//! service. So a request in steady state makes no call: known tenants are served from memory and refreshed in the
//! background, several to a call and at a bounded rate; a tenant is loaded once however many requests wait for it;
//! unknown names are remembered briefly; and where Parameter Store is down, what is known stays in use.
//! A tenant is registered where its queue or its tier is.

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

use self::coalesce::{Loads, Waiting};

use tenantry_process::arn::{QueueArn, TableArn};
use tenantry_process::metrics::{Metrics, label};
use tenantry_tenancy::environment::Environment;
use tenantry_tenancy::tenant::{TenantId, Tier};

/// Names one GetParameters call takes (AWS: 10).
pub const MAX_NAMES_PER_CALL: usize = 10;
/// Parameters read for every tenant: its queue, its tier and its status.
const NAMES_PER_TENANT: usize = 3;
/// Longest a request waits for a tenant to be loaded, below the 5 s within which it is answered.
const LOAD_TIMEOUT: Duration = Duration::from_secs(4);

/// How far the clock that stamps messages may be ahead of ours.
const CLOCK_MARGIN: TimeDelta = TimeDelta::seconds(5);

/// A registered tenant, as its parameters describe it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tenant {
    /// Its id.
    pub id: TenantId,
    /// Its tier; absent where the parameter is (the tenants of older installations have none).
    pub tier: Option<Tier>,
    /// Where its messages go; absent while its infrastructure is still being created.
    pub queue: Option<QueueArn>,
    /// Whether its requests are answered. What it sent before is stored in either case.
    pub status: Status,
    /// The table its parameter names, for a service that asks for one ([`TenantRegistry::new`]).
    pub table: Option<TableArn>,
}

/// Whether a tenant's requests are answered: the parameter `/<tenant>/status`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Status {
    /// They are; also where the parameter does not exist.
    #[default]
    Active,
    /// They are refused until the tenant is resumed.
    Suspended,
}

/// A text that is no status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a status is one of active, suspended")]
pub struct InvalidStatus;

impl Status {
    /// The status as the parameter spells it.
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

/// Bounds of a [`TenantRegistry`].
#[derive(Debug, Clone, Copy)]
pub struct RegistryLimits {
    /// Tenants kept in memory.
    pub max_tenants: u64,
    /// Unknown names remembered.
    pub max_unknown: u64,
    /// Age at which a tenant in use is read again.
    pub refresh_after: Duration,
    /// How long a tenant nobody asks for is kept.
    pub forget_after: Duration,
    /// How long a name that was not found is answered from memory.
    pub unknown_for: Duration,
    /// Calls a second that requests for tenants not in memory may cause; each loads several.
    pub loads_per_second: std::num::NonZeroU32,
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
            loads_per_second: std::num::NonZeroU32::new(20).expect("20 is not zero"),
            refresh_pause: Duration::from_millis(200),
        }
    }
}

/// Why a tenant cannot be told.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LookupError {
    /// No parameter names the tenant.
    #[error("the tenant is not registered")]
    Unknown,
    /// Not in memory, and Parameter Store cannot be asked now; try again.
    #[error("the tenant registry cannot be read now: {0}")]
    Unavailable(String),
    /// A parameter of the tenant holds something else than it should; an operator must mend it.
    #[error("parameter {name} is wrong: {reason}")]
    Misconfigured {
        /// The parameter.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
}

/// Where parameters are read from: Parameter Store, or a stand-in in tests.
pub trait ParameterSource: Send + Sync + 'static {
    /// The values of up to [`MAX_NAMES_PER_CALL`] parameters; those that do not exist are missing from the map.
    fn get(
        &self,
        names: Vec<String>,
    ) -> BoxFuture<'_, Result<HashMap<String, String>, SourceError>>;
}

/// The parameter source did not answer.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
pub struct SourceError(pub String);

/// The registry. Clones share the same memory.
#[derive(Clone)]
pub struct TenantRegistry(Arc<Inner>);

struct Inner {
    source: Arc<dyn ParameterSource>,
    /// The parameter of a tenant's table that is read, too.
    table: Option<&'static str>,
    limits: RegistryLimits,
    known: Cache<TenantId, Arc<Entry>>,
    /// Names that were not found, and when.
    unknown: Cache<TenantId, DateTime<Utc>>,
    loads: Loads,
    metrics: Metrics,
}

/// What is remembered of a tenant.
struct Entry {
    tenant: Arc<Tenant>,
    loaded_at: Instant,
    /// The same moment by the clock that messages are stamped with.
    loaded_on: DateTime<Utc>,
    used: AtomicBool,
}

impl TenantRegistry {
    /// An empty registry over the source. `table` is the parameter of each tenant that names its table, for a service
    /// that has to know it.
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
            loads: Loads::new(limits.loads_per_second),
            metrics: metrics.clone(),
        }))
    }

    /// The tenant: from memory where it is known (however old, while Parameter Store is down), else by one call that
    /// all who ask at once share.
    ///
    /// # Errors
    /// [`LookupError::Unknown`] for an unregistered id, the other variants where that cannot be told.
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

    /// The tenant as it was at some moment after `since`: from memory where that was read later, else by a new call. For
    /// whoever must not act on an answer that may have been true only before.
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
            // Not fresh enough for this, but still what everybody else is to be told.
            self.0.known.insert(id.clone(), entry).await;
        }
        found
    }

    /// Keeps tenants in use fresh; never ends. Failures leave what is known in use.
    pub async fn refresh_forever(&self) {
        self.0.refresh_forever().await;
    }
}

impl Inner {
    /// Loads one tenant for a request that waits for it, together with others that wait.
    async fn load(&self, id: &TenantId) -> Result<Arc<Entry>, LookupError> {
        // Somebody's load may have ended between this one's look and its turn here.
        if self.unknown.get(id).await.is_some() {
            return Err(LookupError::Unknown);
        }
        let mut answer = self.loads.wait_for(id)?;
        loop {
            tokio::select! {
                biased;
                loaded = &mut answer => match loaded {
                    Ok(loaded) => return loaded,
                    // Whoever was loading it went away.
                    Err(_) => answer = self.loads.wait_for(id)?,
                },
                // A turn that is dropped while it is waited for is nobody's loss.
                () = self.loads.turn() => self.load_next().await,
            }
        }
    }

    /// Loads the tenants that have waited longest, with one call, and answers those who wait.
    async fn load_next(&self) {
        let waiting = self.loads.take(self.tenants_per_call());
        if waiting.is_empty() {
            return;
        }
        let read_all = self
            .source
            .get(
                waiting
                    .iter()
                    .flat_map(|waiting| self.names(&waiting.id))
                    .collect(),
            )
            .await;
        self.count("load", if read_all.is_ok() { "ok" } else { "error" });
        for Waiting { id, reply } in waiting {
            let loaded = match &read_all {
                Ok(values) => self.read(&id, values),
                Err(SourceError(reason)) => Err(LookupError::Unavailable(reason.clone())),
            };
            let answer = match loaded {
                Ok(Some(tenant)) => Ok(entry(tenant)),
                Ok(None) => {
                    self.unknown.insert(id, Utc::now()).await;
                    Err(LookupError::Unknown)
                }
                Err(error) => Err(error),
            };
            // Who stopped waiting was answered: with its deadline.
            let _ = reply.send(answer);
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

    /// Tenants that were used since they were last read, long enough ago.
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

    /// Reads up to [`Self::tenants_per_call`] known tenants again.
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
                    "registry refresh failed; known tenants stay in use"
                );
                return;
            }
        };
        self.count("refresh", "ok");
        for id in ids {
            match self.read(id, &values) {
                Ok(Some(tenant)) => self.known.insert(id.clone(), entry(tenant)).await,
                Ok(None) => {
                    tracing::info!(tenant_id = %id, "tenant is no longer registered");
                    self.known.invalidate(id).await;
                }
                Err(error) => tracing::error!(tenant_id = %id, %error, "tenant kept as it was"),
            }
        }
    }

    /// Tenants read by one call.
    fn tenants_per_call(&self) -> usize {
        MAX_NAMES_PER_CALL / (NAMES_PER_TENANT + usize::from(self.table.is_some()))
    }

    fn names(&self, id: &TenantId) -> impl Iterator<Item = String> + use<> {
        always(id)
            .into_iter()
            .chain(self.table.map(|table| format!("/{id}/{table}")))
    }

    /// The tenant in the values read; `None` where it has neither queue nor tier.
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

/// The queue and table of an environment's consumer.
///
/// # Errors
/// A [`LookupError`]; `Unknown` where one of the two parameters does not exist (yet).
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

/// The table in an environment's parameter.
///
/// # Errors
/// A [`LookupError`]; `Unknown` where the parameter does not exist (yet).
pub async fn environment_table(
    source: &dyn ParameterSource,
    environment: &Environment,
    parameter: &str,
) -> Result<TableArn, LookupError> {
    let name = format!("/{environment}/{parameter}");
    let values = read(source, vec![name.clone()]).await?;
    value(&values, &name)?.ok_or(LookupError::Unknown)
}

/// The parameters read for every tenant.
fn always(id: &TenantId) -> [String; NAMES_PER_TENANT] {
    ["consumer_sqs", "tier", "status"].map(|name| format!("/{id}/{name}"))
}

/// The values of an environment's parameters.
async fn read(
    source: &dyn ParameterSource,
    names: Vec<String>,
) -> Result<HashMap<String, String>, LookupError> {
    source
        .get(names)
        .await
        .map_err(|SourceError(reason)| LookupError::Unavailable(reason))
}

/// A parameter's value, parsed.
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

fn entry(tenant: Tenant) -> Arc<Entry> {
    Arc::new(Entry {
        tenant: Arc::new(tenant),
        loaded_at: Instant::now(),
        loaded_on: Utc::now(),
        used: AtomicBool::new(false),
    })
}

/// Parameter Store itself.
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
