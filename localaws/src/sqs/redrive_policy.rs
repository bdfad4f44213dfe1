//! Dead-letter policies of queues: `RedrivePolicy` and `RedriveAllowPolicy`.

use serde::Deserialize;

use super::{
    error::{SqsError, SqsResult},
    limits::{MAX_RECEIVES, REDRIVE_SOURCES_MAX},
    names::QueueName,
};
use crate::arn_scope::ArnScope;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RedrivePolicy {
    /// Dead-letter queue.
    pub(crate) target: QueueName,
    /// ARN of the dead-letter queue, as set.
    pub(crate) target_arn: String,
    /// A message received this often moves to the dead-letter queue instead of the next receive.
    pub(crate) max_receives: u32,
}

/// `maxReceiveCount` is a number or, from many tools, a string.
#[derive(Deserialize)]
#[serde(untagged)]
enum Count {
    Number(i64),
    Text(String),
}

impl RedrivePolicy {
    /// Parses the attribute. The core checks that the target exists.
    ///
    /// # Errors
    /// `InvalidParameterValue` with AWS's text.
    pub(crate) fn parse(json: &str, scope: &ArnScope) -> SqsResult<Self> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Raw {
            dead_letter_target_arn: Option<String>,
            max_receive_count: Option<Count>,
        }
        let invalid = |reason: &str| SqsError::parameter(json, "RedrivePolicy", reason);
        let raw: Raw = serde_json::from_str(json)
            .map_err(|_| invalid("Redrive policy is not a valid JSON map."))?;
        let target_arn = raw.dead_letter_target_arn.ok_or_else(|| {
            invalid("Redrive policy does not contain mandatory attribute: deadLetterTargetArn.")
        })?;
        let count = match raw.max_receive_count {
            Some(Count::Number(n)) => Some(n),
            Some(Count::Text(text)) => Some(text.trim().parse().unwrap_or(0)),
            None => None,
        }
        .ok_or_else(|| {
            invalid("Redrive policy does not contain mandatory attribute: maxReceiveCount.")
        })?;
        let max_receives = u32::try_from(count).ok().filter(|_| MAX_RECEIVES.contains(&count)).ok_or_else(|| {
            invalid(&format!(
                "Invalid value for maxReceiveCount: {count}, valid values are from 1 to 1000 both inclusive."
            ))
        })?;
        let target = scope
            .queue_of_arn(&target_arn)
            .ok_or_else(|| Self::missing_target(json))?;
        Ok(Self {
            target,
            target_arn,
            max_receives,
        })
    }

    /// Renders the attribute; the count is always a number.
    pub(crate) fn render(&self) -> String {
        serde_json::json!({"deadLetterTargetArn": self.target_arn, "maxReceiveCount": self.max_receives})
            .to_string()
    }

    pub(crate) fn missing_target(json: &str) -> SqsError {
        SqsError::parameter(json, "RedrivePolicy", "Dead letter target does not exist.")
    }
}

/// Queues that may use this one as their dead-letter queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum RedriveAllowPolicy {
    AllowAll,
    DenyAll,
    /// ARNs of the queues.
    ByQueue(Vec<String>),
}

impl RedriveAllowPolicy {
    /// Parses the attribute.
    ///
    /// # Errors
    /// `InvalidParameterValue` with AWS's text.
    pub(crate) fn parse(json: &str) -> SqsResult<Self> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Raw {
            redrive_permission: String,
            source_queue_arns: Option<Vec<String>>,
        }
        let invalid = |reason: &str| SqsError::parameter(json, "RedriveAllowPolicy", reason);
        let raw: Raw = serde_json::from_str(json)
            .map_err(|_| invalid("Redrive allow policy is not valid JSON."))?;
        match (raw.redrive_permission.as_str(), raw.source_queue_arns) {
            ("allowAll", None) => Ok(Self::AllowAll),
            ("denyAll", None) => Ok(Self::DenyAll),
            ("byQueue", Some(arns)) if (1..=REDRIVE_SOURCES_MAX).contains(&arns.len()) => {
                Ok(Self::ByQueue(arns))
            }
            ("byQueue", _) => Err(invalid("byQueue needs one to ten sourceQueueArns.")),
            ("allowAll" | "denyAll", Some(_)) => {
                Err(invalid("sourceQueueArns is only for byQueue."))
            }
            _ => Err(invalid(
                "redrivePermission must be one of allowAll, denyAll, byQueue.",
            )),
        }
    }

    pub(crate) fn render(&self) -> String {
        match self {
            Self::AllowAll => r#"{"redrivePermission":"allowAll"}"#.into(),
            Self::DenyAll => r#"{"redrivePermission":"denyAll"}"#.into(),
            Self::ByQueue(arns) => {
                serde_json::json!({"redrivePermission": "byQueue", "sourceQueueArns": arns})
                    .to_string()
            }
        }
    }

    pub(crate) fn allows(&self, source_arn: &str) -> bool {
        match self {
            Self::AllowAll => true,
            Self::DenyAll => false,
            Self::ByQueue(arns) => arns.iter().any(|arn| arn == source_arn),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(json: &str) -> SqsResult<RedrivePolicy> {
        RedrivePolicy::parse(json, &ArnScope::sample())
    }

    #[test]
    fn the_count_may_be_a_number_or_a_string() {
        let arn = "arn:aws:sqs:us-east-1:000000000000:d";
        for count in ["5", "\"5\""] {
            let policy = parse(&format!(
                r#"{{"deadLetterTargetArn":"{arn}","maxReceiveCount":{count}}}"#
            ))
            .unwrap();
            assert_eq!(policy.max_receives, 5);
            assert_eq!(
                policy.render(),
                format!(r#"{{"deadLetterTargetArn":"{arn}","maxReceiveCount":5}}"#)
            );
        }
    }

    #[test]
    fn incomplete_or_impossible_policies_are_refused() {
        for bad in [
            "not json",
            "{}",
            r#"{"deadLetterTargetArn":"arn:aws:sqs:us-east-1:000000000000:d"}"#,
            r#"{"maxReceiveCount":5}"#,
            r#"{"deadLetterTargetArn":"arn:aws:sqs:us-east-1:000000000000:d","maxReceiveCount":0}"#,
            r#"{"deadLetterTargetArn":"arn:aws:sqs:us-east-1:000000000000:d","maxReceiveCount":1001}"#,
            r#"{"deadLetterTargetArn":"arn:aws:sqs:us-east-1:999999999999:d","maxReceiveCount":5}"#,
        ] {
            assert!(
                matches!(parse(bad), Err(SqsError::InvalidParameterValue(_))),
                "{bad}"
            );
        }
    }

    #[test]
    fn a_redrive_permission_depends_on_the_source_queue() {
        let by_queue =
            RedriveAllowPolicy::parse(r#"{"redrivePermission":"byQueue","sourceQueueArns":["a"]}"#)
                .unwrap();
        assert!(by_queue.allows("a") && !by_queue.allows("b"));
        assert!(RedriveAllowPolicy::parse(r#"{"redrivePermission":"byQueue"}"#).is_err());
        assert!(RedriveAllowPolicy::parse(r#"{"redrivePermission":"some"}"#).is_err());
    }
}
