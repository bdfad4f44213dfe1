//! The task that sends one queue's messages: batches entries, retries failed ones, answers callers.

use std::sync::Arc;
use std::time::Duration;

use aws_sdk_sqs::operation::send_message_batch::SendMessageBatchOutput;
use aws_sdk_sqs::types::{BatchResultErrorEntry, SendMessageBatchRequestEntry};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::{OnceCell, mpsc};
use tokio_util::time::DelayQueue;

use super::{Inner, SendEntry, SendError};
use crate::batch::{Batcher, InFlight, Measured};
use crate::url::queue_url;
use tenantry_process::arn::QueueArn;
use tenantry_process::retry::{self, Failure, backoff, classify};

/// Longest wait before the first retry of an entry; doubled for each further retry.
const RETRY_BASE: Duration = Duration::from_millis(50);
/// Longest wait before any retry; the caller's deadline ends the retries.
const RETRY_MAX: Duration = Duration::from_secs(1);

/// Sends the entries of one queue.
pub(super) struct QueueWorker {
    sender: Arc<Inner>,
    queue: QueueArn,
    arrivals: mpsc::UnboundedReceiver<SendEntry>,
    url: Arc<OnceCell<String>>,
    batcher: Batcher<SendEntry>,
    /// True if messages are sent with their group; some emulators refuse groups on standard queues.
    has_groups: bool,
    /// Failed entries that wait for their retry.
    backlog: DelayQueue<SendEntry>,
}

/// A batch and the result of its call.
struct BatchOutcome {
    batch: Vec<SendEntry>,
    result: Result<SendMessageBatchOutput, Failure>,
}

impl QueueWorker {
    pub(super) fn new(
        sender: Arc<Inner>,
        queue: QueueArn,
        arrivals: mpsc::UnboundedReceiver<SendEntry>,
    ) -> Self {
        let batcher = Batcher::new(sender.limits.batches());
        Self {
            sender,
            queue,
            arrivals,
            url: Arc::default(),
            batcher,
            has_groups: true,
            backlog: DelayQueue::new(),
        }
    }

    /// Runs until the queue is idle for `close_after`, or the sender drains and every entry is answered.
    pub(super) async fn run(mut self) {
        let mut calls = FuturesUnordered::new();
        let mut in_flight = InFlight::default();
        let mut arrived = Vec::with_capacity(super::MAX_BATCH_ENTRIES);
        loop {
            while let Some(mut batch) = self.batcher.next_batch(in_flight) {
                batch.retain(SendEntry::has_caller);
                if !batch.is_empty() {
                    in_flight.add(batch.len());
                    calls.push(self.send_batch(batch));
                }
            }
            let idle = calls.is_empty() && self.batcher.is_empty() && self.backlog.is_empty();
            // Every branch is cancel-safe: dropping it loses no entry. The fixed order makes a simulation repeatable.
            tokio::select! {
                biased;
                Some(outcome) = calls.next(), if !calls.is_empty() => {
                    in_flight.remove(outcome.batch.len());
                    self.settle(outcome);
                }
                Some(due) = self.backlog.next(), if !self.backlog.is_empty() => {
                    self.batcher.push(due.into_inner());
                }
                count = self.arrivals.recv_many(&mut arrived, super::MAX_BATCH_ENTRIES) => {
                    if count == 0 {
                        return;
                    }
                    arrived.drain(..).for_each(|entry| self.batcher.push(entry));
                }
                // An idle queue closes after `close_after`, or at once if the sender drains.
                _ = tokio::time::timeout(self.sender.limits.close_after, self.sender.closing.cancelled()), if idle => {
                    if self.sender.close(&self.queue, &self.arrivals) {
                        return;
                    }
                }
            }
        }
    }

    /// Makes one SendMessageBatch call; the first call also looks up the queue's URL.
    fn send_batch(&self, batch: Vec<SendEntry>) -> impl Future<Output = BatchOutcome> + use<> {
        let (sender, queue, url) = (
            Arc::clone(&self.sender),
            self.queue.clone(),
            Arc::clone(&self.url),
        );
        let has_groups = self.has_groups;
        async move {
            let result = async {
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
            BatchOutcome { batch, result }
        }
    }

    /// Answers each entry of a batch, or schedules its retry.
    fn settle(&mut self, outcome: BatchOutcome) {
        let BatchOutcome { batch, result } = outcome;
        match result {
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
                        self.retry_later(entry);
                    } else {
                        entry.answer(Err(SendError::Unavailable(failure.code.clone())));
                    }
                }
            }
        }
    }

    /// Settles the entries of a successful call, each of which may still have failed.
    fn settle_each(&mut self, batch: Vec<SendEntry>, output: SendMessageBatchOutput) {
        self.sender.counters.calls_ok.increment(1);
        let mut entries: Vec<Option<SendEntry>> = batch.into_iter().map(Some).collect();
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
        // The response does not mention these entries, so their outcome is unknown.
        for mut entry in entries.into_iter().flatten() {
            entry.may_have_arrived = true;
            self.retry_later(entry);
        }
    }

    fn settle_failed(&mut self, entry: SendEntry, failed: BatchResultErrorEntry) {
        let (queue, message) = (self.queue.name(), failed.message.unwrap_or_default());
        if self.has_groups && refuses_groups(&message) {
            tracing::warn!(
                queue,
                "queue refuses message groups: sending without groups, no fair delivery"
            );
            self.has_groups = false;
        }
        tracing::warn!(
            queue,
            code = failed.code,
            sender_fault = failed.sender_fault,
            reason = message,
            "queue refused a message"
        );
        if failed.sender_fault && !retry::is_throttle(&failed.code) && !refuses_groups(&message) {
            entry.answer(Err(SendError::Rejected {
                code: failed.code,
                message,
            }));
        } else {
            self.retry_later(entry);
        }
    }

    /// Adds a failed entry to the retry backlog; drops an entry without a caller.
    fn retry_later(&mut self, mut entry: SendEntry) {
        if !entry.has_caller() {
            return;
        }
        self.sender.counters.retries.increment(1);
        let wait = backoff(entry.attempt, RETRY_BASE, RETRY_MAX, fastrand::f64());
        entry.attempt += 1;
        self.backlog.insert(entry, wait);
    }
}

impl Measured for SendEntry {
    fn bytes(&self) -> usize {
        self.message.bytes()
    }
}

/// Returns true if the queue refused an entry for its group. SQS takes groups on standard queues (fair queues) since
/// 2025, ElasticMQ since 1.6.14; before, only its error message shows the cause.
fn refuses_groups(message: &str) -> bool {
    message.contains("MessageGroupId")
}

fn request_entry(at: usize, entry: &SendEntry, has_groups: bool) -> SendMessageBatchRequestEntry {
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
    fn a_queue_without_groups_is_recognized_by_its_error_message() {
        let elasticmq =
            "The request includes parameter MessageGroupId that is not valid for this queue type";
        assert!(refuses_groups(elasticmq));
        assert!(!refuses_groups(
            "The message contains characters outside the allowed set."
        ));
    }
}
