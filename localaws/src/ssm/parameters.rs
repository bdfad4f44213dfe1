//! State of the parameters. Pure: values and times are arguments.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    ops::Bound,
};

use serde::{Deserialize, Serialize};

use super::{
    error::{SsmError, SsmResult},
    names::{self, Selector},
    rules,
};
use crate::arn_scope::ArnScope;

/// Versions per parameter (AWS); a new one replaces the oldest.
const VERSIONS_MAX: usize = 100;
/// Characters of a value: standard and advanced tier (AWS).
const STANDARD_CHARS_MAX: usize = 4_096;
const ADVANCED_CHARS_MAX: usize = 8_192;
/// Characters of a description (AWS).
const DESCRIPTION_CHARS_MAX: usize = 1_024;
/// Labels per version, and characters of a label (AWS).
const LABELS_MAX: usize = 10;
const LABEL_CHARS_MAX: usize = 100;
/// Tags per parameter (AWS).
pub(crate) const TAGS_MAX: usize = 50;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Kind {
    String,
    /// Separated by commas.
    StringList,
    /// Shown in plain text only on request.
    SecureString,
}

impl Kind {
    pub(crate) fn parse(text: &str) -> SsmResult<Self> {
        match text {
            "String" => Ok(Self::String),
            "StringList" => Ok(Self::StringList),
            "SecureString" => Ok(Self::SecureString),
            _ => Err(SsmError::UnsupportedParameterType(text.to_owned())),
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::String => "String",
            Self::StringList => "StringList",
            Self::SecureString => "SecureString",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Version {
    /// Counts from 1.
    pub(crate) version: u64,
    /// The same in all versions.
    pub(crate) kind: Kind,
    pub(crate) value: String,
    pub(crate) description: Option<String>,
    /// Stored, never used.
    pub(crate) key_id: Option<String>,
    pub(crate) allowed_pattern: Option<String>,
    /// `Standard` or `Advanced`.
    pub(crate) tier: String,
    pub(crate) data_type: String,
    /// Milliseconds since 1970.
    pub(crate) modified_ms: u64,
    /// ARN of the caller.
    pub(crate) modified_by: String,
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub(crate) labels: BTreeSet<String>,
}

/// A new version of a parameter, as a client puts it.
#[derive(Debug)]
pub(crate) struct NewVersion {
    pub(crate) name: String,
    pub(crate) value: String,
    pub(crate) kind: Option<Kind>,
    pub(crate) description: Option<String>,
    pub(crate) key_id: Option<String>,
    pub(crate) allowed_pattern: Option<String>,
    pub(crate) tier: Option<String>,
    pub(crate) data_type: Option<String>,
    pub(crate) overwrite: bool,
    pub(crate) modified_by: String,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Parameter {
    /// Oldest first; never empty within [`Parameters`].
    pub(crate) versions: VecDeque<Version>,
    pub(crate) tags: BTreeMap<String, String>,
}

impl Parameter {
    pub(crate) fn latest(&self) -> &Version {
        self.versions.back().expect("a parameter has a version")
    }
}

#[derive(Debug, Default)]
pub(crate) struct Parameters {
    by_name: BTreeMap<String, Parameter>,
}

/// Result of a put.
#[derive(Debug)]
pub(crate) struct Put {
    pub(crate) version: Version,
    /// Whether the parameter has changed; see [`rules::is_stored`].
    pub(crate) is_stored: bool,
    /// The version over [`VERSIONS_MAX`].
    pub(crate) dropped: Option<u64>,
}

/// Result of labeling a version.
#[derive(Debug)]
pub(crate) struct Labeled {
    /// The version's number.
    pub(crate) version: u64,
    /// Versions whose labels changed.
    pub(crate) changed: Vec<Version>,
    /// Labels that AWS does not take.
    pub(crate) invalid: BTreeSet<String>,
}

impl Parameters {
    /// Adds a version that is in the store. Call it for the oldest version of a name first.
    pub(crate) fn load(&mut self, name: String, version: Version) {
        self.by_name
            .entry(name)
            .or_default()
            .versions
            .push_back(version);
    }

    /// Returns the parameter that a selector names, with its name.
    pub(crate) fn find(&self, selector: &Selector<'_>) -> Option<(&str, &Parameter)> {
        let found = self.by_name.get_key_value(selector.name);
        // The ARNs of `a` and `/a` are the same text.
        let found = found.or_else(|| {
            let name = format!("/{}", selector.name);
            self.by_name
                .get_key_value(&name)
                .filter(|_| selector.is_arn)
        });
        found.map(|(name, parameter)| (name.as_str(), parameter))
    }

    pub(crate) fn tags_mut(&mut self, name: &str) -> Option<&mut BTreeMap<String, String>> {
        self.by_name
            .get_mut(name)
            .map(|parameter| &mut parameter.tags)
    }

    /// Returns the version that a selector names, by default the latest, with the parameter's name.
    ///
    /// # Errors
    /// `ParameterNotFound`, `ParameterVersionNotFound`.
    pub(crate) fn select(&self, selector: &Selector<'_>) -> SsmResult<(&str, &Version)> {
        let (name, parameter) = self
            .find(selector)
            .ok_or_else(|| SsmError::ParameterNotFound(selector.name.to_owned()))?;
        let Some(wanted) = selector.version else {
            return Ok((name, parameter.latest()));
        };
        let is_number = wanted.bytes().all(|b| b.is_ascii_digit());
        parameter
            .versions
            .iter()
            .find(|v| match is_number {
                true => wanted.parse() == Ok(v.version),
                false => v.labels.contains(wanted),
            })
            .map(|version| (name, version))
            .ok_or_else(|| SsmError::ParameterVersionNotFound {
                name: name.to_owned(),
                version: wanted.to_owned(),
            })
    }

    /// Adds a parameter, or a version of an existing one.
    ///
    /// # Errors
    /// The error AWS returns; nothing changes then.
    pub(crate) fn put(&mut self, new: NewVersion, scope: &ArnScope, now_ms: u64) -> SsmResult<Put> {
        names::check(&new.name, scope)?;
        let parameter = self.by_name.get(&new.name);
        if parameter.is_some() && !new.overwrite {
            return Err(SsmError::ParameterAlreadyExists);
        }
        let full = parameter
            .filter(|parameter| parameter.versions.len() >= VERSIONS_MAX)
            .and_then(|parameter| parameter.versions.front());
        let before = parameter.map(Parameter::latest);
        let kind = match (new.kind, before) {
            (Some(kind), Some(before)) if kind != before.kind => {
                return Err(SsmError::HierarchyTypeMismatch);
            }
            (Some(kind), _) => kind,
            (None, Some(before)) => before.kind,
            (None, None) => {
                return Err(SsmError::Validation(
                    "A parameter type is required when you create a parameter.".into(),
                ));
            }
        };
        rules::check_value(&new.value, kind)?;
        if let Some(key_id) = &new.key_id {
            rules::check_key_id(key_id, kind)?;
        }
        let data_type = new.data_type.unwrap_or_else(|| "text".into());
        rules::check_data_type(&data_type, kind)?;
        if new
            .description
            .as_ref()
            .is_some_and(|d| d.chars().count() > DESCRIPTION_CHARS_MAX)
        {
            return Err(rules::too_long("description", DESCRIPTION_CHARS_MAX));
        }
        let allowed_pattern = new
            .allowed_pattern
            .or_else(|| before?.allowed_pattern.clone());
        if let Some(pattern) = &allowed_pattern {
            rules::check_pattern(pattern, &new.value)?;
        }
        let tier = tier(new.tier.as_deref(), before, new.value.chars().count())?;
        let version = Version {
            version: before.map_or(1, |before| before.version + 1),
            kind,
            value: new.value,
            description: new.description.or_else(|| before?.description.clone()),
            key_id: (kind == Kind::SecureString).then(|| {
                new.key_id
                    .or_else(|| before?.key_id.clone())
                    .unwrap_or("alias/aws/ssm".into())
            }),
            allowed_pattern,
            tier,
            data_type,
            modified_ms: now_ms,
            modified_by: new.modified_by,
            labels: BTreeSet::new(),
        };
        if let Some(oldest) = full
            && !oldest.labels.is_empty()
        {
            return Err(SsmError::ParameterMaxVersionLimitExceeded {
                name: new.name,
                version: oldest.version,
            });
        }
        let dropped = full.map(|oldest| oldest.version);
        if !rules::is_stored(&version.data_type, &version.value) {
            return Ok(Put {
                version,
                is_stored: false,
                dropped: None,
            });
        }
        let parameter = self.by_name.entry(new.name).or_default();
        if dropped.is_some() {
            parameter.versions.pop_front();
        }
        parameter.versions.push_back(version.clone());
        Ok(Put {
            version,
            is_stored: true,
            dropped,
        })
    }

    /// Moves labels to a version, by default the latest.
    ///
    /// # Errors
    /// `ParameterNotFound`, `ParameterVersionNotFound`, `ParameterVersionLabelLimitExceeded`; nothing changes then.
    pub(crate) fn label(
        &mut self,
        name: &str,
        number: Option<u64>,
        labels: Vec<String>,
    ) -> SsmResult<Labeled> {
        check_labels(&labels)?;
        let (valid, invalid): (BTreeSet<_>, BTreeSet<_>) =
            labels.into_iter().partition(|label| is_label(label));
        let version = self.version_mut(name, number)?;
        let number = version.version;
        if version.labels.union(&valid).count() > LABELS_MAX {
            return Err(SsmError::ParameterVersionLabelLimitExceeded(LABELS_MAX));
        }
        let parameter = self.by_name.get_mut(name).expect("it was found above");
        let mut changed = Vec::new();
        for version in &mut parameter.versions {
            let before = version.labels.clone();
            if version.version == number {
                version.labels.extend(valid.iter().cloned());
            } else {
                version.labels.retain(|label| !valid.contains(label));
            }
            if version.labels != before {
                changed.push(version.clone());
            }
        }
        Ok(Labeled {
            version: number,
            changed,
            invalid,
        })
    }

    /// Removes labels from a version. Returns the version, and the labels that it had and had not.
    ///
    /// # Errors
    /// `ParameterNotFound`, `ParameterVersionNotFound`.
    pub(crate) fn unlabel(
        &mut self,
        name: &str,
        number: u64,
        labels: Vec<String>,
    ) -> SsmResult<(Version, Vec<String>, Vec<String>)> {
        check_labels(&labels)?;
        let version = self.version_mut(name, Some(number))?;
        let (removed, missing) = labels
            .into_iter()
            .partition(|label| version.labels.remove(label));
        Ok((version.clone(), removed, missing))
    }

    fn version_mut(&mut self, name: &str, number: Option<u64>) -> SsmResult<&mut Version> {
        let parameter = self
            .by_name
            .get_mut(name)
            .ok_or_else(|| SsmError::ParameterNotFound(name.to_owned()))?;
        let number = number.unwrap_or_else(|| parameter.latest().version);
        parameter
            .versions
            .iter_mut()
            .find(|version| version.version == number)
            .ok_or_else(|| SsmError::ParameterVersionNotFound {
                name: name.to_owned(),
                version: number.to_string(),
            })
    }

    /// Deletes a parameter; returns whether it existed.
    pub(crate) fn delete(&mut self, name: &str) -> bool {
        self.by_name.remove(name).is_some()
    }

    /// Returns the children of a path, or all descendants, by name, after the name `after`.
    pub(crate) fn below<'a>(
        &'a self,
        path: &str,
        recursive: bool,
        after: Option<&str>,
    ) -> impl Iterator<Item = (&'a String, &'a Parameter)> + use<'a> {
        let prefix = format!("{}/", path.trim_end_matches('/'));
        let start = match after {
            Some(after) => Bound::Excluded(after.to_owned()),
            None => Bound::Included(prefix.clone()),
        };
        let within = prefix.clone();
        self.by_name
            .range((start, Bound::Unbounded))
            .take_while(move |(name, _)| name.starts_with(&within))
            .filter(move |(name, _)| recursive || !name[prefix.len()..].contains('/'))
    }

    /// Returns all parameters by name, after the name `after`.
    pub(crate) fn all<'a>(
        &'a self,
        after: Option<&str>,
    ) -> impl Iterator<Item = (&'a String, &'a Parameter)> + use<'a> {
        let start = after.map_or(Bound::Unbounded, |after| Bound::Excluded(after.to_owned()));
        self.by_name.range((start, Bound::Unbounded))
    }
}

/// Checks the number of labels in a call, and the length of each (AWS).
fn check_labels(labels: &[String]) -> SsmResult<()> {
    let lengths = 1..=LABEL_CHARS_MAX;
    let is_right = (1..=LABELS_MAX).contains(&labels.len())
        && labels
            .iter()
            .all(|label| lengths.contains(&label.chars().count()));
    if is_right {
        return Ok(());
    }
    Err(SsmError::Validation(format!(
        "1 validation error detected: Value at 'labels' failed to satisfy constraint: Member must have 1 to \
         {LABELS_MAX} labels of 1 to {LABEL_CHARS_MAX} characters"
    )))
}

/// Whether a label has only letters, digits and `.-_`, and begins with no digit, `aws` or `ssm` (AWS).
fn is_label(label: &str) -> bool {
    let lower = label.to_ascii_lowercase();
    label
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || b".-_".contains(&b))
        && !label.starts_with(|first: char| first.is_ascii_digit())
        && !lower.starts_with("aws")
        && !lower.starts_with("ssm")
}

/// Returns the tier of a value: the requested or current one, raised for `Intelligent-Tiering` if the value needs it.
fn tier(asked: Option<&str>, before: Option<&Version>, chars: usize) -> SsmResult<String> {
    let current = before.map_or("Standard", |before| before.tier.as_str());
    let tier = match asked.unwrap_or(current) {
        // AWS does not downgrade an advanced parameter.
        "Standard" if current == "Advanced" => {
            return Err(SsmError::Validation(
                "This parameter uses the advanced-parameter tier. You can't downgrade a parameter from the \
                 advanced-parameter tier to the standard-parameter tier."
                    .into(),
            ));
        }
        "Intelligent-Tiering" if chars > STANDARD_CHARS_MAX => "Advanced",
        "Intelligent-Tiering" => current,
        known @ ("Standard" | "Advanced") => known,
        unknown => {
            return Err(SsmError::Validation(format!(
                "1 validation error detected: Value '{unknown}' at 'tier' failed to satisfy constraint: Member must \
                 satisfy enum value set: [Standard, Advanced, Intelligent-Tiering]"
            )));
        }
    };
    let limit = if tier == "Advanced" {
        ADVANCED_CHARS_MAX
    } else {
        STANDARD_CHARS_MAX
    };
    if chars > limit {
        return Err(SsmError::Validation(format!(
            "{tier} tier parameters support a maximum parameter value of {limit} characters. To create a larger \
             parameter value, upgrade the parameter to use the advanced-parameter tier."
        )));
    }
    Ok(tier.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn new(name: &str, value: &str) -> NewVersion {
        NewVersion {
            name: name.into(),
            value: value.into(),
            kind: Some(Kind::String),
            description: None,
            key_id: None,
            allowed_pattern: None,
            tier: None,
            data_type: None,
            overwrite: false,
            modified_by: String::new(),
        }
    }

    fn put(parameters: &mut Parameters, new: NewVersion) -> SsmResult<Put> {
        parameters.put(new, &ArnScope::sample(), 0)
    }

    fn select<'a>(
        parameters: &'a Parameters,
        name: &str,
        version: Option<&str>,
    ) -> SsmResult<&'a Version> {
        let selector = Selector {
            name,
            is_arn: false,
            version,
        };
        parameters.select(&selector).map(|(_, version)| version)
    }

    #[test]
    fn versions_increase_and_the_oldest_is_dropped() {
        let mut parameters = Parameters::default();
        put(&mut parameters, new("/a", "1")).unwrap();
        assert_eq!(
            put(&mut parameters, new("/a", "2")).unwrap_err(),
            SsmError::ParameterAlreadyExists
        );
        for n in 2..=VERSIONS_MAX as u64 + 1 {
            let again = NewVersion {
                overwrite: true,
                ..new("/a", &n.to_string())
            };
            let put = put(&mut parameters, again).unwrap();
            assert_eq!(put.dropped, (n > VERSIONS_MAX as u64).then_some(1));
        }
        assert_eq!(select(&parameters, "/a", None).unwrap().value, "101");
        assert_eq!(select(&parameters, "/a", Some("2")).unwrap().value, "2");
        assert!(matches!(
            select(&parameters, "/a", Some("1")),
            Err(SsmError::ParameterVersionNotFound { .. })
        ));
        assert!(parameters.delete("/a") && !parameters.delete("/a"));
        assert!(matches!(
            select(&parameters, "/a", None),
            Err(SsmError::ParameterNotFound(_))
        ));
    }

    #[test]
    fn a_path_lists_children_or_descendants() {
        let mut parameters = Parameters::default();
        for name in ["/a", "/a/b", "/a/b/c", "/a/d", "/ab/c", "plain"] {
            put(&mut parameters, new(name, "x")).unwrap();
        }
        let below = |path, recursive, after| {
            parameters
                .below(path, recursive, after)
                .map(|(name, _)| name.as_str())
                .collect::<Vec<_>>()
        };
        assert_eq!(below("/a", false, None), ["/a/b", "/a/d"]);
        assert_eq!(below("/a/", true, None), ["/a/b", "/a/b/c", "/a/d"]);
        assert_eq!(below("/a", true, Some("/a/b")), ["/a/b/c", "/a/d"]);
        assert_eq!(below("/", false, None), ["/a"]);
        assert_eq!(below("/", true, None).len(), 5);
    }

    #[test]
    fn a_value_fits_the_limit_of_its_tier() {
        let mut parameters = Parameters::default();
        let put = |p: &mut Parameters, tier: Option<&str>, chars: usize| {
            let new = NewVersion {
                tier: tier.map(Into::into),
                overwrite: true,
                ..new("/a", &"x".repeat(chars))
            };
            put(p, new).map(|put| put.version.tier)
        };
        assert!(put(&mut parameters, None, 4_097).is_err());
        assert_eq!(put(&mut parameters, None, 4_096).unwrap(), "Standard");
        assert_eq!(
            put(&mut parameters, Some("Intelligent-Tiering"), 4_097).unwrap(),
            "Advanced"
        );
        assert!(
            put(&mut parameters, Some("Standard"), 1).is_err(),
            "an advanced parameter stays one"
        );
        assert!(put(&mut parameters, None, 8_193).is_err());
        assert!(put(&mut parameters, None, 0).is_err());
    }

    #[test]
    fn the_kind_is_required_once_and_never_changes() {
        let mut parameters = Parameters::default();
        let untyped = NewVersion {
            kind: None,
            ..new("/a", "x")
        };
        assert!(put(&mut parameters, untyped).is_err());
        put(&mut parameters, new("/a", "x")).unwrap();
        let again = NewVersion {
            kind: None,
            overwrite: true,
            ..new("/a", "y")
        };
        assert_eq!(
            put(&mut parameters, again).unwrap().version.kind,
            Kind::String
        );
        let other = NewVersion {
            kind: Some(Kind::SecureString),
            overwrite: true,
            ..new("/a", "y")
        };
        assert_eq!(
            put(&mut parameters, other).unwrap_err(),
            SsmError::HierarchyTypeMismatch
        );
    }

    #[test]
    fn a_selector_is_a_number_or_a_label_and_nothing_that_merely_parses_as_one() {
        let mut parameters = Parameters::default();
        put(&mut parameters, new("/a", "1")).unwrap();
        parameters.label("/a", None, vec!["prod".into()]).unwrap();
        for (selector, found) in [
            ("1", true),
            ("prod", true),
            ("2", false),
            ("0", false),
            ("Prod", false),
            ("-1", false),
            ("1.0", false),
            ("99999999999999999999999", false),
        ] {
            let selected = select(&parameters, "/a", Some(selector));
            assert_eq!(selected.is_ok(), found, "{selector}");
        }
        let by_arn = Selector {
            name: "a",
            is_arn: true,
            version: None,
        };
        assert_eq!(parameters.find(&by_arn).unwrap().0, "/a");
        assert!(select(&parameters, "a", None).is_err());
    }

    #[test]
    fn a_label_is_at_one_version_and_keeps_it() {
        let mut parameters = Parameters::default();
        let again = |n: u64| NewVersion {
            overwrite: true,
            ..new("/a", &n.to_string())
        };
        for n in 1..=VERSIONS_MAX as u64 {
            put(&mut parameters, again(n)).unwrap();
        }
        let label = |p: &mut Parameters, version, label: &str| {
            p.label("/a", version, vec![label.to_owned()])
        };
        assert_eq!(label(&mut parameters, Some(1), "prod").unwrap().version, 1);
        assert_eq!(
            put(&mut parameters, again(101)).unwrap_err(),
            SsmError::ParameterMaxVersionLimitExceeded {
                name: "/a".into(),
                version: 1
            }
        );
        let moved = label(&mut parameters, Some(2), "prod").unwrap();
        assert_eq!(moved.changed.len(), 2);
        assert_eq!(select(&parameters, "/a", Some("prod")).unwrap().version, 2);
        assert_eq!(put(&mut parameters, again(101)).unwrap().dropped, Some(1));
        for bad in ["1st", "aws-x", "SSM", "a b", "a:b"] {
            let labeled = label(&mut parameters, None, bad).unwrap();
            assert!(labeled.changed.is_empty() && labeled.invalid.contains(bad));
        }
        for bad in [
            vec![],
            vec![String::new()],
            vec!["x".repeat(101)],
            vec!["a".into(); 11],
        ] {
            assert!(
                parameters.label("/a", None, bad.clone()).is_err(),
                "{bad:?}"
            );
            assert!(parameters.unlabel("/a", 2, bad).is_err());
        }
        for n in 0..LABELS_MAX {
            label(&mut parameters, None, &format!("l{n}")).unwrap();
        }
        assert!(label(&mut parameters, None, "more").is_err());
        let labels = vec!["prod".to_owned(), "l0".to_owned()];
        let (version, removed, missing) = parameters.unlabel("/a", 2, labels).unwrap();
        assert!(version.labels.is_empty());
        assert_eq!((removed, missing), (vec!["prod".into()], vec!["l0".into()]));
    }

    #[test]
    fn the_rules_of_a_put_hold_for_later_versions_too() {
        let mut parameters = Parameters::default();
        let digits = NewVersion {
            allowed_pattern: Some(r"\d+".into()),
            ..new("/a", "1")
        };
        put(&mut parameters, digits).unwrap();
        let again = |value| NewVersion {
            overwrite: true,
            ..new("/a", value)
        };
        assert_eq!(
            put(&mut parameters, again("x")).unwrap_err(),
            SsmError::PatternMismatch(r"\d+".into())
        );
        assert_eq!(put(&mut parameters, again("2")).unwrap().version.version, 2);
        let keyed = NewVersion {
            kind: None,
            key_id: Some("alias/mine".into()),
            ..again("3")
        };
        assert!(put(&mut parameters, keyed).is_err());
        let image = |value| NewVersion {
            data_type: Some("aws:ec2:image".into()),
            ..new("/image", value)
        };
        assert!(!put(&mut parameters, image("none")).unwrap().is_stored);
        assert!(select(&parameters, "/image", None).is_err());
        assert!(
            put(&mut parameters, image("ami-12345678"))
                .unwrap()
                .is_stored
        );
    }
}
