//! State of the parameters. Pure: values and times are arguments.

use std::{
    collections::{BTreeMap, VecDeque},
    ops::Bound,
};

use serde::{Deserialize, Serialize};

use super::{
    error::{SsmError, SsmResult},
    names::{self, Selector},
};

/// Versions per parameter (AWS); a new one replaces the oldest.
const VERSIONS_MAX: usize = 100;
/// Characters of a value: standard and advanced tier (AWS).
const STANDARD_CHARS_MAX: usize = 4_096;
const ADVANCED_CHARS_MAX: usize = 8_192;
/// Characters of a description (AWS).
const DESCRIPTION_CHARS_MAX: usize = 1_024;
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
    /// Stored, never enforced.
    pub(crate) allowed_pattern: Option<String>,
    /// `Standard` or `Advanced`.
    pub(crate) tier: String,
    /// Stored, never checked.
    pub(crate) data_type: String,
    /// Milliseconds since 1970.
    pub(crate) modified_ms: u64,
    /// ARN of the caller.
    pub(crate) modified_by: String,
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
pub(crate) struct Put<'a> {
    pub(crate) version: &'a Version,
    /// The version over [`VERSIONS_MAX`].
    pub(crate) dropped: Option<u64>,
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

    pub(crate) fn get(&self, name: &str) -> Option<&Parameter> {
        self.by_name.get(name)
    }

    pub(crate) fn tags_mut(&mut self, name: &str) -> Option<&mut BTreeMap<String, String>> {
        self.by_name
            .get_mut(name)
            .map(|parameter| &mut parameter.tags)
    }

    /// Returns the version that a selector names, by default the latest.
    ///
    /// # Errors
    /// `ParameterNotFound`, `ParameterVersionNotFound`.
    pub(crate) fn select(&self, selector: &Selector<'_>) -> SsmResult<&Version> {
        let parameter = self
            .get(&selector.name)
            .ok_or_else(|| SsmError::ParameterNotFound(selector.name.clone()))?;
        let Some(wanted) = selector.version else {
            return Ok(parameter.latest());
        };
        parameter
            .versions
            .iter()
            .find(|v| wanted.parse() == Ok(v.version))
            .ok_or_else(|| SsmError::ParameterVersionNotFound {
                name: selector.name.clone(),
                version: wanted.to_owned(),
            })
    }

    /// Adds a parameter, or a version of an existing one.
    ///
    /// # Errors
    /// The error AWS returns; nothing changes then.
    pub(crate) fn put(&mut self, new: NewVersion, now_ms: u64) -> SsmResult<Put<'_>> {
        names::check(&new.name)?;
        let before = self.by_name.get(&new.name);
        if before.is_some() && !new.overwrite {
            return Err(SsmError::ParameterAlreadyExists);
        }
        let before = before.map(Parameter::latest);
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
        check_value(&new.value, kind)?;
        if new
            .description
            .as_ref()
            .is_some_and(|d| d.chars().count() > DESCRIPTION_CHARS_MAX)
        {
            return Err(SsmError::Validation(format!(
                "1 validation error detected: Value at 'description' failed to satisfy constraint: Member must have \
                 length less than or equal to {DESCRIPTION_CHARS_MAX}"
            )));
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
            allowed_pattern: new
                .allowed_pattern
                .or_else(|| before?.allowed_pattern.clone()),
            tier,
            data_type: new.data_type.unwrap_or_else(|| "text".into()),
            modified_ms: now_ms,
            modified_by: new.modified_by,
        };
        let parameter = self.by_name.entry(new.name).or_default();
        parameter.versions.push_back(version);
        let dropped = (parameter.versions.len() > VERSIONS_MAX)
            .then(|| parameter.versions.pop_front())
            .flatten();
        Ok(Put {
            version: parameter.latest(),
            dropped: dropped.map(|version| version.version),
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

fn check_value(value: &str, kind: Kind) -> SsmResult<()> {
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
    Ok(())
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

    fn select<'a>(
        parameters: &'a Parameters,
        name: &str,
        version: Option<&str>,
    ) -> SsmResult<&'a Version> {
        parameters.select(&Selector {
            name: name.into(),
            version,
        })
    }

    #[test]
    fn versions_increase_and_the_oldest_is_dropped() {
        let mut parameters = Parameters::default();
        parameters.put(new("/a", "1"), 0).unwrap();
        assert_eq!(
            parameters.put(new("/a", "2"), 0).unwrap_err(),
            SsmError::ParameterAlreadyExists
        );
        for n in 2..=VERSIONS_MAX as u64 + 1 {
            let put = parameters
                .put(
                    NewVersion {
                        overwrite: true,
                        ..new("/a", &n.to_string())
                    },
                    n,
                )
                .unwrap();
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
            parameters.put(new(name, "x"), 0).unwrap();
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
            p.put(
                NewVersion {
                    tier: tier.map(Into::into),
                    overwrite: true,
                    ..new("/a", &"x".repeat(chars))
                },
                0,
            )
            .map(|put| put.version.tier.clone())
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
        assert!(
            parameters
                .put(
                    NewVersion {
                        kind: None,
                        ..new("/a", "x")
                    },
                    0
                )
                .is_err()
        );
        parameters.put(new("/a", "x"), 0).unwrap();
        let again = NewVersion {
            kind: None,
            overwrite: true,
            ..new("/a", "y")
        };
        assert_eq!(parameters.put(again, 0).unwrap().version.kind, Kind::String);
        let other = NewVersion {
            kind: Some(Kind::SecureString),
            overwrite: true,
            ..new("/a", "y")
        };
        assert_eq!(
            parameters.put(other, 0).unwrap_err(),
            SsmError::HierarchyTypeMismatch
        );
    }
}
