//! Look-up of the queue that a receiver drains, and of its dead-letter queue.

use aws_sdk_sqs::types::QueueAttributeName;

use crate::url::queue_url;
use tenantry_process::arn::QueueArn;
use tenantry_process::retry::{Failure, classify};

/// A queue to receive from, and its dead-letter queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceQueue {
    /// ARN of the queue.
    pub arn: QueueArn,
    /// URL of the queue.
    pub url: String,
    /// URL of the dead-letter queue in the redrive policy; `None` without a policy.
    pub dead_letter_url: Option<String>,
}

/// The look-up of a queue failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("look-up of queue {queue} failed: {reason}")]
pub struct SourceLookupError {
    queue: String,
    reason: String,
}

impl SourceQueue {
    /// Looks up the queue and its redrive policy with two or three calls.
    ///
    /// # Errors
    /// [`SourceLookupError`] if the queue or its dead-letter queue is missing, or SQS is not reachable.
    pub async fn find(
        client: &aws_sdk_sqs::Client,
        arn: &QueueArn,
    ) -> Result<Self, SourceLookupError> {
        let failed = |failure: Failure| SourceLookupError {
            queue: arn.name().to_owned(),
            reason: failure.reason,
        };
        let url = queue_url(client, arn).await.map_err(failed)?;
        let attributes = client
            .get_queue_attributes()
            .queue_url(&url)
            .attribute_names(QueueAttributeName::RedrivePolicy)
            .send()
            .await
            .map_err(|error| failed(classify(&error)))?;
        let policy = attributes
            .attributes
            .and_then(|mut all| all.remove(&QueueAttributeName::RedrivePolicy));
        let dead_letter_url = match policy.as_deref().and_then(dead_letter_queue) {
            Some(queue) => Some(queue_url(client, &queue).await.map_err(failed)?),
            None => None,
        };
        Ok(Self {
            arn: arn.clone(),
            url,
            dead_letter_url,
        })
    }
}

/// Parses the dead-letter queue of a redrive policy.
fn dead_letter_queue(policy: &str) -> Option<QueueArn> {
    let policy: serde_json::Value = serde_json::from_str(policy).ok()?;
    policy.get("deadLetterTargetArn")?.as_str()?.parse().ok()
}
