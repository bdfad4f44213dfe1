//! A connection's turns: each time the runtime lets it go on is one.
//!
//! A client that waits for each answer before its next request needs one turn a request. Requests that come without
//! waiting (pipelined) would all be handled in one, while everybody else waits.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Poll, Waker};

/// Whether the request of this turn has come.
#[derive(Default)]
pub(super) struct Turn(AtomicBool);

impl Turn {
    /// The future, whose every poll is a turn, where it may go on; else whoever says so wakes it.
    pub(super) async fn each<F: Future>(
        &self,
        mut connection: Pin<&mut F>,
        may_go_on: impl Fn(&Waker) -> bool,
    ) -> F::Output {
        poll_fn(|context| {
            if !may_go_on(context.waker()) {
                return Poll::Pending;
            }
            self.0.store(false, Ordering::Relaxed);
            connection.as_mut().poll(context)
        })
        .await
    }

    /// Takes the turn for a request; false where another one has had it.
    pub(super) fn take(&self) -> bool {
        !self.0.swap(true, Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use std::pin::pin;

    use super::*;

    #[test]
    fn each_poll_is_one_request_s_turn() {
        let turn = Turn::default();
        let connection = pin!(poll_fn(|_| {
            let taken = [turn.take(), turn.take()];
            if taken == [true, false] {
                Poll::<()>::Pending
            } else {
                panic!("{taken:?}")
            }
        }));
        let mut polled = pin!(turn.each(connection, |_| true));
        for _ in 0..3 {
            assert!(polled.as_mut().now_or_never().is_none());
        }
    }
}
