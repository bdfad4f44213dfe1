//! Parsed YAML: documents of nodes, each with its place in the text.

use std::borrow::Cow;
use std::ops::Range;

use super::scalar::{Style, resolve, resolves_to_text};

/// Why a text is no YAML that is taken here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {message}")]
pub(crate) struct YamlError {
    /// From 1.
    pub line: usize,
    /// From 1.
    pub column: usize,
    /// What is wrong.
    pub message: String,
}

/// One document of a text.
#[derive(Debug)]
pub(crate) struct Document<'t> {
    /// Its bytes, from its `---` (or the start of the text) up to the next.
    pub(crate) chunk: Range<usize>,
    /// Whether the chunk begins with `---`.
    pub(crate) is_marked: bool,
    /// What it says.
    pub(crate) root: Node<'t>,
}

/// A value and where it is.
#[derive(Debug)]
pub(crate) struct Node<'t> {
    pub(crate) kind: Kind<'t>,
    /// Its bytes; for a block collection, from its first entry up to the end of its last.
    pub(crate) span: Range<usize>,
    /// From 1.
    pub(crate) line: usize,
    /// From 1.
    pub(crate) column: usize,
}

#[derive(Debug)]
pub(crate) enum Kind<'t> {
    Scalar {
        text: Cow<'t, str>,
        style: Style,
    },
    Map {
        entries: Vec<Pair<'t>>,
        is_flow: bool,
    },
    List {
        items: Vec<Node<'t>>,
        is_flow: bool,
    },
}

/// A key of a map and its value.
#[derive(Debug)]
pub(crate) struct Pair<'t> {
    pub(crate) key: Node<'t>,
    pub(crate) value: Node<'t>,
}

impl<'t> Node<'t> {
    /// The value of a key of a map.
    pub(crate) fn get(&self, key: &str) -> Option<&Self> {
        self.pair(key).map(|pair| &pair.value)
    }

    /// A key of a map with its value.
    pub(crate) fn pair(&self, key: &str) -> Option<&Pair<'t>> {
        self.entries()
            .iter()
            .find(|pair| pair.key.text() == Some(key))
    }

    /// The value at the end of a path of keys.
    pub(crate) fn at(&self, path: &[&str]) -> Option<&Self> {
        path.iter().try_fold(self, |node, key| node.get(key))
    }

    /// The keys and values of a map; none for anything else.
    pub(crate) fn entries(&self) -> &[Pair<'t>] {
        if let Kind::Map { entries, .. } = &self.kind {
            entries
        } else {
            &[]
        }
    }

    /// The items of a list; none for anything else.
    pub(crate) fn items(&self) -> &[Self] {
        if let Kind::List { items, .. } = &self.kind {
            items
        } else {
            &[]
        }
    }

    /// A scalar's text as it is written, without its quotes.
    pub(crate) fn text(&self) -> Option<&str> {
        if let Kind::Scalar { text, .. } = &self.kind {
            Some(text)
        } else {
            None
        }
    }

    /// The text of a scalar that is text, and not a number, a truth value or nothing.
    pub(crate) fn string(&self) -> Option<&str> {
        match &self.kind {
            Kind::Scalar { text, style } if resolves_to_text(text, *style) => Some(text),
            _ => None,
        }
    }

    /// Whether nothing is there.
    pub(crate) fn is_null(&self) -> bool {
        matches!(&self.kind, Kind::Scalar { text, style } if resolve(text, *style).is_null())
    }

    /// What it says, as JSON.
    pub(crate) fn to_json(&self) -> serde_json::Value {
        match &self.kind {
            Kind::Scalar { text, style } => resolve(text, *style),
            Kind::List { items, .. } => items.iter().map(Node::to_json).collect(),
            Kind::Map { entries, .. } => entries
                .iter()
                .map(|pair| {
                    (
                        pair.key.text().unwrap_or_default().to_owned(),
                        pair.value.to_json(),
                    )
                })
                .collect::<serde_json::Map<_, _>>()
                .into(),
        }
    }

    /// The innermost node on a path of keys and indices that is written down.
    pub(crate) fn nearest<'n>(&'n self, path: &[&str]) -> &'n Self {
        let mut node = self;
        for step in path {
            let below = match &node.kind {
                Kind::Map { .. } => node.get(step),
                Kind::List { items, .. } => step.parse::<usize>().ok().and_then(|at| items.get(at)),
                Kind::Scalar { .. } => None,
            };
            let Some(below) = below else { break };
            node = below;
        }
        node
    }

    /// Where a reader has to look for a path: the same, but for a map or list its key, which is the line above.
    pub(crate) fn reported_at<'n>(&'n self, path: &[&str]) -> &'n Self {
        let (mut node, mut sign) = (self, self);
        for step in path {
            let below = match &node.kind {
                Kind::Map { .. } => node.pair(step).map(|pair| (&pair.key, &pair.value)),
                Kind::List { items, .. } => step
                    .parse::<usize>()
                    .ok()
                    .and_then(|at| items.get(at))
                    .map(|item| (item, item)),
                Kind::Scalar { .. } => None,
            };
            let Some((key, below)) = below else { break };
            sign = if matches!(below.kind, Kind::Scalar { .. }) {
                below
            } else {
                key
            };
            node = below;
        }
        sign
    }
}
