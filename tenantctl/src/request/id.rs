//! The id of a request, equal in all its repeats, and its actor.

use std::fmt;
use std::str::FromStr;

use uuid::Uuid;

const MAX_CHARS: usize = 128;
const MAX_ACTOR_CHARS: usize = 256;
/// Limit of SQS.
const MAX_QUEUE_CHARS: usize = 80;

/// An id of 1 to 128 letters, digits and `. _ : -`: one word, which cannot add a line to a commit message.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RequestId(String);

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a request id is 1 to {MAX_CHARS} letters, digits and . _ : -")]
pub struct InvalidRequestId;

/// Who asked for a change: one line of 1 to 256 characters.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Actor(String);

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an actor is one line of 1 to {MAX_ACTOR_CHARS} characters, without control characters")]
pub struct InvalidActor;

impl Actor {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Actor {
    type Err = InvalidActor;

    fn from_str(text: &str) -> Result<Self, InvalidActor> {
        let is_plain = |character: char| {
            !character.is_control() && !matches!(character, '\u{2028}' | '\u{2029}' | '\u{feff}')
        };
        let text = text.trim();
        if (1..=MAX_ACTOR_CHARS).contains(&text.chars().count()) && text.chars().all(is_plain) {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidActor)
        }
    }
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The name of a queue that gets events of a request: none of the platform's own queues.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ReplyQueue(String);

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a reply queue is named by 1 to {MAX_QUEUE_CHARS} letters, digits, - and _, and is none of the platform's own: it begins \
     with neither consumer- nor argoworkflows-"
)]
pub struct InvalidReplyQueue;

impl ReplyQueue {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ReplyQueue {
    type Err = InvalidReplyQueue;

    fn from_str(text: &str) -> Result<Self, InvalidReplyQueue> {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        let is_name = (1..=MAX_QUEUE_CHARS).contains(&text.len()) && text.bytes().all(fits);
        // A sender of lifecycle messages must not be able to write to the queues of tenants.
        let is_ours = ["consumer-", "argoworkflows-"]
            .iter()
            .any(|ours| text.starts_with(ours));
        if is_name && !is_ours {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidReplyQueue)
        }
    }
}

impl fmt::Display for ReplyQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl RequestId {
    /// Returns a new id.
    pub fn random() -> Self {
        Self(Uuid::now_v7().to_string())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for RequestId {
    type Err = InvalidRequestId;

    fn from_str(text: &str) -> Result<Self, InvalidRequestId> {
        let fits =
            |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b':' | b'-');
        let is_id = (1..=MAX_CHARS).contains(&text.len()) && text.bytes().all(fits);
        if is_id {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidRequestId)
        }
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl serde::Serialize for RequestId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_queue_is_none_of_the_platforms() {
        assert!("onboarding-replies".parse::<ReplyQueue>().is_ok());
        for text in [
            "",
            "a b",
            "https://sqs/1/q",
            "consumer-pool-1-abc",
            "argoworkflows-onboarding-queue",
            &"x".repeat(81),
        ] {
            assert_eq!(
                text.parse::<ReplyQueue>(),
                Err(InvalidReplyQueue),
                "{text:?}"
            );
        }
    }

    #[test]
    fn an_actor_is_one_line() {
        assert_eq!(" Ann ".parse::<Actor>().expect("a name").as_str(), "Ann");
        for text in ["", " ", "a\nRequest-Id: x", "a\u{2028}b", &"x".repeat(257)] {
            assert_eq!(text.parse::<Actor>(), Err(InvalidActor), "{text:?}");
        }
    }

    #[test]
    fn an_id_is_one_word_that_cannot_add_a_line_to_a_commit() {
        for text in ["a", "8f0f1f7e-6c1e-4f1c-9a43-2f7e6c1e4f1c", "order:17_b.2"] {
            assert_eq!(text.parse::<RequestId>().expect(text).as_str(), text);
        }
        for text in ["", " ", "a b", "a\nRequest: {}", "ä", &"x".repeat(129)] {
            assert_eq!(text.parse::<RequestId>(), Err(InvalidRequestId), "{text:?}");
        }
        assert_ne!(RequestId::random(), RequestId::random());
    }
}
