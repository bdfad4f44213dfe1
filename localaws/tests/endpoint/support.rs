//! An endpoint per test, and clients for it.

use std::{
    future::Future,
    time::{Duration, Instant},
};

use aws_config::{BehaviorVersion, Region, SdkConfig, retry::RetryConfig};
use aws_sdk_sqs::{config::Credentials, error::ProvideErrorMetadata, types::Message};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::{Method, Request, StatusCode};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use localaws::{Config, Endpoint};
use serde_json::Value;

/// Time limit for a condition.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// Starts an endpoint with storage in memory.
pub(crate) async fn ephemeral() -> Endpoint {
    localaws::start(Config::ephemeral()).await.unwrap()
}

/// Returns an SDK configuration: any keys, one attempt per call.
pub(crate) async fn sdk(url: &str) -> SdkConfig {
    sdk_as(url, Credentials::new("test", "test", None, None, "test")).await
}

pub(crate) async fn sdk_as(url: &str, credentials: Credentials) -> SdkConfig {
    aws_config::defaults(BehaviorVersion::v2026_01_12())
        .region(Region::from_static("us-east-1"))
        .endpoint_url(url)
        .credentials_provider(credentials)
        .retry_config(RetryConfig::disabled())
        .load()
        .await
}

/// Creates a queue; returns an SQS client and its URL.
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

/// Returns a numeric attribute of a queue.
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

/// Returns the error code of a failed call.
pub(crate) fn code<T: std::fmt::Debug, E: ProvideErrorMetadata>(outcome: Result<T, E>) -> String {
    outcome.unwrap_err().code().unwrap_or("no code").to_owned()
}

/// Waits until a condition holds, at most [`PATIENCE`].
pub(crate) async fn eventually<F: Future<Output = bool>>(
    what: &str,
    mut condition: impl FnMut() -> F,
) {
    let started = Instant::now();
    while !condition().await {
        assert!(started.elapsed() < PATIENCE, "not in {PATIENCE:?}: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Sends a plain HTTP request; returns status and body.
pub(crate) async fn http(method: Method, url: &str, body: &str) -> (StatusCode, Bytes) {
    let client = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
    let request = Request::builder()
        .method(method)
        .uri(url)
        .body(Full::new(body.to_owned().into()))
        .unwrap();
    let response = client.request(request).await.unwrap();
    (
        response.status(),
        response.into_body().collect().await.unwrap().to_bytes(),
    )
}

/// Calls the test API; returns status and JSON.
pub(crate) async fn admin(
    method: Method,
    endpoint: &Endpoint,
    path: &str,
    body: &str,
) -> (StatusCode, Value) {
    let (status, body) = http(
        method,
        &format!("{}/_localaws/{path}", endpoint.url()),
        body,
    )
    .await;
    (status, serde_json::from_slice(&body).unwrap_or(Value::Null))
}
