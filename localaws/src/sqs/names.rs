//! Names, ARNs and URLs of queues, parsed once at the edge.

use std::{fmt, sync::Arc};

use super::{error::SqsError, limits::QUEUE_NAME_CHARS_MAX};
use crate::arn_scope::ArnScope;

/// Row key of a queue in the store; never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct QueueId(pub(crate) u64);

/// Name of a standard queue: 1 to 80 ASCII letters, digits, `-` and `_`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct QueueName(Arc<str>);

impl QueueName {
    /// Parses a name.
    ///
    /// # Errors
    /// `InvalidParameterValue`; `UnsupportedOperation` for a FIFO queue.
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

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for QueueName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl ArnScope {
    pub(crate) fn queue_arn(&self, name: &QueueName) -> String {
        format!("{}{name}", self.prefix("sqs"))
    }

    /// Returns the queue that an ARN of this account and region names.
    pub(crate) fn queue_of_arn(&self, arn: &str) -> Option<QueueName> {
        QueueName::parse(arn.strip_prefix(&self.prefix("sqs"))?).ok()
    }

    /// Returns the URL of a queue; `host` is the name and port that the client used.
    pub(crate) fn queue_url(&self, host: &str, name: &QueueName) -> String {
        format!("http://{host}/{}/{name}", self.account_id)
    }

    /// Returns the queue that a URL names. Only the last two path segments count, so that clients may use any host name
    /// of this endpoint. A bare queue name is accepted.
    ///
    /// # Errors
    /// `InvalidAddress`; `QueueDoesNotExist` for a queue of another account.
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
    fn a_queue_is_found_by_the_path_of_its_url() {
        let name = QueueName::parse("jobs").unwrap();
        for url in [
            "http://127.0.0.1:4566/000000000000/jobs",
            "https://sqs.example/000000000000/jobs/",
            "jobs",
        ] {
            assert_eq!(ArnScope::sample().queue_of_url(url).unwrap(), name, "{url}");
        }
        let other = ArnScope::sample().queue_of_url("http://h/111111111111/jobs");
        assert!(matches!(other, Err(SqsError::QueueDoesNotExist)));
        assert!(matches!(
            ArnScope::sample().queue_of_url("http://h/"),
            Err(SqsError::InvalidAddress(_)) | Ok(_)
        ));
    }

    #[test]
    fn an_arn_round_trips_and_one_of_another_region_or_service_is_unknown() {
        let name = QueueName::parse("jobs").unwrap();
        assert_eq!(
            ArnScope::sample().queue_of_arn(&ArnScope::sample().queue_arn(&name)),
            Some(name)
        );
        for unknown in [
            "arn:aws:sqs:eu-west-1:000000000000:jobs",
            "arn:aws:sns:us-east-1:000000000000:jobs",
            "",
        ] {
            assert_eq!(ArnScope::sample().queue_of_arn(unknown), None, "{unknown}");
        }
    }
}
