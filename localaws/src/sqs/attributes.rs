//! Message attributes: types, rules, size, and the selection of a receive.

use std::collections::BTreeMap;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use super::{
    error::{SqsError, SqsResult},
    limits::{ATTRIBUTE_NAME_CHARS_MAX, MESSAGE_ATTRIBUTES_MAX},
};

/// Attributes of a message, sorted by name: the digest needs this order.
pub(crate) type MessageAttributes = BTreeMap<String, AttributeValue>;

/// One attribute: a data type (`String`, `Number` or `Binary`, with an optional `.label`) and a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AttributeValue {
    pub(crate) data_type: String,
    pub(crate) value: AttributeData,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum AttributeData {
    Text(String),
    Binary(Vec<u8>),
}

impl AttributeValue {
    fn value_bytes(&self) -> usize {
        match &self.value {
            AttributeData::Text(text) => text.len(),
            AttributeData::Binary(bytes) => bytes.len(),
        }
    }
}

/// One attribute in the JSON protocol.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct RawAttribute {
    data_type: Option<String>,
    string_value: Option<String>,
    #[serde(default, deserialize_with = "base64_bytes")]
    binary_value: Option<Vec<u8>>,
}

fn base64_bytes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<u8>>, D::Error> {
    let Some(text) = Option::<String>::deserialize(deserializer)? else {
        return Ok(None);
    };
    BASE64_STANDARD
        .decode(text)
        .map(Some)
        .map_err(|_| D::Error::custom("BinaryValue is not base64"))
}

impl Serialize for AttributeValue {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeMap as _;
        let mut map = serializer.serialize_map(Some(2))?;
        match &self.value {
            AttributeData::Text(text) => map.serialize_entry("StringValue", text)?,
            AttributeData::Binary(bytes) => {
                map.serialize_entry("BinaryValue", &BASE64_STANDARD.encode(bytes))?;
            }
        }
        map.serialize_entry("DataType", &self.data_type)?;
        map.end()
    }
}

/// Checks and parses the attributes of a message.
///
/// # Errors
/// `InvalidParameterValue` with AWS's text.
pub(crate) fn parse(raw: BTreeMap<String, RawAttribute>) -> SqsResult<MessageAttributes> {
    if raw.len() > MESSAGE_ATTRIBUTES_MAX {
        return Err(SqsError::InvalidParameterValue(format!(
            "Number of message attributes [{}] exceeds the allowed maximum [{MESSAGE_ATTRIBUTES_MAX}].",
            raw.len()
        )));
    }
    raw.into_iter()
        .map(|(name, value)| {
            check_name(&name)?;
            let value = parse_value(&name, value)?;
            Ok((name, value))
        })
        .collect()
}

/// Parses attributes from the store.
pub(crate) fn parse_stored(json: &[u8]) -> Option<MessageAttributes> {
    let raw: BTreeMap<String, RawAttribute> = serde_json::from_slice(json).ok()?;
    raw.into_iter()
        .map(|(name, raw)| {
            let value = match (raw.string_value, raw.binary_value) {
                (Some(text), None) => AttributeData::Text(text),
                (None, Some(bytes)) => AttributeData::Binary(bytes),
                _ => return None,
            };
            Some((
                name,
                AttributeValue {
                    data_type: raw.data_type?,
                    value,
                },
            ))
        })
        .collect()
}

/// Returns the share of the attributes in the size of a message: names, types and values.
pub(crate) fn size_bytes(attributes: &MessageAttributes) -> usize {
    attributes
        .iter()
        .map(|(name, a)| name.len() + a.data_type.len() + a.value_bytes())
        .sum()
}

/// Whether every character is allowed in a message body or text attribute.
pub(crate) fn is_valid_text(text: &str) -> bool {
    // Fast path: most text has no control bytes, and no byte EF, with which U+FFFE and U+FFFF begin.
    let suspicious = |b: u8| (b < 0x20 && !matches!(b, b'\t' | b'\n' | b'\r')) || b == 0xEF;
    if !text.bytes().any(suspicious) {
        return true;
    }
    text.chars().all(
        |c| matches!(c, '\t' | '\n' | '\r' | '\u{20}'..='\u{FFFD}' | '\u{10000}'..='\u{10FFFF}'),
    )
}

fn check_name(name: &str) -> SqsResult<()> {
    let lower = name.to_ascii_lowercase();
    let reason = if name.is_empty() || name.chars().count() > ATTRIBUTE_NAME_CHARS_MAX {
        "Message (user) attribute name must be between 1 and 256 characters long."
    } else if !name
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
    {
        "Message (user) attribute name can only contain alphanumeric characters, '_', '-' and '.'."
    } else if name.starts_with('.') || name.ends_with('.') || name.contains("..") {
        "Message (user) attribute name cannot start or end with '.', or contain two of them in a row."
    } else if lower.starts_with("aws.") || lower.starts_with("amazon.") {
        "You cannot use message attribute names that start with 'AWS.' or 'Amazon.'."
    } else {
        return Ok(());
    };
    Err(SqsError::InvalidParameterValue(format!(
        "{reason} Invalid name: '{name}'."
    )))
}

fn parse_value(name: &str, raw: RawAttribute) -> SqsResult<AttributeValue> {
    let invalid = |text: String| Err(SqsError::InvalidParameterValue(text));
    let data_type = raw.data_type.unwrap_or_default();
    let kind = data_type.split('.').next().unwrap_or_default();
    if data_type.chars().count() > ATTRIBUTE_NAME_CHARS_MAX {
        return invalid(format!(
            "The message attribute '{name}' has a type longer than 256 characters."
        ));
    }
    let empty = || {
        SqsError::InvalidParameterValue(format!(
            "Message (user) attribute '{name}' must contain a non-empty value of type '{kind}'."
        ))
    };
    let value = match kind {
        "String" | "Number" => {
            if raw.binary_value.is_some() {
                return invalid(format!(
                    "The message attribute '{name}' of type '{kind}' has a binary value."
                ));
            }
            let text = raw
                .string_value
                .filter(|text| !text.is_empty())
                .ok_or_else(empty)?;
            if !is_valid_text(&text) {
                return invalid(SqsError::InvalidMessageContents.to_string());
            }
            if kind == "Number" && text.trim().parse::<f64>().map_or(true, |n| !n.is_finite()) {
                return invalid(format!(
                    "Can't cast the value of message (user) attribute '{name}' to a number."
                ));
            }
            AttributeData::Text(text)
        }
        "Binary" => {
            if raw.string_value.is_some() {
                return invalid(format!(
                    "The message attribute '{name}' of type '{kind}' has a text value."
                ));
            }
            AttributeData::Binary(
                raw.binary_value
                    .filter(|bytes| !bytes.is_empty())
                    .ok_or_else(empty)?,
            )
        }
        "" => {
            return invalid(format!(
                "The message attribute '{name}' must contain a message attribute type."
            ));
        }
        _ => {
            return invalid(format!(
                "The message attribute '{name}' has an invalid message attribute type, the set of supported type \
                 prefixes is Binary, Number, and String."
            ));
        }
    };
    Ok(AttributeValue { data_type, value })
}

/// Attributes that a receive requests: names, `All`, `.*`, or a prefix written `prefix.*`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Selection {
    all: bool,
    names: Vec<String>,
    prefixes: Vec<String>,
}

impl Selection {
    pub(crate) fn new(requested: Vec<String>) -> Self {
        let mut selection = Self::default();
        for name in requested {
            match name.as_str() {
                "All" | ".*" => selection.all = true,
                _ => match name.strip_suffix(".*") {
                    Some(prefix) => selection.prefixes.push(prefix.to_owned()),
                    None => selection.names.push(name),
                },
            }
        }
        selection
    }

    pub(crate) fn contains(&self, name: &str) -> bool {
        self.all
            || self.names.iter().any(|selected| selected == name)
            || self
                .prefixes
                .iter()
                .any(|prefix| name.starts_with(prefix.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(name: &str, json: &str) -> SqsResult<MessageAttributes> {
        parse(BTreeMap::from([(
            name.to_owned(),
            serde_json::from_str(json).unwrap(),
        )]))
    }

    #[test]
    fn typed_values_survive_the_store() {
        let text = one("a", r#"{"DataType":"String.label","StringValue":"x"}"#).unwrap();
        let bytes = one("b", r#"{"DataType":"Binary","BinaryValue":"AAH/"}"#).unwrap();
        for attributes in [text, bytes] {
            let stored = serde_json::to_vec(&attributes).unwrap();
            assert_eq!(parse_stored(&stored).unwrap(), attributes);
        }
    }

    #[test]
    fn names_and_values_follow_the_rules_of_aws() {
        let good = r#"{"DataType":"String","StringValue":"x"}"#;
        for name in [
            "",
            ".a",
            "a.",
            "a..b",
            "aws.x",
            "Amazon.x",
            "a b",
            &"n".repeat(257),
        ] {
            assert!(one(name, good).is_err(), "{name}");
        }
        for name in ["a", "a.b", "A-_9", &"n".repeat(256)] {
            assert!(one(name, good).is_ok(), "{name}");
        }
        for value in [
            r#"{"DataType":"String","StringValue":""}"#,
            r#"{"DataType":"String"}"#,
            r#"{"DataType":"Number","StringValue":"ten"}"#,
            r#"{"DataType":"Binary","StringValue":"x"}"#,
            r#"{"DataType":"Float","StringValue":"1"}"#,
            r#"{"StringValue":"1"}"#,
            r#"{"DataType":"String","StringValue":"\u0001"}"#,
        ] {
            assert!(one("a", value).is_err(), "{value}");
        }
        assert!(one("a", r#"{"DataType":"Number.int","StringValue":"-1.5e3"}"#).is_ok());
    }

    #[test]
    fn the_eleventh_attribute_is_refused() {
        let many = |n: usize| {
            (0..n)
                .map(|i| {
                    let raw =
                        serde_json::from_str(r#"{"DataType":"String","StringValue":"x"}"#).unwrap();
                    (format!("a{i}"), raw)
                })
                .collect()
        };
        assert!(parse(many(10)).is_ok());
        assert!(parse(many(11)).is_err());
    }

    #[test]
    fn text_has_only_characters_that_xml_allows() {
        assert!(is_valid_text("tab\t newline\n ümlaut 🦀 \u{FFFD} \u{E000}"));
        for bad in ["\u{0}", "a\u{1}", "\u{FFFE}", "\u{FFFF}"] {
            assert!(!is_valid_text(bad), "{bad:?}");
        }
    }

    #[test]
    fn a_receive_selects_attributes_by_name_prefix_or_all() {
        let selection = Selection::new(vec!["id".into(), "trace.*".into()]);
        assert!(
            selection.contains("id")
                && selection.contains("trace.parent")
                && !selection.contains("other")
        );
        assert!(Selection::new(vec!["All".into()]).contains("x"));
        assert!(Selection::new(vec![".*".into()]).contains("x"));
        assert!(!Selection::default().contains("x"));
    }
}
