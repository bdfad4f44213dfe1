//! Messages in hand: from a poll's answer to the last acknowledgement, within permits and shares.

use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::Utc;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::shares::Shares;
use super::{Handler, Receiver};
use crate::message::Received;

/// Longest a message waits for its group's share before it is passed over.
const SHARE_WAIT_MAX: Duration = Duration::from_secs(2);

impl<H: Handler> Receiver<H> {
    /// Takes a batch in hand, or hands it back where the receiver is stopping.
    pub(super) fn start(
        self: &Arc<Self>,
        batch: Vec<Received>,
        mut permits: OwnedSemaphorePermit,
        shutdown: &CancellationToken,
    ) {
        self.metrics
            .counter("received_total", vec![])
            .increment(batch.len() as u64);
        let lag = self.metrics.histogram("queue_lag_seconds", vec![]);
        for message in &batch {
            lag.record(
                (Utc::now() - message.sent_at)
                    .to_std()
                    .unwrap_or_default()
                    .as_secs_f64(),
            );
        }
        // Permits asked for and not needed are free again at once.
        drop(permits.split(permits.num_permits().saturating_sub(batch.len())));
        let (receiver, shutdown) = (Arc::clone(self), shutdown.clone());
        self.tasks.spawn(async move {
            if shutdown.is_cancelled() {
                receiver.hand_back(&batch).await;
            } else {
                receiver.share_out(batch, permits, &shutdown).await;
            }
        });
    }

    /// Hands over what is within its group's share. The rest waits a moment for a share to become free, then is passed
    /// over: a group that is worked off never comes to that.
    async fn share_out(
        self: Arc<Self>,
        mut waiting: Vec<Received>,
        mut permits: OwnedSemaphorePermit,
        shutdown: &CancellationToken,
    ) {
        let until = Instant::now() + SHARE_WAIT_MAX.min(self.limits.visibility / 4);
        loop {
            // Listens before it looks, so that nothing freed in between is missed.
            let mut freed = std::pin::pin!(self.share_freed.notified());
            freed.as_mut().enable();
            let (batch, rest) = self.shares().take(waiting);
            waiting = rest;
            if !batch.is_empty() {
                // An answer may bring more than was asked for: it is worked off all the same.
                let count = batch.len().min(permits.num_permits());
                let share = permits.split(count).expect("no more than there are");
                let in_hand = InHand {
                    receiver: Arc::clone(&self),
                    batch,
                    _permits: share,
                };
                if waiting.is_empty() {
                    return in_hand.process().await;
                }
                self.tasks.spawn(in_hand.process());
            }
            tokio::select! {
                () = freed => {}
                () = tokio::time::sleep_until(until) => return self.pass_over(&waiting).await,
                () = shutdown.cancelled() => return self.hand_back(&waiting).await,
            }
        }
    }

    fn shares(&self) -> MutexGuard<'_, Shares> {
        self.shares.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A batch in hand, with its permits and its groups' shares; given back when it is dropped, however its handler ended.
struct InHand<H: Handler> {
    receiver: Arc<Receiver<H>>,
    batch: Vec<Received>,
    _permits: OwnedSemaphorePermit,
}

impl<H: Handler> InHand<H> {
    /// Has the batch handled and acknowledges it, keeping its leases meanwhile.
    async fn process(self) {
        let (receiver, batch) = (&self.receiver, &self.batch);
        let _leases = receiver.keeper.hold(batch);
        let verdicts = receiver.handler.handle(batch).await;
        receiver.acknowledge(batch, verdicts).await;
    }
}

impl<H: Handler> Drop for InHand<H> {
    fn drop(&mut self) {
        self.receiver.shares().release(&self.batch);
        self.receiver.share_freed.notify_waiters();
    }
}
