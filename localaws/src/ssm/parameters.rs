//! The parameters themselves: pure state, changed by values and a time that come in as arguments.

use std::{
    collections::{BTreeMap, VecDeque},
    ops::Bound,
};

use serde::{Deserialize, Serialize};

use super::{
    error::{SsmError, SsmResult},
    names::{self, Selector},
};

/// Versions kept of one parameter (AWS); the oldest goes when another comes.
const VERSIONS_MAX: usize = 100;
/// Characters of a value: standard and advanced tier (AWS).
const STANDARD_CHARS_MAX: usize = 4_096;
const ADVANCED_CHARS_MAX: usize = 8_192;
/// Characters of a description (AWS).
const DESCRIPTION_CHARS_MAX: usize = 1_024;
/// Tags of one parameter (AWS).
pub(crate) const TAGS_MAX: usize = 50;

/// Kinds of parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Kind {
    /// Plain text.
    String,
    /// Plain texts, separated by commas.
    StringList,
    /// Text that is shown only to who asks for decryption.
    SecureString,
}

impl Kind {
    /// Parses the name of a kind.
    ///
    /// # Errors
    /// `UnsupportedParameterType`.
    pub(crate) fn parse(text: &str) -> SsmResult<Self> {
        match text {
            "String" => Ok(Self::String),
            "StringList" => Ok(Self::StringList),
            "SecureString" => Ok(Self::SecureString),
            _ => Err(SsmError::UnsupportedParameterType(text.to_owned())),
        }
    }

    /// The name of the kind.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::String => "String",
            Self::StringList => "StringList",
            Self::SecureString => "SecureString",
        }
    }
}

/// One version of a parameter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Version {
    /// Counts from 1.
    pub(crate) version: u64,
    /// Its kind, the same in all versions.
    pub(crate) kind: Kind,
    /// Its value.
    pub(crate) value: String,
    /// What it is for.
    pub(crate) description: Option<String>,
    /// The KMS key it is said to be encrypted with.
    pub(crate) key_id: Option<String>,
    /// Kept, never enforced.
    pub(crate) allowed_pattern: Option<String>,
    /// `Standard` or `Advanced`.
    pub(crate) tier: String,
    /// Kept, never checked.
    pub(crate) data_type: String,
    /// When, in milliseconds since 1970.
    pub(crate) modified_ms: u64,
    /// ARN of who wrote it.
    pub(crate) modified_by: String,
}

/// What a caller wants to put.
#[derive(Debug)]
pub(crate) struct Draft {
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

/// A parameter with its history.
#[derive(Clone, Debug, Default)]
pub(crate) struct Parameter {
    /// Versions, oldest first; never empty once in [`Parameters`].
    pub(crate) versions: VecDeque<Version>,
    /// Its tags.
    pub(crate) tags: BTreeMap<String, String>,
}

impl Parameter {
    /// The version that counts.
    pub(crate) fn latest(&self) -> &Version {
        self.versions.back().expect("a parameter has a version")
    }
}

/// Every parameter, by name.
#[derive(Debug, Default)]
pub(crate) struct Parameters {
    by_name: BTreeMap<String, Parameter>,
}

/// What a put did.
#[derive(Debug)]
pub(crate) struct Put<'a> {
    /// The new version.
    pub(crate) version: &'a Version,
    /// The version that had to go.
    pub(crate) dropped: Option<u64>,
}

impl Parameters {
    /// Takes a version in that is in the store already; versions of a name come oldest first.
    pub(crate) fn adopt(&mut self, name: String, version: Version) {
        self.by_name
            .entry(name)
            .or_default()
            .versions
            .push_back(version);
    }

    /// The parameter of this name.
    pub(crate) fn get(&self, name: &str) -> Option<&Parameter> {
        self.by_name.get(name)
    }

    /// The tags of a parameter, to be changed.
    pub(crate) fn tags_mut(&mut self, name: &str) -> Option<&mut BTreeMap<String, String>> {
        self.by_name
            .get_mut(name)
            .map(|parameter| &mut parameter.tags)
    }

    /// The version a selector means: the latest, or the one it names.
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

    /// Puts a new parameter, or a new version of one.
    ///
    /// # Errors
    /// What AWS answers; nothing changes then.
    pub(crate) fn put(&mut self, draft: Draft, now_ms: u64) -> SsmResult<Put<'_>> {
        names::check(&draft.name)?;
        let before = self.by_name.get(&draft.name);
        if before.is_some() && !draft.overwrite {
            return Err(SsmError::ParameterAlreadyExists);
        }
        let before = before.map(Parameter::latest);
        let kind = match (draft.kind, before) {
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
        check_value(&draft.value, kind)?;
        if draft
            .description
            .as_ref()
            .is_some_and(|d| d.chars().count() > DESCRIPTION_CHARS_MAX)
        {
            return Err(SsmError::Validation(format!(
                "1 validation error detected: Value at 'description' failed to satisfy constraint: Member must have \
                 length less than or equal to {DESCRIPTION_CHARS_MAX}"
            )));
        }
        let tier = tier(draft.tier.as_deref(), before, draft.value.chars().count())?;
        let version = Version {
            version: before.map_or(1, |before| before.version + 1),
            kind,
            value: draft.value,
            description: draft.description.or_else(|| before?.description.clone()),
            key_id: (kind == Kind::SecureString).then(|| {
                draft
                    .key_id
                    .or_else(|| before?.key_id.clone())
                    .unwrap_or("alias/aws/ssm".into())
            }),
            allowed_pattern: draft
                .allowed_pattern
                .or_else(|| before?.allowed_pattern.clone()),
            tier,
            data_type: draft.data_type.unwrap_or_else(|| "text".into()),
            modified_ms: now_ms,
            modified_by: draft.modified_by,
        };
        let parameter = self.by_name.entry(draft.name).or_default();
        parameter.versions.push_back(version);
        let dropped = (parameter.versions.len() > VERSIONS_MAX)
            .then(|| parameter.versions.pop_front())
            .flatten();
        Ok(Put {
            version: parameter.latest(),
            dropped: dropped.map(|version| version.version),
        })
    }

    /// Deletes a parameter; whether there was one.
    pub(crate) fn delete(&mut self, name: &str) -> bool {
        self.by_name.remove(name).is_some()
    }

    /// Parameters below a path, by name, after `after`: its children, or all descendants.
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

    /// All parameters, by name, after `after`.
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

/// The tier a value goes to: the one asked for, else the one it is in, and larger when it must and may.
fn tier(asked: Option<&str>, before: Option<&Version>, chars: usize) -> SsmResult<String> {
    let current = before.map_or("Standard", |before| before.tier.as_str());
    let tier = match asked.unwrap_or(current) {
        // An advanced parameter never goes back (AWS).
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

    fn draft(name: &str, value: &str) -> Draft {
        Draft {
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
    fn versions_count_up_and_the_oldest_goes() {
        let mut parameters = Parameters::default();
        parameters.put(draft("/a", "1"), 0).unwrap();
        assert_eq!(
            parameters.put(draft("/a", "2"), 0).unwrap_err(),
            SsmError::ParameterAlreadyExists
        );
        for n in 2..=VERSIONS_MAX as u64 + 1 {
            let put = parameters
                .put(
                    Draft {
                        overwrite: true,
                        ..draft("/a", &n.to_string())
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
    fn paths_list_children_or_descendants() {
        let mut parameters = Parameters::default();
        for name in ["/a", "/a/b", "/a/b/c", "/a/d", "/ab/c", "plain"] {
            parameters.put(draft(name, "x"), 0).unwrap();
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
    fn values_have_the_size_of_their_tier() {
        let mut parameters = Parameters::default();
        let put = |p: &mut Parameters, tier: Option<&str>, chars: usize| {
            p.put(
                Draft {
                    tier: tier.map(Into::into),
                    overwrite: true,
                    ..draft("/a", &"x".repeat(chars))
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
    fn the_kind_is_needed_once_and_stays() {
        let mut parameters = Parameters::default();
        assert!(
            parameters
                .put(
                    Draft {
                        kind: None,
                        ..draft("/a", "x")
                    },
                    0
                )
                .is_err()
        );
        parameters.put(draft("/a", "x"), 0).unwrap();
        let again = Draft {
            kind: None,
            overwrite: true,
            ..draft("/a", "y")
        };
        assert_eq!(parameters.put(again, 0).unwrap().version.kind, Kind::String);
        let other = Draft {
            kind: Some(Kind::SecureString),
            overwrite: true,
            ..draft("/a", "y")
        };
        assert_eq!(
            parameters.put(other, 0).unwrap_err(),
            SsmError::HierarchyTypeMismatch
        );
    }
}
