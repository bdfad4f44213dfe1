//! Amazon Resource Names: of queues and tables, as the parameters hold them, and of roles, as settings do.
//!
//! Parsed where a parameter is read; a malformed one is an error of the operator's, never a panic and never a
//! request to a half-understood name.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// Longest path and name of a role (IAM: 512 and 64).
const MAX_ROLE_CHARS: usize = 576;

/// The ARN of an SQS queue: `arn:<partition>:sqs:<region>:<account>:<name>`.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct QueueArn(Arc<str>);

/// The ARN of a DynamoDB table: `arn:<partition>:dynamodb:<region>:<account>:table/<name>`.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct TableArn(Arc<str>);

/// The ARN of an IAM role: `arn:<partition>:iam::<account>:role/<path and name>`.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct RoleArn(Arc<str>);

/// A text that is not the ARN it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not the ARN of {wanted}")]
pub struct InvalidArn {
    text: String,
    wanted: &'static str,
}

/// The six parts of an ARN; the last may itself contain colons.
struct Parts<'a> {
    service: &'a str,
    account: &'a str,
    resource: &'a str,
}

impl QueueArn {
    /// The queue's name.
    pub fn name(&self) -> &str {
        parts(&self.0).map_or("", |parts| parts.resource)
    }

    /// The account that owns the queue: 12 digits on AWS.
    pub fn account(&self) -> &str {
        parts(&self.0).map_or("", |parts| parts.account)
    }

    /// The whole ARN.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TableArn {
    /// The table's name.
    pub fn name(&self) -> &str {
        parts(&self.0)
            .and_then(|parts| parts.resource.strip_prefix("table/"))
            .unwrap_or("")
    }

    /// The whole ARN.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl RoleArn {
    /// The whole ARN.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for RoleArn {
    type Err = InvalidArn;

    fn from_str(text: &str) -> Result<Self, InvalidArn> {
        let is_name = |name: &str| {
            let in_names = |byte: u8| byte.is_ascii_alphanumeric() || b"+=,.@_-/".contains(&byte);
            !name.is_empty()
                && name.len() <= MAX_ROLE_CHARS
                && !name.ends_with('/')
                && name.bytes().all(in_names)
        };
        let is_account = |account: &str| {
            account.len() == 12 && account.bytes().all(|byte| byte.is_ascii_digit())
        };
        let fits = parts(text).is_some_and(|parts| {
            parts.service == "iam"
                && is_account(parts.account)
                && parts.resource.strip_prefix("role/").is_some_and(is_name)
        });
        fits.then(|| Self(text.into())).ok_or_else(|| InvalidArn {
            text: text.to_owned(),
            wanted: "an IAM role",
        })
    }
}

impl fmt::Debug for RoleArn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for QueueArn {
    type Err = InvalidArn;

    fn from_str(text: &str) -> Result<Self, InvalidArn> {
        let fits = parts(text).is_some_and(|parts| {
            parts.service == "sqs" && !parts.account.is_empty() && is_name(parts.resource, 80)
        });
        fits.then(|| Self(text.into())).ok_or_else(|| InvalidArn {
            text: text.to_owned(),
            wanted: "an SQS queue",
        })
    }
}

impl FromStr for TableArn {
    type Err = InvalidArn;

    fn from_str(text: &str) -> Result<Self, InvalidArn> {
        let fits = parts(text).is_some_and(|parts| {
            parts.service == "dynamodb"
                && parts
                    .resource
                    .strip_prefix("table/")
                    .is_some_and(|name| is_name(name, 255))
        });
        fits.then(|| Self(text.into())).ok_or_else(|| InvalidArn {
            text: text.to_owned(),
            wanted: "a DynamoDB table",
        })
    }
}

/// Splits an ARN; `None` where it has too few parts or another prefix.
fn parts(text: &str) -> Option<Parts<'_>> {
    let mut fields = text.splitn(6, ':');
    let (arn, partition, service, _region, account, resource) = (
        fields.next()?,
        fields.next()?,
        fields.next()?,
        fields.next()?,
        fields.next()?,
        fields.next()?,
    );
    (arn == "arn" && !partition.is_empty()).then_some(Parts {
        service,
        account,
        resource,
    })
}

/// Whether the text can be a queue's or table's name: letters, digits, `-`, `_` and `.`, at most `max` characters.
fn is_name(text: &str, max: usize) -> bool {
    !text.is_empty()
        && text.len() <= max
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
}

impl fmt::Display for QueueArn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for QueueArn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for TableArn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for TableArn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_is_named_whole() {
        for good in [
            "arn:aws:iam::000000000000:role/reader-role-pool-1",
            "arn:aws-cn:iam::000000000000:role/a/b/c",
        ] {
            assert_eq!(good.parse::<RoleArn>().expect(good).as_str(), good);
        }
        for wrong in [
            "",
            "reader-role-pool-1",
            "arn:aws:iam::000000000000:role/",
            "arn:aws:iam::000000000000:role/a/",
            "arn:aws:iam::000000000000:user/a",
            "arn:aws:iam::1:role/a",
            "arn:aws:sts::000000000000:role/a",
            "arn:aws:iam::000000000000:role/a b",
        ] {
            assert!(wrong.parse::<RoleArn>().is_err(), "{wrong:?}");
        }
    }
    use proptest::prelude::*;

    #[test]
    fn the_parts_of_a_queue_and_a_table_are_found() {
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
    fn what_is_another_resource_is_refused_by_name() {
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
        fn parsing_any_text_never_panics_and_keeps_what_it_accepts(text in "(arn:)?.{0,60}") {
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
