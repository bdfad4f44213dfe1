//! Overload control: a limit on the requests in progress that adapts to queueing delay, in shares per tenant.
//!
//! The signal is scheduling delay: the time a ready task waits before the runtime polls it. A slow queue or table delays
//! no task, so no request is refused for those; they have bounds of their own. As in CoDel, the smallest delay of an
//! interval counts: a burst, a neighbor on the processor or a throttled container raises single delays, a standing queue
//! raises the smallest. While that is above the target the limit falls, else it rises. Within the limit each tenant has an
//! equal share, so the tenant that floods a pool is refused first.
//!
//! [`FREE`] requests in progress are never too many, and cost no more than a count.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use metrics::{Counter, Gauge};
use parking_lot::Mutex;
use tenantry_process::metrics::Metrics;
use tenantry_tenancy::tenant::TenantId;
use tokio::sync::Notify;

use crate::error::ApiError;

/// Requests in progress that are never too many: half of the connections that a process takes by default.
pub const FREE: usize = 1024;
/// Smallest scheduling delay of an interval that is an overload.
const DELAY_TARGET: Duration = Duration::from_millis(10);
/// Probes of an interval, and the pause between two.
const PROBES: usize = 10;
const PROBE_PAUSE: Duration = Duration::from_millis(5);
/// Factor of the limit after an interval above the target.
const FALL: f64 = 0.8;
/// Factor of the limit after an interval below the target.
const RISE: f64 = 1.05;
/// Intervals with room below the limit after which it is lifted: about a second.
const LIFT_AFTER: u32 = 20;
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
    /// Refused since the last log line.
    refused: u64,
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
        state.shares.begin(tenant);
        if state.shares.in_progress() > FREE && !state.is_watched {
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
            while self.adapt(smallest_delay().await) {
                if logged.elapsed() >= LOG_PAUSE {
                    logged = Instant::now();
                    self.log();
                }
            }
            self.log();
        }
    }

    /// Adapts the limit to the smallest delay of an interval; false once there is no need to go on.
    fn adapt(&self, smallest_delay: Duration) -> bool {
        let mut state = self.0.state.lock();
        let in_progress = state.shares.in_progress();
        state.limit.adapt(smallest_delay, in_progress);
        let limit = state.limit.requests();
        self.0.limit.set(limit.unwrap_or_default() as f64);
        state.is_watched = limit.is_some() || in_progress > FREE;
        state.is_watched
    }

    fn log(&self) {
        let mut state = self.0.state.lock();
        let refused = std::mem::take(&mut state.refused);
        let (limit, in_progress) = (state.limit.requests(), state.shares.in_progress());
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
        self.overload.0.state.lock().shares.end(&self.tenant);
    }
}

/// The smallest scheduling delay of an interval.
async fn smallest_delay() -> Duration {
    let mut smallest = Duration::MAX;
    for _ in 0..PROBES {
        tokio::time::sleep(PROBE_PAUSE).await;
        let ready = Instant::now();
        tokio::task::yield_now().await;
        smallest = smallest.min(ready.elapsed());
    }
    smallest
}

/// The limit of requests in progress, by queueing delay: pure.
#[derive(Debug, Default)]
struct Limit {
    /// None is no limit.
    requests: Option<f64>,
    /// Intervals for which the limit was not reached.
    unused: u32,
}

impl Limit {
    fn requests(&self) -> Option<usize> {
        self.requests.map(|requests| requests as usize)
    }

    /// Takes one interval into account.
    fn adapt(&mut self, smallest_delay: Duration, in_progress: usize) {
        let is_overloaded = smallest_delay > DELAY_TARGET;
        let in_progress = in_progress as f64;
        let Some(requests) = self.requests else {
            self.requests = is_overloaded.then_some(in_progress.max(FREE as f64));
            return;
        };
        let is_used = in_progress >= requests * FALL;
        self.unused = if is_used { 0 } else { self.unused + 1 };
        if self.unused >= LIFT_AFTER {
            *self = Self::default();
            return;
        }
        let factor = match (is_overloaded, is_used) {
            (true, _) => FALL,
            (false, true) => RISE,
            // Room that is not needed is where a burst piles up.
            (false, false) => 1.0,
        };
        self.requests = Some((requests * factor).max(FREE as f64));
    }
}

/// The requests in progress, in all and by tenant: pure.
#[derive(Debug, Default)]
struct Shares {
    in_progress: usize,
    by_tenant: HashMap<TenantId, usize>,
}

impl Shares {
    fn in_progress(&self) -> usize {
        self.in_progress
    }

    /// Whether one more is beyond the limit and beyond the tenant's share of it. Each share is an equal part, so all
    /// together are at most twice the limit.
    fn is_exceeded(&self, tenant: &TenantId, limit: Option<usize>) -> bool {
        let Some(limit) = limit.filter(|limit| self.in_progress >= *limit) else {
            return false;
        };
        let own = self.by_tenant.get(tenant).copied().unwrap_or_default();
        let tenants = self.by_tenant.len() + usize::from(own == 0);
        own >= limit / tenants
    }

    fn begin(&mut self, tenant: &TenantId) {
        self.in_progress += 1;
        *self.by_tenant.entry(tenant.clone()).or_default() += 1;
    }

    fn end(&mut self, tenant: &TenantId) {
        let Some(own) = self.by_tenant.get_mut(tenant) else {
            return;
        };
        self.in_progress -= 1;
        *own -= 1;
        if *own == 0 {
            self.by_tenant.remove(tenant);
        }
    }
}

#[cfg(test)]
mod tests;
