//! Load shedding: a process that falls behind takes on fewer requests at once, and refuses the rest right away.
//!
//! What tells is how late the runtime is: how long a task that could run waits for its turn. A slow queue or table does
//! not make it late, so nobody is refused for those; they have bounds of their own. While the runtime is late, the number
//! of requests under way is brought down until it no longer is (`limit`). Within that number no tenant gets more than
//! its share while others ask (`under_way`): whoever overloads a pool is the one that is refused.
//!
//! Fewer than `FREE` (32) requests are never too many, half of them for one that has waited long, and cost nothing but a
//! count: only above that the runtime is looked at.

mod limit;
mod under_way;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use metrics::{Counter, Gauge};
use tokio::sync::Notify;

use self::limit::{Limit, Look};
use self::under_way::UnderWay;
use super::error::ApiError;
use crate::metrics::Metrics;
use crate::tenant::TenantId;

/// Requests under way that are never too many: a few batches of ten, so calls stay full whatever is refused.
const FREE: usize = 32;
/// Pause between two looks at the runtime.
const LOOK_PAUSE: Duration = Duration::from_millis(2);
/// How often the log tells how many were refused: a line for each would cost more than refusing it.
const TELL_PAUSE: Duration = Duration::from_secs(1);

/// Decides whether a request is taken on. Clones share the state.
#[derive(Clone)]
pub struct Shedder(Arc<Inner>);

struct Inner {
    state: Mutex<State>,
    /// Whether there is a limit: read by every request, without the lock.
    is_limited: AtomicBool,
    /// More than [`FREE`] are under way, and nobody looks at the runtime yet.
    is_busy: Notify,
    shed: Counter,
    limit: Gauge,
}

struct State {
    under_way: UnderWay,
    limit: Limit,
    /// Whether the runtime is looked at, or need not be.
    is_watched: bool,
    /// Longest that a request had waited before it was read, since the last look.
    waited: Duration,
    /// Refused since that was last told.
    untold: u64,
}

/// A request that was taken on; it counts until this is dropped.
#[must_use]
pub struct TakenOn {
    shedder: Shedder,
    tenant: TenantId,
}

impl Shedder {
    /// One without a limit: there is one once a task has to wait longer than this for its turn, if that is not zero, and
    /// somebody looks ([`Self::watch`]).
    pub fn new(late: Duration, metrics: &Metrics) -> Self {
        metrics.describe_counter(
            "http_requests_shed_total",
            "Requests refused because the process was late",
        );
        metrics.describe_gauge(
            "http_requests_limit",
            "Requests taken on at once while it is late; 0 is no limit",
        );
        Self(Arc::new(Inner {
            state: Mutex::new(State {
                under_way: UnderWay::default(),
                limit: Limit::new(late),
                is_watched: late.is_zero(),
                waited: Duration::ZERO,
                untold: 0,
            }),
            is_limited: AtomicBool::new(false),
            is_busy: Notify::new(),
            shed: metrics.counter("http_requests_shed_total", vec![]),
            limit: metrics.gauge("http_requests_limit", vec![]),
        }))
    }

    /// Takes a request of this tenant on.
    ///
    /// # Errors
    /// 503 where the process has more to do than it can do in time.
    pub fn take_on(&self, tenant: &TenantId) -> Result<TakenOn, ApiError> {
        let mut state = self.state();
        let most = state.limit.most();
        if state.under_way.is_too_much(tenant, most) {
            self.refuse(state);
            return Err(ApiError::too_busy());
        }
        state.under_way.begin(tenant);
        if state.under_way.all() > FREE && !state.is_watched {
            state.is_watched = true;
            self.0.is_busy.notify_one();
        }
        Ok(TakenOn {
            shedder: self.clone(),
            tenant: tenant.clone(),
        })
    }

    /// Whether there is a limit at all.
    pub(super) fn is_limited(&self) -> bool {
        self.0.is_limited.load(Ordering::Relaxed)
    }

    /// Whether a request of this tenant that has waited for so long would not be taken on; counts it as refused.
    pub(super) fn would_refuse(&self, tenant: &TenantId, waited: Duration) -> bool {
        let mut state = self.state();
        state.waited = state.waited.max(waited);
        let is_refused = state
            .under_way
            .is_too_much(tenant, state.limit.most_after(waited));
        if is_refused {
            self.refuse(state);
        }
        is_refused
    }

    fn refuse(&self, mut state: MutexGuard<'_, State>) {
        state.untold += 1;
        drop(state);
        self.0.shed.increment(1);
    }

    /// Looks at the runtime whenever there is much to do, for ever. Cancel-safe: what was found out stays in force.
    pub async fn watch(&self) {
        loop {
            self.0.is_busy.notified().await;
            let (mut looked, mut told) = (Instant::now(), Instant::now());
            while self.look(&mut looked).await {
                if told.elapsed() >= TELL_PAUSE {
                    told = Instant::now();
                    self.tell();
                }
            }
            self.tell();
        }
    }

    /// Looks once; false where there is no need to go on.
    async fn look(&self, last: &mut Instant) -> bool {
        tokio::time::sleep(LOOK_PAUSE).await;
        let late = lateness().await;
        let since = last.elapsed();
        *last = Instant::now();
        let mut state = self.state();
        let under_way = state.under_way.all();
        let waited = std::mem::take(&mut state.waited);
        state.limit.adapt(Look {
            late,
            waited,
            under_way,
            since,
        });
        let most = state.limit.most();
        state.is_watched = most.is_some() || under_way > FREE;
        self.0.is_limited.store(most.is_some(), Ordering::Relaxed);
        self.0.limit.set(most.unwrap_or_default() as f64);
        state.is_watched
    }

    fn tell(&self) {
        let mut state = self.state();
        let (refused, limit, under_way) = (
            std::mem::take(&mut state.untold),
            state.limit.most(),
            state.under_way.all(),
        );
        drop(state);
        if refused > 0 {
            tracing::warn!(
                refused,
                under_way,
                limit,
                "overloaded: requests were refused with 503; more replicas or more CPU would take them"
            );
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Whoever panics leaves the counts whole.
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How long a task waits for its turn: one that a worker woke, and one that was woken from elsewhere. They wait in queues
/// of their own: what does not fit into a worker's waits in the one that all share.
async fn lateness() -> Duration {
    let began = Instant::now();
    tokio::task::yield_now().await;
    let among_its_own = began.elapsed();
    let woken = tokio::task::spawn_blocking(Instant::now).await;
    woken.map_or(among_its_own, |woken| woken.elapsed().max(among_its_own))
}

impl Drop for TakenOn {
    fn drop(&mut self) {
        self.shedder.state().under_way.end(&self.tenant);
    }
}

#[cfg(test)]
impl Shedder {
    /// One of a limit that no look has found, and that `tenant-2` has used up for as long as what comes with it is kept.
    pub(super) fn full() -> (Self, Vec<TakenOn>) {
        let shedder = Self::new(
            Duration::from_millis(2),
            &Metrics::new("producer", "pool-1"),
        );
        let tenant = "tenant-2".parse().expect("valid");
        let taken = (0..FREE)
            .map(|_| shedder.take_on(&tenant).expect("no limit"))
            .collect();
        shedder.state().limit = Limit::of(FREE);
        shedder.0.is_limited.store(true, Ordering::Relaxed);
        (shedder, taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tenant() -> TenantId {
        "tenant-2".parse().expect("valid")
    }

    #[tokio::test]
    async fn a_late_runtime_refuses_what_is_more_than_free_and_takes_it_again_when_it_is_not() {
        let shedder = Shedder::new(
            Duration::from_millis(2),
            &Metrics::new("producer", "pool-1"),
        );
        let watching = tokio::spawn({
            let shedder = shedder.clone();
            async move { shedder.watch().await }
        });
        let mut taken: Vec<_> = (0..2 * FREE)
            .map(|_| shedder.take_on(&tenant()).expect("no limit yet"))
            .collect();
        // This thread is the runtime's only one: whoever keeps it makes everything late.
        let refused = loop {
            let busy = Instant::now();
            while busy.elapsed() < Duration::from_millis(10) {
                std::hint::spin_loop();
            }
            tokio::task::yield_now().await;
            if let Err(refused) = shedder.take_on(&tenant()) {
                break refused;
            }
        };
        assert_eq!(refused.code(), ApiError::TOO_BUSY);
        taken.truncate(FREE - 1);
        taken.push(
            shedder
                .take_on(&tenant())
                .expect("fewer than are free are never refused"),
        );
        // On time again: the limit goes by itself.
        while shedder.state().limit.most().is_some() {
            tokio::time::sleep(LOOK_PAUSE).await;
        }
        taken.extend((0..10 * FREE).map(|_| shedder.take_on(&tenant()).expect("no limit")));
        watching.abort();
    }
}
