//! Attributes of a queue: parsed and checked at the edge, typed inside, rendered as AWS renders them.

use std::collections::BTreeMap;

use super::{
    error::{SqsError, SqsResult},
    limits::{DELAY_S, KMS_REUSE_S, MESSAGE_SIZE_BYTES, RETENTION_S, VISIBILITY_S, WAIT_S},
    redrive_policy::{RedriveAllowPolicy, RedrivePolicy},
};
use crate::arn_scope::ArnScope;

/// Attributes that a client may set.
const SETTABLE: [&str; 11] = [
    "VisibilityTimeout",
    "DelaySeconds",
    "MessageRetentionPeriod",
    "ReceiveMessageWaitTimeSeconds",
    "MaximumMessageSize",
    "RedrivePolicy",
    "RedriveAllowPolicy",
    "Policy",
    "SqsManagedSseEnabled",
    "KmsMasterKeyId",
    "KmsDataKeyReusePeriodSeconds",
];

/// Attributes of FIFO queues alone.
const FIFO_ONLY: [&str; 4] = [
    "FifoQueue",
    "ContentBasedDeduplication",
    "DeduplicationScope",
    "FifoThroughputLimit",
];

/// Attributes that are computed.
const COMPUTED: [&str; 6] = [
    "QueueArn",
    "ApproximateNumberOfMessages",
    "ApproximateNumberOfMessagesNotVisible",
    "ApproximateNumberOfMessagesDelayed",
    "CreatedTimestamp",
    "LastModifiedTimestamp",
];

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Settings {
    /// Default visibility timeout.
    pub(crate) visibility_s: u32,
    pub(crate) delay_s: u32,
    pub(crate) retention_s: u32,
    /// Default wait of a receive.
    pub(crate) wait_s: u32,
    /// Largest message, attributes included.
    pub(crate) message_size_bytes: u32,
    pub(crate) redrive: Option<RedrivePolicy>,
    pub(crate) redrive_allow: Option<RedriveAllowPolicy>,
    /// Stored, never enforced.
    pub(crate) policy: Option<String>,
    /// Encryption with keys of SQS: stored, never performed.
    pub(crate) sse: bool,
    /// Encryption with a KMS key: stored, never performed.
    pub(crate) kms_key_id: Option<String>,
    pub(crate) kms_reuse_s: Option<u32>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            visibility_s: 30,
            delay_s: 0,
            retention_s: 345_600,
            wait_s: 0,
            message_size_bytes: 1_048_576,
            redrive: None,
            redrive_allow: None,
            policy: None,
            sse: true,
            kms_key_id: None,
            kms_reuse_s: None,
        }
    }
}

impl Settings {
    /// Returns these settings with the given attributes set.
    ///
    /// # Errors
    /// `InvalidAttributeName`, `InvalidAttributeValue`, or `InvalidParameterValue` for a redrive policy.
    pub(crate) fn with(
        &self,
        attributes: &BTreeMap<String, String>,
        scope: &ArnScope,
    ) -> SqsResult<Self> {
        let mut settings = self.clone();
        for (name, value) in attributes {
            settings.set(name, value, scope)?;
        }
        Ok(settings)
    }

    fn set(&mut self, name: &str, value: &str, scope: &ArnScope) -> SqsResult<()> {
        let invalid =
            || SqsError::InvalidAttributeValue(format!("Invalid value for the parameter {name}."));
        let number = |range: std::ops::RangeInclusive<i64>| {
            let parsed = value.parse::<i64>().ok().filter(|n| range.contains(n));
            parsed
                .and_then(|n| u32::try_from(n).ok())
                .ok_or_else(invalid)
        };
        let text = || (!value.is_empty()).then(|| value.to_owned());
        match name {
            "VisibilityTimeout" => self.visibility_s = number(VISIBILITY_S)?,
            "DelaySeconds" => self.delay_s = number(DELAY_S)?,
            "MessageRetentionPeriod" => self.retention_s = number(RETENTION_S)?,
            "ReceiveMessageWaitTimeSeconds" => self.wait_s = number(WAIT_S)?,
            "MaximumMessageSize" => self.message_size_bytes = number(MESSAGE_SIZE_BYTES)?,
            "RedrivePolicy" => {
                self.redrive = text()
                    .map(|t| RedrivePolicy::parse(&t, scope))
                    .transpose()?;
            }
            "RedriveAllowPolicy" => {
                self.redrive_allow = text().map(|t| RedriveAllowPolicy::parse(&t)).transpose()?;
            }
            "Policy" => {
                let is_object = |t: &String| {
                    serde_json::from_str::<serde_json::Value>(t).is_ok_and(|v| v.is_object())
                };
                if text().is_some_and(|t| !is_object(&t)) {
                    return Err(invalid());
                }
                self.policy = text();
            }
            "SqsManagedSseEnabled" => {
                self.sse = value.to_ascii_lowercase().parse().map_err(|_| invalid())?;
                if self.sse {
                    self.kms_key_id = None;
                }
            }
            "KmsMasterKeyId" => {
                self.kms_key_id = text();
                // A queue has one kind of encryption: a KMS key disables the one with keys of SQS.
                self.sse = self.sse && self.kms_key_id.is_none();
            }
            "KmsDataKeyReusePeriodSeconds" => self.kms_reuse_s = Some(number(KMS_REUSE_S)?),
            _ if FIFO_ONLY.contains(&name) => {
                return Err(SqsError::InvalidAttributeName(format!(
                    "{name}: this endpoint has no FIFO queues"
                )));
            }
            _ => return Err(SqsError::InvalidAttributeName(name.to_owned())),
        }
        Ok(())
    }

    /// Renders the attributes that are set, as AWS does.
    pub(crate) fn render(&self) -> BTreeMap<&'static str, String> {
        let mut map = BTreeMap::from([
            ("VisibilityTimeout", self.visibility_s.to_string()),
            ("DelaySeconds", self.delay_s.to_string()),
            ("MessageRetentionPeriod", self.retention_s.to_string()),
            ("ReceiveMessageWaitTimeSeconds", self.wait_s.to_string()),
            ("MaximumMessageSize", self.message_size_bytes.to_string()),
            ("SqsManagedSseEnabled", self.sse.to_string()),
        ]);
        let reuse_s = self
            .kms_reuse_s
            .or_else(|| self.kms_key_id.is_some().then_some(300));
        let optional = [
            (
                "RedrivePolicy",
                self.redrive.as_ref().map(RedrivePolicy::render),
            ),
            (
                "RedriveAllowPolicy",
                self.redrive_allow.as_ref().map(RedriveAllowPolicy::render),
            ),
            ("Policy", self.policy.clone()),
            ("KmsMasterKeyId", self.kms_key_id.clone()),
            (
                "KmsDataKeyReusePeriodSeconds",
                reuse_s.map(|s| s.to_string()),
            ),
        ];
        map.extend(
            optional
                .into_iter()
                .filter_map(|(name, value)| Some((name, value?))),
        );
        map
    }

    /// Returns the name of the first attribute that differs from these settings.
    ///
    /// # Errors
    /// The errors of [`Settings::with`].
    pub(crate) fn first_difference(
        &self,
        attributes: &BTreeMap<String, String>,
        scope: &ArnScope,
    ) -> SqsResult<Option<String>> {
        for (name, value) in attributes {
            let alone = BTreeMap::from([(name.clone(), value.clone())]);
            if self.with(&alone, scope)? != *self {
                return Ok(Some(name.clone()));
            }
        }
        Ok(None)
    }
}

/// Whether a client may request this attribute.
pub(crate) fn is_known(name: &str) -> bool {
    SETTABLE.contains(&name) || COMPUTED.contains(&name) || FIFO_ONLY.contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(name: &str, value: &str) -> SqsResult<Settings> {
        Settings::default().with(
            &BTreeMap::from([(name.into(), value.into())]),
            &ArnScope::sample(),
        )
    }

    #[test]
    fn values_out_of_range_are_refused() {
        for (name, good, bad) in [
            ("VisibilityTimeout", "43200", "43201"),
            ("DelaySeconds", "900", "901"),
            ("MessageRetentionPeriod", "60", "59"),
            ("ReceiveMessageWaitTimeSeconds", "20", "21"),
            ("MaximumMessageSize", "1024", "1023"),
            ("KmsDataKeyReusePeriodSeconds", "86400", "86401"),
            ("SqsManagedSseEnabled", "false", "maybe"),
            ("Policy", "{}", "not json"),
            ("DelaySeconds", "0", "-1"),
        ] {
            assert!(with(name, good).is_ok(), "{name} {good}");
            assert!(
                matches!(with(name, bad), Err(SqsError::InvalidAttributeValue(_))),
                "{name} {bad}"
            );
        }
        assert!(matches!(
            with("QueueArn", "x"),
            Err(SqsError::InvalidAttributeName(_))
        ));
        assert!(matches!(
            with("Nonsense", "x"),
            Err(SqsError::InvalidAttributeName(_))
        ));
    }

    #[test]
    fn rendered_settings_parse_back() {
        let mut all = with("KmsMasterKeyId", "alias/aws/sqs").unwrap();
        all = all
            .with(
                &BTreeMap::from([
                    (
                        "RedrivePolicy".into(),
                        r#"{"deadLetterTargetArn":"arn:aws:sqs:us-east-1:000000000000:d","maxReceiveCount":"5"}"#.into(),
                    ),
                    ("RedriveAllowPolicy".into(), r#"{"redrivePermission":"denyAll"}"#.into()),
                    ("Policy".into(), "{}".into()),
                ]),
                &ArnScope::sample(),
            )
            .unwrap();
        let rendered = all
            .render()
            .into_iter()
            .map(|(k, v)| (k.to_owned(), v))
            .collect();
        let back = Settings::default()
            .with(&rendered, &ArnScope::sample())
            .unwrap();
        assert_eq!(back.render(), all.render());
    }

    #[test]
    fn an_empty_policy_removes_it() {
        let set = with("Policy", "{}").unwrap();
        let unset = set
            .with(
                &BTreeMap::from([("Policy".into(), String::new())]),
                &ArnScope::sample(),
            )
            .unwrap();
        assert_eq!(unset.policy, None);
    }

    #[test]
    fn creating_a_queue_again_compares_the_given_attributes_alone() {
        let settings = with("DelaySeconds", "5").unwrap();
        let same = BTreeMap::from([("DelaySeconds".into(), "5".into())]);
        let other = BTreeMap::from([("DelaySeconds".into(), "6".into())]);
        assert_eq!(
            settings
                .first_difference(&same, &ArnScope::sample())
                .unwrap(),
            None
        );
        assert_eq!(
            settings
                .first_difference(&BTreeMap::new(), &ArnScope::sample())
                .unwrap(),
            None
        );
        assert_eq!(
            settings
                .first_difference(&other, &ArnScope::sample())
                .unwrap()
                .as_deref(),
            Some("DelaySeconds")
        );
    }
}
