//! Reads of the status alone, ten tenants per call. The list of refused tenants confirms tenants in use only while their own
//! statuses are read, too: a status may change without an entry in the list.

use std::cmp::Reverse;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tenantry_tenancy::tenant::TenantId;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout, timeout_at};

use crate::cached::CachedTenant;
use crate::coalesce::{Join, Lane};
use crate::source::SourceError;
use crate::tenant::{self, Status, Tenant};
use crate::{CALL_TIMEOUT, Inner, LookupError, MAX_NAMES_PER_CALL, MAX_WAITING, REFRESH_TIMEOUT};

/// Shortest pause from the start of one call to the start of the next: 40 tenants per second.
const MIN_PAUSE: Duration = Duration::from_millis(250);
/// Longest pause. Each failure doubles the pause, because Parameter Store may throttle and other reads come first.
const MAX_PAUSE: Duration = Duration::from_secs(30);
/// What a success leaves of a longer pause.
const RECOVERY: f64 = 0.9;
/// Time that a status stays valid beyond the time in which the tenants in use are read once.
const MARGIN: Duration = Duration::from_secs(2);

/// State of the reads.
pub(crate) struct StatusReads {
    /// Requests of tenants that were idle.
    waiting: Lane,
    wanted: Notify,
    /// Milliseconds in which a status stays valid: `u64::MAX` while reads fail.
    valid_for_ms: AtomicU64,
}

impl Default for StatusReads {
    fn default() -> Self {
        Self {
            waiting: Lane::new(MAX_WAITING),
            wanted: Notify::new(),
            valid_for_ms: AtomicU64::new(u64::MAX),
        }
    }
}

impl StatusReads {
    pub(crate) fn are_valid_for(&self) -> Duration {
        Duration::from_millis(self.valid_for_ms.load(Ordering::Relaxed))
    }

    fn set_valid_for(&self, time: Duration) {
        let millis = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        self.valid_for_ms.store(millis, Ordering::Relaxed);
    }
}

impl Inner {
    /// Waits until the status of a tenant that was idle is read. After [`REFRESH_TIMEOUT`] the list alone answers.
    pub(crate) async fn wait_for_status(&self, id: &TenantId) {
        // Too many wait: the list alone answers.
        let Ok(read) = self.status_reads.waiting.join(id, Join::Any) else {
            return;
        };
        self.status_reads.wanted.notify_one();
        // The caller looks at the cache.
        let _ = timeout(REFRESH_TIMEOUT, read).await;
    }

    /// Reads the statuses of tenants that the list confirms: those in use, the longest unread first.
    pub(crate) async fn keep_statuses(&self) {
        let mut due = VecDeque::new();
        let mut valid_for = Duration::MAX;
        let mut pause = MIN_PAUSE;
        let mut next_scan = Instant::now();
        loop {
            let begun = Instant::now();
            if due.is_empty() && begun >= next_scan {
                next_scan = begun + self.tick();
                (due, valid_for) = self.due_statuses();
            }
            let mut batch = self.status_reads.waiting.take(MAX_NAMES_PER_CALL);
            let mut ids = batch.ids.clone();
            while ids.len() < MAX_NAMES_PER_CALL
                && let Some(id) = due.pop_front()
            {
                if !ids.contains(&id) {
                    ids.push(id);
                }
            }
            if ids.is_empty() {
                let wanted = self.status_reads.wanted.notified();
                // Either way the loop looks for work again.
                let _ = timeout_at(next_scan, wanted).await;
                continue;
            }
            let is_ok = self.read_statuses(&ids).await;
            while !batch.ids.is_empty() {
                batch.answer_last(&Err(LookupError::Busy));
            }
            if is_ok {
                self.status_reads.set_valid_for(valid_for);
                pause = pause.mul_f64(RECOVERY).max(MIN_PAUSE);
            } else {
                self.status_reads.set_valid_for(Duration::MAX);
                pause = (pause * 2).min(MAX_PAUSE);
            }
            tokio::time::sleep_until(begun + pause).await;
        }
    }

    /// Scans the cache for statuses that are due, the longest unread first. Returns also the time in which they stay valid.
    fn due_statuses(&self) -> (VecDeque<TenantId>, Duration) {
        let (mut in_use, mut used) = (0, Vec::new());
        for (_, entry) in &self.known {
            if self.is_confirmed(&entry) {
                in_use += u32::from(entry.is_used_within(self.limits.refresh_after));
                if entry.is_used_since_status() {
                    used.push((entry.status_age(), entry.tenant.id.clone()));
                }
            }
        }
        let round = MIN_PAUSE * in_use / 10;
        let max_age = self.limits.refresh_after.mul_f64(1.4);
        // The last one is read before it is too old, though all are due at once.
        let due_at = max_age.saturating_sub(round + self.tick());
        used.sort_by_key(|(age, _)| Reverse(*age));
        let due = used.iter().take_while(|(age, _)| *age >= due_at).count();
        // Full calls: the next ones ride along.
        used.truncate(due.next_multiple_of(MAX_NAMES_PER_CALL));
        let due = used.into_iter().map(|(_, id)| id).collect();
        (due, max_age.max(round + MARGIN))
    }

    /// Reads the statuses of up to [`MAX_NAMES_PER_CALL`] cached tenants. Returns whether the call succeeded. A failure does
    /// not count as one of Parameter Store: the list goes on to confirm the tenants.
    async fn read_statuses(&self, ids: &[TenantId]) -> bool {
        let begun = Instant::now();
        let names = ids.iter().map(tenant::status_name).collect();
        let answer = timeout(CALL_TIMEOUT, self.source.get(names)).await;
        let answer = answer.unwrap_or_else(|_| Err(SourceError("no answer in time".to_owned())));
        self.count("status", answer.is_ok());
        match answer {
            Ok(values) => {
                for id in ids {
                    if let Some(entry) = self.known.get(id).await
                        && entry.read_at.at < begun
                    {
                        self.settle_status(&entry, &values, begun).await;
                    }
                }
                true
            }
            Err(SourceError(reason)) => {
                tracing::warn!(
                    tenants = ids.len(),
                    reason,
                    "statuses not read: the list of refused tenants alone confirms them"
                );
                false
            }
        }
    }

    /// Caches a status that was read. A status that the list contradicts is read again with the whole registration.
    async fn settle_status(
        &self,
        entry: &CachedTenant,
        values: &HashMap<String, String>,
        read_at: Instant,
    ) {
        let before = &entry.tenant;
        match tenant::value::<Status>(values, &tenant::status_name(&before.id)) {
            Ok(status) if status == entry.status() => entry.mark_status_read(read_at),
            Ok(Some(status)) => {
                let tenant = Tenant {
                    status,
                    ..Tenant::clone(before)
                };
                let changed = CachedTenant::new(Arc::new(tenant), entry.read_at, true);
                changed.mark_status_read(read_at);
                self.known.insert(before.id.clone(), changed).await;
            }
            // Without its status the tenant may be gone; an invalid one may be meant to refuse it. The next request reads all.
            Ok(None) | Err(_) => self.known.invalidate(&before.id).await,
        }
    }
}
