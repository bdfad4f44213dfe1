//! One queue's lane: gathers entries, keeps batches on the wire, answers callers.

use std::sync::Arc;
use std::time::Duration;

use aws_sdk_sqs::operation::send_message_batch::SendMessageBatchOutput;
use aws_sdk_sqs::types::{BatchResultErrorEntry, SendMessageBatchRequestEntry};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::{OnceCell, mpsc};
use tokio_util::time::DelayQueue;

use super::{Entry, Inner, SendError};
use crate::batch::{Gather, Measured, Wire};
use crate::url::queue_url;
use tenantry_process::arn::QueueArn;
use tenantry_process::retry::{self, Failure, backoff, classify};

/// First wait before an entry is sent again.
const RETRY_BASE: Duration = Duration::from_millis(50);
/// Longest such wait; the caller's deadline ends the tries.
const RETRY_MAX: Duration = Duration::from_secs(1);

/// The task that owns one queue's entries.
pub(super) struct Lane {
    sender: Arc<Inner>,
    queue: QueueArn,
    arrivals: mpsc::UnboundedReceiver<Entry>,
    url: Arc<OnceCell<String>>,
    gather: Gather<Entry>,
    /// Whether messages are sent with their group; not every SQS work-alike takes one on a standard queue.
    has_groups: bool,
    /// Entries that failed and wait for their next try.
    resting: DelayQueue<Entry>,
}

/// A batch that came back.
struct Answered {
    batch: Vec<Entry>,
    outcome: Result<SendMessageBatchOutput, Failure>,
}

impl Lane {
    pub(super) fn new(
        sender: Arc<Inner>,
        queue: QueueArn,
        arrivals: mpsc::UnboundedReceiver<Entry>,
    ) -> Self {
        let gather = Gather::new(sender.limits.batches());
        Self {
            sender,
            queue,
            arrivals,
            url: Arc::default(),
            gather,
            has_groups: true,
            resting: DelayQueue::new(),
        }
    }

    /// Runs until the queue has been idle for long enough, or the sender is closing and all is answered.
    pub(super) async fn run(mut self) {
        let mut on_the_wire = FuturesUnordered::new();
        let mut wire = Wire::default();
        let mut came = Vec::with_capacity(super::MAX_BATCH_ENTRIES);
        loop {
            while let Some(mut batch) = self.gather.next_batch(wire) {
                batch.retain(Entry::is_wanted);
                if !batch.is_empty() {
                    wire.left(batch.len());
                    on_the_wire.push(self.call(batch));
                }
            }
            let idle = on_the_wire.is_empty() && self.gather.is_empty() && self.resting.is_empty();
            // Every branch is cancel-safe: dropping it loses no entry. In order, so that a simulation can be replayed.
            tokio::select! {
                biased;
                Some(answered) = on_the_wire.next(), if !on_the_wire.is_empty() => {
                    wire.answered(answered.batch.len());
                    self.settle(answered);
                }
                Some(rested) = self.resting.next(), if !self.resting.is_empty() => {
                    self.gather.push(rested.into_inner());
                }
                count = self.arrivals.recv_many(&mut came, super::MAX_BATCH_ENTRIES) => {
                    if count == 0 {
                        return;
                    }
                    came.drain(..).for_each(|entry| self.gather.push(entry));
                }
                // Idle for long enough, or told to close: the same from here on.
                _ = tokio::time::timeout(self.sender.limits.close_after, self.sender.closing.cancelled()), if idle => {
                    if self.sender.close(&self.queue, &self.arrivals) {
                        return;
                    }
                }
            }
        }
    }

    /// One SendMessageBatch, preceded by the look-up of the queue's URL at the first.
    fn call(&self, batch: Vec<Entry>) -> impl Future<Output = Answered> + use<> {
        let (sender, queue, url) = (
            Arc::clone(&self.sender),
            self.queue.clone(),
            Arc::clone(&self.url),
        );
        let has_groups = self.has_groups;
        async move {
            let outcome = async {
                let url = url
                    .get_or_try_init(|| queue_url(&sender.client, &queue))
                    .await?;
                let entries = batch
                    .iter()
                    .enumerate()
                    .map(|(at, entry)| request_entry(at, entry, has_groups));
                let request = sender
                    .client
                    .send_message_batch()
                    .queue_url(url)
                    .set_entries(Some(entries.collect()));
                request.send().await.map_err(|error| classify(&error))
            }
            .await;
            Answered { batch, outcome }
        }
    }

    /// Answers every entry of a batch, or rests it for another try.
    fn settle(&mut self, answered: Answered) {
        let Answered { batch, outcome } = answered;
        match outcome {
            Ok(output) => self.settle_each(batch, output),
            Err(failure) => {
                self.sender.counters.calls_error.increment(1);
                let (queue, messages) = (self.queue.name(), batch.len());
                tracing::warn!(
                    queue,
                    messages,
                    code = failure.code,
                    transient = failure.transient,
                    reason = failure.reason,
                    "send failed"
                );
                for mut entry in batch {
                    if failure.transient {
                        entry.may_have_arrived |= !retry::is_throttle(&failure.code);
                        self.rest(entry);
                    } else {
                        entry.answer(Err(SendError::Unavailable(failure.code.clone())));
                    }
                }
            }
        }
    }

    /// The call succeeded; its entries may still have failed one by one.
    fn settle_each(&mut self, batch: Vec<Entry>, output: SendMessageBatchOutput) {
        self.sender.counters.calls_ok.increment(1);
        let mut entries: Vec<Option<Entry>> = batch.into_iter().map(Some).collect();
        let mut take = |id: &str| {
            id.parse::<usize>()
                .ok()
                .and_then(|at| entries.get_mut(at)?.take())
        };
        let mut sent = 0;
        for success in &output.successful {
            if let Some(entry) = take(&success.id) {
                entry.answer(Ok(()));
                sent += 1;
            }
        }
        self.sender.counters.sent.increment(sent);
        let failed: Vec<_> = output
            .failed
            .into_iter()
            .filter_map(|failed| Some((take(&failed.id)?, failed)))
            .collect();
        for (entry, failed) in failed {
            self.settle_failed(entry, failed);
        }
        // An answer that says nothing of an entry is as good as none.
        for mut entry in entries.into_iter().flatten() {
            entry.may_have_arrived = true;
            self.rest(entry);
        }
    }

    fn settle_failed(&mut self, entry: Entry, failed: BatchResultErrorEntry) {
        let (queue, message) = (self.queue.name(), failed.message.unwrap_or_default());
        if self.has_groups && refuses_groups(&message) {
            tracing::warn!(
                queue,
                "the queue takes no message groups: no fair delivery among tenants"
            );
            self.has_groups = false;
        }
        tracing::warn!(
            queue,
            code = failed.code,
            sender_fault = failed.sender_fault,
            reason = message,
            "message not accepted"
        );
        if failed.sender_fault && !retry::is_throttle(&failed.code) && !refuses_groups(&message) {
            entry.answer(Err(SendError::Rejected {
                code: failed.code,
                message,
            }));
        } else {
            self.rest(entry);
        }
    }

    /// Lets a failed entry wait for its next try; one whose caller has gone is dropped.
    fn rest(&mut self, mut entry: Entry) {
        if !entry.is_wanted() {
            return;
        }
        self.sender.counters.retries.increment(1);
        let wait = backoff(entry.attempt, RETRY_BASE, RETRY_MAX, fastrand::f64());
        entry.attempt += 1;
        self.resting.insert(entry, wait);
    }
}

impl Measured for Entry {
    fn bytes(&self) -> usize {
        self.message.bytes()
    }
}

/// Whether an entry was refused for its group: groups on standard queues (SQS fair queues) are of 2025, and ElasticMQ
/// 1.6 does not know them. Its sentence is the only sign.
fn refuses_groups(message: &str) -> bool {
    message.contains("MessageGroupId")
}

fn request_entry(at: usize, entry: &Entry, has_groups: bool) -> SendMessageBatchRequestEntry {
    SendMessageBatchRequestEntry::builder()
        .id(at.to_string())
        .message_body(entry.message.body())
        .set_message_group_id(has_groups.then(|| entry.message.group().to_owned()))
        .set_message_attributes(Some(entry.message.sdk_attributes()))
        .build()
        .expect("id and body are set")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_without_groups_is_known_by_its_sentence() {
        let elasticmq =
            "The request includes parameter MessageGroupId that is not valid for this queue type";
        assert!(refuses_groups(elasticmq));
        assert!(!refuses_groups(
            "The message contains characters outside the allowed set."
        ));
    }
}
