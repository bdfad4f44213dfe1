//! Parsed YAML: documents of nodes, each with its place in the text.

use std::borrow::Cow;
use std::ops::Range;

use super::scalar::{Style, resolve, resolves_to_text};

/// Reason why a text is refused as YAML.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {message}")]
pub(crate) struct YamlError {
    /// From 1.
    pub line: usize,
    /// From 1.
    pub column: usize,
    pub message: String,
}

#[derive(Debug)]
pub(crate) struct Document<'t> {
    /// The bytes of the document, from its `---` (or the start of the text) to the next `---`.
    pub(crate) chunk: Range<usize>,
    pub(crate) is_marked: bool,
    pub(crate) root: Node<'t>,
}

/// A value and its place in the text.
#[derive(Debug, Clone)]
pub(crate) struct Node<'t> {
    pub(crate) kind: NodeKind<'t>,
    /// The bytes of the node; of a block collection, from its first item to the end of its last.
    pub(crate) span: Range<usize>,
    /// From 1.
    pub(crate) line: usize,
    /// From 1.
    pub(crate) column: usize,
}

#[derive(Debug, Clone)]
pub(crate) enum NodeKind<'t> {
    Scalar { text: Cow<'t, str>, style: Style },
    Map { pairs: Vec<Pair<'t>>, is_flow: bool },
    List { items: Vec<Node<'t>>, is_flow: bool },
}

#[derive(Debug, Clone)]
pub(crate) struct Pair<'t> {
    pub(crate) key: Node<'t>,
    pub(crate) value: Node<'t>,
}

impl YamlError {
    pub(crate) fn at(node: &Node<'_>, message: impl Into<String>) -> Self {
        Self {
            line: node.line,
            column: node.column,
            message: message.into(),
        }
    }
}

impl<'t> Node<'t> {
    pub(crate) fn get(&self, key: &str) -> Option<&Self> {
        self.pair(key).map(|pair| &pair.value)
    }

    pub(crate) fn pair(&self, key: &str) -> Option<&Pair<'t>> {
        self.pairs()
            .iter()
            .find(|pair| pair.key.text() == Some(key))
    }

    /// Returns the value at the end of a path of keys.
    pub(crate) fn at(&self, path: &[&str]) -> Option<&Self> {
        path.iter().try_fold(self, |node, key| node.get(key))
    }

    /// Returns the pairs of a map; none for another node.
    pub(crate) fn pairs(&self) -> &[Pair<'t>] {
        if let NodeKind::Map { pairs, .. } = &self.kind {
            pairs
        } else {
            &[]
        }
    }

    /// Returns the items of a list; none for another node.
    pub(crate) fn items(&self) -> &[Self] {
        if let NodeKind::List { items, .. } = &self.kind {
            items
        } else {
            &[]
        }
    }

    /// Returns the text of a scalar without its quotes.
    pub(crate) fn text(&self) -> Option<&str> {
        if let NodeKind::Scalar { text, .. } = &self.kind {
            Some(text)
        } else {
            None
        }
    }

    /// Returns the text of a scalar that means text, not a number, a truth value or null.
    pub(crate) fn string(&self) -> Option<&str> {
        match &self.kind {
            NodeKind::Scalar { text, style } if resolves_to_text(text, *style) => Some(text),
            _ => None,
        }
    }

    pub(crate) fn is_null(&self) -> bool {
        matches!(&self.kind, NodeKind::Scalar { text, style } if resolve(text, *style).is_null())
    }

    /// Returns the value as JSON.
    pub(crate) fn to_json(&self) -> serde_json::Value {
        self.to_json_by(resolve)
    }

    /// Returns the value as JSON, with the meaning that this gives to scalars.
    pub(super) fn to_json_by(
        &self,
        resolve: fn(&str, Style) -> serde_json::Value,
    ) -> serde_json::Value {
        match &self.kind {
            NodeKind::Scalar { text, style } => resolve(text, *style),
            NodeKind::List { items, .. } => {
                items.iter().map(|item| item.to_json_by(resolve)).collect()
            }
            NodeKind::Map { pairs, .. } => pairs
                .iter()
                .map(|pair| {
                    (
                        pair.key.text().unwrap_or_default().to_owned(),
                        pair.value.to_json_by(resolve),
                    )
                })
                .collect::<serde_json::Map<_, _>>()
                .into(),
        }
    }

    /// Returns the innermost written node on a path of keys and indices.
    pub(crate) fn nearest<'n>(&'n self, path: &[&str]) -> &'n Self {
        let mut node = self;
        for step in path {
            let below = match &node.kind {
                NodeKind::Map { .. } => node.get(step),
                NodeKind::List { items, .. } => {
                    step.parse::<usize>().ok().and_then(|at| items.get(at))
                }
                NodeKind::Scalar { .. } => None,
            };
            let Some(below) = below else { break };
            node = below;
        }
        node
    }

    /// Returns the node whose position a finding reports: for a map or list, its key in the line above.
    pub(crate) fn reported_at<'n>(&'n self, path: &[&str]) -> &'n Self {
        let (mut node, mut sign) = (self, self);
        for step in path {
            let below = match &node.kind {
                NodeKind::Map { .. } => node.pair(step).map(|pair| (&pair.key, &pair.value)),
                NodeKind::List { items, .. } => step
                    .parse::<usize>()
                    .ok()
                    .and_then(|at| items.get(at))
                    .map(|item| (item, item)),
                NodeKind::Scalar { .. } => None,
            };
            let Some((key, below)) = below else { break };
            sign = if matches!(below.kind, NodeKind::Scalar { .. }) {
                below
            } else {
                key
            };
            node = below;
        }
        sign
    }
}
