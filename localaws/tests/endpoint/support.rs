//! An endpoint of its own for each test, and clients for it.

use aws_config::{BehaviorVersion, Region, SdkConfig, retry::RetryConfig};
use aws_sdk_dynamodb::types::PointInTimeRecoveryDescription;
use aws_sdk_sqs::{config::Credentials, error::ProvideErrorMetadata, types::Message};
use kit::{endpoint::Controls, wait::PATIENCE};
use localaws::{Config, Endpoint};
use serde_json::Value;

/// A running endpoint without files.
pub(crate) async fn ephemeral() -> Endpoint {
    localaws::start(Config::ephemeral()).await.unwrap()
}

/// SDK configuration for an endpoint: made-up keys, one attempt per call.
pub(crate) async fn sdk(url: &str) -> SdkConfig {
    sdk_as(url, Credentials::new("test", "test", None, None, "test")).await
}

/// The same with other credentials.
pub(crate) async fn sdk_as(url: &str, credentials: Credentials) -> SdkConfig {
    aws_config::defaults(BehaviorVersion::v2026_01_12())
        .region(Region::from_static("us-east-1"))
        .endpoint_url(url)
        .credentials_provider(credentials)
        .retry_config(RetryConfig::disabled())
        .load()
        .await
}

/// An SQS client and the URL of a fresh queue.
pub(crate) async fn queue(url: &str, name: &str) -> (aws_sdk_sqs::Client, String) {
    let sqs = aws_sdk_sqs::Client::new(&sdk(url).await);
    let queue = sqs
        .create_queue()
        .queue_name(name)
        .send()
        .await
        .unwrap()
        .queue_url
        .unwrap();
    (sqs, queue)
}

/// Point-in-time recovery of a table.
pub(crate) async fn recovery(
    dynamodb: &aws_sdk_dynamodb::Client,
    table: &str,
) -> PointInTimeRecoveryDescription {
    let backups = dynamodb
        .describe_continuous_backups()
        .table_name(table)
        .send()
        .await
        .unwrap();
    backups
        .continuous_backups_description
        .unwrap()
        .point_in_time_recovery_description
        .unwrap()
}

/// Receives once, without waiting, with all attributes.
pub(crate) async fn receive(sqs: &aws_sdk_sqs::Client, queue: &str) -> Vec<Message> {
    let receive = sqs
        .receive_message()
        .queue_url(queue)
        .max_number_of_messages(10);
    let receive = receive
        .message_attribute_names("All")
        .message_system_attribute_names("All".into());
    receive.send().await.unwrap().messages.unwrap_or_default()
}

/// One of a queue's `ApproximateNumberOf…` attributes.
pub(crate) async fn count(sqs: &aws_sdk_sqs::Client, queue: &str, attribute: &str) -> usize {
    let attributes = sqs
        .get_queue_attributes()
        .queue_url(queue)
        .attribute_names("All".into())
        .send()
        .await;
    attributes.unwrap().attributes.unwrap()[&attribute.into()]
        .parse()
        .unwrap()
}

/// The code of a failed call.
pub(crate) fn code<T: std::fmt::Debug, E: ProvideErrorMetadata>(outcome: Result<T, E>) -> String {
    outcome.unwrap_err().code().unwrap_or("no code").to_owned()
}

/// Waits until a condition holds.
pub(crate) async fn eventually(what: &str, condition: impl AsyncFnMut() -> bool) {
    kit::wait::until(what, PATIENCE, condition).await;
}

/// Status and body of a page for testers.
pub(crate) async fn admin(
    method: &str,
    endpoint: &Endpoint,
    page: &str,
    body: &str,
) -> (u16, Value) {
    let answer = Controls::of(endpoint.addr()).ask(method, page, body).await;
    let body = serde_json::from_slice(&answer.body).unwrap_or(Value::Null);
    (answer.status, body)
}
