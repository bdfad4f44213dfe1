//! Filters of parameter listings.

use super::{
    api::Filter,
    error::{SsmError, SsmResult},
    parameters::Parameter,
};

/// A checked filter.
#[derive(Debug)]
pub(crate) struct ParameterFilter {
    key: String,
    test: Test,
    values: Vec<String>,
}

#[derive(Clone, Copy, Debug)]
enum Test {
    Equals,
    BeginsWith,
    Contains,
    OneLevel,
    Recursive,
}

/// Checks the filters of a request.
///
/// # Errors
/// `InvalidFilterKey`, `InvalidFilterOption`.
pub(crate) fn parse(filters: Vec<Filter>) -> SsmResult<Vec<ParameterFilter>> {
    filters.into_iter().map(ParameterFilter::parse).collect()
}

impl ParameterFilter {
    fn parse(filter: Filter) -> SsmResult<Self> {
        let key = filter.key.unwrap_or_default();
        let known = matches!(
            key.as_str(),
            "Name" | "Type" | "KeyId" | "Path" | "Tier" | "DataType"
        );
        if !known && !key.starts_with("tag:") {
            return Err(SsmError::InvalidFilterKey(format!(
                "The filter key {key:?} is not valid here: use Name, Type, KeyId, Path, Tier, DataType or tag:<key>."
            )));
        }
        let default = if key == "Path" { "OneLevel" } else { "Equals" };
        let option = filter.option.as_deref().unwrap_or(default);
        let test = match (key.as_str(), option) {
            ("Path", "OneLevel") => Test::OneLevel,
            ("Path", "Recursive") => Test::Recursive,
            ("Path", _) => return Err(Self::bad_option(&key, option)),
            (_, "Equals") => Test::Equals,
            (_, "BeginsWith") => Test::BeginsWith,
            ("Name", "Contains") => Test::Contains,
            _ => return Err(Self::bad_option(&key, option)),
        };
        Ok(Self {
            key,
            test,
            values: filter.values.unwrap_or_default(),
        })
    }

    fn bad_option(key: &str, option: &str) -> SsmError {
        SsmError::InvalidFilterOption(format!(
            "The filter option {option:?} is not valid for the key {key}."
        ))
    }

    /// Whether the parameter matches one of the values.
    pub(crate) fn matches(&self, name: &str, parameter: &Parameter) -> bool {
        let latest = parameter.latest();
        let subject = match self.key.as_str() {
            "Name" | "Path" => Some(name),
            "Type" => Some(latest.kind.name()),
            "KeyId" => latest.key_id.as_deref(),
            "Tier" => Some(latest.tier.as_str()),
            "DataType" => Some(latest.data_type.as_str()),
            tag => parameter
                .tags
                .get(tag.trim_start_matches("tag:"))
                .map(String::as_str),
        };
        let Some(subject) = subject else { return false };
        // A tag filter without values matches every parameter with the tag.
        self.values.is_empty()
            || self
                .values
                .iter()
                .any(|value| self.test.matches(subject, value))
    }
}

impl Test {
    fn matches(self, subject: &str, value: &str) -> bool {
        let below = || {
            subject
                .strip_prefix(value.trim_end_matches('/'))?
                .strip_prefix('/')
        };
        match self {
            // AWS ignores a leading slash in this filter.
            Self::Equals => subject.trim_start_matches('/') == value.trim_start_matches('/'),
            Self::BeginsWith => subject.starts_with(value),
            Self::Contains => subject.contains(value),
            Self::OneLevel => below().is_some_and(|rest| !rest.contains('/')),
            Self::Recursive => below().is_some(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ssm::parameters::{Kind, Version};

    fn filter(key: &str, option: Option<&str>, value: &str) -> SsmResult<Vec<ParameterFilter>> {
        parse(vec![Filter {
            key: Some(key.into()),
            option: option.map(Into::into),
            values: Some(vec![value.into()]),
        }])
    }

    #[test]
    fn filters_match_name_path_type_and_tag() {
        let version = Version {
            version: 1,
            kind: Kind::String,
            value: "x".into(),
            description: None,
            key_id: None,
            allowed_pattern: None,
            tier: "Standard".into(),
            data_type: "text".into(),
            modified_ms: 0,
            modified_by: String::new(),
        };
        let parameter = Parameter {
            versions: [version].into(),
            tags: [("team".to_owned(), "a".to_owned())].into(),
        };
        for (key, option, value, expected) in [
            ("Name", None, "/a/b", true),
            ("Name", Some("BeginsWith"), "/a", true),
            ("Name", Some("Contains"), "b", true),
            ("Name", Some("Equals"), "/a", false),
            ("Path", None, "/a", true),
            ("Path", None, "/", false),
            ("Path", Some("Recursive"), "/", true),
            ("Type", None, "SecureString", false),
            ("tag:team", None, "a", true),
            ("tag:other", None, "a", false),
        ] {
            let met = filter(key, option, value).unwrap()[0].matches("/a/b", &parameter);
            assert_eq!(met, expected, "{key} {option:?} {value}");
        }
        assert!(filter("Colour", None, "x").is_err());
        assert!(filter("Path", Some("Contains"), "x").is_err());
    }
}
