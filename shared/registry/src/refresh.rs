//! Background refresh: tenants in use are read again before they are due, so that their requests wait for nothing.

use std::sync::Arc;
use std::time::Duration;

use tenantry_tenancy::tenant::TenantId;
use tokio::time::Instant;

use crate::cached::{CachedTenant, ReadAt};
use crate::index::Index;
use crate::source::SourceError;
use crate::{CALL_TIMEOUT, Inner};

/// Least and longest pause between two scans of the cache.
const MIN_TICK: Duration = Duration::from_millis(50);
const MAX_TICK: Duration = Duration::from_secs(1);
/// Pause between two refresh calls.
const PAUSE: Duration = Duration::from_millis(250);
/// Pause between two calls for tenants that the list of refused ones confirms.
const CONFIRMED_PAUSE: Duration = Duration::from_secs(3);
/// Pause between two pages of the first read of the index's tenants, and the longest wait for that read.
const FIRST_PAGE_PAUSE: Duration = Duration::from_millis(50);
const FIRST_READ_TIMEOUT: Duration = Duration::from_secs(3);
/// Pause between two reads of the index's tenants, for each page that the last read took, and its bound.
const TENANTS_PAUSE: Duration = Duration::from_secs(2);
const MAX_TENANTS_PAUSE: Duration = Duration::from_secs(15);
/// Pause between two pages of one read.
const PAGE_PAUSE: Duration = Duration::from_secs(1);
/// Pause after a failed read of them: a role of an older installation may not read the path.
const FAILED_PAUSE: Duration = Duration::from_secs(60);

impl Inner {
    /// Reads the index's tenants for the first time. The rest of a long index is read in the background.
    pub(super) async fn read_index(&self) {
        if let Some(index) = &self.index {
            let read = self.read_tenants(index, FIRST_PAGE_PAUSE);
            // `keep_tenants` reads what is left.
            let _ = tokio::time::timeout(FIRST_READ_TIMEOUT, read).await;
        }
    }

    pub(super) async fn keep_fresh(&self) {
        tokio::join!(
            self.refresh_forever(),
            self.keep_statuses(),
            self.keep_refused(),
            self.keep_tenants()
        );
    }

    pub(crate) fn tick(&self) -> Duration {
        (self.limits.refresh_after / 10).clamp(MIN_TICK, MAX_TICK)
    }

    async fn refresh_forever(&self) {
        let mut last_confirmed = Instant::now();
        loop {
            let due = self.due();
            for ids in due.urgent.chunks(self.tenants_per_call()) {
                let is_urgent = |entry: &CachedTenant| !self.is_confirmed(entry);
                if self.refresh(ids, is_urgent).await {
                    tokio::time::sleep(PAUSE).await;
                }
            }
            if !due.confirmed.is_empty() && last_confirmed.elapsed() >= CONFIRMED_PAUSE {
                last_confirmed = Instant::now();
                let count = self.tenants_per_call().min(due.confirmed.len());
                self.refresh(&due.confirmed[..count], |_| true).await;
            }
            tokio::time::sleep(self.tick()).await;
        }
    }

    /// Scans the cache for tenants in use that are due for a refresh, oldest first.
    fn due(&self) -> Due {
        let refresh_after = self.limits.refresh_after;
        let (mut in_use, mut old) = (0, Vec::new());
        for (_, entry) in &self.known {
            let is_in_use = entry.age() < refresh_after || entry.is_used_within(refresh_after);
            in_use += usize::from(is_in_use);
            if entry.is_used() && self.is_old(&entry) {
                old.push(entry);
            }
        }
        old.sort_by_key(|entry| entry.read_at.at);
        if let Some(index) = &self.index {
            index.set_crowded(in_use > self.max_read_directly());
        }
        let (confirmed, urgent): (Vec<_>, Vec<_>) =
            old.into_iter().partition(|entry| self.is_confirmed(entry));
        Due {
            urgent: ids(&urgent),
            confirmed: ids(&confirmed),
        }
    }

    /// Tenants in use that one call per second keeps fresh. With more, the list of refused tenants replaces reading each.
    fn max_read_directly(&self) -> usize {
        let seconds = usize::try_from(self.limits.refresh_after.as_secs()).unwrap_or(usize::MAX);
        self.tenants_per_call().saturating_mul(seconds.max(1))
    }

    /// Reads up to [`Self::tenants_per_call`] cached tenants again with one call, except those that are not due any more.
    /// Returns whether a call was made.
    async fn refresh(&self, ids: &[TenantId], is_wanted: impl Fn(&CachedTenant) -> bool) -> bool {
        let mut due = Vec::with_capacity(ids.len());
        for id in ids {
            let entry = self.known.get(id).await;
            let is_due = entry.is_some_and(|entry| self.is_old(&entry) && is_wanted(&entry));
            due.extend(is_due.then(|| id.clone()));
        }
        if due.is_empty() {
            return false;
        }
        let read_at = ReadAt::now();
        let call = self.call("refresh", &due);
        let answer = tokio::time::timeout(CALL_TIMEOUT, call).await;
        match answer.unwrap_or_else(|_| Err(SourceError("no answer in time".to_owned()))) {
            Ok(values) => {
                for id in &due {
                    // No request waits for the outcome.
                    let _ = self.settle(id, &values, read_at).await;
                }
            }
            Err(SourceError(reason)) => tracing::warn!(
                tenants = due.len(),
                reason,
                "registry refresh failed: cached tenants stay in use"
            ),
        }
        true
    }

    /// Whether the tenant is read again in the background, if it is in use: somewhat before a request would have to wait.
    fn is_old(&self, entry: &CachedTenant) -> bool {
        entry.age() >= self.limits.refresh_after.mul_f64(0.7)
    }

    /// Reads the refused tenants for as long as many tenants are in use.
    async fn keep_refused(&self) {
        let Some(index) = &self.index else {
            return;
        };
        loop {
            let mut pause = self.tick();
            if index.is_crowded() {
                let read = index.read_refused(&*self.source, self.limits.refresh_after, |is_ok| {
                    self.count("index", is_ok);
                });
                match tokio::time::timeout(self.limits.refresh_after, read).await {
                    Ok(Ok(until_next)) => pause = until_next,
                    // No reason to use old registrations: the role of an older installation may not read the path. Without
                    // the list, each tenant is read.
                    Ok(Err(SourceError(reason))) => {
                        pause = self.limits.refresh_after / 2;
                        tracing::warn!(reason, "list of refused tenants not read, will retry");
                    }
                    Err(_) => {
                        tracing::warn!("list of refused tenants not read in time, will retry");
                    }
                }
            }
            tokio::time::sleep(pause).await;
        }
    }

    /// Reads the index's tenants again after lookups of ids without an entry.
    async fn keep_tenants(&self) {
        let Some(index) = &self.index else {
            return;
        };
        loop {
            let pause = if !index.is_complete() {
                self.read_tenants(index, FIRST_PAGE_PAUSE).await
            } else if index.take_wanted() {
                self.read_tenants(index, PAGE_PAUSE).await
            } else {
                TENANTS_PAUSE
            };
            tokio::time::sleep(pause).await;
        }
    }

    /// Returns the pause until the next read.
    async fn read_tenants(&self, index: &Index, page_pause: Duration) -> Duration {
        let count = |is_ok| self.count("index", is_ok);
        match index.read_tenants(&*self.source, page_pause, count).await {
            Ok(pages) => (TENANTS_PAUSE * pages).min(MAX_TENANTS_PAUSE),
            Err(SourceError(reason)) => {
                tracing::warn!(
                    reason,
                    "index of tenants not read: lookups of cold tenants have the small rate of unknown ids"
                );
                FAILED_PAUSE
            }
        }
    }
}

/// Tenants due for a refresh.
struct Due {
    /// Requests would have to wait for them.
    urgent: Vec<TenantId>,
    /// The list of refused tenants confirms their status; a slow refresh finds changes of their other parameters.
    confirmed: Vec<TenantId>,
}

fn ids(entries: &[Arc<CachedTenant>]) -> Vec<TenantId> {
    entries
        .iter()
        .map(|entry| entry.tenant.id.clone())
        .collect()
}
