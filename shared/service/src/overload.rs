//! Overload control: a limit on the requests in progress, in shares per tenant.
//!
//! Beyond [`LIMIT`] a further request would make every response late, so the request is refused with 503. Below it every
//! request waits: throughput stays at the capacity, and the wait is the number in progress divided by the throughput.
//! Each tenant has an equal share of the limit: the tenant that floods a pool is refused first.
//!
//! The limit is fixed, not derived from a signal: signals that adapt refused clients that caused no overload, and a refusal
//! costs two thirds of an accepted request. `docs/decisions/overload.md` has the measurements.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use metrics::Counter;
use parking_lot::Mutex;
use tenantry_process::metrics::Metrics;
use tenantry_tenancy::tenant::TenantId;

use crate::error::ApiError;

/// Requests in progress at most, all tenants together: seven eighths of the connections that a process has by default. The
/// rest is for responses that refuse.
pub const LIMIT: usize = 1792;
/// Pause between two log lines about refusals: a line for each would cost more than the refusal.
const LOG_PAUSE: Duration = Duration::from_secs(1);

/// Decides whether a request is admitted. Clones share the state.
#[derive(Clone)]
pub struct Overload(Arc<Inner>);

struct Inner {
    state: Mutex<State>,
    refused: Counter,
}

#[derive(Default)]
struct State {
    shares: Shares,
    /// Refused since the last log line.
    unlogged: u64,
    logged: Option<Instant>,
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
        Self(Arc::new(Inner {
            state: Mutex::default(),
            refused: metrics.counter("http_requests_shed_total", vec![]),
        }))
    }

    /// Admits a request of this tenant.
    ///
    /// # Errors
    /// 503 while more requests are in progress than the process can answer in good time.
    pub fn admit(&self, tenant: &TenantId) -> Result<Permit, ApiError> {
        let mut state = self.0.state.lock();
        if state.shares.is_exceeded(tenant, LIMIT) {
            state.count_refusal();
            drop(state);
            self.0.refused.increment(1);
            return Err(ApiError::too_busy());
        }
        state.shares.begin(tenant, 1);
        Ok(Permit {
            overload: self.clone(),
            tenant: tenant.clone(),
        })
    }
}

impl State {
    /// Counts a refusal, and logs their number once per [`LOG_PAUSE`].
    fn count_refusal(&mut self) {
        self.unlogged += 1;
        if self.logged.is_some_and(|at| at.elapsed() < LOG_PAUSE) {
            return;
        }
        tracing::warn!(
            refused = self.unlogged,
            in_progress = self.shares.in_progress,
            "overloaded: requests refused with 503; add replicas or CPU"
        );
        self.logged = Some(Instant::now());
        self.unlogged = 0;
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.overload.0.state.lock().shares.end(&self.tenant, 1);
    }
}

/// Amounts in use, in total and per tenant: requests in progress here, bytes in [`crate::body`]. Pure.
#[derive(Debug, Default)]
pub(crate) struct Shares {
    in_progress: usize,
    by_tenant: HashMap<TenantId, usize>,
}

impl Shares {
    /// Whether one more is beyond the limit and beyond the tenant's share of it. Each share is an equal part, so all
    /// together are at most twice the limit.
    fn is_exceeded(&self, tenant: &TenantId, limit: usize) -> bool {
        let (in_progress, own) = self.in_use(tenant);
        let tenants = self.by_tenant.len() + usize::from(own == 0);
        in_progress >= limit && own >= limit / tenants
    }

    /// Amounts in use, in total and by this tenant.
    pub(crate) fn in_use(&self, tenant: &TenantId) -> (usize, usize) {
        let own = self.by_tenant.get(tenant).copied().unwrap_or_default();
        (self.in_progress, own)
    }

    pub(crate) fn begin(&mut self, tenant: &TenantId, amount: usize) {
        self.in_progress += amount;
        *self.by_tenant.entry(tenant.clone()).or_default() += amount;
    }

    /// Subtracts an amount that [`Self::begin`] added.
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
mod tests;
