//! The list of a folder, `kustomization.yaml`: one sorted line for each resource.
//!
//! A resource is added or removed as a line; the rest of the file, with its comments, stays. No resource is listed twice: one
//! duplicate makes `kustomize build` fail for every tenant.

use serde_json::Value;

use crate::yaml::{Node, NodeKind, YamlError, after_colon, inline, line_end, line_start, parse};

/// The list of a folder without resources.
pub(crate) const EMPTY: &str =
    "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources: []\n";

const RESOURCES: &str = "resources";

/// Returns the resources in order, each with its line.
pub(crate) fn resources(text: &str) -> Result<Vec<(String, usize)>, YamlError> {
    let documents = parse(text)?;
    let Some(list) = documents
        .first()
        .and_then(|document| document.root.get(RESOURCES))
    else {
        return Ok(Vec::new());
    };
    if !list.is_null() && !matches!(list.kind, NodeKind::List { .. }) {
        return Err(YamlError::at(list, "resources must be a list"));
    }
    let resource = |item: &Node<'_>| {
        let name = item
            .string()
            .ok_or_else(|| YamlError::at(item, "each of resources must be text"))?;
        Ok((name.to_owned(), item.line))
    };
    list.items().iter().map(resource).collect()
}

/// Returns the text with a resource in its place; the same text if the resource is listed already.
pub(crate) fn add(text: &str, name: &str) -> Result<String, YamlError> {
    let listed = resources(text)?;
    if listed.iter().any(|(resource, _)| resource == name) {
        return Ok(text.to_owned());
    }
    let edited = with_resource(text, name)?;
    let mut wanted: Vec<&str> = listed
        .iter()
        .map(|(resource, _)| resource.as_str())
        .collect();
    wanted.insert(place(&wanted, name), name);
    checked(text, edited, &wanted)
}

/// Returns the text without a resource, even if it is listed several times.
pub(crate) fn remove(text: &str, name: &str) -> Result<String, YamlError> {
    let listed = resources(text)?;
    let wanted: Vec<&str> = listed
        .iter()
        .map(|(resource, _)| resource.as_str())
        .filter(|resource| *resource != name)
        .collect();
    if wanted.len() == listed.len() {
        return Ok(text.to_owned());
    }
    let documents = parse(text)?;
    let list = documents
        .first()
        .and_then(|document| document.root.get(RESOURCES));
    let Some(Node {
        kind: NodeKind::List { items, is_flow },
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
            let colon = pair.map_or(span.start, |pair| after_colon(text, pair));
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

/// Adds a resource as a line of its own, or inside the brackets of a flow list.
fn with_resource(text: &str, name: &str) -> Result<String, YamlError> {
    let item = inline(&Value::from(name));
    let documents = parse(text)?;
    let Some(root) = documents.first().map(|document| &document.root) else {
        return with_resource(EMPTY, name);
    };
    let Some(pair) = root.pair(RESOURCES) else {
        let feed = if text.ends_with('\n') { "" } else { "\n" };
        return Ok(format!("{text}{feed}{RESOURCES}:\n- {item}\n"));
    };
    let colon = after_colon(text, pair);
    let list = &pair.value;
    let items = list.items();
    if items.is_empty() {
        // The list is `[]`, `null` or absent; a comment behind it keeps its line.
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
    if matches!(list.kind, NodeKind::List { is_flow: true, .. }) {
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
    // Insert behind the previous resource, so that a comment above the next one stays with it.
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

/// Returns the index of a name: before the first greater name.
fn place(names: &[&str], name: &str) -> usize {
    names
        .iter()
        .position(|other| *other > name)
        .unwrap_or(names.len())
}

/// Returns the text, which begins at `offset`, without the lines of the matching items.
fn without_items(
    text: &str,
    items: &[Node<'_>],
    offset: usize,
    is_removed: impl Fn(&Node<'_>) -> bool,
) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut from = 0;
    for item in items.iter().filter(|item| is_removed(item)) {
        let start = line_start(text, item.span.start - offset);
        let end = line_end(text, item.span.end - offset);
        kept.push_str(&text[from..start.max(from)]);
        from = (end + 1).min(text.len());
    }
    kept.push_str(&text[from..]);
    kept
}

/// Returns the edited text if it lists the wanted resources and changes no other value.
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
    let listed = resources(&edited).unwrap_or_default();
    let is_as_wanted = listed
        .iter()
        .map(|(resource, _)| resource.as_str())
        .eq(wanted.iter().copied());
    if is_as_wanted && (is_empty || rest(before)? == rest(&edited)?) {
        return Ok(edited);
    }
    let message = "this list cannot be edited without loss; write one `- name` per line";
    Err(YamlError {
        line: 1,
        column: 1,
        message: message.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_resource_gets_a_sorted_line_of_its_own() {
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
    fn every_notation_of_an_empty_list_accepts_a_resource() {
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
    fn a_resource_is_removed_with_its_duplicates_and_the_last_leaves_an_empty_list() {
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
    fn resources_that_are_not_a_list_of_texts_are_an_error_with_a_line() {
        assert_eq!(
            add("kind: K\nresources: a\n", "b")
                .expect_err("no list")
                .line,
            2
        );
        assert_eq!(
            resources("resources:\n- a\n- {b: c}\n")
                .expect_err("no text")
                .line,
            3
        );
    }

    proptest! {
        #[test]
        fn adding_and_removing_a_resource_restores_every_byte(
            names in prop::collection::btree_set("[a-z][a-z0-9]{0,5}", 0..8), name in "[a-z][a-z0-9]{0,5}",
        ) {
            prop_assume!(!names.contains(&name));
            let mut text = EMPTY.to_owned();
            for name in &names {
                text = add(&text, name).expect("added");
            }
            let sorted: Vec<String> = resources(&text).expect("a list").into_iter().map(|(name, _)| name).collect();
            prop_assert!(sorted.iter().eq(names.iter()));
            let added = add(&text, &name).expect("added");
            prop_assert_eq!(remove(&added, &name).expect("gone"), text);
        }
    }
}
