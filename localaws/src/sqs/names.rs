//! Names and addresses of queues: parsed once at the edge.

use std::{fmt, sync::Arc};

use super::{error::SqsError, limits::QUEUE_NAME_CHARS_MAX};
use crate::realm::Realm;

/// The name of a standard queue: 1–80 ASCII letters, digits, `-` and `_`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct QueueName(Arc<str>);

impl QueueName {
    /// Parses a name.
    ///
    /// # Errors
    /// `InvalidParameterValue` for a bad name, `UnsupportedOperation` for a FIFO queue's.
    pub(crate) fn parse(text: &str) -> Result<Self, SqsError> {
        let chars_fit = |text: &str| {
            !text.is_empty()
                && text.len() <= QUEUE_NAME_CHARS_MAX
                && text
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        };
        if text.strip_suffix(".fifo").is_some_and(chars_fit) {
            return Err(SqsError::UnsupportedOperation(
                "This endpoint has no FIFO queues.".into(),
            ));
        }
        if !chars_fit(text) {
            return Err(SqsError::InvalidParameterValue(
                "Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length".into(),
            ));
        }
        Ok(Self(text.into()))
    }

    /// The name as text.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for QueueName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Realm {
    /// The ARN of a queue.
    pub(crate) fn queue_arn(&self, name: &QueueName) -> String {
        format!("arn:aws:sqs:{}:{}:{name}", self.region, self.account_id)
    }

    /// The queue an ARN of this account and region names, if it can exist here.
    pub(crate) fn queue_of_arn(&self, arn: &str) -> Option<QueueName> {
        let rest = arn
            .strip_prefix("arn:aws:sqs:")?
            .strip_prefix(&*self.region)?
            .strip_prefix(':')?;
        let name = rest.strip_prefix(&*self.account_id)?.strip_prefix(':')?;
        QueueName::parse(name).ok()
    }

    /// The URL of a queue for a client that reached us as `host` (name and port).
    pub(crate) fn queue_url(&self, host: &str, name: &QueueName) -> String {
        format!("http://{host}/{}/{name}", self.account_id)
    }

    /// The queue a URL names. Only the last two path segments count, so a client that knows this endpoint
    /// by another host name still finds its queues; a bare name is accepted, too.
    ///
    /// # Errors
    /// `InvalidAddress` when no name can be read, `QueueDoesNotExist` for another account's queue.
    pub(crate) fn queue_of_url(&self, url: &str) -> Result<QueueName, SqsError> {
        let mut segments = url.trim_end_matches('/').rsplit('/');
        let name = segments.next().unwrap_or_default();
        if let Some(account) = segments.next()
            && account.len() == 12
            && account.bytes().all(|b| b.is_ascii_digit())
            && account != &*self.account_id
        {
            return Err(SqsError::QueueDoesNotExist);
        }
        QueueName::parse(name).map_err(|_| {
            if name.len() > QUEUE_NAME_CHARS_MAX || name.ends_with(".fifo") {
                SqsError::QueueDoesNotExist
            } else {
                SqsError::InvalidAddress(format!(
                    "The address {url} is not valid for this endpoint."
                ))
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn realm() -> Realm {
        Realm {
            region: "us-east-1".into(),
            account_id: "000000000000".into(),
        }
    }

    #[test]
    fn names_follow_the_rules_of_aws() {
        for good in ["a", "consumer-pool-1-abc", "A_b-9", &"x".repeat(80)] {
            assert_eq!(QueueName::parse(good).unwrap().as_str(), good);
        }
        for bad in ["", "a b", "ä", "a.b", &"x".repeat(81), ".fifo"] {
            assert!(
                matches!(
                    QueueName::parse(bad),
                    Err(SqsError::InvalidParameterValue(_))
                ),
                "{bad}"
            );
        }
        assert!(matches!(
            QueueName::parse("a.fifo"),
            Err(SqsError::UnsupportedOperation(_))
        ));
    }

    #[test]
    fn a_queue_is_found_by_path_alone() {
        let name = QueueName::parse("jobs").unwrap();
        for url in [
            "http://127.0.0.1:4566/000000000000/jobs",
            "https://sqs.example/000000000000/jobs/",
            "jobs",
        ] {
            assert_eq!(realm().queue_of_url(url).unwrap(), name, "{url}");
        }
        let other = realm().queue_of_url("http://h/111111111111/jobs");
        assert!(matches!(other, Err(SqsError::QueueDoesNotExist)));
        assert!(matches!(
            realm().queue_of_url("http://h/"),
            Err(SqsError::InvalidAddress(_)) | Ok(_)
        ));
    }

    #[test]
    fn arns_round_trip_and_foreign_ones_name_nothing() {
        let name = QueueName::parse("jobs").unwrap();
        assert_eq!(realm().queue_of_arn(&realm().queue_arn(&name)), Some(name));
        for foreign in [
            "arn:aws:sqs:eu-west-1:000000000000:jobs",
            "arn:aws:sns:us-east-1:000000000000:jobs",
            "",
        ] {
            assert_eq!(realm().queue_of_arn(foreign), None, "{foreign}");
        }
    }
}
