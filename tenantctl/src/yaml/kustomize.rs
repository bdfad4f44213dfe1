//! YAML as kustomize reads it, for the files that are not ours.
//!
//! [`objects`] reads the file of a resource or a patch, [`kustomization`] reads a `kustomization.yaml`. Both accept what
//! kustomize accepts (anchors, tags, carriage returns, a byte order mark) and refuse what kustomize refuses. Aliases and merge
//! keys are expanded. The nodes have lines, and no bytes to edit.

use std::borrow::Cow;
use std::collections::HashMap;
use std::panic::catch_unwind;

use base64::Engine;
use libyaml_safer::{Event, EventData, Mark, Parser, ScalarStyle};

use super::node::{Node, NodeKind, Pair, YamlError};
use super::scalar::{self, Meaning, Style};

/// Depth of nested collections. No manifest comes near it, and the tree is walked by recursion.
const MAX_DEPTH: usize = 1000;
/// Limit of nodes after aliases are expanded: an alias bomb ends here.
const MAX_NODES: usize = 1_000_000;
const MERGE_KEY: &str = "<<";

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
        found.extend(first_document(chunk, line)?);
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
    first_document(text, 0)
}

fn with_line_feeds(text: &str) -> Cow<'_, str> {
    if text.contains("\r\n") {
        text.replace("\r\n", "\n").into()
    } else {
        text.into()
    }
}

/// Removes byte order marks at the start of lines. Go's parser skips them there, libyaml at the start of the text alone.
fn without_marks(text: &str) -> Cow<'_, str> {
    if text.contains("\n\u{feff}") {
        text.replace("\n\u{feff}", "\n").into()
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
    nodes: Vec<Owned>,
}

/// Parses the first document of a text; `line` counts the lines above the text.
///
/// libyaml-safer panics where it is unfinished, for example at a tag before a comma: such a text is refused.
fn first_document(text: &str, line: usize) -> Result<Option<Owned>, YamlError> {
    catch_unwind(|| parsed_document(text, line)).unwrap_or_else(|_| {
        let message = "this text cannot be read: write a space after each tag, or remove the tags";
        Err(error(line + 1, 1, message))
    })
}

fn parsed_document(text: &str, line: usize) -> Result<Option<Owned>, YamlError> {
    let mut text = without_marks(text).into_owned();
    // libyaml-safer panics at the end of a block scalar without a line feed.
    if !text.ends_with('\n') {
        text.push('\n');
    }
    let mut input = text.as_bytes();
    let mut parser = Parser::new();
    parser.set_input_string(&mut input);
    let mut open: Vec<Open> = Vec::new();
    let mut anchors: HashMap<String, (Owned, usize)> = HashMap::new();
    let mut nodes = 0;
    loop {
        let Event {
            data, start_mark, ..
        } = parser.parse().map_err(|failure| {
            let mark = failure.problem_mark().unwrap_or_default();
            at(mark, line, failure.problem())
        })?;
        let place = position(start_mark, line);
        let (node, anchor) = match data {
            EventData::StreamStart { .. } => continue,
            EventData::StreamEnd | EventData::DocumentEnd { .. } => return Ok(None),
            EventData::DocumentStart {
                version_directive, ..
            } => {
                if version_directive.is_some_and(|it| (it.major, it.minor) != (1, 1)) {
                    let message = "kustomize reads YAML 1.1 alone: remove the %YAML line";
                    return Err(at(start_mark, line, message));
                }
                continue;
            }
            EventData::Alias { anchor } => {
                let (node, size) = anchors
                    .get(&anchor)
                    .ok_or_else(|| at(start_mark, line, "an alias without its anchor"))?;
                nodes += size;
                (node.clone(), None)
            }
            EventData::Scalar {
                anchor,
                tag,
                value,
                style,
                ..
            } => {
                if !fits(&value, tag.as_deref()) {
                    let message = "the value is not of the kind that its tag names";
                    return Err(at(start_mark, line, message));
                }
                (scalar(value, style, tag.as_deref(), place), anchor)
            }
            EventData::SequenceStart { anchor, .. } | EventData::MappingStart { anchor, .. }
                if open.len() >= MAX_DEPTH =>
            {
                drop(anchor);
                return Err(at(start_mark, line, "nested too deeply"));
            }
            EventData::SequenceStart { anchor, .. } => {
                open.push(Open::new(place, anchor, false));
                continue;
            }
            EventData::MappingStart { anchor, .. } => {
                open.push(Open::new(place, anchor, true));
                continue;
            }
            EventData::SequenceEnd | EventData::MappingEnd => {
                let Some(mut closed) = open.pop() else {
                    return Err(at(start_mark, line, "an end without a start"));
                };
                let anchor = closed.anchor.take();
                (closed.close()?, anchor)
            }
        };
        nodes += 1;
        if nodes > MAX_NODES {
            return Err(at(start_mark, line, "too many aliases of aliases"));
        }
        if let Some(anchor) = anchor {
            anchors.insert(anchor, (node.clone(), count(&node)));
        }
        match open.last_mut() {
            Some(parent) => parent.nodes.push(node),
            None if node.is_null() => return Ok(None),
            None => return Ok(Some(node)),
        }
    }
}

impl Open {
    const fn new((line, column): (usize, usize), anchor: Option<String>, is_map: bool) -> Self {
        Self {
            line,
            column,
            anchor,
            is_map,
            nodes: Vec::new(),
        }
    }

    fn close(self) -> Result<Owned, YamlError> {
        let Self {
            line,
            column,
            is_map,
            nodes,
            ..
        } = self;
        let is_flow = false;
        let kind = if is_map {
            let mut pairs: Vec<Pair<'static>> = Vec::with_capacity(nodes.len() / 2);
            let mut nodes = nodes.into_iter();
            while let (Some(key), Some(value)) = (nodes.next(), nodes.next()) {
                pairs.push(Pair { key, value });
            }
            merge(&mut pairs)?;
            NodeKind::Map { pairs, is_flow }
        } else {
            NodeKind::List {
                items: nodes,
                is_flow,
            }
        };
        Ok(node(kind, (line, column)))
    }
}

/// Replaces merge keys with the pairs of the maps that they name. A key of the map itself wins, and an earlier map does.
fn merge(pairs: &mut Vec<Pair<'static>>) -> Result<(), YamlError> {
    let is_merge = |pair: &Pair<'_>| matches!(&pair.key.kind, NodeKind::Scalar { text, style: Style::Plain } if text == MERGE_KEY);
    if !pairs.iter().any(is_merge) {
        return Ok(());
    }
    let (merged, own): (Vec<_>, Vec<_>) = std::mem::take(pairs).into_iter().partition(is_merge);
    *pairs = own;
    for Pair { key, value } in merged {
        let maps = match value.kind {
            NodeKind::List { items, .. } => items,
            _ => vec![value],
        };
        for map in maps {
            let NodeKind::Map { pairs: added, .. } = map.kind else {
                return Err(YamlError::at(
                    &key,
                    "a merge key needs a map, or a list of maps",
                ));
            };
            for pair in added {
                if !pairs.iter().any(|own| own.key.text() == pair.key.text()) {
                    pairs.push(pair);
                }
            }
        }
    }
    Ok(())
}

fn scalar(value: String, style: ScalarStyle, tag: Option<&str>, place: (usize, usize)) -> Owned {
    let style = match style {
        // `!` and `!!str` make text of a plain scalar.
        ScalarStyle::Plain if matches!(tag, Some("!" | "tag:yaml.org,2002:str")) => Style::Double,
        ScalarStyle::SingleQuoted => Style::Single,
        ScalarStyle::DoubleQuoted => Style::Double,
        ScalarStyle::Literal | ScalarStyle::Folded => Style::Block,
        _ => Style::Plain,
    };
    let text = value.into();
    node(NodeKind::Scalar { text, style }, place)
}

/// Whether a scalar is what its tag says.
fn fits(text: &str, tag: Option<&str>) -> bool {
    let Some(tag) = tag.and_then(|tag| tag.strip_prefix("tag:yaml.org,2002:")) else {
        return true;
    };
    let meaning = scalar::kustomize(text);
    match tag {
        "int" => matches!(meaning, Meaning::Number(number) if number.fract() == 0.0),
        "float" => matches!(meaning, Meaning::Number(_)),
        "bool" => matches!(meaning, Meaning::Bool(_)),
        "null" => meaning == Meaning::Null,
        "timestamp" => meaning == Meaning::Time,
        "binary" => {
            let text: String = text.split_whitespace().collect();
            base64::engine::general_purpose::STANDARD
                .decode(text)
                .is_ok()
        }
        _ => true,
    }
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

fn position(mark: Mark, line: usize) -> (usize, usize) {
    let number = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
    (line + number(mark.line) + 1, number(mark.column) + 1)
}

fn at(mark: Mark, line: usize, message: &str) -> YamlError {
    let (line, column) = position(mark, line);
    error(line, column, message)
}

fn error(line: usize, column: usize, message: &str) -> YamlError {
    YamlError {
        line,
        column,
        message: message.to_owned(),
    }
}

/// Finds what kustomize reads and then cannot write: a duplicate key, a key that is not text, an infinite number.
pub(crate) fn unwritable(node: &Node<'_>) -> Result<(), YamlError> {
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
        NodeKind::Scalar { .. } => Ok(()),
        NodeKind::List { items, .. } => items.iter().try_for_each(unwritable),
        NodeKind::Map { pairs, .. } => {
            let mut seen = std::collections::HashSet::with_capacity(pairs.len());
            for Pair { key, value } in pairs {
                let NodeKind::Scalar { text, style } = &key.kind else {
                    return Err(YamlError::at(key, "a key must be text"));
                };
                if *style == Style::Plain && scalar::kustomize(text) != Meaning::Text {
                    let message = format!("the key {text} is not text: put it in quotes");
                    return Err(YamlError::at(key, message));
                }
                if !seen.insert(text) {
                    let message = format!("the key {text} is in this map twice");
                    return Err(YamlError::at(key, message));
                }
                unwritable(value)?;
            }
            Ok(())
        }
    }
}

/// Whether a key that kustomize writes without quotes stays text.
pub(crate) fn stays_text(key: &Node<'_>) -> bool {
    let text = key.text().unwrap_or_default();
    is_text(key) && stays(text)
}

pub(crate) fn stays(text: &str) -> bool {
    scalar::kustomize(text) == Meaning::Text
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

    #[test]
    fn a_text_at_which_the_parser_is_unfinished_is_refused() {
        for text in ["[!a, b]\n", "resources: [!a, !b]\n", "a: {b: !c, d: e}"] {
            kustomization(text).expect_err(text);
        }
    }
}
