//! Meaning and notation of scalars.
//!
//! The meaning is YAML 1.2's core schema. Kubernetes' readers agree on it once YAML 1.1's words for truth values are quoted;
//! [`is_ambiguous`] finds unquoted ones.

use serde_json::{Number, Value};

/// The notation of a scalar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    Plain,
    Single,
    Double,
    /// `
    /// ` or `>`.
    Block,
}

/// Returns the meaning of a scalar.
pub(super) fn resolve(text: &str, style: Style) -> Value {
    if style != Style::Plain {
        return Value::String(text.to_owned());
    }
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "true" | "True" | "TRUE" => Value::Bool(true),
        "false" | "False" | "FALSE" => Value::Bool(false),
        _ => number(text).map_or_else(|| Value::String(text.to_owned()), Value::Number),
    }
}

/// Whether a scalar means text.
pub(super) fn resolves_to_text(text: &str, style: Style) -> bool {
    style != Style::Plain || resolve(text, style).is_string()
}

/// Whether YAML readers disagree on the meaning of a plain scalar.
pub(crate) fn is_ambiguous(text: &str) -> bool {
    let words = ["y", "n", "yes", "no", "on", "off"];
    let digits = text.trim_start_matches(['-', '+']);
    let is_number_like = digits.starts_with(|first: char| first.is_ascii_digit());
    words.iter().any(|word| text.eq_ignore_ascii_case(word))
        || matches!(digits, ".inf" | ".Inf" | ".INF" | ".nan" | ".NaN" | ".NAN")
        || is_number_like
            && (digits.len() > 1
                && digits.starts_with('0')
                && digits.bytes().all(|byte| byte.is_ascii_digit())
                || digits.starts_with("0b")
                || digits
                    .bytes()
                    .all(|byte| byte.is_ascii_digit() || byte == b'_')
                    && digits.contains('_')
                || digits
                    .bytes()
                    .all(|byte| byte.is_ascii_digit() || byte == b':')
                    && digits.contains(':'))
}

/// A number of the core schema that JSON can hold.
fn number(text: &str) -> Option<Number> {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    if !unsigned.starts_with(|first: char| first.is_ascii_digit() || first == '.') {
        return None;
    }
    if let Some(digits) = text.strip_prefix("0x") {
        return u64::from_str_radix(digits, 16).ok().map(Number::from);
    }
    if let Some(digits) = text.strip_prefix("0o") {
        return u64::from_str_radix(digits, 8).ok().map(Number::from);
    }
    if unsigned.bytes().all(|byte| byte.is_ascii_digit()) {
        let whole = text.strip_prefix('+').unwrap_or(text);
        if let Ok(number) = whole.parse::<i64>() {
            return Some(number.into());
        }
        if let Ok(number) = whole.parse::<u64>() {
            return Some(number.into());
        }
    }
    let is_float = unsigned.bytes().any(|byte| byte.is_ascii_digit())
        && unsigned
            .bytes()
            .all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'e' | b'E' | b'-' | b'+'));
    if is_float {
        text.parse::<f64>().ok().and_then(Number::from_f64)
    } else {
        None
    }
}

/// Returns a value in one line, with as few quotes as possible. Collections are in flow style.
pub(crate) fn inline(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(truth) => truth.to_string(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => text_inline(text),
        Value::Array(items) => format!(
            "[{}]",
            items.iter().map(inline).collect::<Vec<_>>().join(", ")
        ),
        Value::Object(map) => {
            let pair = |(key, value): (&String, &Value)| {
                format!("{}: {}", text_inline(key), inline(value))
            };
            format!(
                "{{{}}}",
                map.iter().map(pair).collect::<Vec<_>>().join(", ")
            )
        }
    }
}

/// Returns a scalar in the quotes of the replaced scalar.
pub(crate) fn quote_like(value: &Value, style: Style) -> String {
    match (value, style) {
        (Value::String(text), Style::Double) => double_quoted(text),
        (Value::String(text), Style::Single) if is_harmless(text) => format!("'{text}'"),
        _ => inline(value),
    }
}

fn text_inline(text: &str) -> String {
    let stays_text =
        is_harmless(text) && resolves_to_text(text, Style::Plain) && !is_ambiguous(text);
    if stays_text {
        text.to_owned()
    } else {
        double_quoted(text)
    }
}

/// Whether a text has no character with a meaning in YAML, in any context.
fn is_harmless(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphanumeric())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'/'))
}

/// Returns a JSON string, which is a double-quoted YAML scalar, with the characters escaped that YAML alone forbids.
fn double_quoted(text: &str) -> String {
    let json = Value::String(text.to_owned()).to_string();
    let must_escape = |c: char| {
        c == '\u{7f}'
            || (c.is_control() && !c.is_ascii())
            || matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}')
    };
    let mut quoted = String::with_capacity(json.len());
    for character in json.chars() {
        if must_escape(character) {
            quoted.push_str(&format!("\\u{:04x}", u32::from(character)));
        } else {
            quoted.push(character);
        }
    }
    quoted
}
