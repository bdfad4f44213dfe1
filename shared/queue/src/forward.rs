//! Forwards received messages to another queue, with body, group and attributes.
//!
//! The caller deletes a message after [`ForwardTarget::forward`] has returned. A crash in between delivers the message
//! twice, so its identity must be an attribute: the additions of [`ForwardTarget::forward`].

use tenantry_process::arn::QueueArn;
use tenantry_process::retry::{Failure, classify};

use crate::message::{MAX_ATTRIBUTES, Received, TRACE_ATTRIBUTE, string_attribute};
use crate::url::queue_url;

/// A queue that messages are forwarded to. Clones share the client.
#[derive(Debug, Clone)]
pub struct ForwardTarget {
    client: aws_sdk_sqs::Client,
    url: String,
}

impl ForwardTarget {
    /// Looks up the queue with one call.
    ///
    /// # Errors
    /// A [`Failure`] if the queue is missing, or SQS is not reachable.
    pub async fn find(client: &aws_sdk_sqs::Client, queue: &QueueArn) -> Result<Self, Failure> {
        let url = queue_url(client, queue).await?;
        Ok(Self::at(client, url))
    }

    /// The queue at this URL.
    pub fn at(client: &aws_sdk_sqs::Client, url: String) -> Self {
        Self {
            client: client.clone(),
            url,
        }
    }

    /// Sends the message to the queue; returns once SQS has confirmed it. Additions are attributes that a message without
    /// them gets. Where a message has [`MAX_ATTRIBUTES`] already, its trace context gives way to them.
    ///
    /// # Errors
    /// A [`Failure`]. The message may have arrived; a repeat under the same identity is the same message.
    pub async fn forward(
        &self,
        message: &Received,
        additions: impl IntoIterator<Item = (&'static str, String)>,
    ) -> Result<(), Failure> {
        let mut attributes = message.sdk_attributes();
        for (name, value) in additions {
            if attributes.contains_key(name) {
                continue;
            }
            if attributes.len() >= MAX_ATTRIBUTES {
                attributes.remove(TRACE_ATTRIBUTE);
            }
            if attributes.len() < MAX_ATTRIBUTES && !value.is_empty() {
                attributes.insert(name.to_owned(), string_attribute(&value));
            }
        }
        let request = self
            .client
            .send_message()
            .queue_url(&self.url)
            .message_body(&message.body)
            .set_message_group_id(message.group.clone())
            .set_message_attributes(Some(attributes));
        let sent = request.send().await;
        sent.map(drop).map_err(|error| classify(&error))
    }
}
