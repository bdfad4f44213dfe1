//! The connections on which no request is in progress: whose turn it is to make room for a new client.
//!
//! A bound on connections alone lets whoever opens them first shut everybody else out. So where all places are taken,
//! the connection that has been quiet for longest is closed: one that sends its head byte by byte, one that reads no
//! answer, one that does nothing. A connection with a request in progress, or waiting to be read, is never one of them.
//!
//! Each request costs two stores; who is quiet for longest is looked for when somebody needs the place.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::gate::Visitor;

/// A request is in progress.
const BUSY: u64 = u64::MAX;
/// Asked to close.
const CLOSING: u64 = u64::MAX - 1;

/// The connections of one server. Clones share them.
#[derive(Clone)]
pub(super) struct Places(Arc<Inner>);

struct Inner {
    began: Instant,
    /// Whoever is answered next makes room.
    is_next_asked: AtomicBool,
    taken: Mutex<Taken>,
}

#[derive(Default)]
struct Taken {
    next: u64,
    by_number: HashMap<u64, Arc<Holder>>,
}

/// One connection's place. It is given back when dropped.
pub(super) struct Place {
    places: Places,
    number: u64,
    holder: Arc<Holder>,
}

struct Holder {
    /// Since when it is quiet, in microseconds since the server began; or `BUSY`, or `CLOSING`.
    quiet_since: AtomicU64,
    close: Notify,
    visitor: Arc<Visitor>,
}

impl Default for Places {
    fn default() -> Self {
        Self(Arc::new(Inner {
            began: Instant::now(),
            is_next_asked: AtomicBool::new(false),
            taken: Mutex::default(),
        }))
    }
}

impl Places {
    /// The place of a new connection, which is quiet.
    pub(super) fn take(&self) -> Arc<Place> {
        let holder = Arc::new(Holder {
            quiet_since: AtomicU64::new(self.now()),
            close: Notify::default(),
            visitor: Arc::default(),
        });
        let mut taken = self.taken();
        let number = taken.next;
        taken.next += 1;
        taken.by_number.insert(number, Arc::clone(&holder));
        drop(taken);
        Arc::new(Place {
            places: self.clone(),
            number,
            holder,
        })
    }

    /// Asks the connection that has been quiet for longest to close; false where none has been for this long.
    pub(super) fn evict(&self, age: Duration) -> bool {
        let Some(until) = self.ago(age) else {
            return false;
        };
        let taken = self.taken();
        let quiet = taken
            .by_number
            .values()
            .filter_map(|holder| Some((holder.quiet_since()?, holder)));
        let longest = quiet
            .min_by_key(|(since, _)| *since)
            .filter(|(since, _)| *since <= until);
        longest.is_some_and(|(since, holder)| holder.ask_to_close(since))
    }

    /// Asks all that have been quiet for this long to close.
    pub(super) fn evict_all(&self, age: Duration) {
        let Some(until) = self.ago(age) else { return };
        for holder in self.taken().by_number.values() {
            if let Some(since) = holder.quiet_since().filter(|since| *since <= until) {
                holder.ask_to_close(since);
            }
        }
    }

    /// Asks the connection whose request is answered next to close with the answer.
    pub(super) fn ask_next(&self) {
        self.0.is_next_asked.store(true, Ordering::Relaxed);
    }

    fn now(&self) -> u64 {
        u64::try_from(self.0.began.elapsed().as_micros()).unwrap_or(CLOSING - 1)
    }

    /// When it was so long ago; none before the server began.
    fn ago(&self, age: Duration) -> Option<u64> {
        self.now().checked_sub(u64::try_from(age.as_micros()).ok()?)
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        // Whoever panics leaves the map whole.
        self.0.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Holder {
    /// Since when, where it is quiet and not asked to close.
    fn quiet_since(&self) -> Option<u64> {
        let since = self.quiet_since.load(Ordering::Relaxed);
        (since < CLOSING && !self.visitor.is_in_line()).then_some(since)
    }

    /// False where it is not quiet any more.
    fn ask_to_close(&self, since: u64) -> bool {
        let asked =
            self.quiet_since
                .compare_exchange(since, CLOSING, Ordering::Relaxed, Ordering::Relaxed);
        if asked.is_ok() {
            self.close.notify_one();
        }
        asked.is_ok()
    }
}

impl Place {
    /// A request has begun.
    pub(super) fn begin(&self) {
        self.holder.quiet_since.store(BUSY, Ordering::Relaxed);
    }

    /// A request has ended: it is quiet, from now on.
    pub(super) fn end(&self) {
        self.holder
            .quiet_since
            .store(self.places.now(), Ordering::Relaxed);
    }

    /// Whether some connection is to make room with its next answer.
    pub(super) fn is_room_wanted(&self) -> bool {
        self.places.0.is_next_asked.load(Ordering::Relaxed)
    }

    /// Whether it is this connection that makes room with the answer that is about to be written; once.
    pub(super) fn makes_room(&self) -> bool {
        self.is_room_wanted() && self.places.0.is_next_asked.swap(false, Ordering::Relaxed)
    }

    /// The connection, as the line knows it.
    pub(super) fn visitor(&self) -> &Arc<Visitor> {
        &self.holder.visitor
    }

    /// Whether no request is in progress.
    pub(super) fn is_quiet(&self) -> bool {
        self.holder.quiet_since.load(Ordering::Relaxed) != BUSY
    }

    /// Ends once the connection is to be closed. One on which a request has come meanwhile is served, and may be asked
    /// again.
    pub(super) async fn evicted(&self) {
        loop {
            self.holder.close.notified().await;
            if self.holder.visitor.is_in_line() {
                // It has a request after all.
                self.end();
            }
            if self.holder.quiet_since.load(Ordering::Relaxed) == CLOSING {
                return;
            }
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.taken().by_number.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    fn is_evicted(place: &Place) -> bool {
        place.evicted().now_or_never().is_some()
    }

    #[tokio::test(start_paused = true)]
    async fn the_connection_that_was_quiet_for_longest_makes_room() {
        let places = Places::default();
        let mut all = Vec::new();
        for _ in 0..3 {
            all.push(places.take());
            tokio::time::advance(Duration::from_millis(1)).await;
        }
        // The first was served since: it is the last one now.
        all[0].begin();
        all[0].end();
        for evicted in [[false, true, false], [false, false, true]] {
            assert!(places.evict(Duration::ZERO));
            assert_eq!(
                all.iter()
                    .map(|place| is_evicted(place))
                    .collect::<Vec<_>>(),
                evicted
            );
        }
    }

    #[tokio::test(start_paused = true)]
    async fn one_with_a_request_in_progress_is_never_closed() {
        let places = Places::default();
        let (busy, gone) = (places.take(), places.take());
        busy.begin();
        drop(gone);
        assert!(!places.evict(Duration::ZERO), "none is quiet");
        busy.end();
        assert!(places.evict(Duration::ZERO) && is_evicted(&busy));
        // Told to close, it took a request at that moment: it is served first, and may be told again.
        let late = places.take();
        assert!(places.evict(Duration::ZERO));
        late.begin();
        assert!(!is_evicted(&late));
        late.end();
        assert!(places.evict(Duration::ZERO) && is_evicted(&late));
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_waits_to_be_read_is_never_closed() {
        let (places, gate) = (Places::default(), super::super::gate::Gate::default());
        let place = places.take();
        let waker = std::task::Waker::noop();
        assert!(!gate.lets_in(place.visitor(), waker, || true));
        assert!(!places.evict(Duration::ZERO));
        gate.let_all_in();
        assert!(places.evict(Duration::ZERO));
        // Told to close, it got into the line at that moment.
        assert!(
            gate.lets_in(place.visitor(), waker, || true),
            "let in before"
        );
        assert!(!gate.lets_in(place.visitor(), waker, || true));
        assert!(!is_evicted(&place));
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_quiet_for_too_long_is_closed() {
        let places = Places::default();
        let old = places.take();
        tokio::time::advance(Duration::from_secs(60)).await;
        let young = places.take();
        tokio::time::advance(Duration::from_secs(30)).await;
        places.evict_all(Duration::from_secs(80));
        assert_eq!([&old, &young].map(|place| is_evicted(place)), [true, false]);
        assert!(
            !places.evict(Duration::from_secs(31)),
            "an answer may still be on its way"
        );
    }
}
