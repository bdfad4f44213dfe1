//! The connections on which no request is in progress: whose turn it is to make room for a new client.
//!
//! A bound on connections alone lets whoever opens them first shut everybody else out. So where all places are taken,
//! the connection that has been quiet for longest is closed: one that sends its head byte by byte, one that reads no
//! answer, one that does nothing. A connection with a request in progress is never one of them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

/// The quiet connections of one server. Clones share them.
#[derive(Clone, Default)]
pub(super) struct Places(Arc<Inner>);

#[derive(Default)]
struct Inner {
    quiet: Mutex<Quiet>,
}

#[derive(Default)]
struct Quiet {
    next: u64,
    /// By turn: who became quiet first comes first.
    since: BTreeMap<u64, (Instant, Arc<Notify>)>,
}

/// One connection's place: quiet while no request is in progress. It is given back when dropped.
pub(super) struct Place {
    places: Places,
    state: Mutex<State>,
    close: Arc<Notify>,
}

#[derive(Default)]
struct State {
    requests: usize,
    turn: Option<u64>,
}

impl Places {
    /// The place of a new connection, which is quiet.
    pub(super) fn take(&self) -> Arc<Place> {
        let place = Place { places: self.clone(), state: Mutex::default(), close: Arc::default() };
        let turn = place.line_up();
        place.state().turn = Some(turn);
        Arc::new(place)
    }

    /// Asks the connection that has been quiet for longest to close; false where none has been for this long.
    pub(super) fn evict(&self, age: Duration) -> bool {
        let mut quiet = self.quiet();
        let first = quiet.since.first_entry().filter(|first| first.get().0.elapsed() >= age);
        first.map(|first| first.remove().1.notify_one()).is_some()
    }

    /// Asks all that have been quiet for this long to close.
    pub(super) fn evict_all(&self, age: Duration) {
        while self.evict(age) {}
    }

    fn quiet(&self) -> MutexGuard<'_, Quiet> {
        // Whoever panics leaves the map whole.
        self.0.quiet.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// A request has begun.
    pub(super) fn begin(&self) {
        let mut state = self.state();
        state.requests += 1;
        if let Some(turn) = state.turn.take() {
            self.places.quiet().since.remove(&turn);
        }
    }

    /// A request has ended.
    pub(super) fn end(&self) {
        let mut state = self.state();
        state.requests -= 1;
        if state.requests == 0 {
            state.turn = Some(self.line_up());
        }
    }

    /// Whether no request is in progress.
    pub(super) fn is_quiet(&self) -> bool {
        self.state().requests == 0
    }

    /// Ends once the connection is to be closed and no request is in progress.
    pub(super) async fn evicted(&self) {
        loop {
            self.close.notified().await;
            if self.is_quiet() {
                return;
            }
        }
    }

    fn line_up(&self) -> u64 {
        let mut quiet = self.places.quiet();
        let turn = quiet.next;
        quiet.next += 1;
        quiet.since.insert(turn, (Instant::now(), Arc::clone(&self.close)));
        turn
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(turn) = self.state().turn.take() {
            self.places.quiet().since.remove(&turn);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    fn is_evicted(place: &Place) -> bool {
        place.evicted().now_or_never().is_some()
    }

    #[test]
    fn the_connection_that_was_quiet_for_longest_makes_room() {
        let places = Places::default();
        let [first, second, third] = [(); 3].map(|()| places.take());
        // The first was served since: it is the last one now.
        first.begin();
        first.end();
        assert!(places.evict(Duration::ZERO));
        assert_eq!([&first, &second, &third].map(|place| is_evicted(place)), [false, true, false]);
    }

    #[test]
    fn one_with_a_request_in_progress_is_never_closed() {
        let places = Places::default();
        let (busy, gone) = (places.take(), places.take());
        busy.begin();
        drop(gone);
        assert!(!places.evict(Duration::ZERO), "none is quiet");
        busy.end();
        assert!(places.evict(Duration::ZERO) && is_evicted(&busy));
        // Told to close, it took a request at that moment: it is served first.
        let late = places.take();
        assert!(places.evict(Duration::ZERO));
        late.begin();
        assert!(!is_evicted(&late));
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
        assert!(!places.evict(Duration::from_secs(31)), "an answer may still be on its way");
    }
}
