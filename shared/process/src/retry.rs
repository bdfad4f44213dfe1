//! Classification of failed AWS calls, causes of an error, and exponential back-off with jitter. Pure: randomness is an argument.

use std::time::Duration;

use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::display::DisplayErrorContext;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;

/// Throttling error codes. AWS sends them with status 400, like a client's mistake.
const THROTTLES: [&str; 10] = [
    "KmsThrottled",
    "KMS.ThrottlingException",
    "LimitExceededException",
    "OverLimit",
    "ProvisionedThroughputExceededException",
    "RequestLimitExceeded",
    "RequestThrottled",
    "SlowDown",
    "Throttling",
    "ThrottlingException",
];

/// [`Failure::code`] of a response that cannot be parsed.
const UNREADABLE: &str = "UnreadableAnswer";

/// A failed call, classified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The service's error code; without a response of the service, the kind of failure.
    pub code: String,
    /// Whether the same call may succeed later.
    pub transient: bool,
    /// The whole error, for the log.
    pub reason: String,
}

/// Classifies a failed call. Every failure is transient, except the service's own refusal of the request.
pub fn classify<E>(error: &SdkError<E, HttpResponse>) -> Failure
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    let (code, transient) = match error {
        SdkError::ServiceError(context) => match context.err().code() {
            Some(code) => {
                let is_server_error = context.raw().status().is_server_error();
                (code, is_server_error || is_throttle(code))
            }
            // A response without an error code is not the service's own, whatever its status: it is truncated, or a
            // proxy's page.
            None => (UNREADABLE, true),
        },
        SdkError::TimeoutError(_) => ("TimedOut", true),
        SdkError::DispatchFailure(_) => ("ConnectionFailed", true),
        SdkError::ResponseError(_) => (UNREADABLE, true),
        _ => ("RequestNotBuilt", false),
    };
    Failure {
        code: code.to_owned(),
        transient,
        reason: DisplayErrorContext(error).to_string(),
    }
}

/// Returns true if the error code means throttling.
pub fn is_throttle(code: &str) -> bool {
    THROTTLES.contains(&code) || code.ends_with("ThrottledException")
}

/// Exponential back-off with full jitter: a random wait below `base` doubled per attempt, at most `max`.
///
/// `random` is uniform in 0..1; the first attempt is number 0.
pub fn backoff(attempt: u32, base: Duration, max: Duration, random: f64) -> Duration {
    let ceiling = base.saturating_mul(2_u32.saturating_pow(attempt)).min(max);
    ceiling.mul_f64(random.clamp(0.0, 1.0))
}

/// As [`backoff`], but never less than half the step: protects a dependency from retries in quick succession.
pub fn backoff_from_half(attempt: u32, base: Duration, max: Duration, random: f64) -> Duration {
    backoff(attempt, base, max, 0.5 + random / 2.0)
}

/// The error with its causes, in one line: the error of an HTTP client alone says only that a request failed.
pub fn with_causes(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backoff_doubles_up_to_its_maximum_with_full_jitter() {
        let (base, max) = (Duration::from_millis(100), Duration::from_secs(5));
        assert_eq!(backoff(0, base, max, 1.0), Duration::from_millis(100));
        assert_eq!(backoff(3, base, max, 1.0), Duration::from_millis(800));
        assert_eq!(backoff(3, base, max, 0.5), Duration::from_millis(400));
        assert_eq!(backoff(40, base, max, 1.0), max);
        assert_eq!(backoff(u32::MAX, base, max, 0.0), Duration::ZERO);
    }

    #[test]
    fn throttling_is_recognized_by_its_error_code() {
        assert!(is_throttle("ThrottlingException") && is_throttle("RequestThrottledException"));
        assert!(!is_throttle("QueueDoesNotExist"));
    }
}
