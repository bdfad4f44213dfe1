//! Settings of the AWS SDK's clients: region, endpoints, credentials, retries and time-outs.
//!
//! The same binary runs on EKS, off AWS and on the embedded endpoint; only the SDK's variables differ (`AWS_REGION`,
//! `AWS_ENDPOINT_URL`, `AWS_ENDPOINT_URL_SQS`, …). The SDK alone bounds only the connect; here every attempt is bounded.

use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::stalled_stream_protection::StalledStreamProtectionConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_smithy_runtime_api::client::http::HttpClient;

/// Longest wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// Longest wait for one attempt of any call except a long poll; below the 5 s within which a request is answered.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(3);
/// Time that a long poll's attempt may take beyond the wait that the request asks for.
pub const LONG_POLL_MARGIN: Duration = Duration::from_secs(5);
/// Attempts of a call that the SDK retries.
const SDK_MAX_ATTEMPTS: u32 = 3;

/// Region, endpoints and credentials for the SDK's clients. Clones share one connection pool.
#[derive(Clone, Debug)]
pub struct AwsSettings(SdkConfig);

/// AWS settings that cannot work; the message is one line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AwsSettingsError {
    #[error(
        "AWS_REGION is not set: set it to the region of the queues and tables, for example us-east-1"
    )]
    NoRegion,
    /// The variable and its value, which is no region's name.
    #[error("{0} is {1:?}: a region is lower-case letters, digits and -, for example us-east-1")]
    Region(&'static str, String),
    /// The variable and its value, which is no URL.
    #[error(
        "{0} is {1:?}: an endpoint is a URL with scheme and host, for example http://127.0.0.1:4566"
    )]
    Endpoint(&'static str, String),
}

/// The SDK's variables for the region; the first that is set counts.
const REGION_VARIABLES: [&str; 2] = ["AWS_REGION", "AWS_DEFAULT_REGION"];
/// The SDK's variables for endpoints other than those of AWS.
const ENDPOINT_VARIABLES: [&str; 5] = [
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_DYNAMODB",
    "AWS_ENDPOINT_URL_SQS",
    "AWS_ENDPOINT_URL_SSM",
    "AWS_ENDPOINT_URL_STS",
];

/// Validates all settings and returns the region. `variable` reads one variable as text.
fn check_settings(variable: impl Fn(&str) -> Option<String>) -> Result<String, AwsSettingsError> {
    let set = |name| variable(name).filter(|value| !value.is_empty());
    for name in ENDPOINT_VARIABLES {
        let Some(value) = set(name) else { continue };
        let uri = value.parse::<http::Uri>().ok();
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

impl AwsSettings {
    /// Settings from the environment: region, endpoints, credentials.
    ///
    /// # Errors
    /// [`AwsSettingsError`] if the region is missing or a setting is invalid. Credentials are not checked: the SDK looks
    /// them up at the first call.
    pub async fn from_env() -> Result<Self, AwsSettingsError> {
        let region =
            check_settings(|name| Some(std::env::var_os(name)?.to_string_lossy().into_owned()))?;
        let config = aws_config::defaults(behavior()).region(Region::new(region));
        Ok(Self(config.load().await))
    }

    /// Settings for an endpoint that takes any credentials; reads no variable and no profile.
    pub fn for_endpoint(endpoint: &str, region: &'static str) -> Self {
        let credentials = Credentials::new("local", "local", None, None, "embedded endpoint");
        let config = SdkConfig::builder()
            .behavior_version(behavior())
            .region(Region::new(region))
            .endpoint_url(endpoint)
            .credentials_provider(SharedCredentialsProvider::new(credentials));
        Self(config.build())
    }

    /// The same settings over another HTTP client.
    #[must_use]
    pub fn with_http_client(self, client: impl HttpClient + 'static) -> Self {
        Self(self.0.into_builder().http_client(client).build())
    }

    /// Configuration for calls that the caller retries: the queue engines, writers to DynamoDB, STS.
    pub fn without_retries(&self) -> SdkConfig {
        self.with(RetryConfig::disabled())
    }

    /// Configuration for calls that the SDK retries: Parameter Store.
    pub fn with_retries(&self) -> SdkConfig {
        self.with(RetryConfig::standard().with_max_attempts(SDK_MAX_ATTEMPTS))
    }

    fn with(&self, retries: RetryConfig) -> SdkConfig {
        self.0
            .to_builder()
            // Responses are small and every attempt has a time-out, so a minimum throughput adds nothing.
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
            .retry_config(retries)
            .timeout_config(attempt_timeout(ATTEMPT_TIMEOUT))
            .build()
    }
}

/// The SDK's behavior, pinned so that an upgrade cannot change time-outs silently.
fn behavior() -> BehaviorVersion {
    BehaviorVersion::v2026_01_12()
}

/// Time-outs of a long poll with this wait.
pub fn long_poll_timeout(wait: Duration) -> TimeoutConfig {
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
    fn printed_settings_contain_no_secret() {
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
        let settings = AwsSettings(config);
        let printed = format!(
            "{credentials:?} {settings:?} {:#?}",
            settings.with_retries()
        );
        assert!(
            printed.contains("AKIDEXAMPLE"),
            "the output shows the credentials: {printed}"
        );
        for secret in secrets {
            assert!(!printed.contains(secret), "{secret} is printed");
        }
    }

    #[test]
    fn an_invalid_setting_is_refused_with_the_name_of_its_variable() {
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
