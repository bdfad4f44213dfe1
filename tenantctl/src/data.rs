//! A tenant's data on AWS: items in tables, messages in queues. The steps that move it from one environment to another.
//!
//! [`moves`] has the steps in their order, [`copy`] and [`drain`] their parts. [`settle`] ends a move on a cluster. Every step
//! may be repeated from the start after a crash. Nothing is deleted before the other home has confirmed the same item or
//! message.

pub mod copy;
pub mod drain;
pub mod moves;
pub mod settle;

use std::time::Duration;

use aws_sdk_dynamodb::config::http::HttpResponse;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use tenantry_process::aws::AwsSettings;
use tenantry_process::retry::{Failure, backoff_from_half, classify};

/// Tries of one call. An outage that lasts longer ends the step, which its caller repeats.
const MAX_TRIES: u32 = 8;
/// First pause before a call is tried again, and the longest one.
const RETRY_BASE: Duration = Duration::from_millis(50);
const RETRY_MAX: Duration = Duration::from_secs(2);

/// The SDK's clients for data. Clones share connections.
#[derive(Debug, Clone)]
pub struct DataClients {
    pub dynamodb: aws_sdk_dynamodb::Client,
    pub sqs: aws_sdk_sqs::Client,
    pub ssm: aws_sdk_ssm::Client,
}

/// A step failed and can be repeated.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{resource}: {reason}")]
pub struct DataError {
    resource: String,
    /// The service's error code.
    code: String,
    reason: String,
}

impl DataClients {
    pub fn new(aws: &AwsSettings) -> Self {
        // This module retries by itself.
        let once = aws.without_retries();
        Self {
            dynamodb: aws_sdk_dynamodb::Client::new(&once),
            sqs: aws_sdk_sqs::Client::new(&once),
            ssm: aws_sdk_ssm::Client::new(&once),
        }
    }
}

impl DataError {
    fn of(resource: &str, Failure { code, reason, .. }: Failure) -> Self {
        Self {
            resource: resource.to_owned(),
            code,
            reason,
        }
    }

    /// Whether the resource does not exist.
    fn is_missing(&self) -> bool {
        self.code == "ResourceNotFoundException"
            || self.code.contains("NonExistentQueue")
            || self.code.contains("QueueDoesNotExist")
    }
}

/// Makes a call until it succeeds, fails for good, or has failed [`MAX_TRIES`] times.
async fn retrying<T, E, F>(resource: &str, call: impl Fn() -> F) -> Result<T, DataError>
where
    F: Future<Output = Result<T, SdkError<E, HttpResponse>>>,
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    let mut attempt = 0;
    loop {
        let failure = match Box::pin(call()).await {
            Ok(done) => return Ok(done),
            Err(error) => classify(&error),
        };
        attempt += 1;
        if !failure.transient || attempt >= MAX_TRIES {
            return Err(DataError::of(resource, failure));
        }
        pause(attempt).await;
    }
}

async fn pause(attempt: u32) {
    let pause = backoff_from_half(attempt, RETRY_BASE, RETRY_MAX, fastrand::f64());
    tokio::time::sleep(pause).await;
}
