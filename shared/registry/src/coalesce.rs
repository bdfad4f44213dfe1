//! Who waits for a tenant that is not in memory, and at what pace such tenants are loaded.

use std::collections::VecDeque;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::{Entry, LookupError};
use tenantry_tenancy::tenant::TenantId;

/// Tenants that may wait at once.
const MAX_WAITING: usize = 10_000;

/// Tenants to be loaded, in the order they were asked for, and when the next call may be made.
pub(super) struct Loads {
    waiting: Mutex<VecDeque<Waiting>>,
    /// Pause between two calls at the full pace.
    pause: Duration,
    next_turn: Mutex<Instant>,
}

/// One tenant and who waits for it.
pub(super) struct Waiting {
    pub(super) id: TenantId,
    pub(super) reply: oneshot::Sender<Result<Arc<Entry>, LookupError>>,
}

impl Loads {
    /// At most this many calls a second, and as many at once after a quiet second.
    pub(super) fn new(per_second: NonZeroU32) -> Self {
        let pause = Duration::from_secs(1) / per_second.get();
        Self {
            waiting: Mutex::default(),
            pause,
            next_turn: Mutex::new(Instant::now()),
        }
    }

    /// Queues a tenant.
    pub(super) fn wait_for(
        &self,
        id: &TenantId,
    ) -> Result<oneshot::Receiver<Result<Arc<Entry>, LookupError>>, LookupError> {
        let (reply, answer) = oneshot::channel();
        let mut waiting = lock(&self.waiting);
        if waiting.len() >= MAX_WAITING {
            return Err(LookupError::Unavailable(
                "too many tenants are being loaded".to_owned(),
            ));
        }
        waiting.push_back(Waiting {
            id: id.clone(),
            reply,
        });
        Ok(answer)
    }

    /// Takes up to `max` tenants that somebody still waits for.
    pub(super) fn take(&self, max: usize) -> Vec<Waiting> {
        let mut waiting = lock(&self.waiting);
        let mut taken = Vec::with_capacity(max);
        while taken.len() < max {
            let Some(next) = waiting.pop_front() else {
                break;
            };
            if !next.reply.is_closed() {
                taken.push(next);
            }
        }
        taken
    }

    /// Ends when a call may be made; counts it.
    pub(super) async fn turn(&self) {
        loop {
            let at = {
                let (now, mut next) = (Instant::now(), lock(&self.next_turn));
                // A quiet second is remembered, no more.
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

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
