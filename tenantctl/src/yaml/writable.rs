//! What kustomize reads and then cannot write. It writes an object as JSON, and reads that as YAML.

use std::collections::HashSet;

use tenantry_goyaml::{SIMPLE_KEY, is_readable};

use super::kustomize::{self, MERGE_KEY, WRONG_TAG};
use super::node::{Node, NodeKind, Pair, YamlError};
use super::scalar::{self, Meaning, Style};

/// Finds what kustomize reads and then cannot write: a duplicate key, a key that is not text or is too long, an infinite number,
/// some characters.
pub(crate) fn unwritable(root: &Node<'_>) -> Result<(), YamlError> {
    unwritable_below(root, Keys::Any)
}

/// As [`unwritable`], for an item of a list of objects, which kustomize decodes with the list.
pub(crate) fn unwritable_item(root: &Node<'_>) -> Result<(), YamlError> {
    unwritable_below(root, Keys::Text)
}

/// Keys that kustomize can write.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Keys {
    /// It writes numbers as text.
    Any,
    /// It takes an absent key for an empty text.
    TextOrAbsent,
    Text,
}

impl Keys {
    const fn below(self) -> Self {
        match self {
            Self::Any | Self::TextOrAbsent => Self::TextOrAbsent,
            Self::Text => Self::Text,
        }
    }
}

fn unwritable_below(node: &Node<'_>, keys: Keys) -> Result<(), YamlError> {
    match &node.kind {
        NodeKind::Scalar {
            text,
            style: Style::Plain,
        } => match scalar::kustomize(text) {
            Meaning::Number(number) if !number.is_finite() => Err(YamlError::at(
                node,
                format!("{text} is not a number of JSON"),
            )),
            _ => Ok(()),
        },
        NodeKind::Scalar { text, .. } => control_character(node, text),
        NodeKind::List { items, .. } => items
            .iter()
            .try_for_each(|item| unwritable_below(item, keys.below())),
        NodeKind::Map { pairs, .. } => {
            let mut seen = HashSet::with_capacity(pairs.len());
            for Pair { key, value } in pairs {
                let NodeKind::Scalar { text, style } = &key.kind else {
                    return Err(YamlError::at(key, "a key must be text"));
                };
                let is_text = match style {
                    Style::Plain => match scalar::kustomize(text) {
                        Meaning::Text => true,
                        Meaning::Null => text.is_empty() && keys != Keys::Text,
                        _ => keys == Keys::Any,
                    },
                    Style::Tagged if keys != Keys::Any => {
                        return Err(YamlError::at(key, WRONG_TAG));
                    }
                    _ => true,
                };
                if !is_text {
                    let message = format!("the key {text} is not text: put it in quotes");
                    return Err(YamlError::at(key, message));
                }
                if !seen.insert(text) {
                    let message = format!("the key {text} is in this map twice");
                    return Err(YamlError::at(key, message));
                }
                if let Some(message) = unwritable_key(text) {
                    return Err(YamlError::at(key, message));
                }
                unwritable_below(value, keys.below())?;
            }
            Ok(())
        }
    }
}

/// Finds a control character that kustomize writes and then cannot read, in the scalars of a node.
pub(crate) fn control_characters(node: &Node<'_>) -> Result<(), YamlError> {
    match &node.kind {
        NodeKind::Scalar { text, .. } => control_character(node, text),
        NodeKind::List { items, .. } => items.iter().try_for_each(control_characters),
        NodeKind::Map { pairs, .. } => pairs.iter().try_for_each(|pair| {
            control_characters(&pair.key)?;
            control_characters(&pair.value)
        }),
    }
}

fn control_character(node: &Node<'_>, text: &str) -> Result<(), YamlError> {
    unwritable_character(text).map_or(Ok(()), |message| Err(YamlError::at(node, message)))
}

/// Finds a character that JSON has as it is and that YAML must not have, or a line that YAML takes for the end of a document.
pub(crate) fn unwritable_character(text: &str) -> Option<String> {
    // JSON has no other line break, nor blank, as it is.
    let mut lines = text
        .match_indices('\u{85}')
        .map(|(at, _)| text[at..].trim_start_matches('\u{85}'));
    let ends = |line: &str| {
        let rest = line
            .strip_prefix("---")
            .or_else(|| line.strip_prefix("..."));
        rest.is_some_and(|rest| rest.starts_with([' ', '\u{85}']))
    };
    if lines.any(ends) {
        return Some(
            "kustomize cannot write a line break U+0085 before --- or ...: remove it".to_owned(),
        );
    }
    let found = text.chars().find(|it| *it >= ' ' && !is_readable(*it))?;
    let number = u32::from(found);
    Some(format!(
        "kustomize cannot write the control character U+{number:04X}: remove it"
    ))
}

/// Finds a text that kustomize writes as a block, and then cannot read: it begins with a tab and has several lines. It concerns
/// texts that kustomize itself puts into an object.
pub(crate) fn unwritable_block(text: &str) -> Option<String> {
    const BREAKS: [char; 5] = ['\n', '\r', '\u{85}', '\u{2028}', '\u{2029}'];
    // Any other text has quotes.
    let is_printable = |it: char| matches!(it, '\n' | '\t' | ' '..='~' | '\u{a0}'..='\u{fffd}' if it != '\u{feff}');
    let is_block = text.contains('\n')
        && text.chars().all(is_printable)
        && !text.ends_with(' ')
        && !BREAKS.iter().any(|end| text.contains(&format!(" {end}")));
    let message = "kustomize cannot write a text of several lines that begins with a tab: begin it with another character";
    (text.starts_with('\t') && is_block).then(|| message.to_owned())
}

/// Finds why kustomize writes a key as JSON and then cannot read it as YAML.
pub(crate) fn unwritable_key(text: &str) -> Option<String> {
    if text == MERGE_KEY {
        return Some("kustomize takes the key << for a merge key".to_owned());
    }
    if length_in_json(text) > SIMPLE_KEY {
        let message = format!("a key of more than {SIMPLE_KEY} characters: shorten it");
        return Some(message);
    }
    unwritable_break(text).or_else(|| unwritable_character(text))
}

/// Finds a line break in a key that JSON has as it is.
pub(crate) fn unwritable_break(key: &str) -> Option<String> {
    key.contains('\u{85}')
        .then(|| "a key with a line break U+0085: remove it".to_owned())
}

/// Returns the characters of a text in the JSON that Go writes, with the quotes.
fn length_in_json(text: &str) -> usize {
    let lengths = text.chars().map(|character| match character {
        '"' | '\\' | '\n' | '\r' | '\t' | '\u{8}' | '\u{c}' => 2,
        '\0'..' ' | '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => 6,
        _ => 1,
    });
    lengths.sum::<usize>() + 2
}

/// Whether a key that kustomize writes without quotes stays text.
pub(crate) fn stays_text(key: &Node<'_>) -> bool {
    let text = key.text().unwrap_or_default();
    kustomize::is_text(key) && stays(text)
}

pub(crate) fn stays(text: &str) -> bool {
    text != MERGE_KEY && scalar::kustomize(text) == Meaning::Text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_kustomize_cannot_write_is_found() {
        let check = |text: &str| unwritable(&kustomize::objects(text).expect(text)[0]);
        let key = |length: usize| format!("a:\n  {}: b\n", "k".repeat(length));
        check(&key(1022)).expect("writable");
        for text in [
            key(1023).as_str(),
            "a: \"\\x7f\"",
            "\"\\x91\": b",
            "\"\\N\": b",
            "a: {1: b}",
            "a: {~: b}",
            "a: .inf",
        ] {
            check(text).expect_err(text);
        }
        for text in ["1: b", "a:\n  ?\n  : b\n", "a: \"\\a\\N\\uFEFF\""] {
            check(text).expect(text);
        }
    }
}
