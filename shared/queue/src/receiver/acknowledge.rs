//! Settling messages: delete, dead-letter, postpone, release; and the calls that change visibility.

use std::collections::HashSet;
use std::time::Duration;

use super::{Handler, Receiver, Verdict, seconds};
use crate::message::{MAX_ATTRIBUTES, Received, string_attribute};
use aws_sdk_sqs::types::{
    BatchResultErrorEntry, ChangeMessageVisibilityBatchRequestEntry, DeleteMessageBatchRequestEntry,
};
use tenantry_process::metrics::label;
use tenantry_process::retry::{self, backoff, backoff_from_half, classify};

/// Attributes with the reason for a dead letter: the name, and its alias for one release. The alias comes first, so that
/// readers of the old name find it even if only one attribute is left.
const REASON_ATTRIBUTES: [&str; 2] = ["set_aside_reason", "dead_letter_reason"];
/// Attempts of a delete, over about 15 s. A message that is not deleted is redelivered.
const DELETE_ATTEMPTS: u32 = 12;
/// Longest wait before the first retry of a delete; doubled for each further retry.
const DELETE_RETRY_BASE: Duration = Duration::from_millis(100);
/// Longest wait before any retry of a delete.
const DELETE_RETRY_MAX: Duration = Duration::from_secs(3);
/// Longest delay of the first redelivery; doubled for each further redelivery.
const REDELIVERY_BASE: Duration = Duration::from_secs(2);
/// Longest delay of any redelivery.
const REDELIVERY_MAX: Duration = Duration::from_secs(900);
/// Counters of dead letters: the name, and its alias for one release.
const DEAD_LETTERED_COUNTERS: [&str; 2] = ["dead_lettered_total", "set_aside_total"];
/// Longest delay of a message beyond its group's share; four times that at the second delivery.
const BEYOND_SHARE_BASE: Duration = Duration::from_secs(60);

impl<H: Handler> Receiver<H> {
    /// Applies the verdicts of a batch. Messages without a verdict are redelivered.
    pub(super) async fn acknowledge(&self, batch: &[Received], verdicts: Vec<Verdict>) {
        let (mut done, mut later) = (Vec::new(), Vec::new());
        let verdicts = verdicts
            .into_iter()
            .chain(std::iter::repeat(Verdict::Retry));
        for (message, verdict) in batch.iter().zip(verdicts) {
            match verdict {
                Verdict::Done => done.push(message),
                Verdict::Retry => later.push(message),
                Verdict::DeadLetter(reason) if self.dead_letter(message, &reason).await => {
                    done.push(message);
                }
                Verdict::DeadLetter(_) => later.push(message),
            }
        }
        self.delete(done).await;
        self.postpone(&later).await;
    }

    /// Ends the leases of messages that no handler has begun, so that another receiver gets them at once.
    pub(super) async fn release(&self, batch: &[Received]) {
        tracing::info!(
            queue = self.source.arn.name(),
            messages = batch.len(),
            "released messages: receiver is stopping"
        );
        let all: Vec<_> = batch
            .iter()
            .map(|message| (message.receipt_handle.as_str(), Duration::ZERO))
            .collect();
        self.change_visibility(&all).await;
    }

    /// Postpones messages beyond their group's share to a later delivery, so that other groups get the permits.
    pub(super) async fn postpone_beyond_share(&self, batch: &[Received]) {
        tracing::warn!(
            queue = self.source.arn.name(),
            messages = batch.len(),
            "postponed messages: their group holds its share"
        );
        self.count_retries("share", batch.len());
        let after = |message: &Received| {
            backoff_from_half(
                2 * message.receive_count.saturating_sub(1),
                BEYOND_SHARE_BASE,
                REDELIVERY_MAX,
                fastrand::f64(),
            )
        };
        let all: Vec<_> = batch
            .iter()
            .map(|message| (message.receipt_handle.as_str(), after(message)))
            .collect();
        self.change_visibility(&all).await;
    }

    /// Sends a message to the dead-letter queue; returns true once SQS has confirmed the message.
    async fn dead_letter(&self, message: &Received, reason: &str) -> bool {
        let Some(url) = &self.source.dead_letter_url else {
            tracing::error!(
                message_id = message.message_id,
                reason,
                "no dead-letter queue: message will be redelivered"
            );
            return false;
        };
        let mut attributes = message.sdk_attributes();
        for name in REASON_ATTRIBUTES {
            if attributes.len() < MAX_ATTRIBUTES || attributes.contains_key(name) {
                attributes.insert(name.to_owned(), string_attribute(reason));
            }
        }
        let request = self
            .client
            .send_message()
            .queue_url(url)
            .message_body(&message.body)
            .set_message_group_id(message.group.clone())
            .set_message_attributes(Some(attributes));
        match request.send().await {
            Ok(_) => {
                for name in DEAD_LETTERED_COUNTERS {
                    self.metrics.counter(name, vec![]).increment(1);
                }
                tracing::warn!(
                    message_id = message.message_id,
                    reason,
                    "message moved to the dead-letter queue"
                );
                true
            }
            Err(error) => {
                let error = classify(&error).reason;
                tracing::error!(
                    message_id = message.message_id,
                    reason,
                    error,
                    "dead-letter failed: message will be redelivered"
                );
                // The label keeps its value for as long as the alias of the counter exists.
                self.count_retries("set_aside", 1);
                false
            }
        }
    }

    /// Deletes messages. Failed deletes are retried; after the last attempt the message is redelivered.
    async fn delete(&self, mut messages: Vec<&Received>) {
        for attempt in 0..DELETE_ATTEMPTS {
            if messages.is_empty() {
                return;
            }
            if attempt > 0 {
                self.count_retries("delete", messages.len());
                tokio::time::sleep(backoff(
                    attempt,
                    DELETE_RETRY_BASE,
                    DELETE_RETRY_MAX,
                    fastrand::f64(),
                ))
                .await;
            }
            messages = self.delete_once(messages).await;
        }
        for message in messages {
            tracing::error!(
                message_id = message.message_id,
                "delete failed for good: handled message will be redelivered"
            );
        }
    }

    /// Makes one DeleteMessageBatch call; returns the messages to retry.
    async fn delete_once<'a>(&self, messages: Vec<&'a Received>) -> Vec<&'a Received> {
        let entry = |(at, message): (usize, &&Received)| {
            DeleteMessageBatchRequestEntry::builder()
                .id(at.to_string())
                .receipt_handle(&message.receipt_handle)
                .build()
                .expect("id and handle are set")
        };
        let entries = messages.iter().enumerate().map(entry).collect();
        let request = self
            .client
            .delete_message_batch()
            .queue_url(&self.source.url)
            .set_entries(Some(entries));
        let output = match request.send().await {
            Ok(output) => output,
            Err(error) => {
                let failure = classify(&error);
                tracing::warn!(
                    code = failure.code,
                    messages = messages.len(),
                    "delete failed"
                );
                return if failure.transient {
                    messages
                } else {
                    Vec::new()
                };
            }
        };
        self.metrics
            .counter("deleted_total", vec![])
            .increment(output.successful.len() as u64);
        // SQS refuses a handle for good: the lease is lost and the message will be redelivered.
        let is_refused = |failed: &&BatchResultErrorEntry| {
            failed.sender_fault && !retry::is_throttle(&failed.code)
        };
        let refused = output
            .failed
            .iter()
            .filter(is_refused)
            .map(|failed| failed.id.as_str());
        let settled: HashSet<&str> = output
            .successful
            .iter()
            .map(|success| success.id.as_str())
            .chain(refused)
            .collect();
        messages
            .into_iter()
            .enumerate()
            .filter(|(at, _)| !settled.contains(at.to_string().as_str()))
            .map(|(_, message)| message)
            .collect()
    }

    /// Postpones messages to a redelivery, with a delay that grows with each delivery.
    async fn postpone(&self, messages: &[&Received]) {
        if messages.is_empty() {
            return;
        }
        self.count_retries("handle", messages.len());
        let after = |message: &Received| redelivery_after(message.receive_count, fastrand::f64());
        let all: Vec<_> = messages
            .iter()
            .map(|message| (message.receipt_handle.as_str(), after(message)))
            .collect();
        self.change_visibility(&all).await;
    }

    /// Sets when messages become visible again, by receipt handle; returns the indices of those whose lease is lost. A failed
    /// call changes nothing: those messages are redelivered when their lease ends.
    pub(super) async fn change_visibility(&self, entries: &[(&str, Duration)]) -> Vec<usize> {
        let entry = |(at, (receipt_handle, after)): (usize, &(&str, Duration))| {
            ChangeMessageVisibilityBatchRequestEntry::builder()
                .id(at.to_string())
                .receipt_handle(*receipt_handle)
                .visibility_timeout(seconds(*after))
                .build()
                .expect("id and handle are set")
        };
        let requested = entries.iter().enumerate().map(entry).collect();
        let request = self
            .client
            .change_message_visibility_batch()
            .queue_url(&self.source.url)
            .set_entries(Some(requested));
        match request.send().await {
            Ok(output) => {
                let lost = output.failed.iter().filter(|failed| failed.sender_fault);
                lost.filter_map(|failed| failed.id.parse().ok())
                    .filter(|at| *at < entries.len())
                    .collect()
            }
            Err(error) => {
                tracing::warn!(
                    code = classify(&error).code,
                    messages = entries.len(),
                    "change of visibility failed"
                );
                Vec::new()
            }
        }
    }

    fn count_retries(&self, operation: &'static str, count: usize) {
        self.metrics
            .counter("receive_retries_total", vec![label("operation", operation)])
            .increment(count as u64);
    }
}

/// Delay of the next delivery after this many deliveries; at least half of the exponential step, so that a failing
/// dependency gets a pause.
fn redelivery_after(receive_count: u32, random: f64) -> Duration {
    backoff_from_half(
        receive_count.saturating_sub(1),
        REDELIVERY_BASE,
        REDELIVERY_MAX,
        random,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_redelivery_delay_grows_up_to_its_maximum() {
        assert_eq!(redelivery_after(1, 1.0), Duration::from_secs(2));
        assert_eq!(redelivery_after(4, 0.0), Duration::from_secs(8));
        assert_eq!(redelivery_after(1000, 1.0), REDELIVERY_MAX);
    }
}
