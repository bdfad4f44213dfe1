//! Parses text to nodes, and refuses constructs that these files must not have.

use std::borrow::Cow;
use std::collections::HashSet;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, Span};

use super::node::{Document, Node, NodeKind, Pair, YamlError};
use super::scalar::Style;

const MAX_DEPTH: usize = 64;

/// Larger maps are checked for duplicate keys by a set.
const FEW_KEYS: usize = 16;

/// A collection that is not closed yet.
struct Open<'t> {
    start: usize,
    line: usize,
    column: usize,
    is_flow: bool,
    is_map: bool,
    /// Alternating keys and values of a map, or the items of a list.
    nodes: Vec<Node<'t>>,
}

/// Converts the parser's positions, counted in characters, to bytes.
struct Bytes(Option<Vec<usize>>, usize);

/// Parses the documents of a text, in order, without empty documents (comments alone).
pub(crate) fn parse(text: &str) -> Result<Vec<Document<'_>>, YamlError> {
    refuse_characters(text)?;
    let bytes = Bytes::of(text);
    let mut parser = Parser::new_from_str(text);
    let mut documents: Vec<Document<'_>> = Vec::new();
    let mut starts: Vec<(usize, bool)> = Vec::new();
    let mut open: Vec<Open<'_>> = Vec::new();
    let mut root = None;
    while let Some(event) = parser.next_event() {
        let (event, span) = event.map_err(|error| at(*error.marker(), error.info()))?;
        let done = match event {
            Event::DocumentStart(is_marked) => {
                let start = if is_marked { bytes.at(span.start) } else { 0 };
                // Comments and directives before the first `---` belong to the first document.
                starts.push((if starts.is_empty() { 0 } else { start }, is_marked));
                None
            }
            Event::Alias(_) => return Err(at(span.start, "an alias: write the value out")),
            Event::Scalar(_, _, anchor, _)
            | Event::SequenceStart(anchor, _)
            | Event::MappingStart(anchor, _)
                if anchor != 0 =>
            {
                return Err(at(
                    span.start,
                    "an anchor: write the value out where it is used",
                ));
            }
            Event::Scalar(.., Some(_))
            | Event::SequenceStart(_, Some(_))
            | Event::MappingStart(_, Some(_)) => {
                return Err(at(span.start, "a tag: quote the value if it is text"));
            }
            Event::Scalar(value, style, ..) => Some(scalar(text, value, style, span, &bytes)),
            Event::SequenceStart(..) | Event::MappingStart(..) => {
                if open.len() >= MAX_DEPTH {
                    return Err(at(span.start, "nested too deeply"));
                }
                open.push(Open {
                    start: bytes.at(span.start),
                    line: span.start.line(),
                    column: span.start.col() + 1,
                    is_flow: !span.is_empty(),
                    is_map: matches!(event, Event::MappingStart(..)),
                    nodes: Vec::new(),
                });
                None
            }
            Event::SequenceEnd | Event::MappingEnd => {
                let closed = open
                    .pop()
                    .ok_or_else(|| at(span.start, "an end without a start"))?;
                Some(closed.close(bytes.at(span.start))?)
            }
            Event::DocumentEnd => {
                let (start, is_marked) = starts.last().copied().unwrap_or_default();
                if let Some(root) = root.take() {
                    documents.push(Document {
                        chunk: start..text.len(),
                        is_marked,
                        root,
                    });
                }
                None
            }
            Event::Nothing | Event::StreamStart | Event::StreamEnd => None,
        };
        if let Some(node) = done {
            match open.last_mut() {
                Some(parent) => parent.take(node)?,
                None => root = Some(node),
            }
        }
    }
    end_chunks(&mut documents, &starts);
    documents.retain(|document| !document.root.is_null());
    Ok(documents)
}

/// Ends each document at the start of the next.
fn end_chunks(documents: &mut [Document<'_>], starts: &[(usize, bool)]) {
    for document in documents {
        let next = starts
            .iter()
            .find(|(start, _)| *start > document.chunk.start);
        if let Some((next, _)) = next {
            document.chunk.end = *next;
        }
    }
}

impl<'t> Open<'t> {
    /// Adds a node, unless it is a key that YAML readers disagree on.
    fn take(&mut self, node: Node<'t>) -> Result<(), YamlError> {
        let is_key = self.is_map && self.nodes.len().is_multiple_of(2);
        if is_key {
            match node.text() {
                None => return Err(YamlError::at(&node, "a key must be text")),
                Some("<<") => {
                    return Err(YamlError::at(&node, "a merge key: write the values out"));
                }
                Some(_) => {}
            }
        }
        self.nodes.push(node);
        Ok(())
    }

    /// Returns the collection as a node; `end` is the position of the closing bracket.
    fn close(self, end: usize) -> Result<Node<'t>, YamlError> {
        let Self {
            start,
            line,
            column,
            is_flow,
            is_map,
            nodes,
        } = self;
        let end = if is_flow {
            end + 1
        } else {
            nodes.last().map_or(start, |last| last.span.end)
        };
        let kind = if is_map {
            let mut pairs = Vec::with_capacity(nodes.len() / 2);
            let mut nodes = nodes.into_iter();
            while let (Some(key), Some(value)) = (nodes.next(), nodes.next()) {
                pairs.push(Pair { key, value });
            }
            refuse_duplicates(&pairs)?;
            NodeKind::Map { pairs, is_flow }
        } else {
            NodeKind::List {
                items: nodes,
                is_flow,
            }
        };
        Ok(Node {
            kind,
            span: start..end,
            line,
            column,
        })
    }
}

/// Refuses duplicate keys of a map: YAML readers disagree on them.
fn refuse_duplicates(pairs: &[Pair<'_>]) -> Result<(), YamlError> {
    let double = |key: &Node<'_>| {
        Err(YamlError::at(
            key,
            format!(
                "the key {} is in this map twice",
                key.text().unwrap_or_default()
            ),
        ))
    };
    if pairs.len() <= FEW_KEYS {
        for (index, pair) in pairs.iter().enumerate() {
            if pairs
                .iter()
                .take(index)
                .any(|earlier| earlier.key.text() == pair.key.text())
            {
                return double(&pair.key);
            }
        }
        return Ok(());
    }
    let mut seen = HashSet::with_capacity(pairs.len());
    pairs
        .iter()
        .find(|pair| !seen.insert(pair.key.text()))
        .map_or(Ok(()), |pair| double(&pair.key))
}

fn scalar<'t>(
    text: &str,
    value: Cow<'t, str>,
    style: ScalarStyle,
    span: Span,
    bytes: &Bytes,
) -> Node<'t> {
    let style = match style {
        ScalarStyle::Plain => Style::Plain,
        ScalarStyle::SingleQuoted => Style::Single,
        ScalarStyle::DoubleQuoted => Style::Double,
        ScalarStyle::Literal | ScalarStyle::Folded => Style::Block,
    };
    let start = bytes.at(span.start);
    // The parser gives an absent value the position of the next token.
    let end = match style {
        Style::Plain if value.is_empty() => start,
        Style::Plain | Style::Block => bytes.at(span.end),
        Style::Single | Style::Double | Style::Tagged => quoted_end(text, start),
    };
    let (line, column) = (span.start.line(), span.start.col() + 1);
    Node {
        kind: NodeKind::Scalar { text: value, style },
        span: start..end,
        line,
        column,
    }
}

/// Returns the end of the quoted scalar at `start`. The parser reports a position behind the comment that follows.
fn quoted_end(text: &str, start: usize) -> usize {
    let mut rest = text[start..].bytes().enumerate();
    let Some((_, quote)) = rest.next() else {
        return start;
    };
    while let Some((at, byte)) = rest.next() {
        if byte == b'\\' && quote == b'"' {
            rest.next();
        } else if byte == quote {
            let is_doubled = quote == b'\'' && text.as_bytes().get(start + at + 1) == Some(&quote);
            if !is_doubled {
                return start + at + 1;
            }
            rest.next();
        }
    }
    text.len()
}

/// Refuses carriage returns, tabs in the indentation and byte order marks: YAML readers disagree on them.
fn refuse_characters(text: &str) -> Result<(), YamlError> {
    if !text
        .bytes()
        .any(|byte| (byte < b' ' && byte != b'\n') || byte == 0xef || byte == 0x7f)
    {
        return Ok(());
    }
    for (line, content) in text.split('\n').enumerate() {
        let mut is_indent = true;
        for (column, character) in content.chars().enumerate() {
            is_indent &= character == ' ' || character == '\t';
            let message = match character {
                '\r' => "a carriage return: end lines with a line feed alone",
                '\t' if is_indent => "a tab in the indentation: use spaces",
                '\t' => continue,
                '\u{feff}' => "a byte order mark: remove it",
                other if other.is_control() => "a control character: remove it",
                _ => continue,
            };
            return Err(YamlError {
                line: line + 1,
                column: column + 1,
                message: message.to_owned(),
            });
        }
    }
    Ok(())
}

impl Bytes {
    fn of(text: &str) -> Self {
        let table = (!text.is_ascii()).then(|| text.char_indices().map(|(at, _)| at).collect());
        Self(table, text.len())
    }

    fn at(&self, marker: Marker) -> usize {
        let Self(table, end) = self;
        table
            .as_ref()
            .map_or(marker.index(), |table| {
                table.get(marker.index()).copied().unwrap_or(*end)
            })
            .min(*end)
    }
}

fn at(marker: Marker, message: &str) -> YamlError {
    YamlError {
        line: marker.line(),
        column: marker.col() + 1,
        message: message.to_owned(),
    }
}
