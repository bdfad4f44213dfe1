//! Unsettled messages: from their receive to their acknowledgement, within permits and group shares.

use std::sync::Arc;
use std::time::Duration;

use chrono::Utc;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{Handler, Receiver};
use crate::message::Received;

/// Longest wait of a message for its group's share; after that the message is postponed.
const SHARE_WAIT_MAX: Duration = Duration::from_secs(2);

impl<H: Handler> Receiver<H> {
    /// Starts handling a batch; releases the batch instead if the receiver is stopping.
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
        // Permits beyond the received messages are free again at once.
        drop(permits.split(permits.num_permits().saturating_sub(batch.len())));
        let (receiver, shutdown) = (Arc::clone(self), shutdown.clone());
        self.tasks.spawn(async move {
            if shutdown.is_cancelled() {
                receiver.release(&batch).await;
            } else {
                receiver
                    .handle_within_shares(batch, permits, &shutdown)
                    .await;
            }
        });
    }

    /// Handles the messages within their group's share. The others wait briefly for the share, and are then postponed; that
    /// happens only to a group whose messages are not settled in time.
    async fn handle_within_shares(
        self: Arc<Self>,
        mut waiting: Vec<Received>,
        mut permits: OwnedSemaphorePermit,
        shutdown: &CancellationToken,
    ) {
        let until = Instant::now() + SHARE_WAIT_MAX.min(self.limits.visibility / 4);
        loop {
            // Enabled before the check, so that no notification in between is lost.
            let mut freed = std::pin::pin!(self.share_freed.notified());
            freed.as_mut().enable();
            let (batch, rest) = self.shares.lock().take(waiting);
            waiting = rest;
            if !batch.is_empty() {
                // A response may hold more messages than there are permits; all are handled.
                let count = batch.len().min(permits.num_permits());
                let share = permits.split(count).expect("no more than there are");
                let unsettled = UnsettledBatch {
                    receiver: Arc::clone(&self),
                    batch,
                    _permits: share,
                };
                if waiting.is_empty() {
                    return unsettled.process().await;
                }
                self.tasks.spawn(unsettled.process());
            }
            tokio::select! {
                () = freed => {}
                () = tokio::time::sleep_until(until) => return self.postpone_beyond_share(&waiting).await,
                () = shutdown.cancelled() => return self.release(&waiting).await,
            }
        }
    }
}

/// A batch with its permits and group shares; both are released on drop, even if the handler panics.
struct UnsettledBatch<H: Handler> {
    receiver: Arc<Receiver<H>>,
    batch: Vec<Received>,
    _permits: OwnedSemaphorePermit,
}

impl<H: Handler> UnsettledBatch<H> {
    /// Handles and acknowledges the batch, and extends its leases meanwhile.
    async fn process(self) {
        let (receiver, batch) = (&self.receiver, &self.batch);
        let _leases = receiver.lease_extender.hold(batch);
        let verdicts = receiver.handler.handle(batch).await;
        receiver.acknowledge(batch, verdicts).await;
    }
}

impl<H: Handler> Drop for UnsettledBatch<H> {
    fn drop(&mut self) {
        self.receiver.shares.lock().release(&self.batch);
        self.receiver.share_freed.notify_waiters();
    }
}
