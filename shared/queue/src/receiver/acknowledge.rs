//! What happens to a message after its handler: delete, leave, set aside, hand back; and its lease meanwhile.

use std::collections::HashSet;
use std::time::Duration;

use super::{Handler, Receiver, Verdict, seconds};
use crate::message::{MAX_ATTRIBUTES, Received, string_attribute};
use aws_sdk_sqs::types::{
    BatchResultErrorEntry, ChangeMessageVisibilityBatchRequestEntry, DeleteMessageBatchRequestEntry,
};
use tenantry_process::metrics::label;
use tenantry_process::retry::{self, backoff, backoff_from_half, classify};

/// Attribute that says why a message was set aside.
pub(super) const REASON_ATTRIBUTE: &str = "set_aside_reason";
/// Tries of a delete, over about fifteen seconds: a failed delete means a redelivery.
const DELETE_ATTEMPTS: u32 = 12;
/// First wait before a delete is tried again.
const DELETE_RETRY_BASE: Duration = Duration::from_millis(100);
/// Longest such wait.
const DELETE_RETRY_MAX: Duration = Duration::from_secs(3);
/// Distance of the first redelivery.
const REDELIVERY_BASE: Duration = Duration::from_secs(2);
/// Longest distance of a redelivery.
const REDELIVERY_MAX: Duration = Duration::from_secs(900);

/// Distance of the next delivery of a message beyond its group's share; four times that at the second.
const PASSED_OVER_FOR: Duration = Duration::from_secs(60);

impl<H: Handler> Receiver<H> {
    /// Carries out the verdicts of a batch. Messages without one are left to redelivery.
    pub(super) async fn acknowledge(&self, batch: &[Received], verdicts: Vec<Verdict>) {
        let (mut done, mut later) = (Vec::new(), Vec::new());
        let verdicts = verdicts
            .into_iter()
            .chain(std::iter::repeat(Verdict::Retry));
        for (message, verdict) in batch.iter().zip(verdicts) {
            match verdict {
                Verdict::Done => done.push(message),
                Verdict::Retry => later.push(message),
                Verdict::SetAside(reason) if self.set_aside(message, &reason).await => {
                    done.push(message)
                }
                Verdict::SetAside(_) => later.push(message),
            }
        }
        self.delete(done).await;
        self.postpone(&later).await;
    }

    /// Makes messages visible to others at once.
    pub(super) async fn hand_back(&self, batch: &[Received]) {
        tracing::info!(
            queue = self.source.arn.name(),
            messages = batch.len(),
            "handed back: stopping"
        );
        let all: Vec<_> = batch
            .iter()
            .map(|message| (message.receipt_handle.as_str(), Duration::ZERO))
            .collect();
        self.change_visibility(&all).await;
    }

    /// Leaves messages beyond their group's share to a later delivery, out of the way of the other groups'.
    pub(super) async fn pass_over(&self, batch: &[Received]) {
        tracing::warn!(
            queue = self.source.arn.name(),
            messages = batch.len(),
            "passed over: their group holds its share"
        );
        self.count_retries("share", batch.len());
        let after = |message: &Received| {
            backoff_from_half(
                2 * message.receive_count.saturating_sub(1),
                PASSED_OVER_FOR,
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

    /// Moves a message to the dead-letter queue; true once that is confirmed.
    async fn set_aside(&self, message: &Received, reason: &str) -> bool {
        let Some(url) = &self.source.dead_letter_url else {
            tracing::error!(
                message_id = message.message_id,
                reason,
                "no dead-letter queue: left to redelivery"
            );
            return false;
        };
        let mut attributes = message.sdk_attributes();
        if attributes.len() < MAX_ATTRIBUTES {
            attributes.insert(REASON_ATTRIBUTE.to_owned(), string_attribute(reason));
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
                self.metrics.counter("set_aside_total", vec![]).increment(1);
                tracing::warn!(
                    message_id = message.message_id,
                    reason,
                    "set aside in the dead-letter queue"
                );
                true
            }
            Err(error) => {
                let error = classify(&error).reason;
                tracing::error!(
                    message_id = message.message_id,
                    reason,
                    error,
                    "not set aside: left to redelivery"
                );
                self.count_retries("set_aside", 1);
                false
            }
        }
    }

    /// Deletes messages; each that fails is tried again, and after the last try left to redelivery.
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
                "handled but not deleted: it will be redelivered"
            );
        }
    }

    /// One DeleteMessageBatch; returns what is worth another try.
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
        // A handle that SQS refuses stays refused: the lease is lost and the message will come again.
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
        let places = messages.into_iter().enumerate();
        places
            .filter(|(at, _)| !settled.contains(at.to_string().as_str()))
            .map(|(_, message)| message)
            .collect()
    }

    /// Leaves messages to redelivery, further away each time they come.
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

    /// Sets when messages become visible again, by receipt handle; returns the places of those that SQS no longer
    /// knows. A call that fails changes nothing: the messages come back when their lease ends.
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
                    .filter(|place| *place < entries.len())
                    .collect()
            }
            Err(error) => {
                tracing::warn!(
                    code = classify(&error).code,
                    messages = entries.len(),
                    "visibility not changed"
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

/// How far away the next delivery of a message is that has come this often; at least half of the exponential step, so
/// that a failing dependency is not hammered.
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
    fn redelivery_moves_away_and_stays_within_its_bound() {
        assert_eq!(redelivery_after(1, 1.0), Duration::from_secs(2));
        assert_eq!(redelivery_after(4, 0.0), Duration::from_secs(8));
        assert_eq!(redelivery_after(1000, 1.0), REDELIVERY_MAX);
    }
}
