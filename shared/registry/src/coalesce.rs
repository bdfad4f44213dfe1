//! Request coalescing: callers that need tenants from Parameter Store share calls, at a bounded rate.
//!
//! A caller joins the queue, and the caller that gets the next permit loads the tenants at the front for all their waiters.

use std::collections::VecDeque;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::{CachedTenant, LookupError};
use tenantry_tenancy::tenant::TenantId;

/// Tenants that may wait at once.
const MAX_WAITERS: usize = 10_000;

/// Outcome of loading one tenant.
pub(super) type Loaded = Result<Arc<CachedTenant>, LookupError>;

/// Tenants to be loaded, in order of arrival, and the time of the next permit.
pub(super) struct Coalescer {
    waiters: Mutex<VecDeque<Waiter>>,
    /// Pause between two calls at the full rate.
    pause: Duration,
    next_permit_at: Mutex<Instant>,
}

/// A request that waits for one tenant.
pub(super) struct Waiter {
    pub(super) id: TenantId,
    pub(super) reply: oneshot::Sender<Loaded>,
}

impl Coalescer {
    /// Permits `per_second` calls per second, and as many at once after one idle second.
    pub(super) fn new(per_second: NonZeroU32) -> Self {
        Self {
            waiters: Mutex::default(),
            pause: Duration::from_secs(1) / per_second.get(),
            next_permit_at: Mutex::new(Instant::now()),
        }
    }

    /// Adds a waiter for a tenant.
    pub(super) fn join(&self, id: &TenantId) -> Result<oneshot::Receiver<Loaded>, LookupError> {
        let (reply, loaded) = oneshot::channel();
        let mut waiters = self.waiters.lock();
        if waiters.len() >= MAX_WAITERS {
            return Err(LookupError::Unavailable(
                "too many tenants are being loaded".to_owned(),
            ));
        }
        waiters.push_back(Waiter {
            id: id.clone(),
            reply,
        });
        Ok(loaded)
    }

    /// Takes up to `max` waiters that have not given up.
    pub(super) fn take(&self, max: usize) -> Vec<Waiter> {
        let mut waiters = self.waiters.lock();
        let mut taken = Vec::with_capacity(max);
        while taken.len() < max {
            let Some(next) = waiters.pop_front() else {
                break;
            };
            if !next.reply.is_closed() {
                taken.push(next);
            }
        }
        taken
    }

    /// Waits until a call may be made, and counts that call. Dropping the future before it is ready takes no permit.
    pub(super) async fn permit(&self) {
        loop {
            let at = {
                let (now, mut next) = (Instant::now(), self.next_permit_at.lock());
                // Permits accumulate for one second and no longer.
                let earliest = (*next).max(now.checked_sub(Duration::from_secs(1)).unwrap_or(now));
                if earliest <= now {
                    *next = earliest + self.pause;
                    return;
                }
                earliest
            };
            tokio::time::sleep_until(at).await;
        }
    }
}
