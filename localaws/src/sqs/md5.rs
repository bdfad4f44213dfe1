//! The MD5 digests in SQS responses, byte for byte as AWS computes them.
//!
//! SDKs check them and refuse a message whose digest differs.

use md5::{Digest as _, Md5};

use super::attributes::{AttributeData, AttributeValue};

/// Transport type byte of a text value.
const TEXT: u8 = 1;
/// Transport type byte of a binary value.
const BINARY: u8 = 2;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Digest(pub(crate) [u8; 16]);

impl Digest {
    pub(crate) fn of_body(body: &str) -> Self {
        Self(Md5::digest(body.as_bytes()).into())
    }

    /// Returns the digest of attributes, which must be sorted by name; `None` without attributes.
    pub(crate) fn of_attributes<'a>(
        attributes: impl IntoIterator<Item = (&'a str, &'a AttributeValue)>,
    ) -> Option<Self> {
        let mut hasher = Md5::new();
        let mut any = false;
        for (name, attribute) in attributes {
            any = true;
            field(&mut hasher, name.as_bytes());
            field(&mut hasher, attribute.data_type.as_bytes());
            match &attribute.value {
                AttributeData::Text(text) => {
                    hasher.update([TEXT]);
                    field(&mut hasher, text.as_bytes());
                }
                AttributeData::Binary(bytes) => {
                    hasher.update([BINARY]);
                    field(&mut hasher, bytes);
                }
            }
        }
        any.then(|| Self(hasher.finalize().into()))
    }

    pub(crate) fn hex(self) -> String {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut text = String::with_capacity(32);
        for byte in self.0 {
            text.push(char::from(DIGITS[usize::from(byte >> 4)]));
            text.push(char::from(DIGITS[usize::from(byte & 15)]));
        }
        text
    }
}

/// Hashes a field: its length as four bytes, big-endian, then its bytes.
fn field(hasher: &mut Md5, bytes: &[u8]) {
    let length = u32::try_from(bytes.len()).expect("a field is at most 1 MiB");
    hasher.update(length.to_be_bytes());
    hasher.update(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(data_type: &str, value: &str) -> AttributeValue {
        AttributeValue {
            data_type: data_type.into(),
            value: AttributeData::Text(value.into()),
        }
    }

    #[test]
    fn body_digest_is_plain_md5() {
        assert_eq!(
            Digest::of_body("This is a test message").hex(),
            "fafb00f5732ab283681e124bf8747ed1",
            "the vector of the SQS API reference"
        );
        assert_eq!(
            Digest::of_body("").hex(),
            "d41d8cd98f00b204e9800998ecf8427e"
        );
    }

    #[test]
    fn attribute_digest_matches_vectors_computed_by_boto_tooling() {
        let one = text("String", "attribute1");
        assert_eq!(
            Digest::of_attributes([("timestamp", &text("Number", "1493147359900"))])
                .unwrap()
                .hex(),
            "235c5c510d26fb653d073faed50ae77c",
            "the vector moto checks against AWS"
        );
        assert!(Digest::of_attributes([]).is_none());
        assert!(Digest::of_attributes([("a", &one)]).is_some());
    }
}
