//! Edits as splices. The result of each edit is parsed again, and must differ from the text before in the requested change alone.
//! A notation that cannot be edited so is an error, never a damaged file.

use serde_json::{Map, Value};

use super::node::{Document, Node, NodeKind, Pair, YamlError};
use super::parse::parse;
use super::scalar::{Style, inline, quote_like};

const INDENT: usize = 2;

/// Sets the value at a path of keys of one document; creates missing maps on the path. Returns the new text.
///
/// A replaced value keeps its place, its quotes and the comment behind it. A new key comes last in its map.
pub(crate) fn set(
    text: &str,
    document: usize,
    path: &[&str],
    value: &Value,
) -> Result<String, YamlError> {
    let documents = parse(text)?;
    let root = root_of(&documents, document, text)?;
    let present = root.at(path);
    if present.is_some_and(|node| node.to_json() == *value) {
        return Ok(text.to_owned());
    }
    let edited = match present {
        Some(node) if !is_absent(node) => replace(text, root, path, node, value),
        Some(_) | None => insert(text, root, path, value)?,
    };
    let mut wanted = root.to_json();
    set_json(&mut wanted, path, value.clone());
    verified(edited, &documents, document, &wanted)
}

/// Removes the key at the end of a path, and every map on the path that is empty without it. Returns the new text.
pub(crate) fn remove(text: &str, document: usize, path: &[&str]) -> Result<String, YamlError> {
    let documents = parse(text)?;
    let root = root_of(&documents, document, text)?;
    if root.at(path).is_none() {
        return Ok(text.to_owned());
    }
    let mut length = path.len();
    while length > 1
        && root
            .at(&path[..length - 1])
            .is_some_and(|map| map.pairs().len() == 1)
    {
        length -= 1;
    }
    let path = &path[..length];
    let (last, above) = path.split_last().ok_or_else(|| nothing_to_edit(text))?;
    let map = root.at(above).ok_or_else(|| nothing_to_edit(text))?;
    let Some((index, pair)) = map
        .pairs()
        .iter()
        .enumerate()
        .find(|(_, pair)| pair.key.text() == Some(*last))
    else {
        return Ok(text.to_owned());
    };
    let edited = if matches!(map.kind, NodeKind::Map { is_flow: true, .. }) {
        let (start, end) = match (index.checked_sub(1), map.pairs().get(index + 1)) {
            (_, Some(next)) => (pair.key.span.start, next.key.span.start),
            (Some(before), None) => (map.pairs()[before].value.span.end, pair.value.span.end),
            (None, None) => (pair.key.span.start, pair.value.span.end),
        };
        splice(text, start, end, "")
    } else {
        let start = line_start(text, pair.key.span.start);
        splice(text, start, entry_end(text, pair), "")
    };
    let mut wanted = root.to_json();
    remove_json(&mut wanted, path);
    verified(edited, &documents, document, &wanted)
}

pub(crate) fn append_document(text: &str, chunk: &str) -> String {
    let line_end = if text.is_empty() || text.ends_with('\n') {
        ""
    } else {
        "\n"
    };
    let marker = if chunk.starts_with("---") {
        ""
    } else {
        "---\n"
    };
    format!("{text}{line_end}{marker}{chunk}")
}

/// Returns the comment behind a value in the same line.
pub(crate) fn comment_behind<'t>(text: &'t str, node: &Node<'_>) -> Option<&'t str> {
    let behind = text[node.span.end..line_end(text, node.span.end)].trim();
    let is_in_line = matches!(&node.kind, NodeKind::Scalar { style, .. } if *style != Style::Block);
    (is_in_line && behind.starts_with('#')).then_some(behind)
}

fn root_of<'d, 't>(
    documents: &'d [Document<'t>],
    index: usize,
    text: &str,
) -> Result<&'d Node<'t>, YamlError> {
    documents
        .get(index)
        .map(|document| &document.root)
        .ok_or_else(|| nothing_to_edit(text))
}

/// Adds a comment behind the value at a path of keys, unless it has one. Returns the new text.
pub(crate) fn set_comment(
    text: &str,
    document: usize,
    path: &[&str],
    comment: &str,
) -> Result<String, YamlError> {
    let documents = parse(text)?;
    let root = root_of(&documents, document, text)?;
    let Some(node) = root.at(path) else {
        return Ok(text.to_owned());
    };
    let end = node.span.end;
    if !text[end..line_end(text, end)].trim().is_empty() {
        return Ok(text.to_owned());
    }
    verified(
        splice(text, end, end, &format!(" {comment}")),
        &documents,
        document,
        &root.to_json(),
    )
}

/// Overwrites a value.
fn replace(text: &str, root: &Node<'_>, path: &[&str], node: &Node<'_>, value: &Value) -> String {
    match &node.kind {
        NodeKind::Scalar { style, .. } if *style != Style::Block => splice(
            text,
            node.span.start,
            node.span.end,
            &quote_like(value, *style),
        ),
        NodeKind::Map { is_flow: true, .. } | NodeKind::List { is_flow: true, .. } => {
            splice(text, node.span.start, node.span.end, &inline(value))
        }
        _ => {
            // A block begins on the line below its key, or behind a `|`; both are replaced.
            let pair = path
                .split_last()
                .and_then(|(last, above)| root.at(above).and_then(|map| map.pair(last)));
            let start = pair.map_or(node.span.start, |pair| after_colon(text, pair));
            let end = line_end(text, content_end(text, node.span.end));
            splice(text, start, end, &format!(" {}", inline(value)))
        }
    }
}

/// Inserts the key at the end of a path, and the missing maps on the path.
fn insert(text: &str, root: &Node<'_>, path: &[&str], value: &Value) -> Result<String, YamlError> {
    let mut depth = 0;
    let mut map = root;
    while let Some(below) = path.get(depth).and_then(|key| map.get(key)) {
        if is_absent(below) {
            break;
        }
        map = below;
        depth += 1;
    }
    let NodeKind::Map { pairs, is_flow } = &map.kind else {
        return Err(YamlError {
            line: map.line,
            column: map.column,
            message: format!("this must be a map, so that {} can be set", path.join(".")),
        });
    };
    let missing = &path[depth..];
    if *is_flow {
        return Ok(insert_in_flow(text, map, pairs, missing, value));
    }
    let (Some(first), Some(last)) = (pairs.first(), pairs.last()) else {
        return Err(nothing_to_edit(text));
    };
    let indent = first.key.column - 1;
    // The key exists without a value.
    if let Some(pair) = missing.first().and_then(|key| map.pair(key)) {
        let end = after_colon(text, pair);
        if missing.len() == 1 {
            return Ok(splice(
                text,
                end,
                end.max(pair.value.span.end),
                &format!(" {}", inline(value)),
            ));
        }
        let end = line_end(text, end);
        return Ok(splice(
            text,
            end,
            end,
            &format!("\n{}", block(&missing[1..], value, indent + INDENT)),
        ));
    }
    let end = entry_end(text, last);
    let lines = block(missing, value, indent);
    Ok(if text[..end].ends_with('\n') {
        splice(text, end, end, &format!("{lines}\n"))
    } else {
        splice(text, end, end, &format!("\n{lines}"))
    })
}

fn insert_in_flow(
    text: &str,
    map: &Node<'_>,
    pairs: &[Pair<'_>],
    missing: &[&str],
    value: &Value,
) -> String {
    let (first, below) = missing
        .split_first()
        .map_or(("", missing), |(first, below)| (*first, below));
    let nested = below.iter().rev().fold(value.clone(), |value, key| {
        Value::Object(Map::from_iter([((*key).to_owned(), value)]))
    });
    let pair = inline(&Value::Object(Map::from_iter([(first.to_owned(), nested)])));
    let pair = pair
        .strip_prefix('{')
        .and_then(|pair| pair.strip_suffix('}'))
        .unwrap_or(&pair);
    match pairs.last() {
        Some(last) => splice(
            text,
            last.value.span.end,
            last.value.span.end,
            &format!(", {pair}"),
        ),
        None => splice(text, map.span.start + 1, map.span.end - 1, pair),
    }
}

/// Returns nested keys, one per line, the last with the value.
fn block(path: &[&str], value: &Value, indent: usize) -> String {
    let mut lines = String::new();
    for (depth, key) in path.iter().enumerate() {
        if depth > 0 {
            lines.push('\n');
        }
        lines.push_str(&" ".repeat(indent + depth * INDENT));
        lines.push_str(&inline(&Value::String((*key).to_owned())));
        lines.push(':');
    }
    lines.push(' ');
    lines.push_str(&inline(value));
    lines
}

/// Returns the edited text if it has the wanted meaning.
fn verified(
    edited: String,
    before: &[Document<'_>],
    document: usize,
    wanted: &Value,
) -> Result<String, YamlError> {
    let is_as_wanted = parse(&edited).is_ok_and(|after| {
        after.len() == before.len()
            && after
                .iter()
                .zip(before)
                .enumerate()
                .all(|(index, (after, before))| {
                    let after = after.root.to_json();
                    if index == document {
                        after == *wanted
                    } else {
                        after == before.root.to_json()
                    }
                })
    });
    if is_as_wanted {
        return Ok(edited);
    }
    let line = before
        .get(document)
        .map_or(1, |document| document.root.line);
    let message = "this notation cannot be edited without loss; write it in block style";
    Err(YamlError {
        line,
        column: 1,
        message: message.to_owned(),
    })
}

fn set_json(root: &mut Value, path: &[&str], value: Value) {
    let Some((first, below)) = path.split_first() else {
        *root = value;
        return;
    };
    if !root.is_object() {
        *root = Value::Object(Map::new());
    }
    if let Value::Object(map) = root {
        set_json(map.entry(*first).or_insert(Value::Null), below, value);
    }
}

fn remove_json(root: &mut Value, path: &[&str]) {
    let Some((last, above)) = path.split_last() else {
        return;
    };
    let map = above.iter().try_fold(root, |value, key| value.get_mut(key));
    if let Some(Value::Object(map)) = map {
        map.remove(*last);
    }
}

/// Whether a key has no value, not even a written `null`.
fn is_absent(node: &Node<'_>) -> bool {
    node.is_null() && node.span.is_empty()
}

/// Returns the position behind a key's colon.
pub(crate) fn after_colon(text: &str, pair: &Pair<'_>) -> usize {
    let key_end = pair.key.span.end;
    text[key_end..]
        .find(':')
        .map_or(key_end, |colon| key_end + colon + 1)
}

/// Returns the start of the line after a pair, or the end of the text.
fn entry_end(text: &str, pair: &Pair<'_>) -> usize {
    let end = if is_absent(&pair.value) {
        after_colon(text, pair)
    } else {
        pair.value.span.end
    };
    let end = line_end(text, content_end(text, end.max(pair.key.span.end)));
    if end < text.len() { end + 1 } else { end }
}

/// Returns the end of the written text: the span of a block scalar includes the line feeds behind it.
fn content_end(text: &str, end: usize) -> usize {
    text[..end].trim_end_matches(['\n', ' ']).len()
}

pub(crate) fn line_start(text: &str, at: usize) -> usize {
    text[..at].rfind('\n').map_or(0, |feed| feed + 1)
}

pub(crate) fn line_end(text: &str, at: usize) -> usize {
    text[at..].find('\n').map_or(text.len(), |feed| at + feed)
}

fn splice(text: &str, start: usize, end: usize, with: &str) -> String {
    format!("{}{with}{}", &text[..start], &text[end.max(start)..])
}

fn nothing_to_edit(text: &str) -> YamlError {
    let message = if text.trim().is_empty() {
        "the file is empty"
    } else {
        "there is nothing to edit here"
    };
    YamlError {
        line: 1,
        column: 1,
        message: message.to_owned(),
    }
}
