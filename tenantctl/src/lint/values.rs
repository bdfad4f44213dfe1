//! The values of a release, merged over the chart's defaults, against the chart's own schema.

use std::sync::LazyLock;

use jsonschema::Validator;
use serde_json::Value;

use super::facts::{Facts, Object, Reference, Target};
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
        images(
            facts,
            Some(&pair.value),
            &format!("apps.{}", pair.key.text().unwrap_or_default()),
        );
    }
    merged
}

/// A tag that is set names one image.
fn images(facts: &mut Facts, app: Option<&Node<'_>>, name: &str) {
    let Some(tag) = app.and_then(|app| app.at(&["image", "tag"])) else {
        return;
    };
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

/// The source of the Terraform module that a release names. Its namespace may be a value that all tenants share.
pub(super) fn module(facts: &mut Facts, node: &Node<'_>, merged: &Value) {
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
    facts.references.push(Reference {
        to,
        place: node.sign_of(&["infra", "tfVersion"]).into(),
    });
}

/// The pools that serve apps of a release. That an app with a route has one is the schema's to say.
pub(super) fn pools(facts: &mut Facts, node: &Node<'_>, merged: &Value) -> Vec<String> {
    let mut pools = Vec::new();
    for (app, said) in chart::map(merged.get("apps")) {
        let is_here = said
            .get("enabled")
            .and_then(Value::as_bool)
            .unwrap_or(false);
        let pool = said
            .get("envId")
            .and_then(Value::as_str)
            .filter(|pool| !is_here && !pool.is_empty());
        let Some(pool) = pool else { continue };
        let place = node.sign_of(&["apps", app, "envId"]).into();
        facts.references.push(Reference {
            to: Target::Pool(pool.to_owned()),
            place,
        });
        pools.push(pool.to_owned());
    }
    pools.sort();
    pools.dedup();
    pools
}
