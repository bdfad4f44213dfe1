//! Which failures are worth another try, and when.

use std::time::Duration;

use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::display::DisplayErrorContext;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;

/// Error codes by which AWS asks for a slower pace; they arrive with status 400, like a client's mistake.
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

/// The code of an answer that cannot be read.
const UNREADABLE: &str = "UnreadableAnswer";

/// What to do about a failed call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The service's error code, or what kept the call from being answered.
    pub code: String,
    /// Whether the same call may succeed later.
    pub transient: bool,
    /// The whole error, for the log.
    pub reason: String,
}

/// Classifies a failed call: every failure is transient, except the service's own refusal of the request.
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
            // An answer that names no code is not the service's own, whatever its status: a proxy's page, or a cut one.
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

/// Whether the code asks for a slower pace.
pub fn is_throttle(code: &str) -> bool {
    THROTTLES.contains(&code) || code.ends_with("ThrottledException")
}

/// Exponential back-off with full jitter: a random wait up to `base` doubled per attempt, at most `max`.
///
/// `random` is uniform in 0..1; the first attempt is number 0.
pub fn backoff(attempt: u32, base: Duration, max: Duration, random: f64) -> Duration {
    let ceiling = base.saturating_mul(2_u32.saturating_pow(attempt)).min(max);
    ceiling.mul_f64(random.clamp(0.0, 1.0))
}

/// As [`backoff`], but never less than half the step: for what must not be hammered however the dice fall.
pub fn backoff_from_half(attempt: u32, base: Duration, max: Duration, random: f64) -> Duration {
    backoff(attempt, base, max, 0.5 + random / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backoff_doubles_up_to_its_bound_and_jitter_covers_all_of_it() {
        let (base, max) = (Duration::from_millis(100), Duration::from_secs(5));
        assert_eq!(backoff(0, base, max, 1.0), Duration::from_millis(100));
        assert_eq!(backoff(3, base, max, 1.0), Duration::from_millis(800));
        assert_eq!(backoff(3, base, max, 0.5), Duration::from_millis(400));
        assert_eq!(backoff(40, base, max, 1.0), max);
        assert_eq!(backoff(u32::MAX, base, max, 0.0), Duration::ZERO);
    }

    #[test]
    fn throttles_are_known_by_their_codes() {
        assert!(is_throttle("ThrottlingException") && is_throttle("RequestThrottledException"));
        assert!(!is_throttle("QueueDoesNotExist"));
    }
}
