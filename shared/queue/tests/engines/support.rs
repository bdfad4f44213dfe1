//! An embedded endpoint in this process, and helpers for its queues, faults and counts.

use std::collections::HashMap;
use std::time::Duration;

use aws_sdk_sqs::types::QueueAttributeName;
use http_body_util::{BodyExt, Full};
use hyper::Method;
use hyper_util::rt::TokioExecutor;
use tenantry_process::arn::QueueArn;
use tenantry_process::aws::AwsSettings;
use tokio::time::Instant;

pub(crate) const WITHIN: Duration = Duration::from_secs(20);

pub(crate) struct Aws {
    pub(crate) endpoint: localaws::Endpoint,
    pub(crate) sqs: aws_sdk_sqs::Client,
}

impl Aws {
    pub(crate) async fn start() -> Self {
        let endpoint = localaws::start(localaws::Config {
            listen: "127.0.0.1:0".parse().unwrap(),
            storage: localaws::Storage::Memory,
            account_id: "000000000000".to_owned(),
            region: "us-east-1".to_owned(),
        })
        .await
        .unwrap();
        let settings = AwsSettings::for_endpoint(&endpoint.url(), "us-east-1");
        Self {
            sqs: aws_sdk_sqs::Client::new(&settings.without_retries()),
            endpoint,
        }
    }

    /// Creates a queue and its dead-letter queue.
    pub(crate) async fn queue(&self, name: &str) -> QueueArn {
        let sqs = &self.sqs;
        let dead = format!("{name}-dlq");
        sqs.create_queue().queue_name(&dead).send().await.unwrap();
        let policy = format!(
            r#"{{"deadLetterTargetArn":"arn:aws:sqs:us-east-1:000000000000:{dead}","maxReceiveCount":5}}"#
        );
        let create = sqs
            .create_queue()
            .queue_name(name)
            .attributes(QueueAttributeName::RedrivePolicy, policy);
        create.send().await.unwrap();
        arn(name)
    }

    /// Counts a queue's messages: visible and leased.
    pub(crate) async fn count(&self, name: &str) -> (usize, usize) {
        let url = self
            .sqs
            .get_queue_url()
            .queue_name(name)
            .send()
            .await
            .unwrap()
            .queue_url
            .unwrap();
        let all = self
            .sqs
            .get_queue_attributes()
            .queue_url(url)
            .attribute_names(QueueAttributeName::All);
        let attributes = all.send().await.unwrap().attributes.unwrap();
        let number = |name| attributes[&name].parse().unwrap();
        (
            number(QueueAttributeName::ApproximateNumberOfMessages),
            number(QueueAttributeName::ApproximateNumberOfMessagesNotVisible),
        )
    }

    /// Counts calls by action since the start.
    pub(crate) async fn calls(&self) -> HashMap<String, u64> {
        let answer = self.admin(Method::GET, "calls", String::new()).await;
        serde_json::from_slice(&answer).unwrap()
    }

    /// Replaces the injected faults.
    pub(crate) async fn faults(&self, rules: &str) {
        self.admin(Method::PUT, "faults", rules.to_owned()).await;
    }

    async fn admin(&self, method: Method, path: &str, body: String) -> bytes::Bytes {
        let client = hyper_util::client::legacy::Client::builder(TokioExecutor::new()).build_http();
        let uri = format!("{}/_localaws/{path}", self.endpoint.url());
        let request = hyper::Request::builder()
            .method(method)
            .uri(uri)
            .body(Full::<bytes::Bytes>::from(body))
            .unwrap();
        let answer = client.request(request).await.unwrap();
        assert!(answer.status().is_success(), "{answer:?}");
        answer.into_body().collect().await.unwrap().to_bytes()
    }
}

pub(crate) fn arn(name: &str) -> QueueArn {
    format!("arn:aws:sqs:us-east-1:000000000000:{name}")
        .parse()
        .unwrap()
}

/// Waits until the condition holds.
pub(crate) async fn eventually<F: Future<Output = bool>>(what: &str, condition: impl Fn() -> F) {
    let deadline = Instant::now() + WITHIN;
    while !condition().await {
        assert!(Instant::now() < deadline, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
