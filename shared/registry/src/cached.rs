//! A tenant in the cache: when it was read, and when it was last in use.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::time::Instant;

use crate::tenant::{Status, Tenant};

pub(crate) struct CachedTenant {
    pub(crate) tenant: Arc<Tenant>,
    /// Start of the call that read it.
    pub(crate) read_at: ReadAt,
    /// Whether the tenant has a parameter for its status.
    has_status: bool,
    /// Milliseconds from `read_at` to the last use; 0 before the first use.
    used_after_ms: AtomicU64,
    /// Milliseconds from `read_at` to the last read of the status.
    status_after_ms: AtomicU64,
}

/// The start of a call, by both clocks: messages have timestamps of the wall clock.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ReadAt {
    pub(crate) at: Instant,
    pub(crate) on: DateTime<Utc>,
}

impl ReadAt {
    pub(crate) fn now() -> Self {
        Self {
            at: Instant::now(),
            on: Utc::now(),
        }
    }
}

impl CachedTenant {
    pub(crate) fn new(tenant: Arc<Tenant>, read_at: ReadAt, has_status: bool) -> Arc<Self> {
        Arc::new(Self {
            tenant,
            read_at,
            has_status,
            used_after_ms: AtomicU64::new(0),
            status_after_ms: AtomicU64::new(0),
        })
    }

    pub(crate) fn age(&self) -> Duration {
        self.read_at.at.elapsed()
    }

    pub(crate) fn mark_used(&self) {
        self.used_after_ms
            .store(millis(self.age()).max(1), Ordering::Relaxed);
    }

    /// Whether it was used since it was read.
    pub(crate) fn is_used(&self) -> bool {
        self.used_after_ms.load(Ordering::Relaxed) > 0
    }

    /// Whether it was used, and not longer ago than this.
    pub(crate) fn is_used_within(&self, time: Duration) -> bool {
        let after = Duration::from_millis(self.used_after_ms.load(Ordering::Relaxed));
        self.is_used() && self.age().saturating_sub(after) <= time
    }

    /// The value of the parameter for the status; `None` without the parameter.
    pub(crate) fn status(&self) -> Option<Status> {
        self.has_status.then_some(self.tenant.status)
    }

    /// Records that a call with this start has read the same status.
    pub(crate) fn mark_status_read(&self, at: Instant) {
        let after = millis(at.saturating_duration_since(self.read_at.at));
        self.status_after_ms.store(after, Ordering::Relaxed);
    }

    pub(crate) fn status_age(&self) -> Duration {
        let after = Duration::from_millis(self.status_after_ms.load(Ordering::Relaxed));
        self.age().saturating_sub(after)
    }

    /// Whether it was used since the status was read.
    pub(crate) fn is_used_since_status(&self) -> bool {
        let used_after_ms = self.used_after_ms.load(Ordering::Relaxed);
        used_after_ms > self.status_after_ms.load(Ordering::Relaxed)
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
