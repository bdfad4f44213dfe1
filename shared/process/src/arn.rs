//! Amazon Resource Names (ARNs) of queues and tables.
//!
//! Configuration holds ARNs; they are parsed when the configuration is read. A malformed ARN is an error: never a panic,
//! and never a call with a partly understood name.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// Longest name of a queue (SQS).
const MAX_QUEUE_CHARS: usize = 80;
/// Longest name of a table (DynamoDB).
const MAX_TABLE_CHARS: usize = 255;

/// The ARN of an SQS queue: `arn:<partition>:sqs:<region>:<account>:<name>`.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct QueueArn(Arc<str>);

/// The ARN of a DynamoDB table: `arn:<partition>:dynamodb:<region>:<account>:table/<name>`.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct TableArn(Arc<str>);

/// The text is not an ARN of the wanted resource.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not the ARN of {wanted}")]
pub struct InvalidArn {
    text: String,
    wanted: &'static str,
}

/// Parts of an ARN. The resource may contain colons.
pub struct ArnParts<'a> {
    pub service: &'a str,
    /// The owner's account: 12 digits on AWS.
    pub account: &'a str,
    pub resource: &'a str,
}

impl QueueArn {
    pub fn name(&self) -> &str {
        parts(&self.0).map_or("", |parts| parts.resource)
    }

    /// The account that owns the queue: 12 digits on AWS.
    pub fn account(&self) -> &str {
        parts(&self.0).map_or("", |parts| parts.account)
    }
}

impl TableArn {
    pub fn name(&self) -> &str {
        parts(&self.0)
            .and_then(|parts| parts.resource.strip_prefix("table/"))
            .unwrap_or("")
    }
}

impl InvalidArn {
    pub fn new(text: &str, wanted: &'static str) -> Self {
        Self {
            text: text.to_owned(),
            wanted,
        }
    }
}

impl FromStr for QueueArn {
    type Err = InvalidArn;

    fn from_str(text: &str) -> Result<Self, InvalidArn> {
        parts(text)
            .filter(|arn| arn.service == "sqs" && !arn.account.is_empty())
            .filter(|arn| is_name(arn.resource, MAX_QUEUE_CHARS))
            .map(|_| Self(text.into()))
            .ok_or_else(|| InvalidArn::new(text, "an SQS queue"))
    }
}

impl FromStr for TableArn {
    type Err = InvalidArn;

    fn from_str(text: &str) -> Result<Self, InvalidArn> {
        parts(text)
            .filter(|arn| arn.service == "dynamodb")
            .and_then(|arn| arn.resource.strip_prefix("table/"))
            .filter(|name| is_name(name, MAX_TABLE_CHARS))
            .map(|_| Self(text.into()))
            .ok_or_else(|| InvalidArn::new(text, "a DynamoDB table"))
    }
}

/// Implements `as_str`, `Display` and `Debug` as the whole ARN.
macro_rules! text_form {
    ($($arn:ty),+) => {$(
        impl $arn {
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $arn {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $arn {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    )+};
}

text_form!(QueueArn, TableArn);

/// Splits an ARN; returns `None` if it has too few parts or another prefix.
pub fn parts(text: &str) -> Option<ArnParts<'_>> {
    let mut fields = text.splitn(6, ':');
    let (arn, partition, service, _region, account, resource) = (
        fields.next()?,
        fields.next()?,
        fields.next()?,
        fields.next()?,
        fields.next()?,
        fields.next()?,
    );
    (arn == "arn" && !partition.is_empty()).then_some(ArnParts {
        service,
        account,
        resource,
    })
}

/// Returns true for a queue's or table's name: letters, digits, `-`, `_` and `.`, at most `max` characters.
fn is_name(text: &str, max: usize) -> bool {
    !text.is_empty()
        && text.len() <= max
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    use proptest::prelude::*;

    #[test]
    fn a_valid_arn_gives_its_name_and_account() {
        let queue: QueueArn = "arn:aws:sqs:us-east-1:000000000000:consumer-pool-1-x7k"
            .parse()
            .expect("valid");
        assert_eq!(
            (queue.name(), queue.account()),
            ("consumer-pool-1-x7k", "000000000000")
        );
        let table: TableArn =
            "arn:aws-cn:dynamodb:cn-north-1:111122223333:table/consumer-pool-1-x7k"
                .parse()
                .expect("valid");
        assert_eq!(table.name(), "consumer-pool-1-x7k");
    }

    #[test]
    fn an_arn_of_another_resource_is_refused_with_the_wanted_kind() {
        for text in [
            "",
            "consumer-pool-1",
            "https://sqs.us-east-1.amazonaws.com/000000000000/q",
            "arn:aws:sns:us-east-1:000000000000:q",
            "arn:aws:sqs:us-east-1:000000000000:",
            "arn:aws:sqs:us-east-1::q",
            "arn:aws:sqs:us-east-1:000000000000:a/b",
        ] {
            let error = text.parse::<QueueArn>().expect_err(text);
            assert!(error.to_string().contains("SQS queue"), "{error}");
        }
        for text in [
            "arn:aws:dynamodb:us-east-1:000000000000:q",
            "arn:aws:sqs:us-east-1:0:table/q",
        ] {
            assert!(text.parse::<TableArn>().is_err(), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn parsing_never_panics_and_an_accepted_text_is_kept_unchanged(text in "(arn:)?.{0,60}") {
            if let Ok(queue) = text.parse::<QueueArn>() {
                prop_assert_eq!(queue.as_str(), &text);
                prop_assert!(!queue.name().is_empty());
            }
            if let Ok(table) = text.parse::<TableArn>() {
                prop_assert_eq!(table.as_str(), &text);
                prop_assert!(!table.name().is_empty());
            }
        }
    }
}
