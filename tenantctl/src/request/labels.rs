//! Labels that operators give a tenant: labels of its `HelmRelease`, below a prefix of their own.

use std::collections::BTreeMap;

/// Most labels of a tenant.
pub const MAX_LABELS: usize = 20;
/// Limits of Kubernetes.
const MAX_CHARS: usize = 63;

/// Labels by name; each name and value is fit for a Kubernetes label.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Labels(BTreeMap<String, String>);

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidLabel {
    #[error(
        "{0:?} is no label: names and values are 1 to {MAX_CHARS} letters, digits and - _ . and begin and end with a letter or digit"
    )]
    Text(String),
    #[error("a tenant has at most {MAX_LABELS} labels")]
    TooMany,
}

impl Labels {
    pub fn iter(&self) -> impl Iterator<Item = (&String, &String)> {
        self.0.iter()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl TryFrom<BTreeMap<String, String>> for Labels {
    type Error = InvalidLabel;

    fn try_from(labels: BTreeMap<String, String>) -> Result<Self, InvalidLabel> {
        if labels.len() > MAX_LABELS {
            return Err(InvalidLabel::TooMany);
        }
        let texts = labels.iter().flat_map(|(name, value)| [name, value]);
        for text in texts {
            if !is_label(text) {
                return Err(InvalidLabel::Text(text.chars().take(80).collect()));
            }
        }
        Ok(Self(labels))
    }
}

/// Whether a text is fit for the name of a label, without a prefix, or for its value.
pub(crate) fn is_label(text: &str) -> bool {
    let is_edge = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric());
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    text.len() <= MAX_CHARS
        && text.bytes().all(fits)
        && is_edge(text.bytes().next())
        && is_edge(text.bytes().last())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_is_one_that_kubernetes_takes() {
        let labels = |name: &str, value: &str| {
            Labels::try_from(BTreeMap::from([(name.to_owned(), value.to_owned())]))
        };
        assert!(labels("team", "blue-1").is_ok() && labels("a.b_c", "1").is_ok());
        for wrong in ["", "-a", "a-", "a b", "a/b", "a\nb", "ä", &"x".repeat(64)] {
            assert!(labels(wrong, "a").is_err(), "{wrong:?}");
            assert!(labels("a", wrong).is_err(), "{wrong:?}");
        }
        let many = (0..=MAX_LABELS).map(|number| (format!("l{number}"), "x".to_owned()));
        assert_eq!(
            Labels::try_from(many.collect::<BTreeMap<_, _>>()),
            Err(InvalidLabel::TooMany)
        );
    }
}
