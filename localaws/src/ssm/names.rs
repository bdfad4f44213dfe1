//! Names of parameters: checks, selectors, ARNs.

use super::error::{SsmError, SsmResult};
use crate::arn_scope::ArnScope;

/// Characters of a name (AWS: the limit of 1,048 on the ARN leaves 1,011).
const NAME_CHARS_MAX: usize = 1_011;
/// Levels of a hierarchy (AWS).
const LEVELS_MAX: usize = 15;

/// Checks the name of a new parameter.
///
/// # Errors
/// `ValidationException`; `AccessDeniedException` for reserved names; `HierarchyLevelLimitExceededException`.
pub(crate) fn check(name: &str) -> SsmResult<()> {
    let invalid = |text: String| Err(SsmError::Validation(text));
    if name.is_empty() || name.len() > NAME_CHARS_MAX {
        return invalid(format!(
            "The parameter name must be 1 to {NAME_CHARS_MAX} characters long."
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
    let well_formed = name
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || b"_.-/".contains(&b))
        && !name.contains("//")
        && !name.ends_with('/')
        && !first_level.starts_with("ssm");
    if !well_formed {
        return invalid(
            "Parameter name: can't be prefixed with \"ssm\" (case-insensitive). If formed as a path, it can consist \
             of sub-paths divided by slash symbol; each sub-path can be formed as a mix of letters, numbers and the \
             following 3 symbols .-_"
                .into(),
        );
    }
    if name.contains('/') && !name.starts_with('/') {
        return invalid("Parameter name must be a fully qualified name.".into());
    }
    if name.matches('/').count() > LEVELS_MAX {
        return Err(SsmError::HierarchyLevelLimitExceeded(LEVELS_MAX));
    }
    Ok(())
}

/// The parameter that a request names, with an optional version.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Selector<'a> {
    pub(crate) name: String,
    /// As in the request, not parsed.
    pub(crate) version: Option<&'a str>,
}

impl<'a> Selector<'a> {
    /// Parses `name`, `name:version`, or an ARN of either.
    pub(crate) fn parse(text: &'a str, scope: &ArnScope) -> Self {
        let prefix = format!("{}parameter/", scope.prefix("ssm"));
        let (path, is_arn) = text
            .strip_prefix(&prefix)
            .map_or((text, false), |rest| (rest, true));
        let (name, version) = match path.split_once(':') {
            Some((name, version)) => (name, Some(version)),
            None => (path, None),
        };
        // An ARN has one slash before the name, with or without a leading slash in the name.
        let name = if is_arn && name.contains('/') {
            format!("/{name}")
        } else {
            name.to_owned()
        };
        Self { name, version }
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
        for good in [
            "a",
            "/a/b",
            "/tenant-1/consumer_sqs",
            "a.b-c_d",
            &"/x".repeat(15),
        ] {
            assert!(check(good).is_ok(), "{good}");
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
            &"/x".repeat(16),
        ] {
            assert!(check(bad).is_err(), "{bad}");
        }
        assert!(check(&"x".repeat(1_012)).is_err());
    }

    #[test]
    fn selectors_name_version_and_arn() {
        let scope = ArnScope::sample();
        for (text, name, version) in [
            ("/a/b", "/a/b", None),
            ("/a/b:3", "/a/b", Some("3")),
            ("a", "a", None),
            (
                "arn:aws:ssm:us-east-1:000000000000:parameter/a/b:2",
                "/a/b",
                Some("2"),
            ),
            ("arn:aws:ssm:us-east-1:000000000000:parameter/a", "a", None),
        ] {
            assert_eq!(
                Selector::parse(text, &scope),
                Selector {
                    name: name.into(),
                    version
                },
                "{text}"
            );
        }
        assert_eq!(
            arn("a", &scope),
            "arn:aws:ssm:us-east-1:000000000000:parameter/a"
        );
        assert_eq!(
            arn("/a/b", &scope),
            "arn:aws:ssm:us-east-1:000000000000:parameter/a/b"
        );
    }
}
