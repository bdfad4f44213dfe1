//! Filters of parameter listings.

use super::{
    api::Filter,
    error::{SsmError, SsmResult},
    parameters::{Parameter, Version},
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

/// Keys of `GetParametersByPath`, and of `DescribeParameters` beside `tag:<key>` (AWS).
pub(crate) const PATH_KEYS: &[&str] = &["Type", "KeyId", "Label"];
pub(crate) const DESCRIBE_KEYS: &[&str] = &["Name", "Type", "KeyId", "Path", "Tier", "DataType"];

/// Checks the filters of a request with these keys. Tags are keys beside [`DESCRIBE_KEYS`].
///
/// # Errors
/// `InvalidFilterKey`, `InvalidFilterOption`.
pub(crate) fn parse(filters: Vec<Filter>, keys: &[&str]) -> SsmResult<Vec<ParameterFilter>> {
    filters
        .into_iter()
        .map(|filter| ParameterFilter::parse(filter, keys))
        .collect()
}

impl ParameterFilter {
    fn parse(filter: Filter, keys: &[&str]) -> SsmResult<Self> {
        let key = filter.key.unwrap_or_default();
        let is_tag = keys == DESCRIBE_KEYS && key.starts_with("tag:");
        if !is_tag && !keys.contains(&key.as_str()) {
            return Err(SsmError::InvalidFilterKey(format!(
                "The filter key {key:?} is not valid here: use {}.",
                keys.join(", ")
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

    /// Returns the latest version if the parameter matches all filters. A filter by label selects the labeled version.
    pub(crate) fn select<'a>(
        filters: &[Self],
        name: &str,
        parameter: &'a Parameter,
    ) -> Option<&'a Version> {
        let (labels, others): (Vec<_>, Vec<_>) = filters.iter().partition(|f| f.key == "Label");
        if !others.iter().all(|filter| filter.matches(name, parameter)) {
            return None;
        }
        let has_labels = |version: &&Version| {
            labels
                .iter()
                .all(|filter| version.labels.iter().any(|label| filter.accepts(label)))
        };
        parameter.versions.iter().rev().find(has_labels)
    }

    fn matches(&self, name: &str, parameter: &Parameter) -> bool {
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
        subject.is_some_and(|subject| self.accepts(subject))
    }

    /// Whether the text matches one of the values.
    fn accepts(&self, subject: &str) -> bool {
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
    use crate::ssm::parameters::Kind;

    fn filter(key: &str, option: Option<&str>, value: &str) -> SsmResult<Vec<ParameterFilter>> {
        filter_for(DESCRIBE_KEYS, key, option, value)
    }

    fn filter_for(
        keys: &[&str],
        key: &str,
        option: Option<&str>,
        value: &str,
    ) -> SsmResult<Vec<ParameterFilter>> {
        let filter = Filter {
            key: Some(key.into()),
            option: option.map(Into::into),
            values: Some(vec![value.into()]),
        };
        parse(vec![filter], keys)
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
            labels: ["prod".to_owned()].into(),
        };
        let latest = Version {
            version: 2,
            labels: [].into(),
            ..version.clone()
        };
        let parameter = Parameter {
            versions: [version, latest].into(),
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
            let filters = filter(key, option, value).unwrap();
            let met = ParameterFilter::select(&filters, "/a/b", &parameter);
            assert_eq!(
                met.map(|version| version.version),
                expected.then_some(2),
                "{key} {option:?} {value}"
            );
        }
        let labeled = |label| {
            let filters = filter_for(PATH_KEYS, "Label", None, label).unwrap();
            ParameterFilter::select(&filters, "/a/b", &parameter).map(|version| version.version)
        };
        assert_eq!((labeled("prod"), labeled("test")), (Some(1), None));
        for key in ["Name", "Path", "Tier", "DataType", "tag:team"] {
            assert!(filter_for(PATH_KEYS, key, None, "x").is_err(), "{key}");
        }
        assert!(filter("Colour", None, "x").is_err());
        assert!(filter("Path", Some("Contains"), "x").is_err());
    }
}
