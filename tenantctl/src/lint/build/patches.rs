//! Patches: which objects each changes, and why kustomize cannot apply it.

use regex_lite::Regex;
use serde_json::Value;

use super::{Builder, Built, Content, List, Manifest, Object, selectors};
use crate::lint::finding::Position;
use crate::lint::json_patch::{self, Operation, Outcome};
use crate::lint::manifests::{self, Id};
use crate::yaml::{Node, kustomize, writable};

const EMPTY_KEY: &str = "kustomize cannot merge a map with an empty key";
const OPERATIONS: [&str; 6] = ["add", "copy", "move", "remove", "replace", "test"];

/// Selectors of a target, each with the field of the metadata that it reads.
const SELECTORS: [(&str, &str); 2] = [
    ("labelSelector", "labels"),
    ("annotationSelector", "annotations"),
];

impl Builder<'_> {
    /// Applies an entry of `patches`: a strategic merge patch or a JSON patch, whichever its content is.
    pub(super) fn patch(&mut self, list: &List, patch: &Node<'static>, built: &mut Built) {
        let text = |key| patch.get(key).and_then(Node::text).unwrap_or_default();
        let position = Position::from(patch);
        let (inline, path) = (text("patch").trim(), text("path"));
        let content = match (inline.is_empty(), path.is_empty()) {
            (true, true) | (false, false) => {
                return self.add(
                    list,
                    position,
                    "a patch has either path or patch".to_owned(),
                );
            }
            (false, true) => inline.to_owned(),
            (true, false) => match list.folder.resolve(path).and_then(|path| self.read(&path)) {
                Some(content) => content,
                None => {
                    built.is_open = true;
                    return;
                }
            },
        };
        let position = patch
            .get("path")
            .or_else(|| patch.get("patch"))
            .map_or(position, Position::from);
        let target = patch.get("target");
        match (manifests::read(&content), json_patch::read(&content)) {
            (Ok(merge), Some(json)) if !merge.is_empty() && !json.is_empty() => {
                let message = "this is both a strategic merge patch and a JSON patch".to_owned();
                self.add(list, position, message);
            }
            (Err(merge), None) => {
                self.add(list, position, format!("the patch is broken: {merge}"));
            }
            (Ok(merge), _) if merge.is_empty() => {}
            (Ok(merge), _) => match target {
                None => self.merge(list, position, &merge, built),
                Some(_) if merge.len() > 1 => {
                    let message = "a patch with a target is one document".to_owned();
                    self.add(list, position, message);
                }
                Some(target) => self.merge_selected(list, target, &merge, built),
            },
            (Err(_), Some(json)) => match target {
                None => {
                    self.add(list, position, "a JSON patch needs a target".to_owned());
                }
                Some(target) => self.operate(list, target, position, &json, built),
            },
        }
    }

    pub(super) fn json_patch(&mut self, list: &List, patch: &Node<'static>, built: &mut Built) {
        let text = |key| patch.get(key).and_then(Node::text).unwrap_or_default();
        let position = Position::from(patch);
        let target = patch.get("target");
        let name = target
            .and_then(|target| target.get("name"))
            .and_then(Node::text);
        if name.unwrap_or_default().is_empty() {
            return self.add(
                list,
                position,
                "a JSON patch needs a target with a name".to_owned(),
            );
        }
        let (inline, path) = (text("patch"), text("path"));
        if inline.is_empty() == path.is_empty() {
            return self.add(
                list,
                position,
                "a patch has either path or patch".to_owned(),
            );
        }
        let content = if path.is_empty() {
            Some(inline.to_owned())
        } else {
            list.folder.resolve(path).and_then(|path| self.read(&path))
        };
        let Some(content) = content else {
            built.is_open = true;
            return;
        };
        match (json_patch::read(&content), target) {
            (Some(found), Some(target)) if !found.is_empty() => {
                self.operate(list, target, position, &found, built);
            }
            _ => self.add(list, position, "the patch is broken or empty".to_owned()),
        }
    }

    /// Applies a strategic merge patch to the object that each of its documents names.
    pub(super) fn merge(
        &mut self,
        list: &List,
        position: Position,
        patch: &[(Manifest, Node<'static>)],
        built: &mut Built,
    ) {
        for (manifest, root) in patch {
            let id = &manifest.id;
            let found: Vec<usize> = (0..built.objects.len())
                .filter(|index| {
                    built.objects[*index]
                        .ids
                        .iter()
                        .any(|other| other.equals(id))
                })
                .collect();
            match found.as_slice() {
                [one] => {
                    self.mergeable(list, position, root, [&built.objects[*one]]);
                    built.objects[*one].content = Content::Unknown;
                    if manifest.deletes {
                        built.objects.remove(*one);
                    }
                }
                _ if built.is_open => {}
                found => {
                    let number = if found.is_empty() {
                        "no"
                    } else {
                        "more than one"
                    };
                    let message = format!(
                        "the patch names {} {}, and there is {number} such object",
                        id.kind, id.name
                    );
                    self.add(list, position, message);
                }
            }
        }
    }

    fn merge_selected(
        &mut self,
        list: &List,
        target: &Node<'static>,
        patch: &[(Manifest, Node<'static>)],
        built: &mut Built,
    ) {
        let Some(selected) = self.select(list, target, built) else {
            return;
        };
        for (manifest, root) in patch {
            let objects = selected.iter().map(|index| &built.objects[*index]);
            self.mergeable(list, target.into(), root, objects);
            for index in &selected {
                built.objects[*index].content = Content::Unknown;
            }
            if manifest.deletes {
                let mut index = 0;
                built.objects.retain(|_| {
                    index += 1;
                    !selected.contains(&(index - 1))
                });
                built.is_open = true;
            }
        }
    }

    /// Finds why kustomize cannot merge a patch into objects.
    fn mergeable<'o>(
        &mut self,
        list: &List,
        position: Position,
        patch: &Node<'_>,
        objects: impl IntoIterator<Item = &'o Object>,
    ) {
        let mut objects = objects.into_iter().peekable();
        if objects.peek().is_none() {
            return;
        }
        let problem = if let Err(error) = writable::unwritable(patch) {
            Some(format!("the patch is broken: {error}"))
        } else {
            let patch = kustomize::json_of_object(patch);
            unmergeable(&patch)
                .or_else(|| objects.find_map(|object| conflict(&self.content(object)?, &patch)))
        };
        if let Some(problem) = problem {
            self.add(list, position, problem);
        }
    }

    /// Applies a JSON patch to the objects that the target selects.
    fn operate(
        &mut self,
        list: &List,
        target: &Node<'static>,
        position: Position,
        patch: &[Operation],
        built: &mut Built,
    ) {
        // A mistake also where no object is selected.
        let mut names = patch.iter().map(|operation| operation.name.as_str());
        if let Some(unknown) = names.find(|name| !OPERATIONS.contains(name)) {
            let message = format!("{unknown:?} is not an operation of a JSON patch");
            return self.add(list, position, message);
        }
        let Some(selected) = self.select(list, target, built) else {
            return;
        };
        // Whether a selector takes an object of unknown content is unknown, too.
        let has_selector = SELECTORS.iter().any(|(key, _)| target.get(key).is_some());
        let is_unknown = |index: &usize| matches!(built.objects[*index].content, Content::Unknown);
        if selected.is_empty() || (has_selector && selected.iter().any(is_unknown)) {
            for index in selected {
                built.objects[index].content = Content::Unknown;
            }
            return;
        }
        let objects = selected.iter().map(|index| &built.objects[*index]);
        self.check_history(list, position, objects);
        for index in selected {
            let content = self.content(&built.objects[index]);
            let patched = content.map(|mut content| {
                let outcome = json_patch::apply(&mut content, patch);
                (content, outcome)
            });
            built.objects[index].content = match patched {
                Some((content, Outcome::Applied)) => {
                    let problem = unidentified(&content).or_else(|| unwritable(&content));
                    if let Some(message) = problem {
                        self.add(list, position, message);
                    }
                    Content::Patched(content)
                }
                Some((_, Outcome::Failed(reason))) => {
                    self.add(
                        list,
                        position,
                        format!("the patch does not apply: {reason}"),
                    );
                    Content::Unknown
                }
                Some((_, Outcome::Unknown)) | None => Content::Unknown,
            };
        }
    }

    /// Returns the content of an object, as far as it is known.
    fn content(&mut self, object: &Object) -> Option<Value> {
        match &object.content {
            Content::Original => {}
            Content::Patched(content) => return Some(content.clone()),
            Content::Unknown => return None,
        }
        let tree = self.tree;
        let found = self.parsed.entry(object.from.clone()).or_insert_with(|| {
            let text = tree.read(&object.from).ok().flatten().unwrap_or_default();
            manifests::read(&text).unwrap_or_default()
        });
        let id = object.ids.last()?;
        let (_, root) = found.iter().find(|(manifest, _)| manifest.id.equals(id))?;
        let mut content = kustomize::json_of_object(root);
        // Names may have changed since.
        let id = &object.ids[0];
        if let Some(metadata) = content.get_mut("metadata") {
            metadata["name"] = Value::from(id.name.as_str());
        }
        Some(content)
    }

    /// Returns the objects that a target may select; `None` after a finding.
    fn select(&mut self, list: &List, target: &Node<'static>, built: &Built) -> Option<Vec<usize>> {
        let mut patterns = Vec::new();
        for key in ["group", "version", "kind", "name", "namespace"] {
            let Some(text) = target.get(key) else {
                continue;
            };
            let pattern = text.text().unwrap_or_default();
            if pattern.is_empty() {
                continue;
            }
            match Regex::new(&format!("^(?:{pattern})$")) {
                Ok(pattern) => patterns.push((key, pattern)),
                Err(_) => {
                    let message = format!("the target's {key} {pattern:?} is not a pattern");
                    self.add(list, text.into(), message);
                    return None;
                }
            }
        }
        let is_selected = |id: &Id| {
            patterns.iter().all(|(key, pattern)| {
                pattern.is_match(match *key {
                    "group" => &id.group,
                    "version" => &id.version,
                    "kind" => &id.kind,
                    "name" => &id.name,
                    _ => &id.namespace,
                })
            })
        };
        let selected = built.objects.iter().enumerate();
        let selected = selected.filter(|(_, object)| object.ids.iter().any(is_selected));
        let mut selected: Vec<usize> = selected.map(|(index, _)| index).collect();
        for (key, field) in SELECTORS {
            // kustomize reads a selector once it has an object to compare.
            let Some(selector) = target.get(key).filter(|_| !selected.is_empty()) else {
                continue;
            };
            let requirements = match selectors::parse(selector.text().unwrap_or_default()) {
                Ok(requirements) => requirements,
                Err(reason) => {
                    self.add(
                        list,
                        selector.into(),
                        format!("the target's {key}: {reason}"),
                    );
                    return None;
                }
            };
            selected.retain(|index| {
                let Some(content) = self.content(&built.objects[*index]) else {
                    return true;
                };
                let labels = &content["metadata"][field];
                requirements.iter().all(|it| it.is_met_by(labels))
            });
        }
        Some(selected)
    }
}

/// Finds out whether a patched object is none any more.
fn unidentified(object: &Value) -> Option<String> {
    // kustomize takes a number for text there.
    let text = |pointer| match object.pointer(pointer) {
        Some(Value::String(text)) => text.clone(),
        Some(value) if !value.is_null() => value.to_string(),
        _ => String::new(),
    };
    let (kind, name) = (text("/kind"), text("/metadata/name"));
    let missing = if kind.is_empty() {
        "kind"
    } else if name.is_empty() && !kind.ends_with("List") {
        "metadata.name"
    } else {
        return None;
    };
    Some(format!("the patch leaves an object without {missing}"))
}

/// Finds a text in a patched object that kustomize cannot write.
fn unwritable(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => writable::unwritable_block(text),
        Value::Array(items) => items.iter().find_map(unwritable),
        Value::Object(fields) => fields.values().find_map(unwritable),
        _ => None,
    }
}

/// Finds why kustomize merges a patch into no object.
fn unmergeable(patch: &Value) -> Option<String> {
    if has_empty_key(patch) {
        return Some(EMPTY_KEY.to_owned());
    }
    let strategy = wrong_strategy(patch)?;
    Some(format!(
        "$patch: {strategy}: write delete, merge or replace"
    ))
}

/// Finds why kustomize cannot merge a patch into this object.
fn conflict(object: &Value, patch: &Value) -> Option<String> {
    if has_empty_key(object) {
        return Some(EMPTY_KEY.to_owned());
    }
    let key = other_kind(object, patch)?;
    Some(format!(
        "{key} is a map, a list or a scalar in the patch, and another of them in the object"
    ))
}

/// Whether a value has a map with an empty key, outside lists.
fn has_empty_key(value: &Value) -> bool {
    value.as_object().is_some_and(|fields| {
        fields
            .iter()
            .any(|(key, value)| key.is_empty() || has_empty_key(value))
    })
}

/// Finds a field that has another kind of value in a strategic merge patch than in the object.
fn other_kind<'p>(object: &Value, patch: &'p Value) -> Option<&'p str> {
    let kind = |value: &Value| (value.is_object(), value.is_array());
    let fields = patch.as_object()?;
    if fields.contains_key("$patch") {
        return None;
    }
    fields.iter().find_map(|(key, value)| {
        let there = object
            .get(key)
            .filter(|it| !it.is_null() && !value.is_null())?;
        if kind(there) != kind(value) {
            return Some(key.as_str());
        }
        other_kind(there, value)
    })
}

/// Finds a strategy in a strategic merge patch that kustomize does not know. It reads only those of what the object has, too; a
/// wrong one is a mistake everywhere.
fn wrong_strategy(patch: &Value) -> Option<String> {
    match patch {
        Value::Object(fields) => fields.iter().find_map(|(key, value)| {
            let strategy = value.as_str().unwrap_or_default();
            if key == "$patch" && !["delete", "merge", "replace"].contains(&strategy) {
                return Some(strategy.to_owned());
            }
            wrong_strategy(value)
        }),
        Value::Array(items) => items.iter().find_map(wrong_strategy),
        _ => None,
    }
}
