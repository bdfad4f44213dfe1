//! Connection slots, and which connection closes when a new client needs one.
//!
//! A plain limit lets the first clients shut out all others. So when every slot is taken, the connection that has been
//! idle longest closes. Idle means: no request, a head that arrives byte by byte, a body whose client does not send, or a
//! response that is not read. A connection whose request is being answered is never idle. Each request costs four atomic
//! stores; the search for the longest idle connection runs only when a slot is needed.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

/// `idle_since` of a connection whose request is being served.
const BUSY: u64 = u64::MAX;
/// `idle_since` of a connection that was asked to close.
const CLOSING: u64 = u64::MAX - 1;

/// The connections of one server. Clones share them.
#[derive(Clone)]
pub(super) struct Slots(Arc<Inner>);

struct Inner {
    started: Instant,
    /// The next connection that gets a response closes with it.
    close_next: AtomicBool,
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    next_id: u64,
    by_id: HashMap<u64, Arc<State>>,
}

struct State {
    /// Microseconds from the server's start to the end of the last request, or `BUSY`, or `CLOSING`. While a body is
    /// awaited, the total wait for this body counts.
    idle_since: AtomicU64,
    has_request: AtomicBool,
    close: Notify,
}

/// The slot of one connection, free again when dropped.
pub(super) struct Slot {
    slots: Slots,
    id: u64,
    state: Arc<State>,
}

/// A request in progress on a connection; the connection is idle again when this is dropped.
pub(super) struct InProgress(Arc<Slot>);

impl Default for Slots {
    fn default() -> Self {
        Self(Arc::new(Inner {
            started: Instant::now(),
            close_next: AtomicBool::new(false),
            open: Mutex::default(),
        }))
    }
}

impl Slots {
    /// Takes a slot for a new connection, which is idle.
    pub(super) fn take(&self) -> Arc<Slot> {
        let state = Arc::new(State {
            idle_since: AtomicU64::new(self.micros()),
            has_request: AtomicBool::new(false),
            close: Notify::new(),
        });
        let mut open = self.0.open.lock();
        let id = open.next_id;
        open.next_id += 1;
        open.by_id.insert(id, Arc::clone(&state));
        Arc::new(Slot {
            slots: self.clone(),
            id,
            state,
        })
    }

    /// Asks the connection that has been idle longest to close; false where none has been idle for `age`.
    pub(super) fn close_longest_idle(&self, age: Duration) -> bool {
        let Some(until) = self.micros_ago(age) else {
            return false;
        };
        let open = self.0.open.lock();
        let idle = open
            .by_id
            .values()
            .map(|state| (state.idle_since.load(Relaxed), state));
        idle.min_by_key(|(since, _)| *since)
            .filter(|(since, _)| *since <= until)
            .is_some_and(|(since, state)| state.ask_to_close(since))
    }

    /// Asks every connection that has been idle for `age` to close.
    pub(super) fn close_idle(&self, age: Duration) {
        let Some(until) = self.micros_ago(age) else {
            return;
        };
        for state in self.0.open.lock().by_id.values() {
            let since = state.idle_since.load(Relaxed);
            if since <= until {
                state.ask_to_close(since);
            }
        }
    }

    /// Asks the connection that gets the next response to close with it.
    pub(super) fn close_next(&self) {
        self.0.close_next.store(true, Relaxed);
    }

    fn micros(&self) -> u64 {
        u64::try_from(self.0.started.elapsed().as_micros()).unwrap_or(CLOSING - 1)
    }

    /// Microseconds from the server's start to the moment `age` ago; `None` if that is before the start.
    fn micros_ago(&self, age: Duration) -> Option<u64> {
        self.micros()
            .checked_sub(u64::try_from(age.as_micros()).ok()?)
    }
}

impl State {
    /// Returns false if a request has begun since.
    fn ask_to_close(&self, since: u64) -> bool {
        let asked = self
            .idle_since
            .compare_exchange(since, CLOSING, Relaxed, Relaxed)
            .is_ok();
        if asked {
            self.close.notify_one();
        }
        asked
    }
}

impl Slot {
    /// Marks the connection busy until the value is dropped.
    pub(super) fn begin(self: &Arc<Self>) -> InProgress {
        self.state.idle_since.store(BUSY, Relaxed);
        self.state.has_request.store(true, Relaxed);
        InProgress(Arc::clone(self))
    }

    /// Marks the connection idle because the request waits for its client. `before` is the time that the request has
    /// waited for the client already. The returned mark is for [`Self::resume`].
    pub(super) fn stall(&self, before: Duration) -> u64 {
        let since = self.slots.micros_ago(before).unwrap_or_default();
        self.state.idle_since.store(since, Relaxed);
        since
    }

    /// Ends a stall. A connection that was asked to close meanwhile still closes.
    pub(super) fn resume(&self, stalled: u64) {
        let _ = self
            .state
            .idle_since
            .compare_exchange(stalled, BUSY, Relaxed, Relaxed);
    }

    /// Whether there is no request in progress; a drain waits for a request even if its client does not send.
    pub(super) fn is_idle(&self) -> bool {
        !self.state.has_request.load(Relaxed)
    }

    /// Whether this connection closes with the response about to be written; true once for each request to close.
    pub(super) fn closes_now(&self) -> bool {
        let close_next = &self.slots.0.close_next;
        close_next.load(Relaxed) && close_next.swap(false, Relaxed)
    }

    /// Returns once the connection has to close. A request that began meanwhile is served first.
    pub(super) async fn closing(&self) {
        loop {
            self.state.close.notified().await;
            if self.state.idle_since.load(Relaxed) == CLOSING {
                return;
            }
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.slots.0.open.lock().by_id.remove(&self.id);
    }
}

impl Drop for InProgress {
    fn drop(&mut self) {
        let Slot { slots, state, .. } = &*self.0;
        state.idle_since.store(slots.micros(), Relaxed);
        state.has_request.store(false, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    fn is_closing(slot: &Slot) -> bool {
        slot.closing().now_or_never().is_some()
    }

    #[tokio::test(start_paused = true)]
    async fn the_connection_idle_longest_closes_and_none_with_a_request() {
        let slots = Slots::default();
        let (first, second, third) = (slots.take(), slots.take(), slots.take());
        let request = first.begin();
        tokio::time::advance(Duration::from_secs(1)).await;
        drop(second.begin());
        tokio::time::advance(Duration::from_secs(1)).await;
        let age = Duration::from_millis(100);
        assert!(
            slots.close_longest_idle(age),
            "the third has been idle for 2 s"
        );
        assert_eq!(
            [&first, &second, &third].map(|slot| is_closing(slot)),
            [false, false, true]
        );
        assert!(slots.close_longest_idle(age), "then the second");
        assert!(is_closing(&second));
        assert!(!slots.close_longest_idle(age), "the first has a request");
        drop(request);
        assert!(
            !slots.close_longest_idle(age),
            "its response may still be in flight"
        );
        tokio::time::advance(age).await;
        assert!(slots.close_longest_idle(age) && is_closing(&first));
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_that_begins_in_time_keeps_its_connection() {
        let slots = Slots::default();
        let slot = slots.take();
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(slots.close_longest_idle(Duration::ZERO));
        drop(slot.begin());
        assert!(!is_closing(&slot));
        tokio::time::advance(Duration::from_secs(1)).await;
        slots.close_idle(Duration::from_secs(2));
        assert!(!is_closing(&slot), "idle for one second");
        slots.close_idle(Duration::from_secs(1));
        assert!(is_closing(&slot));
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_whose_client_does_not_send_is_idle_for_new_clients_and_in_progress_for_a_drain()
     {
        let slots = Slots::default();
        let slot = slots.take();
        tokio::time::advance(Duration::from_secs(1)).await;
        let request = slot.begin();
        let stalled = slot.stall(Duration::from_millis(60));
        tokio::time::advance(Duration::from_millis(30)).await;
        let age = Duration::from_millis(100);
        assert!(!slots.close_longest_idle(age), "90 ms in all");
        slot.resume(stalled);
        tokio::time::advance(age).await;
        assert!(!slots.close_longest_idle(age), "the service works");
        let stalled = slot.stall(Duration::from_millis(90));
        tokio::time::advance(Duration::from_millis(10)).await;
        assert!(slots.close_longest_idle(age) && !slot.is_idle());
        slot.resume(stalled);
        assert!(is_closing(&slot));
        drop(request);
        assert!(slot.is_idle());
    }

    #[tokio::test]
    async fn one_response_closes_its_connection_when_a_slot_is_needed() {
        let slots = Slots::default();
        let slot = slots.take();
        assert!(!slot.closes_now());
        slots.close_next();
        assert!(slot.closes_now() && !slot.closes_now());
    }

    #[tokio::test]
    async fn a_dropped_slot_is_free() {
        let slots = Slots::default();
        drop(slots.take());
        assert!(slots.0.open.lock().by_id.is_empty());
    }
}
