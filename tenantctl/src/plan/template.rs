//! Fills in a tier's template. Only a [`TenantId`] can replace the placeholder.

use serde_json::Value;
use tenantry_tenancy::tenant::{TenantId, Tier};

use super::error::PlanError;
use crate::layout::{self, PLACEHOLDER};
use crate::tenant_file::{TenantFile, VERSION};
use crate::tree::Tree;
use crate::yaml::{Node, NodeKind, Style, YamlError, inline, parse, set};

/// Returns the file of a tenant of the tier, as onboarding writes it.
pub(super) fn instance(
    tree: &dyn Tree,
    tier: Tier,
    tenant: &TenantId,
    version: &str,
) -> Result<String, PlanError> {
    let path = layout::template(tier);
    let broken = |error| PlanError::in_file(&path, error);
    let text = tree.read(&path)?.ok_or_else(|| PlanError::Broken {
        path: path.clone(),
        line: None,
        message: "the tier's template is missing".to_owned(),
    })?;
    let named = renamed(&text, tenant).map_err(broken)?;
    let file = TenantFile::parse(&named).map_err(broken)?;
    if file.text(&["metadata", "name"]) != Some(tenant.as_str()) {
        let message = format!("metadata.name of the HelmRelease must be {PLACEHOLDER}");
        return Err(PlanError::Broken {
            path: path.clone(),
            line: Some(file.release().line),
            message,
        });
    }
    file.version().map_err(broken)?;
    set(&named, file.index, &VERSION, &Value::from(version)).map_err(broken)
}

/// Replaces every placeholder with the tenant's id and keeps every other meaning. An id that YAML would read as a number or
/// a truth value gets quotes.
fn renamed(text: &str, tenant: &TenantId) -> Result<String, YamlError> {
    let documents = parse(text)?;
    let mut plain = Vec::new();
    for document in &documents {
        plain_placeholders(&document.root, &mut plain);
    }
    let quoted = inline(&Value::from(tenant.as_str()));
    let result = filled(text, |start| {
        if plain.contains(&start) {
            &quoted
        } else {
            tenant.as_str()
        }
    });
    let after = parse(&result)?;
    let is_same = after.len() == documents.len()
        && after.iter().zip(&documents).all(|(after, before)| {
            after.root.to_json() == with_id(before.root.to_json(), tenant.as_str())
        });
    if is_same {
        return Ok(result);
    }
    let message = format!(
        "{PLACEHOLDER} is at a place where {tenant} would change the meaning; put it in quotes"
    );
    Err(YamlError {
        line: 1,
        column: 1,
        message,
    })
}

/// Replaces each placeholder with a text that depends on its position.
fn filled<'a>(text: &str, with: impl Fn(usize) -> &'a str) -> String {
    let mut result = String::with_capacity(text.len());
    let mut from = 0;
    for start in words(text) {
        result.push_str(&text[from..start]);
        result.push_str(with(start));
        from = start + PLACEHOLDER.len();
    }
    result.push_str(&text[from..]);
    result
}

/// Returns the positions where the placeholder is a word of its own.
fn words(text: &str) -> impl Iterator<Item = usize> {
    let is_letter = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    text.match_indices(PLACEHOLDER)
        .map(|(start, _)| start)
        .filter(move |start| {
            let before = start.checked_sub(1).and_then(|at| text.as_bytes().get(at));
            !is_letter(before) && !is_letter(text.as_bytes().get(start + PLACEHOLDER.len()))
        })
}

/// Finds plain scalars that equal the placeholder.
fn plain_placeholders(node: &Node<'_>, found: &mut Vec<usize>) {
    match &node.kind {
        NodeKind::Scalar {
            text,
            style: Style::Plain,
        } if text == PLACEHOLDER => found.push(node.span.start),
        NodeKind::Scalar { .. } => {}
        NodeKind::List { items, .. } => items
            .iter()
            .for_each(|item| plain_placeholders(item, found)),
        NodeKind::Map { pairs, .. } => {
            for pair in pairs {
                plain_placeholders(&pair.key, found);
                plain_placeholders(&pair.value, found);
            }
        }
    }
}

/// Returns a value of the template with the id in each text.
fn with_id(value: Value, id: &str) -> Value {
    let replaced = |text: &str| filled(text, |_| id);
    match value {
        Value::String(text) => Value::String(replaced(&text)),
        Value::Array(items) => items.into_iter().map(|item| with_id(item, id)).collect(),
        Value::Object(map) => map
            .into_iter()
            .map(|(key, value)| (replaced(&key), with_id(value, id)))
            .collect::<serde_json::Map<_, _>>()
            .into(),
        other => other,
    }
}
