//! The list of a folder, `kustomization.yaml`: one sorted line for each resource.
//!
//! An entry is a path, however it is spelled: `./a`, `a/` and `b/../a` are one resource. A resource is added or removed as a
//! line, in the spelling of the list; the rest of the file, with its comments, stays. No resource is listed twice: one duplicate
//! makes `kustomize build` fail for every tenant.

use serde_json::Value;

use crate::tree::RepoPath;
use crate::yaml::{
    Document, Node, NodeKind, Pair, Style, YamlError, after_colon, inline, line_end, line_start,
    parse, quote_like,
};

/// The list of a folder without resources.
pub(crate) const EMPTY: &str =
    "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources: []\n";

const RESOURCES: &str = "resources";
/// Lists of resources; kustomize adds the entries of the old name to those of the new one.
pub(crate) const LISTS: [&str; 2] = [RESOURCES, "bases"];

/// Returns the resources in order, each with its line.
pub(crate) fn resources(text: &str) -> Result<Vec<(String, usize)>, YamlError> {
    let documents = parse(text)?;
    let Some(document) = documents.first() else {
        return Ok(Vec::new());
    };
    let mut found = Vec::new();
    for list in LISTS.iter().filter_map(|key| document.root.get(key)) {
        if !list.is_null() && !matches!(list.kind, NodeKind::List { .. }) {
            return Err(YamlError::at(list, "resources must be a list"));
        }
        for item in list.items() {
            let name = item
                .string()
                .ok_or_else(|| YamlError::at(item, "each of resources must be text"))?;
            found.push((name.to_owned(), item.line));
        }
    }
    Ok(found)
}

/// Returns the text with a resource in its place, listed once; the same text if the resource is listed once already.
pub(crate) fn add(text: &str, path: &RepoPath) -> Result<String, YamlError> {
    let listed = resources(text)?;
    let folder = folder_of(path);
    let times = listed
        .iter()
        .filter(|(entry, _)| folder.resolve(entry).as_ref() == Some(path))
        .count();
    if times == 0 {
        let edited = with_resource(text, &folder, path)?;
        return checked(text, edited, path, 1);
    }
    let mut edited = text.to_owned();
    for _ in 1..times {
        edited = without_last(&edited, &folder, path)?;
    }
    checked(text, edited, path, 1)
}

/// Returns the text without a resource, even if it is listed several times.
pub(crate) fn remove(text: &str, path: &RepoPath) -> Result<String, YamlError> {
    let folder = folder_of(path);
    let mut edited = text.to_owned();
    for (entry, _) in resources(text)? {
        if folder.resolve(&entry).as_ref() == Some(path) {
            edited = without_last(&edited, &folder, path)?;
        }
    }
    if edited != text && resources(&edited)?.is_empty() {
        edited = with_empty_list(edited)?;
    }
    checked(text, edited, path, 0)
}

fn folder_of(path: &RepoPath) -> RepoPath {
    path.parent().unwrap_or_else(RepoPath::root)
}

/// Adds `resources: []` to a list that has lost its last entry under the old name: kustomize refuses a file without fields.
fn with_empty_list(text: String) -> Result<String, YamlError> {
    let documents = parse(&text)?;
    let root = documents.first().map(|document| &document.root);
    let Some(root) = root.filter(|root| root.get(RESOURCES).is_none_or(Node::is_null)) else {
        drop(documents);
        return Ok(text);
    };
    let Some(pair) = root.pair(RESOURCES) else {
        let feed = if text.ends_with('\n') { "" } else { "\n" };
        return Ok(format!("{text}{feed}{RESOURCES}: []\n"));
    };
    let (start, end) = (after_colon(&text, pair), pair.value.span.end);
    Ok(format!("{} []{}", &text[..start], &text[end.max(start)..]))
}

/// Removes the last entry that means the path.
fn without_last(text: &str, folder: &RepoPath, path: &RepoPath) -> Result<String, YamlError> {
    let documents = parse(text)?;
    let means_path = |item: &Node<'_>| {
        item.string()
            .and_then(|entry| folder.resolve(entry))
            .as_ref()
            == Some(path)
    };
    let lists = documents
        .first()
        .into_iter()
        .flat_map(|document| LISTS.iter().rev().filter_map(|key| document.root.pair(key)));
    let found = lists.filter_map(|pair| {
        let items = pair.value.items();
        items
            .iter()
            .rposition(means_path)
            .map(|index| (pair, items, index))
    });
    let Some((pair, items, index)) = found.into_iter().next() else {
        return Ok(text.to_owned());
    };
    Ok(without_item(text, pair, items, index))
}

fn without_item(text: &str, pair: &Pair<'_>, items: &[Node<'_>], index: usize) -> String {
    let list = &pair.value;
    if matches!(list.kind, NodeKind::List { is_flow: true, .. }) {
        return without_flow_item(text, list, items, index);
    }
    let colon = after_colon(text, pair);
    let start = line_start(text, dash(text, pair, items, index));
    let end = (line_end(text, end_of(text, &items[index])) + 1).min(text.len());
    let (before, behind) = (&text[..start], &text[end..]);
    if items.len() > 1 {
        return format!("{before}{behind}");
    }
    format!("{} []{}{behind}", &text[..colon], &text[colon..start])
}

/// Removes an item from a list in brackets. Comments of others stay where they are.
fn without_flow_item(text: &str, list: &Node<'_>, items: &[Node<'_>], index: usize) -> String {
    let item = &items[index].span;
    let has_comment = |start: usize, end: usize| text[start..end].contains('#');
    let comma = text[item.end..]
        .find(|it: char| !it.is_whitespace())
        .filter(|at| text[item.end + at..].starts_with(','));
    let behind = comma.map_or(item.end, |at| item.end + at + 1);
    let line = (line_start(text, item.start), line_end(text, behind));
    let rest = text[behind..line.1].trim_start();
    let is_alone =
        text[line.0..item.start].trim().is_empty() && (rest.is_empty() || rest.starts_with('#'));
    let before = index.checked_sub(1).map(|before| items[before].span.end);
    let next = items.get(index + 1).map(|next| next.span.start);
    let (start, end, with) = match (before, next) {
        (None, None) => (list.span.start, list.span.end, "[]"),
        _ if is_alone => (line.0, (line.1 + 1).min(text.len()), ""),
        (_, Some(next)) if !has_comment(behind, next) => (item.start, next, ""),
        (Some(before), None) if !has_comment(before, item.start) => (before, item.end, ""),
        _ => (item.start, behind, ""),
    };
    format!("{}{with}{}", &text[..start], &text[end..])
}

/// Returns where the dash of an item is. The item itself may be on the next line.
fn dash(text: &str, pair: &Pair<'_>, items: &[Node<'_>], index: usize) -> usize {
    let above = index.checked_sub(1).map_or_else(
        || after_colon(text, pair),
        |before| end_of(text, &items[before]),
    );
    let item = items[index].span.start;
    let mut at = above;
    for line in text[above..item].split_inclusive('\n') {
        let blank = line.len() - line.trim_start().len();
        if line[blank..].starts_with('-') {
            return at + blank;
        }
        at += line.len();
    }
    item
}

/// Returns where an item ends. A block has its line feed in it.
fn end_of(text: &str, item: &Node<'_>) -> usize {
    item.span.start + text[item.span.clone()].trim_end().len()
}

/// Adds a resource as a line of its own, or inside the brackets of a flow list.
fn with_resource(text: &str, folder: &RepoPath, path: &RepoPath) -> Result<String, YamlError> {
    let documents = parse(text)?;
    let Some(root) = documents.first().map(|document| &document.root) else {
        return with_resource(EMPTY, folder, path);
    };
    let Some(pair) = root.pair(RESOURCES) else {
        let item = spelled(&[], path);
        let feed = if text.ends_with('\n') { "" } else { "\n" };
        return Ok(format!("{text}{feed}{RESOURCES}:\n- {item}\n"));
    };
    let colon = after_colon(text, pair);
    let list = &pair.value;
    let items = list.items();
    let item = spelled(items, path);
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
    let place = place(items, folder, path);
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
        .map_or(colon, |before| end_of(text, before));
    let at = line_end(text, at);
    let first = dash(text, pair, items, 0);
    let indent = &text[line_start(text, first)..first];
    let feed = if at == text.len() { "\n" } else { "" };
    Ok(format!(
        "{}\n{indent}- {item}{feed}{}",
        &text[..at],
        &text[at..]
    ))
}

/// Returns the entry for a path, in the spelling that all entries of the list share: `./` before, `/` behind a folder, quotes.
fn spelled(items: &[Node<'_>], path: &RepoPath) -> String {
    let entries: Vec<&str> = items.iter().filter_map(Node::string).collect();
    let all = |mut entries: std::slice::Iter<'_, &str>, has: fn(&str) -> bool| {
        entries.len() > 0 && entries.all(|entry| has(entry))
    };
    let is_folder = |entry: &&&str| !entry.ends_with(".yaml") && !entry.ends_with(".yml");
    let folders: Vec<&str> = entries.iter().filter(is_folder).copied().collect();
    let name = path.file_name();
    let before = if all(entries.iter(), |entry| entry.starts_with("./")) {
        "./"
    } else {
        ""
    };
    let behind = if is_folder(&&name) && all(folders.iter(), |entry| entry.ends_with('/')) {
        "/"
    } else {
        ""
    };
    let entry = format!("{before}{name}{behind}");
    let style = |item: &Node<'_>| match &item.kind {
        NodeKind::Scalar { style, .. } => *style,
        _ => Style::Plain,
    };
    let shared = items
        .first()
        .map(style)
        .filter(|first| items.iter().all(|item| style(item) == *first));
    // A name that needs quotes gets quotes that can hold every character.
    let is_plain = inline(&Value::from(name)) == name;
    match shared {
        Some(Style::Single) if is_plain => format!("'{entry}'"),
        Some(Style::Double) => quote_like(&Value::from(entry), Style::Double),
        _ if is_plain => entry,
        _ => inline(&Value::from(entry)),
    }
}

/// Returns the index of a path: before the first greater path.
fn place(items: &[Node<'_>], folder: &RepoPath, path: &RepoPath) -> usize {
    let is_greater = |item: &Node<'_>| {
        let entry = item.text().unwrap_or_default();
        folder
            .resolve(entry)
            .map_or_else(|| entry > path.file_name(), |other| other > *path)
    };
    items.iter().position(is_greater).unwrap_or(items.len())
}

/// Returns the edited text if it lists the path exactly `times` times, and differs in nothing else.
fn checked(
    before: &str,
    edited: String,
    path: &RepoPath,
    times: usize,
) -> Result<String, YamlError> {
    let folder = folder_of(path);
    let others = |text: &str| -> Result<(Vec<String>, usize), YamlError> {
        let (theirs, others): (Vec<_>, Vec<_>) = resources(text)?
            .into_iter()
            .map(|(entry, _)| entry)
            .partition(|entry| folder.resolve(entry).as_ref() == Some(path));
        Ok((others, theirs.len()))
    };
    let rest = |text: &str| {
        let without_lists = |document: &Document<'_>| {
            let mut root = document.root.to_json();
            if let Value::Object(root) = &mut root {
                LISTS.iter().for_each(|key| drop(root.remove(*key)));
            }
            root
        };
        Ok::<_, YamlError>(parse(text)?.iter().map(without_lists).collect::<Vec<_>>())
    };
    let is_empty = before.trim().is_empty() || parse(before)?.is_empty();
    let is_as_wanted = others(&edited).is_ok_and(|after| {
        Ok(&after.0) == others(before).as_ref().map(|it| &it.0) && after.1 == times
    });
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

    /// The list is in the folder `f`.
    fn path(name: &str) -> RepoPath {
        format!("f/{name}").parse().expect(name)
    }

    fn add_(text: &str, name: &str) -> Result<String, YamlError> {
        add(text, &path(name))
    }

    fn remove_(text: &str, name: &str) -> Result<String, YamlError> {
        remove(text, &path(name))
    }

    #[test]
    fn an_entry_leaves_a_list_and_the_comments_of_others_stay() {
        let cases = [
            (
                "resources: [\n  t4.yaml, # four\n  t2.yaml, # two\n  t1.yaml # one\n]\n",
                "resources: [\n  t4.yaml, # four\n  t2.yaml, # two\n]\n",
            ),
            (
                "resources: [\n  # one\n  t1.yaml,\n  # four\n  t4.yaml,\n  t2.yaml\n]\n",
                "resources: [\n  # one\n  # four\n  t4.yaml,\n  t2.yaml\n]\n",
            ),
            (
                "resources: [t1.yaml, # one\n  t2.yaml]\n",
                "resources: [ # one\n  t2.yaml]\n",
            ),
            (
                "resources: [t2.yaml, # two\n  t1.yaml]\n",
                "resources: [t2.yaml, # two\n  ]\n",
            ),
            ("resources: [\n  # none\n  t1.yaml\n]\n", "resources: []\n"),
            ("resources: [t1.yaml] # one\n", "resources: [] # one\n"),
            ("resources: [t2.yaml, t1.yaml]\n", "resources: [t2.yaml]\n"),
            ("resources: [t1.yaml, t2.yaml]\n", "resources: [t2.yaml]\n"),
            (
                "resources:\n-\n  t1.yaml # one\n- t2.yaml\n",
                "resources:\n- t2.yaml\n",
            ),
            (
                "resources:\n- >-\n  t1.yaml\n- t2.yaml\n",
                "resources:\n- t2.yaml\n",
            ),
            (
                "resources:\n- t2.yaml\n# a\n- |-\n  t1.yaml\n# b\n",
                "resources:\n- t2.yaml\n# a\n# b\n",
            ),
            ("resources:\n-\n  t1.yaml\n", "resources: []\n"),
        ];
        for (before, after) in cases {
            assert_eq!(remove_(before, "t1.yaml").as_deref(), Ok(after), "{before}");
            let back = add_(after, "t1.yaml").expect(after);
            assert_eq!(
                resources(&back).map(|it| it.len()),
                resources(before).map(|it| it.len()),
                "{back}"
            );
        }
        let added = add_(
            "resources:\n  -\n    a.yaml\n  - >-\n    b.yaml\n",
            "c.yaml",
        );
        let wanted = "resources:\n  -\n    a.yaml\n  - >-\n    b.yaml\n  - c.yaml\n";
        assert_eq!(added.as_deref(), Ok(wanted));
    }

    #[test]
    fn a_resource_gets_a_sorted_line_of_its_own() {
        let one = add_(EMPTY, "b.yaml").expect("added");
        assert_eq!(one, EMPTY.replace(" []", "\n- b.yaml"));
        let three = add_(&add_(&one, "a.yaml").expect("added"), "c.yaml").expect("added");
        assert_eq!(
            three,
            EMPTY.replace(" []", "\n- a.yaml\n- b.yaml\n- c.yaml")
        );
        assert_eq!(
            add_(&three, "b.yaml").expect("listed"),
            three,
            "nothing is listed twice"
        );
    }

    #[test]
    fn comments_indentation_and_other_keys_stay() {
        let text = "# top\nresources: # ours\n  # about b\n  - b # x\n  # about d\n  - d\n# end\nnamespace: n\n";
        let added = add_(&add_(text, "c").expect("added"), "a").expect("added");
        let wanted = "# top\nresources: # ours\n  - a\n  # about b\n  - b # x\n  - c\n  # about d\n  - d\n# end\nnamespace: n\n";
        assert_eq!(added, wanted);
        assert_eq!(
            remove_(&remove_(&added, "a").expect("gone"), "c").expect("gone"),
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
            assert_eq!(add_(text, "a").expect(text), wanted, "{text:?}");
        }
        assert_eq!(
            add_("", "a").expect("an empty file"),
            EMPTY.replace(" []", "\n- a")
        );
        assert_eq!(
            add_("resources:\n- b", "c").expect("no line feed"),
            "resources:\n- b\n- c\n"
        );
    }

    #[test]
    fn a_resource_is_removed_with_its_duplicates_and_the_last_leaves_an_empty_list() {
        assert_eq!(
            remove_("resources:\n- a\n- b\n- a\n", "a").expect("gone"),
            "resources:\n- b\n"
        );
        assert_eq!(
            remove_("resources:\n- a\n- a\nx: 1\n", "a").expect("gone"),
            "resources: []\nx: 1\n"
        );
        assert_eq!(
            remove_("resources: [a, b]\n", "a").expect("gone"),
            "resources: [b]\n"
        );
        assert_eq!(
            remove_("resources:\n- a\n", "b").expect("not listed"),
            "resources:\n- a\n"
        );
    }

    #[test]
    fn resources_that_are_not_a_list_of_texts_are_an_error_with_a_line() {
        assert_eq!(
            add_("kind: K\nresources: a\n", "b")
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

    #[test]
    fn a_resource_that_is_spelled_otherwise_is_listed_already_and_can_be_removed() {
        for spelling in ["./b", "b/", "'./b/'", "\"x/../b\"", "../f/b", ".//b"] {
            let block = format!("resources:\n- ./a\n- {spelling} # b\n- ./c\n");
            assert_eq!(add_(&block, "b").expect(spelling), block, "{spelling}");
            let removed = remove_(&block, "b").expect(spelling);
            assert_eq!(removed, "resources:\n- ./a\n- ./c\n", "{spelling}");
            let flow = format!("resources: ['./a', {spelling}, \"c\"] # x\n");
            assert_eq!(add_(&flow, "b").expect(spelling), flow, "{spelling}");
            let removed = remove_(&flow, "b").expect(spelling);
            assert_eq!(removed, "resources: ['./a', \"c\"] # x\n", "{spelling}");
        }
    }

    #[test]
    fn a_path_that_is_listed_twice_is_listed_once_after_an_edit() {
        let twice = "resources:\n- ./a\n- b\n- a/\n";
        assert_eq!(add_(twice, "a").expect("added"), "resources:\n- ./a\n- b\n");
        assert_eq!(remove_(twice, "a").expect("gone"), "resources:\n- b\n");
        let bases = "bases:\n- ./a\nresources:\n- a\n";
        assert_eq!(
            add_(bases, "a").expect("added"),
            "bases: []\nresources:\n- a\n"
        );
        assert_eq!(
            remove_(bases, "a").expect("gone"),
            "bases: []\nresources: []\n"
        );
        let old = "bases: [a]\n";
        assert_eq!(add_(old, "a").expect("listed"), old);
        assert_eq!(
            remove_(old, "a").expect("gone"),
            "bases: []\nresources: []\n",
            "kustomize refuses a file with an empty `bases` alone"
        );
    }

    #[test]
    fn a_new_entry_has_the_spelling_of_the_list() {
        for (text, wanted) in [
            (
                "resources:\n- ./a\n- ./c\n",
                "resources:\n- ./a\n- ./b\n- ./c\n",
            ),
            ("resources:\n- a/\n", "resources:\n- a/\n- b/\n"),
            ("resources: [./a/]\n", "resources: [./a/, ./b/]\n"),
            ("resources: [\"./a\"]\n", "resources: [\"./a\", \"./b\"]\n"),
            ("resources:\n- './a'\n", "resources:\n- './a'\n- './b'\n"),
            ("resources:\n- ./a\n- c\n", "resources:\n- ./a\n- b\n- c\n"),
            (
                "resources:\n- ./a.yaml\n",
                "resources:\n- ./a.yaml\n- ./b\n",
            ),
        ] {
            assert_eq!(add_(text, "b").expect(text), wanted, "{text:?}");
            assert_eq!(remove_(wanted, "b").expect(wanted), text, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn adding_and_removing_a_resource_restores_every_byte(
            names in prop::collection::btree_set("[a-z][a-z0-9]{0,5}", 0..8), name in "[a-z][a-z0-9]{0,5}",
        ) {
            prop_assume!(!names.contains(&name));
            let mut text = EMPTY.to_owned();
            for name in &names {
                text = add_(&text, name).expect("added");
            }
            let sorted: Vec<String> = resources(&text).expect("a list").into_iter().map(|(name, _)| name).collect();
            prop_assert!(sorted.iter().eq(names.iter()));
            let added = add_(&text, &name).expect("added");
            prop_assert_eq!(remove_(&added, &name).expect("gone"), text);
        }
    }
}
