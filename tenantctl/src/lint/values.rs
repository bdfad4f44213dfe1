//! The values of a release, merged over the chart's defaults, against the chart's own schema.

use std::sync::LazyLock;

use jsonschema::Validator;
use serde_json::Value;

use super::facts::{Facts, Reference, Target};
use super::shape;
use crate::chart;
use crate::yaml::Node;

static SCHEMA: LazyLock<Validator> = LazyLock::new(|| shape::compiled(chart::SCHEMA));

/// Judges the values that are written at `node`, and gives back the merged ones.
pub(super) fn check(facts: &mut Facts, node: &Node<'_>) -> Value {
    let merged = chart::merged(&node.to_json());
    shape::validate(facts, "values", &SCHEMA, &merged, node);
    images(facts, node.get("appDefaults"), "appDefaults");
    for pair in node.get("apps").map(Node::entries).unwrap_or_default() {
        images(facts, Some(&pair.value), &format!("apps.{}", pair.key.text().unwrap_or_default()));
    }
    merged
}

/// A tag that is set names one image.
fn images(facts: &mut Facts, app: Option<&Node<'_>>, name: &str) {
    let Some(tag) = app.and_then(|app| app.at(&["image", "tag"])) else { return };
    let text = tag.text().unwrap_or_default();
    if matches!(text, "" | "latest") {
        let message = format!("{name}.image.tag is {text:?}: nobody can tell which image runs");
        facts.add(
            "floating",
            Some(tag.into()),
            message,
            "name a version, for example \"0.0.1\", or take the key out",
        );
    }
}

/// The pools that serve apps of a release; an app with a route and no place to run is a finding.
pub(super) fn pools(facts: &mut Facts, node: &Node<'_>, merged: &Value) -> Vec<String> {
    let mut pools = Vec::new();
    for (app, said) in chart::map(merged.get("apps")) {
        let is = |path: &[&str]| chart::at(said, path).and_then(Value::as_bool).unwrap_or(false);
        if is(&["enabled"]) {
            continue;
        }
        let place = node.nearest(&["apps", app, "envId"]);
        match said.get("envId").and_then(Value::as_str).filter(|pool| !pool.is_empty()) {
            Some(pool) => {
                facts.references.push(Reference { to: Target::Pool(pool.to_owned()), place: place.into() });
                pools.push(pool.to_owned());
            }
            None if is(&["ingress", "enabled"]) => {
                let message = format!("apps.{app} has a route and is not enabled, and no pool serves it");
                facts.add(
                    "pool",
                    Some(place.into()),
                    message,
                    format!("set apps.{app}.envId to a pool, for example pool-1"),
                );
            }
            None => {}
        }
    }
    pools.sort();
    pools.dedup();
    pools
}
