//! The list of a folder, `kustomization.yaml`: one sorted line for each entry of `resources`.
//!
//! An entry is put in or taken out as a line; the rest of the file, comments too, stays as it is. Nothing is listed twice:
//! one double entry makes `kustomize build` fail for every tenant.

use serde_json::Value;

use crate::yaml::{Kind, Node, YamlError, inline, parse};

/// A list without entries, for a folder that has none yet.
pub(crate) const EMPTY: &str =
    "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources: []\n";

/// The key of the list.
const RESOURCES: &str = "resources";

/// The entries in their order, each with its line.
pub(crate) fn entries(text: &str) -> Result<Vec<(String, usize)>, YamlError> {
    let documents = parse(text)?;
    let Some(list) = documents
        .first()
        .and_then(|document| document.root.get(RESOURCES))
    else {
        return Ok(Vec::new());
    };
    if !list.is_null() && !matches!(list.kind, Kind::List { .. }) {
        return Err(wrong(list, "resources must be a list"));
    }
    let entry = |item: &Node<'_>| {
        let name = item
            .string()
            .ok_or_else(|| wrong(item, "an entry of resources must be text"))?;
        Ok((name.to_owned(), item.line))
    };
    list.items().iter().map(entry).collect()
}

/// The text with the entry in its place; the same text where it is listed already.
pub(crate) fn add(text: &str, name: &str) -> Result<String, YamlError> {
    let listed = entries(text)?;
    if listed.iter().any(|(entry, _)| entry == name) {
        return Ok(text.to_owned());
    }
    let edited = with_entry(text, name)?;
    let mut wanted: Vec<&str> = listed.iter().map(|(entry, _)| entry.as_str()).collect();
    wanted.insert(place(&wanted, name), name);
    checked(text, edited, &wanted)
}

/// The text without the entry, however often it is listed.
pub(crate) fn remove(text: &str, name: &str) -> Result<String, YamlError> {
    let listed = entries(text)?;
    let wanted: Vec<&str> = listed
        .iter()
        .map(|(entry, _)| entry.as_str())
        .filter(|entry| *entry != name)
        .collect();
    if wanted.len() == listed.len() {
        return Ok(text.to_owned());
    }
    let documents = parse(text)?;
    let list = documents
        .first()
        .and_then(|document| document.root.get(RESOURCES));
    let Some(Node {
        kind: Kind::List { items, is_flow },
        span,
        ..
    }) = list
    else {
        return Ok(text.to_owned());
    };
    let edited = if *is_flow || wanted.is_empty() {
        let flow = inline(&Value::from(wanted.clone()));
        if *is_flow {
            format!("{}{flow}{}", &text[..span.start], &text[span.end..])
        } else {
            let pair = documents
                .first()
                .and_then(|document| document.root.pair(RESOURCES));
            let colon = pair.map_or(span.start, |pair| colon_end(text, pair.key.span.end));
            format!(
                "{} {flow}{}",
                &text[..colon],
                without_items(&text[colon..], items, colon, |_| true)
            )
        }
    } else {
        without_items(text, items, 0, |item| item.string() == Some(name))
    };
    checked(text, edited, &wanted)
}

/// The entry as a line of its own, or in the brackets of a list in flow style.
fn with_entry(text: &str, name: &str) -> Result<String, YamlError> {
    let item = inline(&Value::from(name));
    let documents = parse(text)?;
    let Some(root) = documents.first().map(|document| &document.root) else {
        return with_entry(EMPTY, name);
    };
    let Some(pair) = root.pair(RESOURCES) else {
        let feed = if text.ends_with('\n') { "" } else { "\n" };
        return Ok(format!("{text}{feed}{RESOURCES}:\n- {item}\n"));
    };
    let colon = colon_end(text, pair.key.span.end);
    let list = &pair.value;
    let items = list.items();
    if items.is_empty() {
        // `[]`, `null` or nothing: what stands behind it, a comment, keeps its line.
        let rest = if list.span.is_empty() {
            colon
        } else {
            list.span.end
        };
        let end = line_end(text, rest);
        let indented = " ".repeat(pair.key.column - 1);
        let (behind, after) = (&text[rest..end], &text[end..]);
        let feed = if after.is_empty() { "\n" } else { "" };
        return Ok(format!(
            "{}{behind}\n{indented}- {item}{feed}{after}",
            &text[..colon]
        ));
    }
    let names: Vec<&str> = items
        .iter()
        .map(|item| item.text().unwrap_or_default())
        .collect();
    let place = place(&names, name);
    if matches!(list.kind, Kind::List { is_flow: true, .. }) {
        let (at, text_before, text_behind) =
            match place.checked_sub(1).and_then(|before| items.get(before)) {
                Some(before) => (before.span.end, ", ", ""),
                None => (items[0].span.start, "", ", "),
            };
        return Ok(format!(
            "{}{text_before}{item}{text_behind}{}",
            &text[..at],
            &text[at..]
        ));
    }
    // Behind the entry before it, so that a comment above the next one stays with that.
    let at = place
        .checked_sub(1)
        .and_then(|before| items.get(before))
        .map_or(colon, |before| before.span.end);
    let at = line_end(text, at);
    let first = line_start(text, items[0].span.start);
    let indent = &text[first..first + text[first..].find('-').unwrap_or(0)];
    let feed = if at == text.len() { "\n" } else { "" };
    Ok(format!(
        "{}\n{indent}- {item}{feed}{}",
        &text[..at],
        &text[at..]
    ))
}

/// Where a name belongs: before the first that is greater.
fn place(names: &[&str], name: &str) -> usize {
    names
        .iter()
        .position(|other| *other > name)
        .unwrap_or(names.len())
}

/// The text, which begins at `offset`, without the lines of some items.
fn without_items(
    text: &str,
    items: &[Node<'_>],
    offset: usize,
    goes: impl Fn(&Node<'_>) -> bool,
) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut from = 0;
    for item in items.iter().filter(|item| goes(item)) {
        let start = line_start(text, item.span.start - offset);
        let end = line_end(text, item.span.end - offset);
        kept.push_str(&text[from..start.max(from)]);
        from = (end + 1).min(text.len());
    }
    kept.push_str(&text[from..]);
    kept
}

/// The edited text, once it lists what it is to list and says nothing else that is new.
fn checked(before: &str, edited: String, wanted: &[&str]) -> Result<String, YamlError> {
    let rest = |text: &str| {
        let documents = parse(text)?;
        let mut rest: Vec<Value> = documents
            .iter()
            .map(|document| document.root.to_json())
            .collect();
        if let Some(Value::Object(root)) = rest.first_mut() {
            root.remove(RESOURCES);
        }
        Ok::<_, YamlError>(rest)
    };
    let is_empty = before.trim().is_empty() || parse(before)?.is_empty();
    let listed = entries(&edited).unwrap_or_default();
    let lists_it = listed
        .iter()
        .map(|(entry, _)| entry.as_str())
        .eq(wanted.iter().copied());
    if lists_it && (is_empty || rest(before)? == rest(&edited)?) {
        return Ok(edited);
    }
    let message = "the list is written in a way that cannot be edited without loss; write one `- name` a line";
    Err(YamlError {
        line: 1,
        column: 1,
        message: message.to_owned(),
    })
}

fn colon_end(text: &str, key_end: usize) -> usize {
    text[key_end..]
        .find(':')
        .map_or(key_end, |colon| key_end + colon + 1)
}

fn line_start(text: &str, at: usize) -> usize {
    text[..at].rfind('\n').map_or(0, |feed| feed + 1)
}

fn line_end(text: &str, at: usize) -> usize {
    text[at..].find('\n').map_or(text.len(), |feed| at + feed)
}

fn wrong(node: &Node<'_>, message: &str) -> YamlError {
    YamlError {
        line: node.line,
        column: node.column,
        message: message.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_entry_gets_a_sorted_line_of_its_own() {
        let one = add(EMPTY, "b.yaml").expect("added");
        assert_eq!(one, EMPTY.replace(" []", "\n- b.yaml"));
        let three = add(&add(&one, "a.yaml").expect("added"), "c.yaml").expect("added");
        assert_eq!(
            three,
            EMPTY.replace(" []", "\n- a.yaml\n- b.yaml\n- c.yaml")
        );
        assert_eq!(
            add(&three, "b.yaml").expect("listed"),
            three,
            "nothing is listed twice"
        );
    }

    #[test]
    fn comments_indentation_and_other_keys_stay() {
        let text = "# top\nresources: # ours\n  # about b\n  - b # x\n  # about d\n  - d\n# end\nnamespace: n\n";
        let added = add(&add(text, "c").expect("added"), "a").expect("added");
        let wanted = "# top\nresources: # ours\n  - a\n  # about b\n  - b # x\n  - c\n  # about d\n  - d\n# end\nnamespace: n\n";
        assert_eq!(added, wanted);
        assert_eq!(
            remove(&remove(&added, "a").expect("gone"), "c").expect("gone"),
            text
        );
    }

    #[test]
    fn every_way_to_write_an_empty_list_takes_an_entry() {
        for (text, wanted) in [
            ("resources: []\n", "resources:\n- a\n"),
            ("resources: [] # none\n", "resources: # none\n- a\n"),
            ("resources:\n", "resources:\n- a\n"),
            ("resources: null\nx: 1\n", "resources:\n- a\nx: 1\n"),
            ("resources: []", "resources:\n- a\n"),
            ("kind: K\n", "kind: K\nresources:\n- a\n"),
            ("resources: [b, c]\n", "resources: [a, b, c]\n"),
            ("resources:\n- b", "resources:\n- a\n- b"),
        ] {
            assert_eq!(add(text, "a").expect(text), wanted, "{text:?}");
        }
        assert_eq!(
            add("", "a").expect("an empty file"),
            EMPTY.replace(" []", "\n- a")
        );
        assert_eq!(
            add("resources:\n- b", "c").expect("no line feed"),
            "resources:\n- b\n- c\n"
        );
    }

    #[test]
    fn an_entry_goes_with_its_doubles_and_the_last_one_leaves_an_empty_list() {
        assert_eq!(
            remove("resources:\n- a\n- b\n- a\n", "a").expect("gone"),
            "resources:\n- b\n"
        );
        assert_eq!(
            remove("resources:\n- a\n- a\nx: 1\n", "a").expect("gone"),
            "resources: []\nx: 1\n"
        );
        assert_eq!(
            remove("resources: [a, b]\n", "a").expect("gone"),
            "resources: [b]\n"
        );
        assert_eq!(
            remove("resources:\n- a\n", "b").expect("not listed"),
            "resources:\n- a\n"
        );
    }

    #[test]
    fn a_list_that_is_none_is_an_error_with_its_line() {
        assert_eq!(
            add("kind: K\nresources: a\n", "b")
                .expect_err("no list")
                .line,
            2
        );
        assert_eq!(
            entries("resources:\n- a\n- {b: c}\n")
                .expect_err("no text")
                .line,
            3
        );
    }

    proptest! {
        #[test]
        fn what_is_added_and_taken_away_leaves_the_bytes_as_they_were(
            names in prop::collection::btree_set("[a-z][a-z0-9]{0,5}", 0..8), name in "[a-z][a-z0-9]{0,5}",
        ) {
            prop_assume!(!names.contains(&name));
            let mut text = EMPTY.to_owned();
            for name in &names {
                text = add(&text, name).expect("added");
            }
            let sorted: Vec<String> = entries(&text).expect("a list").into_iter().map(|(name, _)| name).collect();
            prop_assert!(sorted.iter().eq(names.iter()));
            let added = add(&text, &name).expect("added");
            prop_assert_eq!(remove(&added, &name).expect("gone"), text);
        }
    }
}
