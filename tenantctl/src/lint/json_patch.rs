//! JSON patches (RFC 6902), as kustomize's library applies them: an operation on a path that does not exist is an error.

use serde_json::Value;

use crate::yaml::{Node, kustomize};

/// An operation of a patch.
pub(super) struct Operation {
    pub(super) name: String,
    path: Option<String>,
    from: Option<String>,
    value: Option<Value>,
    /// Why kustomize cannot write the value.
    unwritable: Option<String>,
}

/// Result of a patch.
pub(super) enum Outcome {
    Applied,
    Failed(String),
    /// A notation that is not followed here, for example a negative index.
    Unknown,
}

/// Reads the operations of a patch, in JSON or in YAML.
pub(super) fn read(text: &str) -> Option<Vec<Operation>> {
    if text.is_empty() {
        return None;
    }
    let Some(root) = kustomize::kustomization(text).ok()? else {
        return Some(Vec::new());
    };
    if root.items().is_empty() && root.to_json() != Value::Array(Vec::new()) {
        return None;
    }
    root.items().iter().map(operation).collect()
}

fn operation(item: &Node<'static>) -> Option<Operation> {
    if item.pairs().is_empty() {
        return None;
    }
    let text = |key| item.get(key).and_then(Node::text).map(str::to_owned);
    Some(Operation {
        name: text("op").unwrap_or_default(),
        path: text("path"),
        from: text("from"),
        value: item.get("value").map(Node::to_json),
        unwritable: item.get("value").and_then(|value| {
            let checked = kustomize::control_characters(value);
            checked.err().map(|error| error.to_string())
        }),
    })
}

/// Applies a patch to an object.
pub(super) fn apply(object: &mut Value, patch: &[Operation]) -> Outcome {
    for operation in patch {
        let Operation {
            name,
            path,
            from,
            value,
            unwritable,
        } = operation;
        if let (Some(reason), "add" | "replace") = (unwritable, name.as_str()) {
            return Outcome::Failed(reason.clone());
        }
        let needs_from = matches!(name.as_str(), "move" | "copy");
        let (Some(path), true) = (path, from.is_some() || !needs_from) else {
            return Outcome::Failed(format!("{name} needs a path, move and copy need from, too"));
        };
        let from = from.as_deref().unwrap_or_default();
        let done = match name.as_str() {
            "add" => add(object, path, value.clone().unwrap_or_default()),
            "remove" => remove(object, path).map(drop),
            "replace" => find(object, path).map(|found| {
                *found = value.clone().unwrap_or_default();
            }),
            "move" => remove(object, from).and_then(|value| add(object, path, value)),
            "copy" => {
                let value = find(object, from).cloned();
                value.and_then(|value| add(object, path, value))
            }
            // A missing field equals null.
            "test" => match (find(object, path).cloned(), value) {
                (Ok(found), Some(value)) if found == *value => Ok(()),
                (Ok(Value::Null) | Err(false), None | Some(Value::Null)) => Ok(()),
                (Err(true), _) => Err(true),
                _ => Err(false),
            },
            _ => Err(true),
        };
        match done {
            Ok(()) => {}
            Err(true) => return Outcome::Unknown,
            Err(false) => {
                return Outcome::Failed(format!("{name} {path}: the object has no such field"));
            }
        }
    }
    Outcome::Applied
}

/// `Err(true)` for a notation that is not followed, `Err(false)` for a path that does not exist.
type Found<T> = Result<T, bool>;

fn steps(path: &str) -> Found<Vec<String>> {
    let rest = path.strip_prefix('/').ok_or(true)?;
    let step = |step: &str| step.replace("~1", "/").replace("~0", "~");
    Ok(rest.split('/').map(step).collect())
}

fn parent<'v>(object: &'v mut Value, path: &str) -> Found<(&'v mut Value, String)> {
    let mut steps = steps(path)?;
    let last = steps.pop().ok_or(true)?;
    let mut value = object;
    for step in &steps {
        value = below(value, step)?;
    }
    Ok((value, last))
}

fn below<'v>(value: &'v mut Value, step: &str) -> Found<&'v mut Value> {
    match value {
        Value::Object(map) => map.get_mut(step).ok_or(false),
        Value::Array(items) => items.get_mut(index(step)?).ok_or(false),
        _ => Err(false),
    }
}

fn index(step: &str) -> Found<usize> {
    if step.starts_with('-') {
        return Err(true);
    }
    step.parse().map_err(|_| false)
}

fn find<'v>(object: &'v mut Value, path: &str) -> Found<&'v mut Value> {
    let (parent, last) = parent(object, path)?;
    below(parent, &last)
}

fn add(object: &mut Value, path: &str, value: Value) -> Found<()> {
    let (parent, last) = parent(object, path)?;
    match parent {
        Value::Object(map) => drop(map.insert(last, value)),
        Value::Array(items) if last == "-" => items.push(value),
        Value::Array(items) => {
            let at = index(&last)?;
            if at > items.len() {
                return Err(false);
            }
            items.insert(at, value);
        }
        _ => return Err(false),
    }
    Ok(())
}

fn remove(object: &mut Value, path: &str) -> Found<Value> {
    let (parent, last) = parent(object, path)?;
    match parent {
        Value::Object(map) => map.remove(&last).ok_or(false),
        Value::Array(items) => {
            let at = index(&last)?;
            if at >= items.len() {
                return Err(false);
            }
            Ok(items.remove(at))
        }
        _ => Err(false),
    }
}
