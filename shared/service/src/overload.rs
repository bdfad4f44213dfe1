//! Overload control: more requests than can be answered in good time are refused, in shares per tenant.
//!
//! An overload is two things at once, for 250 ms: more than [`FREE`] requests in progress, and
//! runtime threads that are saturated. A slow queue or table leaves the threads idle, so no request is refused for those;
//! they have bounds of their own. A burst, a neighbor on the processor or a throttled container passes sooner.
//!
//! In an overload a low limit holds: as many requests in progress as just saturate the threads. More would wait for each
//! other and get less done. Once per second the limit is probed at [`FREE`], and where that many suffice the
//! overload is over. So clients that never pause are refused only while there are more than [`FREE`] of them. Each tenant
//! has an equal share of the limit: the tenant that floods a pool is refused first.
//!
//! What else was measured: `docs/decisions/overload.md`.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use metrics::{Counter, Gauge};
use parking_lot::Mutex;
use tenantry_process::metrics::Metrics;
use tenantry_tenancy::tenant::TenantId;
use tokio::runtime::Handle;
use tokio::sync::Notify;

use crate::error::ApiError;

/// Requests in progress that are no overload: half of the connections that a process takes by default.
pub const FREE: usize = 1024;
/// The low limit's bounds and start: a few batches of ten, and what answers within 20 ms on two cores.
const LOW_MIN: f64 = 64.0;
const LOW_START: f64 = 256.0;
/// Factors of the low limit after an interval in which the threads were saturated, and were not.
const FALL: f64 = 0.95;
const RISE: f64 = 1.25;
/// Interval of one measurement.
const INTERVAL: Duration = Duration::from_millis(50);
/// Part of an interval for which saturated threads are busy.
const SATURATED: f64 = 0.9;
/// Intervals until an overload is one: 250 ms.
const OVERLOADED_AFTER: u32 = 5;
/// Intervals with the low limit until the next probe: 1 s.
const SHED_INTERVALS: u32 = 20;
/// Intervals of a probe: 200 ms.
const PROBE_INTERVALS: u32 = 4;
/// Pause between two log lines about refusals: a line for each would cost more than the refusal.
const LOG_PAUSE: Duration = Duration::from_secs(1);

/// Decides whether a request is admitted. Clones share the state.
#[derive(Clone)]
pub struct Overload(Arc<Inner>);

struct Inner {
    state: Mutex<State>,
    /// More than [`FREE`] requests are in progress.
    is_busy: Notify,
    refused: Counter,
    limit: Gauge,
}

#[derive(Default)]
struct State {
    shares: Shares,
    limit: Limit,
    is_watched: bool,
    /// Refused since the last measurement, and since the last log line.
    refused: u32,
    refused_unlogged: u32,
}

/// A request in progress; it counts until this is dropped.
#[must_use]
pub struct Permit {
    overload: Overload,
    tenant: TenantId,
}

impl Overload {
    pub fn new(metrics: &Metrics) -> Self {
        metrics.describe_counter(
            "http_requests_shed_total",
            "Requests refused because the process was overloaded",
        );
        metrics.describe_gauge(
            "http_requests_limit",
            "Requests in progress at most while the process is overloaded; 0 is no limit",
        );
        Self(Arc::new(Inner {
            state: Mutex::default(),
            is_busy: Notify::new(),
            refused: metrics.counter("http_requests_shed_total", vec![]),
            limit: metrics.gauge("http_requests_limit", vec![]),
        }))
    }

    /// Admits a request of this tenant.
    ///
    /// # Errors
    /// 503 while more requests are in progress than the process can answer in good time.
    pub fn admit(&self, tenant: &TenantId) -> Result<Permit, ApiError> {
        let mut state = self.0.state.lock();
        let limit = state.limit.requests();
        if state.shares.is_exceeded(tenant, limit) {
            state.refused += 1;
            drop(state);
            self.0.refused.increment(1);
            return Err(ApiError::too_busy());
        }
        state.shares.begin(tenant, 1);
        if state.shares.in_progress > FREE && !state.is_watched {
            state.is_watched = true;
            self.0.is_busy.notify_one();
        }
        Ok(Permit {
            overload: self.clone(),
            tenant: tenant.clone(),
        })
    }

    /// Adapts the limit while more than [`FREE`] requests are in progress; never ends. Cancel-safe.
    pub async fn watch(&self) {
        loop {
            self.0.is_busy.notified().await;
            let mut logged = Instant::now();
            while self.adapt(utilization().await >= SATURATED) {
                if logged.elapsed() >= LOG_PAUSE {
                    logged = Instant::now();
                    self.log();
                }
            }
            self.log();
        }
    }

    /// Adapts the limit to one interval; false once there is no need to go on.
    fn adapt(&self, is_saturated: bool) -> bool {
        let mut state = self.0.state.lock();
        let is_over = state.shares.in_progress > FREE;
        let refused = std::mem::take(&mut state.refused);
        state.refused_unlogged += refused;
        state.limit.adapt(is_saturated, is_over, refused > 0);
        let limit = state.limit.requests();
        self.0.limit.set(limit.unwrap_or_default() as f64);
        state.is_watched = limit.is_some() || is_over;
        state.is_watched
    }

    fn log(&self) {
        let mut state = self.0.state.lock();
        let refused = std::mem::take(&mut state.refused_unlogged);
        let (limit, in_progress) = (state.limit.requests(), state.shares.in_progress);
        drop(state);
        if refused > 0 {
            tracing::warn!(
                refused,
                in_progress,
                limit,
                "overloaded: requests refused with 503; add replicas or CPU"
            );
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.overload.0.state.lock().shares.end(&self.tenant, 1);
    }
}

/// Waits for one interval; gives the part of it for which the runtime's threads were busy.
async fn utilization() -> f64 {
    let runtime = Handle::current().metrics();
    let threads = runtime.num_workers();
    let busy = || {
        (0..threads)
            .map(|thread| runtime.worker_total_busy_duration(thread))
            .sum::<Duration>()
    };
    let (started, before) = (Instant::now(), busy());
    tokio::time::sleep(INTERVAL).await;
    (busy() - before).as_secs_f64() / (started.elapsed().as_secs_f64() * threads as f64)
}

/// The limit of requests in progress: pure.
#[derive(Debug)]
struct Limit {
    phase: Phase,
    /// The low limit.
    low: f64,
}

/// What limit holds, and for how many intervals.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Phase {
    /// None. Counts intervals of overload.
    Open(u32),
    /// The low limit.
    Shedding(u32),
    /// [`FREE`], to see whether that many suffice.
    Probing(u32),
}

impl Default for Limit {
    fn default() -> Self {
        Self {
            phase: Phase::Open(0),
            low: LOW_START,
        }
    }
}

impl Limit {
    /// None is no limit.
    fn requests(&self) -> Option<usize> {
        match self.phase {
            Phase::Open(_) => None,
            Phase::Shedding(_) => Some(self.low as usize),
            Phase::Probing(_) => Some(FREE),
        }
    }

    /// Takes one interval into account: whether the threads were saturated, more than [`FREE`] requests were in progress,
    /// and any was refused.
    fn adapt(&mut self, is_saturated: bool, is_over: bool, has_refused: bool) {
        self.phase = match self.phase {
            Phase::Open(intervals) => {
                let intervals = if is_saturated && is_over {
                    intervals + 1
                } else {
                    0
                };
                if intervals < OVERLOADED_AFTER {
                    Phase::Open(intervals)
                } else {
                    Phase::Shedding(0)
                }
            }
            Phase::Shedding(intervals) => {
                let factor = if is_saturated { FALL } else { RISE };
                self.low = (self.low * factor).clamp(LOW_MIN, FREE as f64);
                if intervals + 1 < SHED_INTERVALS {
                    Phase::Shedding(intervals + 1)
                } else {
                    Phase::Probing(0)
                }
            }
            Phase::Probing(_) if has_refused => Phase::Shedding(0),
            Phase::Probing(intervals) if intervals + 1 < PROBE_INTERVALS => {
                Phase::Probing(intervals + 1)
            }
            Phase::Probing(_) => Phase::Open(0),
        };
    }
}

/// What is in use, in all and by tenant: requests in progress here, bytes in [`crate::body`]. Pure.
#[derive(Debug, Default)]
pub(crate) struct Shares {
    in_progress: usize,
    by_tenant: HashMap<TenantId, usize>,
}

impl Shares {
    /// Whether one more is beyond the limit and beyond the tenant's share of it. Each share is an equal part, so all
    /// together are at most twice the limit.
    fn is_exceeded(&self, tenant: &TenantId, limit: Option<usize>) -> bool {
        let Some(limit) = limit.filter(|limit| self.in_progress >= *limit) else {
            return false;
        };
        let (_, own) = self.in_use(tenant);
        let tenants = self.by_tenant.len() + usize::from(own == 0);
        own >= limit / tenants
    }

    /// What is in use in all, and by this tenant.
    pub(crate) fn in_use(&self, tenant: &TenantId) -> (usize, usize) {
        let own = self.by_tenant.get(tenant).copied().unwrap_or_default();
        (self.in_progress, own)
    }

    pub(crate) fn begin(&mut self, tenant: &TenantId, amount: usize) {
        self.in_progress += amount;
        *self.by_tenant.entry(tenant.clone()).or_default() += amount;
    }

    /// Ends what [`Self::begin`] began.
    pub(crate) fn end(&mut self, tenant: &TenantId, amount: usize) {
        let Some(own) = self.by_tenant.get_mut(tenant) else {
            return;
        };
        self.in_progress -= amount;
        *own -= amount;
        if *own == 0 {
            self.by_tenant.remove(tenant);
        }
    }
}

#[cfg(test)]
impl Overload {
    /// Refuses every request from now on.
    pub(crate) fn refuse_all(&self) {
        self.0.state.lock().limit = Limit {
            phase: Phase::Shedding(0),
            low: 0.0,
        };
    }
}

#[cfg(test)]
mod tests;
