//! The shape of a document: no unknown field, no wrong type, no key without a value.
//!
//! The schemas are Flux's own, closed to unknown fields, and compiled once. The API server checks kinds without a schema.

use std::sync::LazyLock;

use jsonschema::error::ValidationErrorKind;
use jsonschema::{ValidationError, Validator};
use serde_json::Value;

use super::finding::Findings;
use crate::layout::APPLICATION_PLANE;
use crate::yaml::{Node, NodeKind, Style, is_ambiguous};

/// Characters of the schema library's message that a finding quotes.
const MAX_MESSAGE_CHARS: usize = 240;

/// The schema of a kind.
struct Schema {
    group: &'static str,
    kind: &'static str,
    version: &'static str,
    validator: LazyLock<Validator>,
}

macro_rules! schema {
    ($group:literal, $version:literal, $kind:literal, $file:literal) => {
        Schema {
            group: $group,
            kind: $kind,
            version: $version,
            validator: LazyLock::new(|| compiled(include_str!(concat!("../../schemas/", $file)))),
        }
    };
}

static SCHEMAS: [Schema; 6] = [
    schema!("", "v1", "Namespace", "namespace.json"),
    schema!(
        "helm.toolkit.fluxcd.io/",
        "v2",
        "HelmRelease",
        "helmrelease.json"
    ),
    schema!(
        "kustomize.toolkit.fluxcd.io/",
        "v1",
        "Kustomization",
        "kustomization.json"
    ),
    schema!(
        "source.toolkit.fluxcd.io/",
        "v1",
        "GitRepository",
        "gitrepository.json"
    ),
    schema!(
        "source.toolkit.fluxcd.io/",
        "v1",
        "HelmRepository",
        "helmrepository.json"
    ),
    schema!(
        "source.toolkit.fluxcd.io/",
        "v1",
        "OCIRepository",
        "ocirepository.json"
    ),
];

/// Compiles a schema that is part of this program.
pub(super) fn compiled(schema: &str) -> Validator {
    let schema: Value = serde_json::from_str(schema).expect("the schema is JSON");
    jsonschema::validator_for(&schema).expect("the schema is a JSON schema")
}

/// Checks a document against the schema of its kind.
pub(super) fn check(findings: &mut Findings, root: &Node<'_>) {
    let api = root
        .get("apiVersion")
        .and_then(Node::text)
        .unwrap_or_default();
    let kind = root.get("kind").and_then(Node::text).unwrap_or_default();
    let Some(schema) = SCHEMAS.iter().find(|schema| {
        let version = api.strip_prefix(schema.group);
        version.is_some_and(|version| !version.contains('/'))
            && (schema.kind == kind || schema.kind.is_empty())
    }) else {
        return;
    };
    if !schema.version.is_empty() && api.strip_prefix(schema.group) != Some(schema.version) {
        let place = root.get("apiVersion").unwrap_or(root);
        let fix = format!("write apiVersion: {}{}", schema.group, schema.version);
        return findings.add(
            "shape",
            place,
            format!("{api} is not the current version of {kind}"),
            fix,
        );
    }
    validate(findings, "shape", &schema.validator, &root.to_json(), root);
}

/// Checks a value against a schema; `node` is the written part of the value.
pub(super) fn validate(
    findings: &mut Findings,
    rule: &'static str,
    validator: &Validator,
    value: &Value,
    node: &Node<'_>,
) {
    if validator.is_valid(value) {
        return;
    }
    // Outside the application plane, Flux replaces `${NAME}` with a value before it applies a file.
    let is_substituted = !findings.path.as_str().starts_with(APPLICATION_PLANE);
    let is_variable = |value: &Value| value.as_str().is_some_and(|text| text.contains("${"));
    for error in validator
        .iter_errors(value)
        .filter(|error| !(is_substituted && is_variable(error.instance())))
    {
        report(findings, rule, &error, node);
    }
}

/// Reports an error of the schema library at the line that it is about.
fn report(
    findings: &mut Findings,
    rule: &'static str,
    error: &ValidationError<'_>,
    node: &Node<'_>,
) {
    let pointer = error.instance_path().as_str().to_owned();
    let unescaped = |step: &str| step.replace("~1", "/").replace("~0", "~");
    let steps: Vec<String> = pointer.split('/').skip(1).map(unescaped).collect();
    let steps: Vec<&str> = steps.iter().map(String::as_str).collect();
    let place = node.reported_at(&steps);
    let name = if steps.is_empty() {
        "this".to_owned()
    } else {
        steps.join(".")
    };
    let text = |value: &Value| {
        value
            .as_str()
            .map_or_else(|| value.to_string(), str::to_owned)
    };
    match error.kind() {
        ValidationErrorKind::AdditionalProperties { unexpected } => {
            let map = node.nearest(&steps);
            let of = if steps.is_empty() {
                String::new()
            } else {
                format!(" of {name}")
            };
            for key in unexpected {
                let place = map.pair(key).map_or(map, |pair| &pair.key);
                let fix = "correct its name, or its indentation: it may belong to a field above";
                findings.add(rule, place, format!("{key} is not a field{of}"), fix);
            }
        }
        ValidationErrorKind::Required { property } => {
            let fix =
                "add it, or correct the indentation below: a field may have slipped out of it";
            findings.add(
                rule,
                place,
                format!("{} is missing in {name}", text(property)),
                fix,
            );
        }
        // The chart's schema has a sentence as the constant.
        ValidationErrorKind::Constant { expected_value } => {
            let message = format!("{name} must be {}", text(expected_value));
            findings.add(rule, place, message, "correct the value, or add it");
        }
        _ => {
            let message: String = error.to_string().chars().take(MAX_MESSAGE_CHARS).collect();
            let fix = "correct the value, or the indentation below it";
            findings.add(rule, place, format!("{name}: {message}"), fix);
        }
    }
}

/// Finds keys without a value, and scalars that YAML readers disagree on.
pub(super) fn check_scalars(findings: &mut Findings, node: &Node<'_>) {
    check_ambiguous(findings, node);
    check_empty(findings, node);
}

/// Finds keys and values that YAML readers disagree on.
pub(super) fn check_ambiguous(findings: &mut Findings, node: &Node<'_>) {
    if let NodeKind::Scalar {
        text,
        style: Style::Plain,
    } = &node.kind
        && is_ambiguous(text)
    {
        let message = format!(
            "{text} is a number, a time or a truth value to some readers, and text to others"
        );
        let fix = format!("write \"{text}\", true, false or a plain number");
        findings.add("ambiguous", node, message, fix);
    }
    for item in node.items() {
        check_ambiguous(findings, item);
    }
    for pair in node.pairs() {
        if pair.key.string().is_none() {
            let name = pair.key.text().unwrap_or_default();
            let message = format!("the key {name} is not text");
            findings.add("ambiguous", &pair.key, message, format!("write \"{name}\""));
        } else {
            check_ambiguous(findings, &pair.key);
        }
        check_ambiguous(findings, &pair.value);
    }
}

fn check_empty(findings: &mut Findings, node: &Node<'_>) {
    for item in node.items() {
        if item.is_null() {
            let fix = "give it a value or remove it";
            findings.add("empty", item, "an item without a value", fix);
        }
        check_empty(findings, item);
    }
    for pair in node.pairs() {
        if pair.value.is_null() && pair.value.span.is_empty() {
            let name = pair.key.text().unwrap_or_default();
            let fix = "indent its value below it, or remove the key";
            findings.add("empty", &pair.key, format!("{name} has no value"), fix);
        }
        check_empty(findings, &pair.value);
    }
}
