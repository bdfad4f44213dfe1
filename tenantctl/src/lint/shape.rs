//! The shape of a document: no unknown field, no wrong type, no key left without a value.
//!
//! The schemas are Flux's own, closed to unknown fields, and compiled once. Kinds without a schema here are left to the
//! API server.

use std::sync::LazyLock;

use jsonschema::error::ValidationErrorKind;
use jsonschema::{ValidationError, Validator};
use serde_json::Value;

use super::facts::Facts;
use super::{Finding, Place};
use crate::layout::APPLICATION_PLANE;
use crate::yaml::{Kind, Node, Style, is_ambiguous};

/// Longest part of a schema's own words that is repeated.
const MAX_WORDS: usize = 240;

/// A schema by the start of `apiVersion` and the kind.
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

static SCHEMAS: [Schema; 7] = [
    schema!("", "v1", "Namespace", "namespace.json"),
    schema!(
        "helm.toolkit.fluxcd.io/",
        "v2",
        "HelmRelease",
        "helmrelease.json"
    ),
    schema!("kustomize.config.k8s.io/", "", "", "kustomize.json"),
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

/// A schema that is part of this program.
pub(super) fn compiled(schema: &str) -> Validator {
    let schema: Value = serde_json::from_str(schema).expect("the schema is JSON");
    jsonschema::validator_for(&schema).expect("the schema is one")
}

/// Judges a document by the schema of its kind.
pub(super) fn check(facts: &mut Facts, root: &Node<'_>) {
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
        let place = root.get("apiVersion").map(Place::from);
        let fix = format!("write apiVersion: {}{}", schema.group, schema.version);
        return facts.add(
            "shape",
            place,
            format!("{api} is not the current version of {kind}"),
            fix,
        );
    }
    validate(facts, "shape", &schema.validator, &root.to_json(), root);
}

/// Judges a value by a schema; `node` is where it is written, as far as it is.
pub(super) fn validate(
    facts: &mut Facts,
    rule: &'static str,
    validator: &Validator,
    value: &Value,
    node: &Node<'_>,
) {
    if validator.is_valid(value) {
        return;
    }
    // Outside of the application plane, Flux puts values in the place of `${NAME}` before it applies anything.
    let is_substituted = !facts.path.as_str().starts_with(APPLICATION_PLANE);
    let is_variable = |value: &Value| value.as_str().is_some_and(|text| text.contains("${"));
    for error in validator
        .iter_errors(value)
        .filter(|error| !(is_substituted && is_variable(error.instance())))
    {
        let findings = told(facts, rule, &error, node);
        facts.findings.extend(findings);
    }
}

/// A schema's error in words, at the line it is about.
fn told(
    facts: &Facts,
    rule: &'static str,
    error: &ValidationError<'_>,
    node: &Node<'_>,
) -> Vec<Finding> {
    let pointer = error.instance_path().as_str().to_owned();
    let steps: Vec<String> = pointer
        .split('/')
        .skip(1)
        .map(|step| step.replace("~1", "/").replace("~0", "~"))
        .collect();
    let steps: Vec<&str> = steps.iter().map(String::as_str).collect();
    let (place, sign) = (node.nearest(&steps), node.sign_of(&steps));
    let name = if steps.is_empty() {
        "this".to_owned()
    } else {
        steps.join(".")
    };
    let finding = |place: &Node<'_>, message: String, fix: &str| {
        Finding::file(&facts.path, rule, message, fix).at(Place::from(place))
    };
    match error.kind() {
        ValidationErrorKind::AdditionalProperties { unexpected } => {
            let key = |key: &String| {
                let place = place.pair(key).map_or(place, |pair| &pair.key);
                let of = if steps.is_empty() {
                    String::new()
                } else {
                    format!(" of {name}")
                };
                let fix = "correct its name, or its indentation: it may belong to a field above";
                finding(place, format!("{key} is no field{of}"), fix)
            };
            unexpected.iter().map(key).collect()
        }
        ValidationErrorKind::Required { property } => {
            let field = property
                .as_str()
                .map_or_else(|| property.to_string(), str::to_owned);
            let fix =
                "add it, or correct the indentation below: a field may have slipped out of it";
            vec![finding(sign, format!("{field} is missing in {name}"), fix)]
        }
        // The chart's schema says there in words what it takes.
        ValidationErrorKind::Constant { expected_value } => {
            let wanted = expected_value
                .as_str()
                .map_or_else(|| expected_value.to_string(), str::to_owned);
            vec![finding(
                sign,
                format!("{name} must be {wanted}"),
                "correct the value, or add it",
            )]
        }
        _ => {
            let words: String = error.to_string().chars().take(MAX_WORDS).collect();
            vec![finding(
                sign,
                format!("{name}: {words}"),
                "correct the value, or the indentation of what is below it",
            )]
        }
    }
}

/// Finds keys without a value, and words that readers of YAML disagree on.
pub(super) fn check_scalars(facts: &mut Facts, node: &Node<'_>) {
    match &node.kind {
        Kind::Scalar {
            text,
            style: Style::Plain,
        } if is_ambiguous(text) => {
            let message =
                format!("{text} is a truth value or a number to some readers, and text to others");
            facts.add(
                "ambiguous",
                Some(node.into()),
                message,
                format!("write \"{text}\", true, false or a plain number"),
            );
        }
        Kind::Scalar { .. } => {}
        Kind::List { items, .. } => {
            for item in items {
                if item.is_null() {
                    facts.add(
                        "empty",
                        Some(item.into()),
                        "an item without a value",
                        "give it a value or take it out",
                    );
                }
                check_scalars(facts, item);
            }
        }
        Kind::Map { entries, .. } => {
            for pair in entries {
                if pair.value.is_null() && pair.value.span.is_empty() {
                    let name = pair.key.text().unwrap_or_default();
                    let fix = "indent what belongs below it, or take the key out";
                    facts.add(
                        "empty",
                        Some((&pair.key).into()),
                        format!("{name} has no value"),
                        fix,
                    );
                }
                check_scalars(facts, &pair.value);
            }
        }
    }
}
