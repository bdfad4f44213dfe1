//! The AWS SDK's clients: endpoint and credentials by the SDK's own environment variables, time-outs by class of call.
//!
//! The same binary runs on EKS, off AWS and on the embedded endpoint; only variables differ (`AWS_REGION`,
//! `AWS_ENDPOINT_URL`, `AWS_ENDPOINT_URL_SQS`, …). The SDK alone bounds only the connect; here every attempt is bounded.

use std::time::Duration;

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_smithy_types::retry::RetryConfig;
use aws_smithy_types::timeout::TimeoutConfig;

/// Longest wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// Longest wait for one attempt of any call but a long poll: below the 5 s within which a request is answered.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(3);
/// What a long poll's attempt may take beyond the wait it asked for.
pub(crate) const LONG_POLL_MARGIN: Duration = Duration::from_secs(5);
/// Attempts of a call whose retries are the SDK's.
const SDK_MAX_ATTEMPTS: u32 = 3;

/// One client per AWS service, on one connection pool. Clones share it.
#[derive(Clone, Debug)]
pub struct AwsClients {
    /// Queues. No SDK retries: the engines retry per entry.
    pub sqs: aws_sdk_sqs::Client,
    /// Tables. No SDK retries: the writer retries what was left unprocessed.
    pub dynamodb: aws_sdk_dynamodb::Client,
    /// Parameter Store. Retried by the SDK.
    pub ssm: aws_sdk_ssm::Client,
}

/// No region is configured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("AWS_REGION is not set: set it to the region of the queues and tables, for example us-east-1")]
pub struct NoRegion;

impl AwsClients {
    /// Clients configured by the environment: region, endpoints, credentials.
    ///
    /// # Errors
    /// [`NoRegion`] where neither `AWS_REGION` nor `AWS_DEFAULT_REGION` is set. Credentials are looked up by the
    /// SDK when first needed.
    pub async fn from_env() -> Result<Self, NoRegion> {
        let region = ["AWS_REGION", "AWS_DEFAULT_REGION"]
            .into_iter()
            .find_map(|name| std::env::var(name).ok().filter(|value| !value.is_empty()))
            .ok_or(NoRegion)?;
        Ok(Self::new(&loader().region(Region::new(region)).load().await))
    }

    /// Clients of a given configuration, with this module's time-outs and retries.
    pub fn new(config: &SdkConfig) -> Self {
        let engine_retries = RetryConfig::disabled();
        let sdk_retries = RetryConfig::standard().with_max_attempts(SDK_MAX_ATTEMPTS);
        Self {
            sqs: aws_sdk_sqs::Client::from_conf(
                aws_sdk_sqs::config::Builder::from(config)
                    .retry_config(engine_retries.clone())
                    .timeout_config(attempt_timeout(ATTEMPT_TIMEOUT))
                    .build(),
            ),
            dynamodb: aws_sdk_dynamodb::Client::from_conf(
                aws_sdk_dynamodb::config::Builder::from(config)
                    .retry_config(engine_retries)
                    .timeout_config(attempt_timeout(ATTEMPT_TIMEOUT))
                    .build(),
            ),
            ssm: aws_sdk_ssm::Client::from_conf(
                aws_sdk_ssm::config::Builder::from(config)
                    .retry_config(sdk_retries)
                    .timeout_config(attempt_timeout(ATTEMPT_TIMEOUT))
                    .build(),
            ),
        }
    }
}

/// The SDK's configuration loader, with its behaviour pinned so that an upgrade cannot change time-outs silently.
pub fn loader() -> aws_config::ConfigLoader {
    aws_config::defaults(BehaviorVersion::v2026_01_12())
}

/// Time-outs of a long poll that asks the queue to wait this long.
pub(crate) fn long_poll_timeout(wait: Duration) -> TimeoutConfig {
    attempt_timeout(wait + LONG_POLL_MARGIN)
}

fn attempt_timeout(attempt: Duration) -> TimeoutConfig {
    TimeoutConfig::builder().connect_timeout(CONNECT_TIMEOUT).operation_attempt_timeout(attempt).build()
}
