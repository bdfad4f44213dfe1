//! Receives 10, then puts and deletes one by one.

use anyhow::Context as _;
use aws_sdk_dynamodb::types::AttributeValue;
use aws_sdk_sqs::types::{Message, MessageSystemAttributeName};
use tenantry_process::aws::AwsSettings;

use crate::stub::{ENVIRONMENT, RESOURCE};

/// Time limit of a receive, in seconds: shorter than the time-out of our clients for every call, so that the reference
/// can use the same clients.
const WAIT_S: i32 = 2;

pub(super) async fn run() -> anyhow::Result<()> {
    let aws = AwsSettings::from_env().await?.without_retries();
    let sqs = aws_sdk_sqs::Client::new(&aws);
    let dynamodb = aws_sdk_dynamodb::Client::new(&aws);
    let found = sqs.get_queue_url().queue_name(RESOURCE).send().await?;
    let url = found.queue_url.context("the queue has a URL")?;
    loop {
        let received = sqs
            .receive_message()
            .queue_url(&url)
            .max_number_of_messages(10)
            .wait_time_seconds(WAIT_S)
            .message_attribute_names("All")
            .message_system_attribute_names(MessageSystemAttributeName::SentTimestamp)
            .send()
            .await?;
        for message in received.messages.unwrap_or_default() {
            store(&dynamodb, &message).await?;
            let handle = message.receipt_handle.context("a message has a handle")?;
            sqs.delete_message()
                .queue_url(&url)
                .receipt_handle(handle)
                .send()
                .await?;
        }
    }
}

async fn store(client: &aws_sdk_dynamodb::Client, message: &Message) -> anyhow::Result<()> {
    let attribute = |name: &str| {
        let found = message
            .message_attributes
            .as_ref()
            .and_then(|all| all.get(name)?.string_value.clone());
        AttributeValue::S(found.unwrap_or_default())
    };
    client
        .put_item()
        .table_name(RESOURCE)
        .item("tenant_id", attribute("tenant_id"))
        .item("message_id", attribute("message_id"))
        .item("producer_environment", attribute("producer_environment"))
        .item(
            "consumer_environment",
            AttributeValue::S(ENVIRONMENT.to_owned()),
        )
        .item(
            "timestamp",
            AttributeValue::S(
                chrono::Utc::now()
                    .format("%Y-%m-%dT%H:%M:%S+0000")
                    .to_string(),
            ),
        )
        .send()
        .await?;
    Ok(())
}
