//! The values of a release, merged over the chart's defaults, checked against the chart's schema.

use std::sync::LazyLock;

use jsonschema::Validator;
use serde_json::Value;

use super::facts::{Facts, Object, Target};
use super::finding::Findings;
use super::shape;
use crate::chart;
use crate::yaml::Node;

static SCHEMA: LazyLock<Validator> = LazyLock::new(|| shape::compiled(chart::SCHEMA));

/// Checks the values written at `node`; returns them merged over the defaults.
pub(super) fn check(findings: &mut Findings, node: &Node<'_>) -> Value {
    let merged = chart::merged(&node.to_json());
    shape::validate(findings, "values", &SCHEMA, &merged, node);
    check_tag(findings, node.get("appDefaults"), "appDefaults");
    for pair in node.get("apps").map(Node::pairs).unwrap_or_default() {
        check_tag(
            findings,
            Some(&pair.value),
            &format!("apps.{}", pair.key.text().unwrap_or_default()),
        );
    }
    merged
}

/// Requires that a tag names one image.
fn check_tag(findings: &mut Findings, app: Option<&Node<'_>>, name: &str) {
    let Some(tag) = app.and_then(|app| app.at(&["image", "tag"])) else {
        return;
    };
    let text = tag.text().unwrap_or_default();
    if matches!(text, "" | "latest") {
        let message = format!("{name}.image.tag is {text:?}: it does not name one image");
        findings.add(
            "floating",
            tag,
            message,
            "name a version, for example \"0.0.1\", or remove the key",
        );
    }
}

/// Records the source of the Terraform module. Its namespace may be a value that all tenants share.
pub(super) fn refer_to_module(facts: &mut Facts, node: &Node<'_>, merged: &Value) {
    let infra = merged.get("infra");
    let text = |key| {
        infra
            .and_then(|infra| infra.get(key))
            .and_then(Value::as_str)
    };
    let is_on = infra
        .and_then(|infra| infra.get("enabled"))
        .and_then(Value::as_bool)
        .unwrap_or(false);
    let (true, Some(kind), Some(name)) = (is_on, text("sourceKind"), text("tfVersion")) else {
        return;
    };
    let namespace = node
        .at(&["infra", "namespace"])
        .and_then(Node::text)
        .map(str::to_owned);
    let to = Target::Object(Object {
        kind: kind.to_owned(),
        namespace,
        name: name.to_owned(),
    });
    facts.refer(to, node.reported_at(&["infra", "tfVersion"]));
}

/// Records and returns the pools that serve apps of a release. The schema requires a pool of an app with a route.
pub(super) fn refer_to_pools(facts: &mut Facts, node: &Node<'_>, merged: &Value) -> Vec<String> {
    let mut pools = Vec::new();
    for (app, values) in chart::map(merged.get("apps")) {
        let is_here = values
            .get("enabled")
            .and_then(Value::as_bool)
            .unwrap_or(false);
        let pool = values
            .get("envId")
            .and_then(Value::as_str)
            .filter(|pool| !is_here && !pool.is_empty());
        let Some(pool) = pool else { continue };
        facts.refer(
            Target::Pool(pool.to_owned()),
            node.reported_at(&["apps", app, "envId"]),
        );
        pools.push(pool.to_owned());
    }
    pools.sort();
    pools.dedup();
    pools
}
