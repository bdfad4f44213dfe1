//! The line before the door: while the process sheds load, requests are read a few a turn.
//!
//! Reading a request and refusing it costs a good part of what answering one costs. Were all read that have come, those
//! that were taken on would wait behind thousands of them, at each of their turns. So a connection on which something has
//! come gets into a line, which costs next to nothing, and a few are let in each turn of the runtime: most from its front, so
//! that nobody waits for long, and some from its end, who can still be answered in time however long the line is.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::{Duration, Instant};

use tokio::sync::Notify;

/// How many are let in each turn. A turn of the runtime is up to 61 tasks (`event_interval`), of which those of requests
/// under way are to be most.
const A_TURN: usize = 16;
/// One of so many is who came last.
const NEWEST_OF: usize = 4;

/// The line of one server. Clones share it.
#[derive(Clone, Default)]
pub(super) struct Gate(Arc<Inner>);

#[derive(Default)]
struct Inner {
    line: Mutex<VecDeque<Waiting>>,
    somebody_waits: Notify,
}

struct Waiting {
    since: Instant,
    visitor: Arc<Visitor>,
    waker: Waker,
}

/// One connection, as the line knows it.
#[derive(Default)]
pub(super) struct Visitor {
    is_in_line: AtomicBool,
    is_let_in: AtomicBool,
    waited_us: AtomicU64,
}

impl Gate {
    /// Whether the connection may go on reading; else it gets into the line, unless nobody has to, and is woken when it is
    /// its turn.
    pub(super) fn lets_in(
        &self,
        visitor: &Arc<Visitor>,
        waker: &Waker,
        has_to_wait: impl FnOnce() -> bool,
    ) -> bool {
        if visitor.is_let_in.swap(false, Ordering::Acquire) {
            return true;
        }
        if visitor.is_in_line() {
            return false;
        }
        if !has_to_wait() {
            return true;
        }
        visitor.is_in_line.store(true, Ordering::Relaxed);
        let waiting = Waiting {
            since: Instant::now(),
            visitor: Arc::clone(visitor),
            waker: waker.clone(),
        };
        self.line().push_back(waiting);
        self.0.somebody_waits.notify_one();
        false
    }

    /// Lets in whoever waits, a few a turn, for ever.
    pub(super) async fn keep(&self) {
        loop {
            self.0.somebody_waits.notified().await;
            while self.let_some_in() {
                tokio::task::yield_now().await;
            }
            // Whoever comes within this turn waits for the next one, too.
            tokio::task::yield_now().await;
        }
    }

    /// Lets in as many as one turn may; false where nobody waits any longer.
    fn let_some_in(&self) -> bool {
        let mut line = self.line();
        for place in 0..A_TURN {
            let next = if place % NEWEST_OF == 0 {
                line.pop_back()
            } else {
                line.pop_front()
            };
            let Some(Waiting {
                since,
                visitor,
                waker,
            }) = next
            else {
                return false;
            };
            let waited = u64::try_from(since.elapsed().as_micros()).unwrap_or(u64::MAX);
            visitor.waited_us.store(waited, Ordering::Relaxed);
            // In this order: never neither of both, where it would get into the line once more.
            visitor.is_let_in.store(true, Ordering::Release);
            visitor.is_in_line.store(false, Ordering::Release);
            waker.wake();
        }
        !line.is_empty()
    }

    #[cfg(test)]
    pub(super) fn let_all_in(&self) {
        while self.let_some_in() {}
    }

    fn line(&self) -> MutexGuard<'_, VecDeque<Waiting>> {
        // Whoever panics leaves the line whole.
        self.0.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Visitor {
    /// Whether it waits in the line.
    pub(super) fn is_in_line(&self) -> bool {
        self.is_in_line.load(Ordering::Acquire)
    }

    /// How long it waited the last time, once.
    pub(super) fn waited(&self) -> Duration {
        Duration::from_micros(self.waited_us.swap(0, Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// So many that wait in the line, in the order in which they came.
    fn line_of(gate: &Gate, length: usize) -> Vec<Arc<Visitor>> {
        let visitors: Vec<Arc<Visitor>> = (0..length).map(|_| Arc::default()).collect();
        for visitor in &visitors {
            assert!(!gate.lets_in(visitor, Waker::noop(), || true));
        }
        visitors
    }

    #[test]
    fn nobody_waits_where_nobody_has_to() {
        let (gate, visitor) = (Gate::default(), Arc::default());
        assert!(gate.lets_in(&visitor, Waker::noop(), || false));
        assert!(!visitor.is_in_line() && !gate.let_some_in());
    }

    #[test]
    fn who_waits_goes_on_once_and_waits_again() {
        let gate = Gate::default();
        let visitors = line_of(&gate, 1);
        let visitor = &visitors[0];
        assert!(
            !gate.lets_in(visitor, Waker::noop(), || false),
            "it has a place in the line"
        );
        assert!(!gate.let_some_in());
        assert!(!visitor.is_in_line());
        assert!(gate.lets_in(visitor, Waker::noop(), || true));
        assert!(!gate.lets_in(visitor, Waker::noop(), || true));
        assert_eq!(gate.line().len(), 1, "one place in the line at most");
    }

    #[test]
    fn a_turn_lets_in_a_few_from_both_ends() {
        let gate = Gate::default();
        let visitors = line_of(&gate, 100);
        assert!(gate.let_some_in(), "others wait");
        let still = |range: std::ops::Range<usize>| {
            visitors[range].iter().filter(|v| v.is_in_line()).count()
        };
        assert_eq!(still(0..100), 100 - A_TURN);
        assert_eq!((still(0..12), still(12..96), still(96..100)), (0, 84, 0));
        gate.let_all_in();
        assert_eq!(still(0..100), 0);
    }

    #[test]
    fn how_long_it_waited_is_told_once() {
        let gate = Gate::default();
        let visitors = line_of(&gate, 1);
        while gate.line()[0].since.elapsed().as_micros() < 2 {
            std::hint::spin_loop();
        }
        gate.let_all_in();
        assert!(visitors[0].waited() >= Duration::from_micros(2));
        assert_eq!(visitors[0].waited(), Duration::ZERO);
    }
}
