//! YAML as kustomize reads it, for the files that are not ours.
//!
//! [`objects`] reads the file of a resource or a patch, [`kustomization`] reads a `kustomization.yaml`. Both accept what
//! kustomize accepts (anchors, tags, carriage returns, a byte order mark) and refuse what kustomize refuses. Aliases and merge
//! keys are expanded. The nodes have lines, and no bytes to edit.

use std::borrow::Cow;
use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};

use base64::Engine;
use serde_json::Value;
use tenantry_goyaml::{Event, EventKind, Events, Properties, Version};

use super::node::{Node, NodeKind, Pair, YamlError};
use super::scalar::{self, Meaning, Style};

/// Depth of nested collections. No manifest comes near it, and the tree is walked by recursion.
const MAX_DEPTH: usize = 1000;
/// Limit of nodes after aliases are expanded: an alias bomb ends here.
const MAX_NODES: usize = 1_000_000;
pub(crate) const MERGE_KEY: &str = "<<";
pub(super) const WRONG_TAG: &str = "the tag does not fit: remove it";

type Owned = Node<'static>;

/// Reads the documents of a file as kustomize splits them: at lines that begin with `---`; of each part, the first document.
pub(crate) fn objects(text: &str) -> Result<Vec<Owned>, YamlError> {
    let text = with_line_feeds(text);
    let mut found = Vec::new();
    let (mut start, mut from, mut line) = (0, 0, 0);
    loop {
        let separator = text[from..]
            .find("\n---")
            .map(|at| from + at)
            .and_then(|at| Some((at, at + 1 + text[at + 1..].find('\n')?)));
        let chunk = separator.map_or(&text[start..], |(at, _)| &text[start..=at]);
        found.extend(first_document(chunk, line, Version::V3, Repeats::LastWins)?);
        let Some((at, end)) = separator else {
            return Ok(found);
        };
        let behind = text[at + "\n---".len()..end].trim();
        line += text[start..=end].matches('\n').count();
        if !behind.is_empty() && !behind.starts_with('#') {
            return Err(error(
                line,
                1,
                "text behind the `---`: write it on the next line",
            ));
        }
        (start, from) = (end + 1, end + 1);
    }
}

/// Reads a `kustomization.yaml`: its first document, `None` if that is empty.
pub(crate) fn kustomization(text: &str) -> Result<Option<Owned>, YamlError> {
    first_document(text, 0, Version::V2, Repeats::LastWins)
}

/// Reads a file of `configurations`, as [`kustomization`], but a map with a key twice is refused.
pub(crate) fn configuration(text: &str) -> Result<Option<Owned>, YamlError> {
    first_document(text, 0, Version::V2, Repeats::Refused)
}

/// What becomes of a key that a map has twice, itself or by its merge keys.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Repeats {
    LastWins,
    Refused,
}

fn with_line_feeds(text: &str) -> Cow<'_, str> {
    if text.contains("\r\n") {
        text.replace("\r\n", "\n").into()
    } else {
        text.into()
    }
}

/// A collection that is not closed yet.
struct Open {
    line: usize,
    column: usize,
    anchor: Option<String>,
    is_map: bool,
    nodes: Vec<Part>,
}

/// What an anchor names.
enum Anchored {
    /// A collection at this depth that is not closed yet.
    Open(usize),
    /// A node, and the number of its nodes.
    Node(Owned, usize),
}

/// A node of a collection that is not closed yet.
struct Part {
    node: Owned,
    is_alias: bool,
    /// Whether the node is a merge key, if it is a key.
    is_merge: bool,
}

/// Parses the first document of a text; `line` counts the lines above the text.
fn first_document(
    text: &str,
    line: usize,
    version: Version,
    repeats: Repeats,
) -> Result<Option<Owned>, YamlError> {
    let below = |error: tenantry_goyaml::Error| YamlError {
        line: line + error.line,
        column: error.column,
        message: error.message,
    };
    let mut events = Events::new(text, version);
    let mut open: Vec<Open> = Vec::new();
    let mut anchors: HashMap<String, Anchored> = HashMap::new();
    let mut nodes = 0;
    let mut root = None;
    loop {
        let Event { kind, mark } = events.next_event().map_err(below)?;
        let fail = |message: &str| Err(below(mark.error(message)));
        let place = (line + mark.line + 1, mark.column + 1);
        let (mut is_alias, mut is_merge) = (false, false);
        let (node, anchor) = match kind {
            EventKind::DocumentStart => continue,
            EventKind::StreamEnd | EventKind::DocumentEnd => {
                return Ok(root.filter(|root: &Owned| !root.is_null()));
            }
            EventKind::Alias(anchor) => match anchors.get(&anchor) {
                Some(Anchored::Node(node, size)) => {
                    nodes += size;
                    is_alias = true;
                    (node.clone(), None)
                }
                Some(Anchored::Open(_)) => {
                    return fail("an alias of the value that it is in: write it out");
                }
                None => return fail("an alias without its anchor: write the value out"),
            },
            EventKind::Scalar {
                properties: Properties { anchor, tag },
                value,
                style,
            } => {
                let tag = tag
                    .as_deref()
                    .map_or(Tag::None, |tag| Tag::of(tag, version));
                is_merge = tag.makes_merge_key(&value, style, version);
                if !tag.fits(&value, version) {
                    return fail(WRONG_TAG);
                }
                let value = match (tag, version) {
                    (Tag::Binary, Version::V2) => {
                        String::from_utf8_lossy(&bytes_of(&value).unwrap_or_default()).into_owned()
                    }
                    _ => value,
                };
                let (text, style) = (value.into(), tag.style(style));
                (node(NodeKind::Scalar { text, style }, place), anchor)
            }
            EventKind::ListStart(properties) | EventKind::MapStart(properties)
                if open.len() >= MAX_DEPTH =>
            {
                drop(properties);
                return fail("nested too deeply");
            }
            EventKind::ListStart(properties) => {
                begin(place, properties, false, &mut open, &mut anchors);
                continue;
            }
            EventKind::MapStart(properties) => {
                begin(place, properties, true, &mut open, &mut anchors);
                continue;
            }
            EventKind::ListEnd | EventKind::MapEnd => {
                let Some(mut closed) = open.pop() else {
                    return fail("an end without a start");
                };
                // The last node that begins with an anchor has it, also inside another with the same.
                let is_own = |anchor: &String| matches!(anchors.get(anchor), Some(Anchored::Open(depth)) if *depth == open.len());
                let anchor = closed.anchor.take().filter(is_own);
                (closed.close(version, repeats)?, anchor)
            }
        };
        nodes += 1;
        if nodes > MAX_NODES {
            return fail("too many aliases of aliases");
        }
        if let Some(anchor) = anchor {
            let size = count(&node);
            anchors.insert(anchor, Anchored::Node(node.clone(), size));
        }
        match open.last_mut() {
            Some(parent) => parent.nodes.push(Part {
                node,
                is_alias,
                is_merge,
            }),
            None => root = Some(node),
        }
    }
}

/// Opens a collection. Until it is closed, its anchor names nothing.
fn begin(
    (line, column): (usize, usize),
    Properties { anchor, .. }: Properties,
    is_map: bool,
    open: &mut Vec<Open>,
    anchors: &mut HashMap<String, Anchored>,
) {
    let depth = open.len();
    anchors.extend(anchor.clone().map(|anchor| (anchor, Anchored::Open(depth))));
    open.push(Open {
        line,
        column,
        anchor,
        is_map,
        nodes: Vec::new(),
    });
}

impl Open {
    fn close(self, version: Version, repeats: Repeats) -> Result<Owned, YamlError> {
        let Self {
            line,
            column,
            is_map,
            nodes,
            ..
        } = self;
        let is_flow = false;
        let kind = if is_map {
            let pairs = match version {
                Version::V2 => pairs_of_list(nodes, repeats),
                Version::V3 => pairs_of_object(nodes),
            }?;
            NodeKind::Map { pairs, is_flow }
        } else {
            let items = nodes.into_iter().map(|part| part.node).collect();
            NodeKind::List { items, is_flow }
        };
        Ok(node(kind, (line, column)))
    }
}

/// What a tag makes of a scalar.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Tag {
    None,
    /// `!`
    Unspecific,
    Text,
    Merge,
    Other,
    Binary,
    Null,
    Bool,
    Integer,
    Float,
    Time,
}

impl Tag {
    fn of(tag: &str, version: Version) -> Self {
        let short = tag.strip_prefix("tag:yaml.org,2002:");
        match (version, short) {
            // Version 3 ignores this tag, and takes the short form of another.
            (Version::V3, None) if tag == "!" => return Self::None,
            (Version::V2, None) if tag == "!" => return Self::Unspecific,
            (Version::V3, None) => tag.strip_prefix("!!"),
            _ => short,
        }
        .map_or(Self::Other, |name| match name {
            "str" => Self::Text,
            "merge" => Self::Merge,
            "binary" => Self::Binary,
            "null" => Self::Null,
            "bool" => Self::Bool,
            "int" => Self::Integer,
            "float" => Self::Float,
            "timestamp" => Self::Time,
            _ => Self::Other,
        })
    }

    /// Returns the style of a scalar that means the same without the tag.
    fn style(self, style: tenantry_goyaml::Style) -> Style {
        match (self, Style::from(style)) {
            (Self::None, style) | (Self::Text, style @ (Style::Single | Style::Block)) => style,
            (Self::Unspecific | Self::Text | Self::Merge, _) => Style::Double,
            (Self::Binary | Self::Other, _) => Style::Tagged,
            _ => Style::Plain,
        }
    }

    /// Whether a key with this tag is a merge key. Version 3 takes every key with the tag for one.
    fn makes_merge_key(self, text: &str, style: tenantry_goyaml::Style, version: Version) -> bool {
        match (self, version) {
            (Self::Merge, Version::V3) => true,
            (Self::Merge | Self::Unspecific, Version::V2) => text == MERGE_KEY,
            (Self::None, _) => text == MERGE_KEY && style == tenantry_goyaml::Style::Plain,
            _ => false,
        }
    }

    /// Whether a scalar is what its tag says.
    fn fits(self, text: &str, version: Version) -> bool {
        let meaning = match version {
            Version::V2 => scalar::kustomization(text),
            Version::V3 => scalar::kustomize(text),
        };
        match self {
            Self::None | Self::Unspecific | Self::Text | Self::Merge | Self::Other => true,
            Self::Binary => bytes_of(text).is_some(),
            Self::Null => meaning == Meaning::Null,
            Self::Bool => matches!(meaning, Meaning::Bool(_)),
            Self::Integer => scalar::go_integer(&text.replace('_', "")).is_some(),
            Self::Float => matches!(meaning, Meaning::Number(_)),
            Self::Time => meaning == Meaning::Time,
        }
    }
}

/// The pairs of a map, found by key.
#[derive(Default)]
struct Pairs {
    pairs: Vec<Pair<'static>>,
    places: HashMap<Option<String>, usize>,
}

impl Pairs {
    fn place(&mut self, pair: &Pair<'_>) -> Option<usize> {
        let key = pair.key.text().map(str::to_owned);
        match self.places.entry(key) {
            Entry::Occupied(there) => Some(*there.get()),
            Entry::Vacant(free) => {
                free.insert(self.pairs.len());
                None
            }
        }
    }

    fn set(&mut self, pair: Pair<'static>, repeats: Repeats) -> Result<(), YamlError> {
        match self.place(&pair) {
            Some(_) if repeats == Repeats::Refused => {
                return Err(YamlError::at(&pair.key, "the key is in this map twice"));
            }
            Some(place) => self.pairs[place] = pair,
            None => self.pairs.push(pair),
        }
        Ok(())
    }

    fn add_missing(&mut self, pair: Pair<'static>) {
        if self.place(&pair).is_none() {
            self.pairs.push(pair);
        }
    }
}

/// Makes a map of the keys and values of a `kustomization.yaml`, with the pairs of the maps that its merge keys name. Of two pairs
/// with one key, the later wins, unless they are refused.
fn pairs_of_list(parts: Vec<Part>, repeats: Repeats) -> Result<Vec<Pair<'static>>, YamlError> {
    let mut pairs = Pairs::default();
    let mut parts = parts.into_iter();
    while let (Some(key), Some(value)) = (parts.next(), parts.next()) {
        if key.is_merge {
            for pair in merged_pairs(&key.node, &value, repeats)? {
                pairs.set(pair, repeats)?;
            }
        } else if key.node.is_null() || key.node.text().is_none() {
            // It becomes JSON, which has no such key.
            return Err(YamlError::at(&key.node, "a key must be text"));
        } else {
            let pair = Pair {
                key: key.node,
                value: value.node,
            };
            pairs.set(pair, repeats)?;
        }
    }
    Ok(pairs.pairs)
}

/// Makes a map of the keys and values of an object, with the pairs of the maps that its merge key names and that it does not have
/// itself.
fn pairs_of_object(parts: Vec<Part>) -> Result<Vec<Pair<'static>>, YamlError> {
    let mut own = Vec::with_capacity(parts.len() / 2);
    let (mut merged, mut is_first) = (None, true);
    let mut parts = parts.into_iter();
    while let (Some(key), Some(value)) = (parts.next(), parts.next()) {
        if key.is_merge {
            if merged.is_some() {
                let message = "a second merge key: write one, with a list of maps";
                return Err(YamlError::at(&key.node, message));
            }
            merged = Some(merged_pairs(&key.node, &value, Repeats::LastWins)?);
        }
        // kustomize removes the first key of this name, also one that only looks like a merge key.
        let is_named = key.node.text() == Some(MERGE_KEY);
        let is_removed = is_named && (is_first || key.is_merge);
        is_first &= !is_named;
        if !is_removed {
            own.push(Pair {
                key: key.node,
                value: value.node,
            });
        }
    }
    let Some(mut merged) = merged else {
        return Ok(own);
    };
    let keys: HashSet<Option<&str>> = own.iter().map(|pair| pair.key.text()).collect();
    merged.retain(|pair| !keys.contains(&pair.key.text()));
    own.append(&mut merged);
    Ok(own)
}

/// Returns the pairs that a merge key adds. Of several maps, an earlier one wins.
fn merged_pairs(
    key: &Owned,
    value: &Part,
    repeats: Repeats,
) -> Result<Vec<Pair<'static>>, YamlError> {
    let maps = match &value.node.kind {
        NodeKind::List { items, .. } if !value.is_alias => items.as_slice(),
        _ => std::slice::from_ref(&value.node),
    };
    let mut added = Pairs::default();
    for map in maps {
        let NodeKind::Map { pairs, .. } = &map.kind else {
            return Err(YamlError::at(
                key,
                "a merge key needs a map, or a list of maps",
            ));
        };
        for pair in pairs {
            if repeats == Repeats::Refused {
                added.set(pair.clone(), repeats)?;
            } else {
                added.add_missing(pair.clone());
            }
        }
    }
    Ok(added.pairs)
}

/// Decodes base64 as Go does: without line breaks.
fn bytes_of(text: &str) -> Option<Vec<u8>> {
    let line: String = text
        .chars()
        .filter(|it| !matches!(it, '\r' | '\n'))
        .collect();
    base64::engine::general_purpose::STANDARD.decode(line).ok()
}

const fn node(kind: NodeKind<'static>, (line, column): (usize, usize)) -> Owned {
    Node {
        kind,
        span: 0..0,
        line,
        column,
    }
}

fn count(node: &Owned) -> usize {
    1 + node.items().iter().map(count).sum::<usize>()
        + node
            .pairs()
            .iter()
            .map(|pair| 1 + count(&pair.value))
            .sum::<usize>()
}

fn error(line: usize, column: usize, message: &str) -> YamlError {
    YamlError {
        line,
        column,
        message: message.to_owned(),
    }
}

/// Returns the value of an object, or of a part of one, as JSON.
pub(crate) fn json_of_object(node: &Node<'_>) -> Value {
    node.to_json_by(|text, style| scalar::json(text, style, true))
}

/// Returns the value of a JSON patch in YAML, which is read as a `kustomization.yaml` is.
pub(crate) fn json_of_patch(node: &Node<'_>) -> Value {
    node.to_json_by(|text, style| scalar::json(text, style, false))
}

/// Whether a scalar of a `kustomization.yaml` is text. A time stamp stays text there.
pub(crate) fn is_text(node: &Node<'_>) -> bool {
    matches!(meaning(node), Some(Meaning::Text | Meaning::Time))
}

/// Returns the truth value of a scalar of a `kustomization.yaml`.
pub(crate) fn truth(node: &Node<'_>) -> Option<bool> {
    match meaning(node) {
        Some(Meaning::Bool(truth)) => Some(truth),
        _ => None,
    }
}

pub(crate) fn is_whole_number(node: &Node<'_>) -> bool {
    matches!(meaning(node), Some(Meaning::Number(number)) if number.fract() == 0.0)
}

fn meaning(node: &Node<'_>) -> Option<Meaning> {
    match &node.kind {
        NodeKind::Scalar {
            text,
            style: Style::Plain,
        } => Some(scalar::kustomization(text)),
        NodeKind::Scalar { .. } => Some(Meaning::Text),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lists(text: &str) -> Option<serde_json::Value> {
        let root = kustomization(text).ok().flatten();
        root.map(|root| root.to_json())
    }

    #[test]
    fn a_tag_in_a_flow_collection_is_read_as_kustomize_reads_it() {
        assert_eq!(lists("[!a, b]"), Some(serde_json::json!(["b"])));
        assert_eq!(
            lists("[!!str 1, ! 2, !x 3]"),
            Some(serde_json::json!(["1", "2", "3"]))
        );
        for text in ["[!a,b]", "[!a]", "[!]", "[!<tag:x>, b]", "[!e!a b]"] {
            kustomization(text).expect_err(text);
        }
        let error = kustomization("a:\n  b: {c: !d}\n").expect_err("no space");
        assert_eq!((error.line, error.column), (2, 12));
        assert!(error.message.contains("write a space"), "{error}");
    }

    #[test]
    fn tags_change_the_meaning_as_in_each_version_of_go_yaml() {
        assert_eq!(lists("a: !!int \"1\"\n"), Some(serde_json::json!({"a": 1})));
        assert_eq!(
            lists("a: !!binary YS0=\n"),
            Some(serde_json::json!({"a": "a-"}))
        );
        assert_eq!(lists("a: ! 12\n"), Some(serde_json::json!({"a": "12"})));
        assert_eq!(
            objects("a: ! 12\n").expect("read")[0].to_json(),
            serde_json::json!({"a": 12})
        );
        for text in [
            "a: !!int 1.0\n",
            "a: !!int x\n",
            "a: !!null x\n",
            "a: !!binary YS0\n",
        ] {
            let error = kustomization(text).expect_err(text);
            assert_eq!((error.line, error.column), (1, 4), "{text:?}");
        }
    }

    #[test]
    fn a_block_at_the_end_of_a_text_has_the_line_feeds_that_it_was_written_with() {
        for (text, value) in [
            ("a: |\n  b", "b"),
            ("a: |\n  b\n", "b\n"),
            ("a: |+\n  b\n\n", "b\n\n"),
            ("a: |2", ""),
        ] {
            assert_eq!(
                lists(text),
                Some(serde_json::json!({"a": value})),
                "{text:?}"
            );
        }
    }

    #[test]
    fn an_alias_of_the_value_around_it_is_refused() {
        for text in ["a: &x\n  b: *x\n", "a: &x b\nc: &x [*x]\n", "a: *x\n"] {
            kustomization(text).expect_err(text);
            objects(text).expect_err(text);
        }
    }

    #[test]
    fn an_error_behind_a_separator_names_the_line_of_the_file() {
        let error = objects("a: b\n---\nc: d\ne: @\n").expect_err("no value begins so");
        assert_eq!((error.line, error.column), (4, 4));
    }

    #[test]
    fn a_second_merge_key_is_refused_in_an_object_alone() {
        let text = "a:\n  <<: {b: c}\n  <<: {d: e}\n";
        assert_eq!(objects(text).expect_err("two merge keys").line, 3);
        assert_eq!(
            lists(text),
            Some(serde_json::json!({"a": {"b": "c", "d": "e"}}))
        );
    }
}
