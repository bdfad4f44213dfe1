//! The queue a receiver drains, looked up once.

use aws_sdk_sqs::types::QueueAttributeName;

use crate::url::queue_url;
use tenantry_process::arn::QueueArn;
use tenantry_process::retry::{Failure, classify};

/// The queue a receiver drains, and where its poison goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// The queue's ARN.
    pub arn: QueueArn,
    /// Its URL.
    pub url: String,
    /// The URL of its dead-letter queue, where it has one.
    pub dead_letter_url: Option<String>,
}

/// The queue could not be looked up.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("queue {queue} cannot be looked up: {reason}")]
pub struct SourceLookupError {
    queue: String,
    reason: String,
}

impl Source {
    /// Looks the queue and its redrive policy up: two to three calls.
    ///
    /// # Errors
    /// [`SourceLookupError`] where the queue is missing or SQS cannot be reached.
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

/// The dead-letter queue named by a redrive policy.
fn dead_letter_queue(policy: &str) -> Option<QueueArn> {
    let policy: serde_json::Value = serde_json::from_str(policy).ok()?;
    policy.get("deadLetterTargetArn")?.as_str()?.parse().ok()
}
