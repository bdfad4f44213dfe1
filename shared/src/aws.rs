//! The AWS SDK's clients: endpoint and credentials by the SDK's own environment variables, time-outs by class of call.
//!
//! The same binary runs on EKS, off AWS and on the embedded endpoint; only variables differ (`AWS_REGION`,
//! `AWS_ENDPOINT_URL`, `AWS_ENDPOINT_URL_SQS`, …). The SDK alone bounds only the connect; here every attempt is bounded.

use std::time::Duration;

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_sqs::config::{Credentials, SharedCredentialsProvider, StalledStreamProtectionConfig};
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
    /// Roles to assume. No SDK retries: a request waits for them, and has other calls to make.
    pub sts: aws_sdk_sts::Client,
}

/// AWS settings that cannot work, in one line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AwsSettingsError {
    /// No region is configured.
    #[error(
        "AWS_REGION is not set: set it to the region of the queues and tables, for example us-east-1"
    )]
    NoRegion,
    /// The region is no region's name.
    #[error("{0} is {1:?}: a region is lower-case letters, digits and -, for example us-east-1")]
    Region(&'static str, String),
    /// An endpoint is no URL.
    #[error(
        "{0} is {1:?}: an endpoint is a URL with scheme and host, for example http://127.0.0.1:4566"
    )]
    Endpoint(&'static str, String),
}

/// The SDK's variables for the region, the first that is set counts.
const REGION_VARIABLES: [&str; 2] = ["AWS_REGION", "AWS_DEFAULT_REGION"];
/// The SDK's variables for endpoints other than AWS's own.
const ENDPOINT_VARIABLES: [&str; 5] = [
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_DYNAMODB",
    "AWS_ENDPOINT_URL_SQS",
    "AWS_ENDPOINT_URL_SSM",
    "AWS_ENDPOINT_URL_STS",
];

/// The region to use, once all settings are known to make sense. `variable` reads one, as text.
fn check_settings(variable: impl Fn(&str) -> Option<String>) -> Result<String, AwsSettingsError> {
    let set = |name| variable(name).filter(|value| !value.is_empty());
    for name in ENDPOINT_VARIABLES {
        let Some(value) = set(name) else { continue };
        let uri = value.parse::<axum::http::Uri>().ok();
        if !uri.is_some_and(|uri| {
            matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some()
        }) {
            return Err(AwsSettingsError::Endpoint(name, value));
        }
    }
    let found = REGION_VARIABLES
        .into_iter()
        .find_map(|name| Some((name, set(name)?)));
    let (name, region) = found.ok_or(AwsSettingsError::NoRegion)?;
    let is_region = region
        .bytes()
        .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    if is_region {
        Ok(region)
    } else {
        Err(AwsSettingsError::Region(name, region))
    }
}

impl AwsClients {
    /// Clients configured by the environment: region, endpoints, credentials.
    ///
    /// # Errors
    /// [`AwsSettingsError`] where the region is missing, or a setting cannot work. Credentials are looked up by the SDK
    /// when first needed.
    pub async fn from_env() -> Result<Self, AwsSettingsError> {
        let region =
            check_settings(|name| Some(std::env::var_os(name)?.to_string_lossy().into_owned()))?;
        Ok(Self::new(
            &aws_config::defaults(behavior())
                .region(Region::new(region))
                .load()
                .await,
        ))
    }

    /// Clients of a given configuration, with this module's time-outs and retries.
    pub fn new(config: &SdkConfig) -> Self {
        // The SDK watches streams for a minimum throughput; answers here are small and every attempt has its time-out.
        let no_stall_watch = StalledStreamProtectionConfig::disabled();
        let config = &config
            .to_builder()
            .stalled_stream_protection(no_stall_watch)
            .build();
        let engine_retries = RetryConfig::disabled();
        let sdk_retries = RetryConfig::standard().with_max_attempts(SDK_MAX_ATTEMPTS);
        Self {
            sts: aws_sdk_sts::Client::from_conf(
                aws_sdk_sts::config::Builder::from(config)
                    .retry_config(engine_retries.clone())
                    .timeout_config(attempt_timeout(ATTEMPT_TIMEOUT))
                    .build(),
            ),
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

/// The SDK's behaviour, pinned so that an upgrade cannot change time-outs silently.
fn behavior() -> BehaviorVersion {
    BehaviorVersion::v2026_01_12()
}

/// Settings for an endpoint that takes any credentials. Built by hand: no variable or profile of the user's may lead
/// elsewhere.
pub fn settings_of(endpoint: &str, region: &'static str) -> SdkConfig {
    let credentials = Credentials::new("local", "local", None, None, "embedded endpoint");
    SdkConfig::builder()
        .behavior_version(behavior())
        .region(Region::new(region))
        .endpoint_url(endpoint)
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .build()
}

/// Time-outs of a long poll that asks the queue to wait this long.
pub(crate) fn long_poll_timeout(wait: Duration) -> TimeoutConfig {
    attempt_timeout(wait + LONG_POLL_MARGIN)
}

fn attempt_timeout(attempt: Duration) -> TimeoutConfig {
    TimeoutConfig::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .operation_attempt_timeout(attempt)
        .build()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(settings: &[(&str, &str)]) -> Result<String, AwsSettingsError> {
        let find = |name: &str| {
            Some(
                settings
                    .iter()
                    .find(|(known, _)| *known == name)?
                    .1
                    .to_owned(),
            )
        };
        check_settings(find)
    }

    #[test]
    fn clients_and_settings_print_no_secret() {
        let secrets = ["s3cret-key", "s3ssion-token"];
        let credentials = Credentials::new(
            "AKIDEXAMPLE",
            secrets[0],
            Some(secrets[1].to_owned()),
            None,
            "test",
        );
        let config = SdkConfig::builder()
            .behavior_version(behavior())
            .region(Region::new("us-east-1"))
            .credentials_provider(SharedCredentialsProvider::new(credentials.clone()))
            .build();
        let printed = format!("{credentials:?} {config:?} {:#?}", AwsClients::new(&config));
        assert!(
            printed.contains("AKIDEXAMPLE"),
            "the credentials are in what is printed: {printed}"
        );
        for secret in secrets {
            assert!(!printed.contains(secret), "{secret} is printed");
        }
    }

    #[test]
    fn settings_that_cannot_work_are_named() {
        assert_eq!(
            check(&[("AWS_REGION", "eu-west-1")]).as_deref(),
            Ok("eu-west-1")
        );
        assert_eq!(
            check(&[("AWS_REGION", ""), ("AWS_DEFAULT_REGION", "eu-west-1")]).as_deref(),
            Ok("eu-west-1")
        );
        assert_eq!(check(&[]), Err(AwsSettingsError::NoRegion));
        for (name, value) in [
            ("AWS_REGION", "us east"),
            ("AWS_ENDPOINT_URL", "localhost:4566"),
            ("AWS_ENDPOINT_URL_SQS", "nonsense"),
            ("AWS_ENDPOINT_URL_SSM", "ftp://host"),
        ] {
            let line = check(&[(name, value), ("AWS_DEFAULT_REGION", "eu-west-1")])
                .expect_err(value)
                .to_string();
            assert!(
                line.starts_with(name) && line.contains("for example"),
                "{line}"
            );
        }
    }
}
