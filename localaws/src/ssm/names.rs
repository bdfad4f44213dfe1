//! Names of parameters: checks, selectors, ARNs.

use super::error::{SsmError, SsmResult};
use crate::arn_scope::ArnScope;

/// Characters of a name together with the ARN before it (AWS).
const NAME_CHARS_MAX: usize = 1_011;
/// Levels of a hierarchy (AWS).
const LEVELS_MAX: usize = 15;
/// AWS's text for a name with a character that names do not have.
const NAME_RULE: &str = "Parameter name: can't be prefixed with \"ssm\" (case-insensitive). If formed as a path, it can \
    consist of sub-paths divided by slash symbol; each sub-path can be formed as a mix of letters, numbers and the \
    following 3 symbols .-_";

/// Checks the name of a new parameter. A selector and an ARN are no names: writes take neither.
///
/// # Errors
/// `ValidationException`; `AccessDeniedException` for reserved names; `HierarchyLevelLimitExceededException`.
pub(crate) fn check(name: &str, scope: &ArnScope) -> SsmResult<()> {
    let invalid = |text: String| Err(SsmError::Validation(text));
    let prefix_chars = format!("{}parameter/", scope.prefix("ssm")).len();
    let chars = name.trim_start_matches('/').chars().count();
    if name.is_empty() || prefix_chars + chars > NAME_CHARS_MAX {
        return invalid(format!(
            "The parameter name must be 1 to {} characters long.",
            NAME_CHARS_MAX - prefix_chars
        ));
    }
    let first_level = name
        .trim_start_matches('/')
        .split('/')
        .next()
        .unwrap_or_default()
        .to_ascii_lowercase();
    if first_level.starts_with("aws") {
        return Err(SsmError::ReservedName(name.to_owned()));
    }
    let well_formed = name.bytes().all(is_name_byte)
        && !name.contains("//")
        && !name.ends_with('/')
        && !first_level.starts_with("ssm");
    if !well_formed {
        return invalid(NAME_RULE.to_owned());
    }
    if name.contains('/') && !name.starts_with('/') {
        return invalid("Parameter name must be a fully qualified name.".into());
    }
    if name.matches('/').count() > LEVELS_MAX {
        return Err(SsmError::HierarchyLevelLimitExceeded(LEVELS_MAX));
    }
    Ok(())
}

/// Checks the path of a listing.
///
/// # Errors
/// `ValidationException`; `HierarchyLevelLimitExceededException`.
pub(crate) fn check_path(path: &str) -> SsmResult<()> {
    if !path.starts_with('/') || !path.bytes().all(is_name_byte) {
        return Err(SsmError::Validation(
            "The parameter doesn't meet the parameter name requirements. The parameter name must begin with a forward \
             slash \"/\". It must use only letters, numbers, or the following symbols: . (period), - (hyphen), _ \
             (underscore). Special characters are not allowed. All sub-paths, if specified, must use the forward slash \
             symbol \"/\"."
                .into(),
        ));
    }
    if path.trim_end_matches('/').matches('/').count() > LEVELS_MAX {
        return Err(SsmError::HierarchyLevelLimitExceeded(LEVELS_MAX));
    }
    Ok(())
}

/// Returns a name without the spaces around it, which AWS removes.
pub(crate) fn exact(text: &str) -> &str {
    text.trim_matches(' ')
}

fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"_.-/".contains(&byte)
}

/// The parameter that a read names, with an optional version or label. Writes take plain names.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Selector<'a> {
    pub(crate) name: &'a str,
    /// Whether the name is from an ARN, which shows no leading slash.
    pub(crate) is_arn: bool,
    /// Version or label, as in the request.
    pub(crate) version: Option<&'a str>,
}

impl<'a> Selector<'a> {
    /// Parses `name`, `name:version`, `name:label`, or an ARN of them.
    ///
    /// # Errors
    /// `ValidationException` for any other form; `ParameterNotFound` for another account's or region's ARN.
    pub(crate) fn parse(text: &'a str, scope: &ArnScope) -> SsmResult<Self> {
        let text = exact(text);
        let prefix = format!("{}parameter/", scope.prefix("ssm"));
        let (path, is_arn) = match text.strip_prefix(&prefix) {
            Some(path) => (path, true),
            None if text.starts_with("arn:") => {
                return Err(SsmError::ParameterNotFound(text.to_owned()));
            }
            None => (text, false),
        };
        let (name, version) = match path.split_once(':') {
            Some((name, version)) => (name, Some(version)),
            None => (path, None),
        };
        let is_selector = |version: &str| {
            !version.is_empty() && !version.contains('/') && version.bytes().all(is_name_byte)
        };
        if name.is_empty() || !name.bytes().all(is_name_byte) || !version.is_none_or(is_selector) {
            return Err(SsmError::Validation(NAME_RULE.to_owned()));
        }
        Ok(Self {
            name,
            is_arn,
            version,
        })
    }

    /// Parses a name or an ARN, without version or label.
    ///
    /// # Errors
    /// As [`Selector::parse`]; `ParameterNotFound` with a version or label.
    pub(crate) fn parse_name(text: &'a str, scope: &ArnScope) -> SsmResult<Self> {
        let selector = Self::parse(text, scope)?;
        if selector.version.is_some() {
            return Err(SsmError::ParameterNotFound(text.to_owned()));
        }
        Ok(selector)
    }
}

pub(crate) fn arn(name: &str, scope: &ArnScope) -> String {
    let slash = if name.starts_with('/') { "" } else { "/" };
    format!("{}parameter{slash}{name}", scope.prefix("ssm"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_rules_of_aws() {
        let scope = ArnScope::sample();
        let longest = 1_011 - "arn:aws:ssm:us-east-1:000000000000:parameter/".len();
        for good in [
            "a",
            "/a/b",
            "/tenant-1/consumer_sqs",
            "a.b-c_d",
            &"/x".repeat(15),
            &"x".repeat(longest),
            &format!("/{}", "x".repeat(longest)),
        ] {
            assert!(check(good, &scope).is_ok(), "{good}");
        }
        for bad in [
            "",
            "a/b",
            "/a//b",
            "/a/",
            "a b",
            "ä",
            "ssm-x",
            "/SSM/x",
            "aws-x",
            "/aws/x",
            "/a:1",
            "a:label",
            "/a:",
            "arn:aws:ssm:us-east-1:000000000000:parameter/a",
            &"/x".repeat(16),
            &"x".repeat(longest + 1),
        ] {
            assert!(check(bad, &scope).is_err(), "{bad}");
        }
    }

    #[test]
    fn selectors_name_version_label_and_arn() {
        let scope = ArnScope::sample();
        let arn = "arn:aws:ssm:us-east-1:000000000000:parameter";
        let (of_version, of_name) = (format!("{arn}/a/b:2"), format!("{arn}/a"));
        for (text, name, is_arn, version) in [
            ("/a/b", "/a/b", false, None),
            (" /a/b  ", "/a/b", false, None),
            ("/a/b:3", "/a/b", false, Some("3")),
            ("/a/b:prod_1.x", "/a/b", false, Some("prod_1.x")),
            ("a", "a", false, None),
            (of_version.as_str(), "a/b", true, Some("2")),
            (of_name.as_str(), "a", true, None),
        ] {
            assert_eq!(
                Selector::parse(text, &scope),
                Ok(Selector {
                    name,
                    is_arn,
                    version
                }),
                "{text}"
            );
            assert_eq!(
                Selector::parse_name(text, &scope).is_ok(),
                version.is_none(),
                "{text}"
            );
        }
        assert_eq!(super::arn("a", &scope), of_name);
        assert_eq!(super::arn("/a", &scope), of_name);
    }

    #[test]
    fn what_is_neither_name_nor_selector_is_refused() {
        let scope = ArnScope::sample();
        for bad in [
            "", " ", "/a b", "/a:", ":1", "/a:1:2", "/a:b/c", "/a:b c", "/a$", "/ä",
        ] {
            assert!(
                matches!(Selector::parse(bad, &scope), Err(SsmError::Validation(_))),
                "{bad:?}"
            );
        }
        let elsewhere = "arn:aws:ssm:eu-west-1:000000000000:parameter/a";
        assert!(matches!(
            Selector::parse(elsewhere, &scope),
            Err(SsmError::ParameterNotFound(_))
        ));
        for path in ["/", "/a", "/a/", "/aws/service", &"/x".repeat(15)] {
            assert!(check_path(path).is_ok(), "{path}");
        }
        for path in ["", "a", "/a:1", "/a b", &"/x".repeat(16)] {
            assert!(check_path(path).is_err(), "{path}");
        }
    }
}
