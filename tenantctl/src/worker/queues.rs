//! Finds a lifecycle queue by its name.

use std::fmt;
use std::str::FromStr;

use aws_sdk_sqs::types::QueueAttributeName;
use tenantry_process::arn::QueueArn;
use tenantry_process::retry::classify;
use tenantry_queue::receiver::SourceQueue;

/// Limit of SQS.
const MAX_NAME_CHARS: usize = 80;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueName(String);

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a queue's name is 1 to {MAX_NAME_CHARS} letters, digits, - and _; neither a URL nor an ARN"
)]
pub struct InvalidQueueName;

impl FromStr for QueueName {
    type Err = InvalidQueueName;

    fn from_str(text: &str) -> Result<Self, InvalidQueueName> {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        let is_name = (1..=MAX_NAME_CHARS).contains(&text.len()) && text.bytes().all(fits);
        if is_name {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidQueueName)
        }
    }
}

impl fmt::Display for QueueName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Finds a queue by its name: its ARN, its URL, its dead-letter queue.
pub(super) async fn find_queue(
    sqs: &aws_sdk_sqs::Client,
    name: &QueueName,
) -> Result<SourceQueue, String> {
    let because = |reason: String| format!("queue {name}: {reason}");
    let found = sqs.get_queue_url().queue_name(&name.0).send().await;
    let url = found
        .map_err(|error| because(classify(&error).reason))?
        .queue_url
        .unwrap_or_default();
    let arn = QueueAttributeName::QueueArn;
    let attributes = sqs
        .get_queue_attributes()
        .queue_url(url)
        .attribute_names(arn.clone())
        .send()
        .await;
    let attributes = attributes
        .map_err(|error| because(classify(&error).reason))?
        .attributes;
    let text = attributes
        .and_then(|mut all| all.remove(&arn))
        .unwrap_or_default();
    let arn: QueueArn = text.parse().map_err(|error| because(format!("{error}")))?;
    SourceQueue::find(sqs, &arn)
        .await
        .map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_plain_name_is_a_queue_name() {
        assert!(
            "argoworkflows-onboarding-queue"
                .parse::<QueueName>()
                .is_ok()
        );
        for text in [
            "",
            "https://sqs/1/q",
            "arn:aws:sqs:r:1:q",
            "q.fifo",
            &"x".repeat(81),
        ] {
            assert_eq!(text.parse::<QueueName>(), Err(InvalidQueueName), "{text}");
        }
    }
}
