//! Empties a queue that its tenant has left: every message is sent to the tenant's queue, then deleted.
//!
//! A consumer may drain the same queue meanwhile; a message that both settle becomes the same item. SQS counts messages
//! approximately, so a queue is empty once it was counted empty twice, a pause apart.

use std::time::Duration;

use aws_sdk_sqs::types::{MessageSystemAttributeName, QueueAttributeName};
use futures_util::future::join_all;
use tenantry_process::arn::QueueArn;
use tenantry_process::retry::classify;
use tenantry_queue::forward::ForwardTarget;
use tenantry_queue::message::Received;
use tenantry_queue::receiver::SourceQueue;
use tenantry_tenancy::event::identity;

use super::{DataClients, DataError, retrying};

/// Messages per ReceiveMessage (SQS: 10).
const MAX_RECEIVE: i32 = 10;
/// Seconds for which a received message is hidden: more than its send and all tries of its deletion.
const HIDDEN_S: i32 = 30;

/// Messages in a queue, approximately.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Depth {
    pub visible: u64,
    pub in_flight: u64,
    pub delayed: u64,
}

impl Depth {
    pub const EMPTY: Self = Self {
        visible: 0,
        in_flight: 0,
        delayed: 0,
    };
}

/// A queue and its dead-letter queue, by URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueUrls {
    pub queue: String,
    pub dead_letters: Option<String>,
}

/// Looks up a queue; `None` if it does not exist.
///
/// # Errors
/// A call fails for good or for too long.
pub async fn find(clients: &DataClients, queue: &QueueArn) -> Result<Option<QueueUrls>, DataError> {
    let url = clients
        .sqs
        .get_queue_url()
        .queue_name(queue.name())
        .queue_owner_aws_account_id(queue.account());
    match retrying(queue.name(), || url.clone().send()).await {
        Err(error) if error.is_missing() => return Ok(None),
        found => drop(found?),
    }
    let found = SourceQueue::find(&clients.sqs, queue).await;
    let SourceQueue {
        url,
        dead_letter_url,
        ..
    } = found.map_err(|error| DataError {
        resource: queue.name().to_owned(),
        code: "LookupFailed".to_owned(),
        reason: error.to_string(),
    })?;
    Ok(Some(QueueUrls {
        queue: url,
        dead_letters: dead_letter_url,
    }))
}

/// Counts the messages of the queue at this URL. A missing queue has none.
///
/// # Errors
/// As [`find`].
pub async fn depth(clients: &DataClients, url: &str) -> Result<Depth, DataError> {
    let call = clients
        .sqs
        .get_queue_attributes()
        .queue_url(url)
        .attribute_names(QueueAttributeName::ApproximateNumberOfMessages)
        .attribute_names(QueueAttributeName::ApproximateNumberOfMessagesNotVisible)
        .attribute_names(QueueAttributeName::ApproximateNumberOfMessagesDelayed);
    let attributes = match retrying(url, || call.clone().send()).await {
        Ok(found) => found.attributes.unwrap_or_default(),
        Err(error) if error.is_missing() => return Ok(Depth::EMPTY),
        Err(error) => return Err(error),
    };
    let number = |name| {
        let text = attributes.get(&name);
        text.and_then(|text| text.parse().ok()).unwrap_or_default()
    };
    Ok(Depth {
        visible: number(QueueAttributeName::ApproximateNumberOfMessages),
        in_flight: number(QueueAttributeName::ApproximateNumberOfMessagesNotVisible),
        delayed: number(QueueAttributeName::ApproximateNumberOfMessagesDelayed),
    })
}

/// Waits until the queue was counted empty twice in a row: its consumer has stored every message.
///
/// # Errors
/// As [`find`].
pub async fn until_empty(
    clients: &DataClients,
    url: &str,
    pause: Duration,
) -> Result<(), DataError> {
    let mut counts = EmptyCounts::default();
    while !counts.again(clients, url, pause).await? {}
    Ok(())
}

/// Counts of a queue, one after the other.
#[derive(Default)]
struct EmptyCounts {
    was_empty: bool,
}

impl EmptyCounts {
    /// Counts the queue. Returns whether this count and the one before found it empty; if not, pauses.
    async fn again(
        &mut self,
        clients: &DataClients,
        url: &str,
        pause: Duration,
    ) -> Result<bool, DataError> {
        let is_empty = depth(clients, url).await? == Depth::EMPTY;
        if std::mem::replace(&mut self.was_empty, is_empty) && is_empty {
            return Ok(true);
        }
        tokio::time::sleep(pause).await;
        Ok(false)
    }
}

/// Forwards every message of one queue to another, until the first was counted empty twice in a row. Returns the number of
/// messages forwarded.
///
/// # Errors
/// As [`find`].
pub async fn forward_all(
    clients: &DataClients,
    from: &str,
    to: &str,
    pause: Duration,
) -> Result<usize, DataError> {
    let target = ForwardTarget::at(&clients.sqs, to.to_owned());
    let (mut forwarded, mut counts) = (0, EmptyCounts::default());
    loop {
        let batch = receive(clients, from).await?;
        if !batch.is_empty() {
            forwarded += forward_batch(clients, from, &target, &batch).await?;
            counts = EmptyCounts::default();
        } else if counts.again(clients, from, pause).await? {
            return Ok(forwarded);
        }
    }
}

async fn receive(clients: &DataClients, url: &str) -> Result<Vec<Received>, DataError> {
    let call = clients
        .sqs
        .receive_message()
        .queue_url(url)
        .max_number_of_messages(MAX_RECEIVE)
        .visibility_timeout(HIDDEN_S)
        .message_attribute_names("All")
        .message_system_attribute_names(MessageSystemAttributeName::SentTimestamp)
        .message_system_attribute_names(MessageSystemAttributeName::MessageGroupId);
    match retrying(url, || call.clone().send()).await {
        Ok(output) => {
            let messages = output.messages.unwrap_or_default();
            Ok(messages
                .into_iter()
                .filter_map(Received::from_sdk)
                .collect())
        }
        Err(error) if error.is_missing() => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// Forwards and deletes a batch. Returns the number of messages forwarded; the others become visible again.
async fn forward_batch(
    clients: &DataClients,
    from: &str,
    target: &ForwardTarget,
    batch: &[Received],
) -> Result<usize, DataError> {
    let forward = |message: &Received| {
        let identity = identity(&message.message_id, message.sent_at.timestamp_millis());
        let (message, target) = (message.clone(), target.clone());
        Box::pin(async move { target.forward(&message, identity).await })
    };
    let outcomes = join_all(batch.iter().map(forward)).await;
    let (mut forwarded, mut failure) = (Vec::new(), None);
    for (message, outcome) in batch.iter().zip(outcomes) {
        match outcome {
            Ok(()) => forwarded.push(message),
            Err(failed) => {
                release(clients, from, message).await;
                failure = Some(failed);
            }
        }
    }
    let deletions = forwarded
        .iter()
        .map(|message| Box::pin(delete(clients, from, message)));
    for deleted in join_all(deletions).await {
        deleted?;
    }
    match failure {
        Some(failure) if !failure.transient => Err(DataError::of(from, failure)),
        _ => Ok(forwarded.len()),
    }
}

/// Deletes a message. A lease that was lost is no failure: the message is forwarded again, under the same identity.
async fn delete(clients: &DataClients, url: &str, message: &Received) -> Result<(), DataError> {
    let call = clients
        .sqs
        .delete_message()
        .queue_url(url)
        .receipt_handle(&message.receipt_handle);
    match retrying(url, || call.clone().send()).await {
        Ok(_) => Ok(()),
        Err(error) if error.code.contains("ReceiptHandle") => Ok(()),
        Err(error) => Err(error),
    }
}

/// Makes a message visible again. If that fails, its lease ends by itself.
async fn release(clients: &DataClients, url: &str, message: &Received) {
    let call = clients
        .sqs
        .change_message_visibility()
        .queue_url(url)
        .receipt_handle(&message.receipt_handle)
        .visibility_timeout(0);
    if let Err(error) = call.send().await {
        let code = classify(&error).code;
        tracing::warn!(
            code,
            "release of a message failed: its lease ends by itself"
        );
    }
}
