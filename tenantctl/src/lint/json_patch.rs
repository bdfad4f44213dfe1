//! JSON patches (RFC 6902), as kustomize's library applies them: an operation on a path that does not exist is an error.

use serde_json::Value;

use crate::yaml::{kustomize, writable};

/// An operation of a patch.
#[derive(Default)]
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
    /// An operation on the whole object, which is not followed here.
    Unknown,
}

/// Reads the operations of a patch. A text that begins with `[` is JSON, any other is YAML.
pub(super) fn read(text: &str) -> Option<Vec<Operation>> {
    if text.is_empty() {
        return None;
    }
    let operations = if text.starts_with('[') {
        serde_json::from_str(text).ok()?
    } else {
        match kustomize::kustomization(text).ok()? {
            Some(root) => kustomize::json_of_patch(&root),
            None => Value::Array(Vec::new()),
        }
    };
    operations.as_array()?.iter().map(operation).collect()
}

fn operation(item: &Value) -> Option<Operation> {
    if item.is_null() {
        return Some(Operation::default());
    }
    let fields = item.as_object()?;
    let text = |key| fields.get(key).and_then(Value::as_str).map(str::to_owned);
    let value = fields.get("value").cloned();
    Some(Operation {
        name: text("op").unwrap_or_default(),
        path: text("path"),
        from: text("from"),
        unwritable: value.as_ref().and_then(unwritable),
        value,
    })
}

fn unwritable(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => writable::unwritable_character(text),
        Value::Array(items) => items.iter().find_map(unwritable),
        Value::Object(fields) => fields
            .iter()
            .find_map(|(key, value)| writable::unwritable_key(key).or_else(|| unwritable(value))),
        _ => None,
    }
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
        match (path.as_str(), name.as_str(), value) {
            ("", "replace", Some(value)) if value.is_object() => {
                object.clone_from(value);
                continue;
            }
            ("", "replace", _) => {
                return Outcome::Failed("an object is replaced by an object".to_owned());
            }
            ("", "test", _) => return Outcome::Unknown,
            _ => {}
        }
        let done = match name.as_str() {
            "add" => add(object, path, value.clone().unwrap_or_default()),
            "remove" => remove(object, path).map(drop),
            "replace" => replace(object, path, value.clone().unwrap_or_default()),
            "move" => remove(object, from).and_then(|value| add(object, path, value)),
            "copy" => get(object, from).and_then(|value| add(object, path, value)),
            "test" => match get(object, path) {
                Ok(found) if found == value.clone().unwrap_or_default() => Ok(()),
                Ok(_) => Err(false),
                Err(error) => Err(error),
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

/// `Err(true)` for an operation that is not followed, `Err(false)` for a path that does not exist.
type Found<T> = Result<T, bool>;

/// Splits a path. The library ignores what is before the first slash.
fn steps(path: &str) -> Found<Vec<String>> {
    let (_, rest) = path.split_once('/').ok_or(false)?;
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
        Value::Array(items) => {
            let at = index(step, items.len())?;
            items.get_mut(at).ok_or(false)
        }
        _ => Err(false),
    }
}

/// Reads an index among so many places. A negative one counts from the end.
fn index(step: &str, places: usize) -> Found<usize> {
    let written: i64 = step.parse().map_err(|_| false)?;
    let at = if written < 0 {
        i64::try_from(places)
            .ok()
            .and_then(|places| written.checked_add(places))
    } else {
        Some(written)
    };
    at.and_then(|at| usize::try_from(at).ok()).ok_or(false)
}

/// Returns a copy of a value. A field that a map does not have is null.
fn get(object: &mut Value, path: &str) -> Found<Value> {
    let (parent, last) = parent(object, path)?;
    match parent {
        Value::Object(map) => Ok(map.get(&last).cloned().unwrap_or_default()),
        parent => below(parent, &last).cloned(),
    }
}

/// Sets a value. A map need not have had the field.
fn replace(object: &mut Value, path: &str, value: Value) -> Found<()> {
    let (parent, last) = parent(object, path)?;
    match parent {
        Value::Object(map) => drop(map.insert(last, value)),
        parent => *below(parent, &last)? = value,
    }
    Ok(())
}

fn add(object: &mut Value, path: &str, value: Value) -> Found<()> {
    let (parent, last) = parent(object, path)?;
    match parent {
        Value::Object(map) => drop(map.insert(last, value)),
        Value::Array(items) if last == "-" => items.push(value),
        Value::Array(items) => {
            let at = index(&last, items.len() + 1)?;
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
            let at = index(&last, items.len())?;
            if at >= items.len() {
                return Err(false);
            }
            Ok(items.remove(at))
        }
        _ => Err(false),
    }
}
