//! Numbers of a request in the form that AWS stores and returns.
//!
//! DynamoDB compares numbers; dynoxide compares the texts of a set's members and of the keys in a batch read. With one
//! text per number the two agree.

use std::borrow::Cow;

use dynoxide::types::normalize_dynamo_number;
use serde_json::Value;

/// Whether a request may hold a number.
pub(super) fn may_hold_numbers(body: &[u8]) -> bool {
    // A `\` may spell a letter.
    [&b"\"N\""[..], b"\"NS\"", b"\\u"]
        .iter()
        .any(|part| body.windows(part.len()).any(|window| window == *part))
}

/// Rewrites every number of a request; returns whether one has changed. A text that is no number stays, so that
/// dynoxide refuses it as it is.
pub(super) fn normalize(value: &mut Value) -> bool {
    let mut is_changed = false;
    match value {
        Value::Array(values) => {
            for value in values {
                is_changed |= normalize(value);
            }
        }
        Value::Object(members) => {
            for (name, value) in members {
                is_changed |= match (name.as_str(), &mut *value) {
                    ("N", Value::String(number)) => normalize_number(number),
                    ("NS", Value::Array(numbers)) => normalize_set(numbers),
                    _ => normalize(value),
                };
            }
        }
        _ => {}
    }
    is_changed
}

fn normalize_set(numbers: &mut [Value]) -> bool {
    let mut is_changed = false;
    for number in numbers {
        is_changed |= match number {
            Value::String(number) => normalize_number(number),
            // The attribute `NS` of a map of lists.
            other => normalize(other),
        };
    }
    is_changed
}

fn normalize_number(number: &mut String) -> bool {
    let normal: Cow<'_, str> = normalize_dynamo_number(number).into();
    let is_changed = normal != *number && !number.trim().is_empty();
    if is_changed {
        *number = normal.into_owned();
    }
    is_changed
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_number_has_one_text_wherever_it_is() {
        let mut request = json!({
            "Key": {"N": {"N": "01.0"}},
            "ExpressionAttributeNames": {"#n": "1.0"},
            "ExpressionAttributeValues": {
                ":s": {"NS": ["2.0", "1e2", "-0", "0.10"]},
                ":l": {"L": [{"N": "1.5E+1"}, {"M": {"x": {"NS": ["007"]}}}]},
                ":t": {"S": "1.0"},
            },
            "RequestItems": {"NS": [{"PutRequest": {"Item": {"a": {"N": "1.00"}}}}]},
        });
        assert!(normalize(&mut request));
        assert_eq!(
            request,
            json!({
                "Key": {"N": {"N": "1"}},
                "ExpressionAttributeNames": {"#n": "1.0"},
                "ExpressionAttributeValues": {
                    ":s": {"NS": ["2", "100", "0", "0.1"]},
                    ":l": {"L": [{"N": "15"}, {"M": {"x": {"NS": ["7"]}}}]},
                    ":t": {"S": "1.0"},
                },
                "RequestItems": {"NS": [{"PutRequest": {"Item": {"a": {"N": "1"}}}}]},
            })
        );
        assert!(!normalize(&mut request), "a normal request does not change");
    }

    #[test]
    fn what_is_no_number_stays_as_it_is() {
        for text in ["", " ", "abc", "1e999", "1e-2147483647", "1.2.3"] {
            let mut value = json!({"N": text});
            assert!(!normalize(&mut value), "{text:?}");
            assert_eq!(value, json!({"N": text}));
        }
    }

    #[test]
    fn only_requests_with_numbers_are_parsed() {
        for (body, holds) in [
            (r#"{"Key":{"a":{"S":"N"}}}"#, true),
            (r#"{"Key":{"a":{"S":"1"}}}"#, false),
            (r#"{"Key":{"a":{"N":"1"}}}"#, true),
            (r#"{"Key":{"a":{"\u004e":"1"}}}"#, true),
        ] {
            assert_eq!(may_hold_numbers(body.as_bytes()), holds, "{body}");
        }
    }
}
