//! Dead-letter policies of queues: what `RedrivePolicy` and `RedriveAllowPolicy` say.

use serde::Deserialize;

use super::{
    error::{SqsError, SqsResult},
    limits::{MAX_RECEIVES, REDRIVE_SOURCES_MAX},
    names::QueueName,
};
use crate::realm::Realm;

/// Where messages received too often go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RedrivePolicy {
    /// The dead-letter queue.
    pub(crate) target: QueueName,
    /// Its ARN, as the caller gave it.
    pub(crate) target_arn: String,
    /// A message received this often is set aside instead of being received once more.
    pub(crate) max_receives: u32,
}

/// `maxReceiveCount` comes as a number or, from many tools, as a string.
#[derive(Deserialize)]
#[serde(untagged)]
enum Count {
    Number(i64),
    Text(String),
}

impl RedrivePolicy {
    /// Parses the attribute. Whether the target exists is for the caller to check.
    ///
    /// # Errors
    /// `InvalidParameterValue`, in AWS's words.
    pub(crate) fn parse(json: &str, realm: &Realm) -> SqsResult<Self> {
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
        let target = realm
            .queue_of_arn(&target_arn)
            .ok_or_else(|| Self::missing_target(json))?;
        Ok(Self {
            target,
            target_arn,
            max_receives,
        })
    }

    /// The attribute as it is shown: the count always a number.
    pub(crate) fn render(&self) -> String {
        serde_json::json!({"deadLetterTargetArn": self.target_arn, "maxReceiveCount": self.max_receives})
            .to_string()
    }

    /// The error for a target that does not exist.
    pub(crate) fn missing_target(json: &str) -> SqsError {
        SqsError::parameter(json, "RedrivePolicy", "Dead letter target does not exist.")
    }
}

/// Which queues may name this one as their dead-letter queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum RedriveAllowPolicy {
    /// Any.
    AllowAll,
    /// None.
    DenyAll,
    /// Those with these ARNs.
    ByQueue(Vec<String>),
}

impl RedriveAllowPolicy {
    /// Parses the attribute.
    ///
    /// # Errors
    /// `InvalidParameterValue`, in AWS's words.
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

    /// The attribute as it is shown.
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

    /// Whether the queue with this ARN may use the one with this policy.
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
        RedrivePolicy::parse(
            json,
            &Realm {
                region: "us-east-1".into(),
                account_id: "000000000000".into(),
            },
        )
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
    fn permissions_decide_by_source() {
        let by_queue =
            RedriveAllowPolicy::parse(r#"{"redrivePermission":"byQueue","sourceQueueArns":["a"]}"#)
                .unwrap();
        assert!(by_queue.allows("a") && !by_queue.allows("b"));
        assert!(RedriveAllowPolicy::parse(r#"{"redrivePermission":"byQueue"}"#).is_err());
        assert!(RedriveAllowPolicy::parse(r#"{"redrivePermission":"some"}"#).is_err());
    }
}
