//! Rules for the members of a put: value, `AllowedPattern`, `DataType`, `KeyId`. Pure.

use fancy_regex::Regex;

use super::{
    error::{SsmError, SsmResult},
    parameters::Kind,
    patterns,
};

/// Characters of an `AllowedPattern`, a `KeyId` and a `DataType` (AWS).
const PATTERN_CHARS_MAX: usize = 1_024;
const KEY_ID_CHARS_MAX: usize = 256;
/// The data type of an Amazon Machine Image's id.
const IMAGE: &str = "aws:ec2:image";
/// Characters of an image's id after `ami-`: the short form and the long one (AWS).
const IMAGE_ID_CHARS: std::ops::RangeInclusive<usize> = 8..=17;

/// Checks a value without its limit, which is the tier's.
///
/// # Errors
/// `ValidationException`.
pub(super) fn check_value(value: &str, kind: Kind) -> SsmResult<()> {
    if value.is_empty() {
        return Err(SsmError::Validation(
            "1 validation error detected: Value '' at 'value' failed to satisfy constraint: Member must have length \
             greater than or equal to 1"
                .into(),
        ));
    }
    if kind == Kind::StringList && value.split(',').any(str::is_empty) {
        return Err(SsmError::Validation(
            "The values of a StringList must not be empty.".into(),
        ));
    }
    if value
        .split_once("{{")
        .is_some_and(|(_, rest)| rest.contains("}}"))
    {
        return Err(SsmError::Validation(
            "Parameter value can't nest another parameter. Do not use \"{{}}\" in the value."
                .into(),
        ));
    }
    Ok(())
}

/// Checks a pattern, and that it matches the whole value. AWS documents `\d{1,4}` to refuse `10,000`.
///
/// # Errors
/// `InvalidAllowedPatternException`, `ParameterPatternMismatchException`; `ValidationException` for a long pattern.
pub(super) fn check_pattern(pattern: &str, value: &str) -> SsmResult<()> {
    if pattern.chars().count() > PATTERN_CHARS_MAX {
        return Err(too_long("allowedPattern", PATTERN_CHARS_MAX));
    }
    if pattern.is_empty() {
        return Ok(());
    }
    // The pattern is compiled alone first: `a)(b` is invalid alone, but would be valid inside the group.
    let invalid = || SsmError::InvalidAllowedPattern(pattern.to_owned());
    let translated = patterns::translate(pattern).ok_or_else(invalid)?;
    let whole = Regex::new(&translated).and_then(|_| Regex::new(&format!(r"\A(?:{translated})\z")));
    let whole = whole.map_err(|_| invalid())?;
    // The match fails with an error if it needs too many steps. Such a value counts as not matching.
    if whole.is_match(value).unwrap_or(false) {
        return Ok(());
    }
    Err(SsmError::PatternMismatch(pattern.to_owned()))
}

/// Checks a data type for a kind of parameter.
///
/// # Errors
/// `ValidationException`.
pub(super) fn check_data_type(data_type: &str, kind: Kind) -> SsmResult<()> {
    match (data_type, kind) {
        ("text" | "aws:ssm:integration", _) | (IMAGE, Kind::String) => Ok(()),
        (IMAGE, _) => Err(SsmError::Validation(format!(
            "The data type {IMAGE} is valid for parameters of the type String only, not {}.",
            kind.name()
        ))),
        _ => Err(SsmError::Validation(format!(
            "The following data type is not supported: {data_type} (Data type names are all lowercase.)"
        ))),
    }
}

/// Whether AWS stores the value of this data type. It answers the put of a malformed image id with success, and then
/// neither creates nor changes the parameter.
pub(super) fn is_stored(data_type: &str, value: &str) -> bool {
    data_type != IMAGE
        || value.strip_prefix("ami-").is_some_and(|id| {
            IMAGE_ID_CHARS.contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric())
        })
}

/// Checks a key id. There are no keys here, so each well-formed one exists.
///
/// # Errors
/// `ValidationException`, also for a key of a parameter that is not encrypted.
pub(super) fn check_key_id(key_id: &str, kind: Kind) -> SsmResult<()> {
    if kind != Kind::SecureString {
        return Err(SsmError::Validation(
            "KeyId is required for SecureString type parameter only.".into(),
        ));
    }
    if key_id.chars().count() > KEY_ID_CHARS_MAX {
        return Err(too_long("keyId", KEY_ID_CHARS_MAX));
    }
    let is_key_byte = |b: u8| b.is_ascii_alphanumeric() || b":/_-".contains(&b);
    if key_id.is_empty() || !key_id.bytes().all(is_key_byte) {
        return Err(SsmError::Validation(format!(
            "1 validation error detected: Value '{key_id}' at 'keyId' failed to satisfy constraint: Member must satisfy \
             regular expression pattern: ^([a-zA-Z0-9:/_-]+)$"
        )));
    }
    Ok(())
}

/// Returns AWS's error for a member that is too long.
pub(super) fn too_long(member: &str, max: usize) -> SsmError {
    SsmError::Validation(format!(
        "1 validation error detected: Value at '{member}' failed to satisfy constraint: Member must have length less \
         than or equal to {max}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_matches_the_whole_value_in_the_syntax_of_java() {
        for (pattern, value) in [
            ("", "anything"),
            (r"^\d+$", "42"),
            (r"\d{1,4}", "1000"),
            ("a|ab", "ab"),
            (r"(?=.*[A-Z])(?=.*\d).{8,20}", "Passw0rd"),
            (r"(\w+)-\1", "ab-ab"),
            ("[a-z]++", "abc"),
            (r"\Qa.b\E+", "a.bb"),
            (r"\p{XDigit}+", "0aF"),
            (r"\p{javaLowerCase}+", "ab"),
            (r"[\p{Alpha}\d-]+", "a-1"),
            (r"[^\s]+", "ab"),
            (r"\07\011", "\x07\t"),
            (r"a\hb", "a\tb"),
            (r"\p{L}+", "ä"),
            ("a{2}b{1,}c{1,2}", "aabc"),
            (r"a\{2", "a{2"),
            ("[{]", "{"),
        ] {
            assert_eq!(check_pattern(pattern, value), Ok(()), "{pattern} {value}");
        }
        for (pattern, value) in [
            (r"^\d+$", "42a"),
            (r"\d{1,4}", "10,000"),
            ("a|ab", "abb"),
            (r"^\d+$", "42\n"),
            (r"(?=.*[A-Z])(?=.*\d).{8,20}", "password"),
            (r"\d+", "\u{663}"),
            (r"\w+", "\u{e4}"),
            (r"\s+", "\u{2003}"),
            (r"\Qa.b\E", "axb"),
        ] {
            assert_eq!(
                check_pattern(pattern, value),
                Err(SsmError::PatternMismatch(pattern.into())),
                "{pattern} {value}"
            );
        }
        for pattern in [
            "(", "[a", "a)(b", "*", "a{2", "a{,3}", "a{b}", "a(?#c)b", "a\\",
        ] {
            assert_eq!(
                check_pattern(pattern, "x"),
                Err(SsmError::InvalidAllowedPattern(pattern.into())),
                "{pattern}"
            );
        }
        assert!(check_pattern(&"x".repeat(1_025), "x").is_err());
    }

    #[test]
    fn a_pattern_that_needs_too_many_steps_is_a_mismatch() {
        let value = "a".repeat(60);
        assert!(check_pattern(r"(a+)+\1b", &value).is_err());
    }

    #[test]
    fn data_types_and_keys_belong_to_their_kinds() {
        use Kind::{SecureString, String, StringList};
        for (data_type, kind, good) in [
            ("text", String, true),
            ("text", SecureString, true),
            (IMAGE, String, true),
            (IMAGE, StringList, false),
            (IMAGE, SecureString, false),
            ("aws:ssm:integration", SecureString, true),
            ("Text", String, false),
            ("aws:ec2:instance", String, false),
            ("", String, false),
        ] {
            assert_eq!(
                check_data_type(data_type, kind).is_ok(),
                good,
                "{data_type} {kind:?}"
            );
        }
        for (key, kind, good) in [
            ("alias/aws/ssm", SecureString, true),
            (
                "arn:aws:kms:us-east-1:000000000000:key/1234abcd",
                SecureString,
                true,
            ),
            ("alias/aws/ssm", String, false),
            ("alias/aws/ssm", StringList, false),
            ("", SecureString, false),
            ("a key", SecureString, false),
            (&"k".repeat(257), SecureString, false),
        ] {
            assert_eq!(check_key_id(key, kind).is_ok(), good, "{key} {kind:?}");
        }
    }

    #[test]
    fn a_value_that_names_another_parameter_is_refused() {
        for bad in ["", "{{}}", "{{ssm:a}}", "x {{ssm:a}} y"] {
            assert!(check_value(bad, Kind::String).is_err(), "{bad}");
        }
        for good in ["{}", "{{", "}} {{", "{\"a\":{\"b\":1}}"] {
            assert_eq!(check_value(good, Kind::String), Ok(()), "{good}");
        }
        for (id, stored) in [
            ("ami-12345678", true),
            ("ami-12345abcdeEXAMPLE", true),
            ("ami-", false),
            ("image-12345678", false),
            ("ami-1234567", false),
        ] {
            assert_eq!(is_stored(IMAGE, id), stored, "{id}");
            assert!(is_stored("text", id));
        }
    }
}
