//! The id of a request, equal in all its repeats.

use std::fmt;
use std::str::FromStr;

use uuid::Uuid;

const MAX_CHARS: usize = 128;

/// An id of 1 to 128 letters, digits and `. _ : -`: one word, which cannot add a line to a commit message.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RequestId(String);

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a request id is 1 to {MAX_CHARS} letters, digits and . _ : -")]
pub struct InvalidRequestId;

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
