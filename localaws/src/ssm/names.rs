//! Names of parameters: checked when one is made, taken apart when one is asked for.

use super::error::{SsmError, SsmResult};
use crate::realm::Realm;

/// Characters of a name (AWS: 1,011 with the ARN's start, so that the whole ARN fits 1,048).
const NAME_CHARS_MAX: usize = 1_011;
/// Levels of a hierarchy (AWS).
const LEVELS_MAX: usize = 15;

/// Checks the name of a parameter about to be made.
///
/// # Errors
/// `ValidationException`, `AccessDeniedException` for AWS's own names, or the limit on levels.
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

/// What a request asks for: a name and, after a colon, a version.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Selector<'a> {
    /// The parameter's name, whether given as a name or an ARN.
    pub(crate) name: String,
    /// The version, not yet a number.
    pub(crate) version: Option<&'a str>,
}

impl<'a> Selector<'a> {
    /// Takes apart `name`, `name:version`, or either as an ARN.
    pub(crate) fn parse(text: &'a str, realm: &Realm) -> Self {
        let prefix = format!(
            "arn:aws:ssm:{}:{}:parameter/",
            realm.region, realm.account_id
        );
        let (path, is_arn) = text
            .strip_prefix(&prefix)
            .map_or((text, false), |rest| (rest, true));
        let (name, version) = match path.split_once(':') {
            Some((name, version)) => (name, Some(version)),
            None => (path, None),
        };
        // An ARN has one slash before the name, whether the name starts with one or not.
        let name = if is_arn && name.contains('/') {
            format!("/{name}")
        } else {
            name.to_owned()
        };
        Self { name, version }
    }
}

/// The ARN of a parameter.
pub(crate) fn arn(name: &str, realm: &Realm) -> String {
    let slash = if name.starts_with('/') { "" } else { "/" };
    format!(
        "arn:aws:ssm:{}:{}:parameter{slash}{name}",
        realm.region, realm.account_id
    )
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
        let realm = Realm {
            region: "us-east-1".into(),
            account_id: "000000000000".into(),
        };
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
                Selector::parse(text, &realm),
                Selector {
                    name: name.into(),
                    version
                },
                "{text}"
            );
        }
        assert_eq!(
            arn("a", &realm),
            "arn:aws:ssm:us-east-1:000000000000:parameter/a"
        );
        assert_eq!(
            arn("/a/b", &realm),
            "arn:aws:ssm:us-east-1:000000000000:parameter/a/b"
        );
    }
}
