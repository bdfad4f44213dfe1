//! Meaning and notation of scalars.
//!
//! The meaning is YAML 1.2's core schema. Other readers of the same file resolve some plain scalars otherwise: kustomize, Helm
//! and the readers of YAML 1.1. [`is_ambiguous`] compares the resolvers, so that a file without such scalars means the same to
//! all of them.

use std::sync::LazyLock;

use regex_lite::Regex;
use serde_json::{Number, Value};

/// The notation of a scalar. Every notation but `Plain` means text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    Plain,
    Single,
    Double,
    Block,
    /// A scalar with a tag that is not the tag of text: go-yaml takes its value for text, and a key with it for something else.
    Tagged,
}

impl From<tenantry_goyaml::Style> for Style {
    fn from(style: tenantry_goyaml::Style) -> Self {
        match style {
            tenantry_goyaml::Style::Plain => Self::Plain,
            tenantry_goyaml::Style::Single => Self::Single,
            tenantry_goyaml::Style::Double => Self::Double,
            tenantry_goyaml::Style::Block => Self::Block,
        }
    }
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

/// The meaning that one resolver gives to a plain scalar.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Meaning {
    Null,
    Bool(bool),
    Number(f64),
    Text,
    Time,
    /// YAML 1.1's merge key `<<` and default value `=`.
    Special,
}

/// Whether YAML readers disagree on the meaning of a plain scalar.
pub(crate) fn is_ambiguous(text: &str) -> bool {
    let meaning = core(text);
    [kustomize(text), kustomization(text), yaml_1_1(text)]
        .iter()
        .any(|other| *other != meaning)
}

/// Resolves as YAML 1.2's core schema.
fn core(text: &str) -> Meaning {
    match resolve(text, Style::Plain) {
        Value::Null => Meaning::Null,
        Value::Bool(truth) => Meaning::Bool(truth),
        Value::Number(number) => number.as_f64().map_or(Meaning::Text, Meaning::Number),
        _ => Meaning::Text,
    }
}

/// Resolves as kustomize does in objects and patches: go-yaml v3.
pub(super) fn kustomize(text: &str) -> Meaning {
    go_yaml(text)
}

/// Resolves as kustomize does in a `kustomization.yaml`, and Helm in values: go-yaml v2, which knows YAML 1.1's truth values.
pub(super) fn kustomization(text: &str) -> Meaning {
    match text {
        "y" | "Y" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" => Meaning::Bool(true),
        "n" | "N" | "no" | "No" | "NO" | "off" | "Off" | "OFF" => Meaning::Bool(false),
        _ => go_yaml(text),
    }
}

/// Returns the meaning of a scalar as JSON: in an object, or in a list or a JSON patch.
pub(super) fn json(text: &str, style: Style, is_object: bool) -> Value {
    let resolve = if is_object { kustomize } else { kustomization };
    let meaning = if style == Style::Plain {
        resolve(text)
    } else {
        Meaning::Text
    };
    match meaning {
        Meaning::Null => Value::Null,
        Meaning::Bool(truth) => truth.into(),
        Meaning::Number(number) => json_number(number).map_or(Value::Null, Value::Number),
        // A date of an object becomes a moment.
        Meaning::Time if is_object && text.len() == "2026-01-31".len() => {
            format!("{text}T00:00:00Z").into()
        }
        Meaning::Text | Meaning::Time | Meaning::Special => text.into(),
    }
}

/// A whole number is equal however it is written.
fn json_number(number: f64) -> Option<Number> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if number.fract() == 0.0 && number.abs() <= EXACT {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "a whole number of at most 53 bits"
        )]
        return Some((number as i64).into());
    }
    Number::from_f64(number)
}

/// Resolves as both versions of go-yaml do, in the order of their `resolve`.
fn go_yaml(text: &str) -> Meaning {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Meaning::Null,
        "true" | "True" | "TRUE" => return Meaning::Bool(true),
        "false" | "False" | "FALSE" => return Meaning::Bool(false),
        ".nan" | ".NaN" | ".NAN" => return Meaning::Number(f64::NAN),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => {
            return Meaning::Number(f64::INFINITY);
        }
        "-.inf" | "-.Inf" | "-.INF" => return Meaning::Number(f64::NEG_INFINITY),
        _ => {}
    }
    match text.as_bytes()[0] {
        b'.' => go_float(text).map_or(Meaning::Text, Meaning::Number),
        b'0'..=b'9' | b'+' | b'-' if is_time(text) => Meaning::Time,
        b'0'..=b'9' | b'+' | b'-' => {
            let plain = text.replace('_', "");
            go_integer(&plain)
                .or_else(|| go_float(&plain))
                .map_or(Meaning::Text, Meaning::Number)
        }
        _ => Meaning::Text,
    }
}

/// Parses an integer as Go's `strconv` does with base 0: `0x`, `0o`, `0b` in both cases, and a leading zero for octal.
pub(super) fn go_integer(text: &str) -> Option<f64> {
    let (is_negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let (base, digits) = match digits.as_bytes() {
        [b'0', b'x' | b'X', ..] => (16, &digits[2..]),
        [b'0', b'o' | b'O', ..] => (8, &digits[2..]),
        [b'0', b'b' | b'B', ..] => (2, &digits[2..]),
        [b'0', _, ..] => (8, &digits[1..]),
        _ => (10, digits),
    };
    // A second sign is not a digit.
    if !digits.starts_with(|first: char| first.is_digit(base)) {
        return None;
    }
    let number = u64::from_str_radix(digits, base).ok()?;
    let fits = !is_negative || number <= 1 << 63;
    #[expect(
        clippy::cast_precision_loss,
        reason = "two readers are compared, not a value computed"
    )]
    let number = number as f64;
    fits.then_some(if is_negative { -number } else { number })
}

/// Parses a decimal float; go-yaml takes no other notation.
fn go_float(text: &str) -> Option<f64> {
    static FLOAT: LazyLock<Regex> =
        LazyLock::new(|| pattern(r"^[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?$"));
    FLOAT.is_match(text).then(|| text.parse().ok())?
}

/// Whether go-yaml or YAML 1.1 reads a time stamp. The two have different notations; each counts.
fn is_time(text: &str) -> bool {
    static TIME: LazyLock<Regex> = LazyLock::new(|| {
        pattern(concat!(
            r"^[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}",
            r"(([Tt]|[ \t]+)[0-9]{1,2}:[0-9]{1,2}:[0-9]{1,2}([.,][0-9]*)?([ \t]*(Z|[-+][0-9]{1,2}(:?[0-9]{2})?))?)?$"
        ))
    });
    TIME.is_match(text)
}

/// Resolves as the type repository of YAML 1.1 says.
fn yaml_1_1(text: &str) -> Meaning {
    static INTEGER: LazyLock<Regex> = LazyLock::new(|| {
        pattern(
            r"^[-+]?(0b[0-1_]+|0[0-7_]+|0|[1-9][0-9_]*|0x[0-9a-fA-F_]+|[1-9][0-9_]*(:[0-5]?[0-9])+)$",
        )
    });
    static FLOAT: LazyLock<Regex> = LazyLock::new(|| {
        pattern(concat!(
            r"^([-+]?([0-9][0-9_]*)\.[0-9_]*([eE][-+][0-9]+)?|[-+]?\.[0-9_]+([eE][-+][0-9]+)?",
            r"|[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+\.[0-9_]*)$"
        ))
    });
    let meaning = kustomization(text);
    match text {
        "<<" | "=" => Meaning::Special,
        _ if !text.starts_with(|first: char| first.is_ascii_digit() || "+-.".contains(first)) => {
            meaning
        }
        _ if text.ends_with(|last: char| last.is_ascii_alphabetic())
            && text.trim_start_matches(['+', '-']).starts_with('.') =>
        {
            meaning
        }
        _ if text.contains(':') && (INTEGER.is_match(text) || FLOAT.is_match(text)) => {
            // Base 60: no other reader gives this number.
            Meaning::Special
        }
        _ if INTEGER.is_match(text) => {
            let digits = text.replace('_', "");
            go_integer(&digits).map_or(Meaning::Special, Meaning::Number)
        }
        _ if FLOAT.is_match(text) => {
            let plain = text.replace('_', "");
            go_float(&plain).map_or(Meaning::Special, Meaning::Number)
        }
        _ if is_time(text) => Meaning::Time,
        _ => Meaning::Text,
    }
}

fn pattern(pattern: &str) -> Regex {
    Regex::new(pattern).expect("the pattern is a constant")
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
