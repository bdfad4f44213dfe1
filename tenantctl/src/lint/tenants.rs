//! The files of tenants, pools and templates: ids and paths agree, and nothing is in them that is not theirs.

use std::collections::BTreeMap;

use serde_json::Value;
use tenantry_tenancy::tenant::Tier;

use super::facts::Facts;
use super::files::Role;
use super::{Finding, Place, floating, shape, values};
use crate::chart;
use crate::layout::{
    NAMESPACE, OFFBOARDED_ANNOTATION, PLACEHOLDER, SERVICE_ACCOUNT, TENANT_LABEL, TIER_LABEL,
};
use crate::tenant_file::{TenantFile, VERSION};
use crate::yaml::{Document, Node};

/// Judges the file of a tenant, a pool, a tombstone or a template.
pub(super) fn check(facts: &mut Facts, role: &Role, documents: Vec<Document<'_>>) {
    for document in &documents {
        shape::check_scalars(facts, &document.root);
    }
    let file = match TenantFile::of(documents) {
        Ok(file) => file,
        Err(error) => {
            let place = Place {
                line: error.line,
                column: error.column,
            };
            return facts.add(
                "release",
                Some(place),
                error.message,
                "keep one HelmRelease in this file",
            );
        }
    };
    let Some((id, tier)) = id_and_tier(facts, role, &file) else {
        return;
    };
    agree(facts, role, &file, &id, &tier);
    for (index, document) in file.documents.iter().enumerate() {
        if index != file.index {
            belongs(facts, &document.root, &id, &tier);
        }
    }
    let release = file.release();
    floating::tenant_version(facts, release.at(&VERSION).unwrap_or(release));
    let Some(node) = release.at(&["spec", "values"]) else {
        let fix = format!("add spec.values with tenantId: {id}");
        return facts.add("id", Some(release.into()), "spec.values is missing", fix);
    };
    let known = facts.findings.len();
    let merged = values::check(facts, node);
    if facts.findings.len() > known {
        // What values of a wrong shape place where would be a guess.
        return;
    }
    values::module(facts, node, &merged);
    let pools = values::pools(facts, node, &merged);
    match role {
        Role::Tombstone { .. } => no_apps(facts, node, &merged),
        Role::Tenant { .. } => {
            begins_with_a_letter(facts, node, &id);
            waits_for(facts, release, &pools);
        }
        Role::Template { .. } => waits_for(facts, release, &pools),
        _ => {}
    }
}

/// The id and the tier that the file's place says.
fn id_and_tier(facts: &mut Facts, role: &Role, file: &TenantFile<'_>) -> Option<(String, String)> {
    match role {
        Role::Tenant { id, tier } => Some((id.to_string(), tier.to_string())),
        Role::Pool { name } => Some((name.clone(), "pool".to_owned())),
        Role::Template { tier } => Some((PLACEHOLDER.to_owned(), tier.to_string())),
        Role::Tombstone { id } => {
            let annotations = file.release().at(&["metadata", "annotations"]);
            let former = annotations.and_then(|map| map.get(OFFBOARDED_ANNOTATION));
            let tier = former
                .and_then(Node::string)
                .and_then(|tier| tier.parse::<Tier>().ok());
            if tier.is_none() {
                let place = former.or(annotations).unwrap_or(file.release());
                let message = format!("a tombstone without the annotation {OFFBOARDED_ANNOTATION}");
                facts.add(
                    "tombstone",
                    Some(place.into()),
                    message,
                    "name the tier the tenant was in: basic, advanced or premium",
                );
            }
            Some((id.to_string(), tier?.to_string()))
        }
        Role::List | Role::Yaml | Role::Other => None,
    }
}

/// What must say the tenant's id or tier, or is the same for all of them.
fn agree(facts: &mut Facts, role: &Role, file: &TenantFile<'_>, id: &str, tier: &str) {
    let fields: [(&[&str], &str); 12] = [
        (&["metadata", "name"], id),
        (&["metadata", "namespace"], NAMESPACE),
        (&["metadata", "labels", TENANT_LABEL], id),
        (&["metadata", "labels", TIER_LABEL], tier),
        (&["spec", "releaseName"], id),
        (&["spec", "targetNamespace"], NAMESPACE),
        (&["spec", "storageNamespace"], NAMESPACE),
        (&["spec", "serviceAccountName"], SERVICE_ACCOUNT),
        (&["spec", "chart", "spec", "chart"], chart::NAME),
        (
            &["spec", "chart", "spec", "sourceRef", "kind"],
            "HelmRepository",
        ),
        (&["spec", "values", "tenantId"], id),
        (&["spec", "values", "tier"], tier),
    ];
    let release = file.release();
    for (path, wanted) in fields {
        let node = release.sign_of(path);
        let said = release.at(path).and_then(Node::string);
        if said == Some(wanted) {
            continue;
        }
        let name = path.join(".");
        let message = match release.at(path).and_then(Node::text) {
            Some(said) => format!("{name} is {said}, and must be {wanted}"),
            None => format!("{name} is missing, and must be {wanted}"),
        };
        let fix = match role {
            Role::Template { .. } => {
                format!(
                    "write {wanted}: a tenant is made by putting its id in place of {PLACEHOLDER}"
                )
            }
            _ if wanted == id => format!("write {wanted}, or name the file after the tenant"),
            _ if wanted == tier => {
                format!("write {wanted}, or change the tier with `tenantctl move`")
            }
            _ => format!("write {wanted}"),
        };
        facts.add(
            if wanted == tier { "tier" } else { "id" },
            Some(node.into()),
            message,
            fix,
        );
    }
}

/// Another object of the file must be the tenant's namespace, or in it.
fn belongs(facts: &mut Facts, root: &Node<'_>, id: &str, tier: &str) {
    let text = |path: &[&str]| root.at(path).and_then(Node::string);
    let (api, kind) = (text(&["apiVersion"]), text(&["kind"]));
    let name = text(&["metadata", "name"]);
    if api.is_none() || kind.is_none() || name.is_none() {
        let message = "no Kubernetes object: apiVersion, kind or metadata.name is missing";
        return facts.add(
            "shape",
            Some(root.into()),
            message,
            "add it, or take the document out",
        );
    }
    let is_namespace = api == Some("v1") && kind == Some("Namespace");
    let is_theirs = if is_namespace {
        name == Some(id)
    } else {
        text(&["metadata", "namespace"]) == Some(id)
    };
    if !is_theirs {
        let place = root.sign_of(if is_namespace {
            &["metadata", "name"]
        } else {
            &["metadata", "namespace"]
        });
        let message = format!(
            "{} {} is not in the namespace {id}",
            kind.unwrap_or_default(),
            name.unwrap_or_default()
        );
        let fix = format!("set metadata.namespace to {id}, or move the object to infrastructure");
        return facts.add("id", Some(place.into()), message, fix);
    }
    for (label, wanted) in [(TENANT_LABEL, id), (TIER_LABEL, tier)] {
        if is_namespace && text(&["metadata", "labels", label]) != Some(wanted) {
            let place = root.sign_of(&["metadata", "labels", label]);
            facts.add(
                "id",
                Some(place.into()),
                format!("the label {label} must be {wanted}"),
                format!("write {wanted}"),
            );
        }
    }
}

/// Nothing of an offboarded tenant runs or is reached.
fn no_apps(facts: &mut Facts, node: &Node<'_>, merged: &Value) {
    for (app, said) in chart::map(merged.get("apps")) {
        for path in [&["enabled"][..], &["ingress", "enabled"]] {
            if chart::at(said, path) == Some(&Value::Bool(true)) {
                let steps: Vec<&str> = ["apps", app]
                    .into_iter()
                    .chain(path.iter().copied())
                    .collect();
                let message = format!(
                    "{} is true, and the tenant has been offboarded",
                    steps.join(".")
                );
                facts.add(
                    "tombstone",
                    Some(node.sign_of(&steps).into()),
                    message,
                    "write false",
                );
            }
        }
    }
}

/// A tenant's Services are named `<id>-<app>`, and the name of a Service is a label of RFC 1035. The chart refuses it, too.
fn begins_with_a_letter(facts: &mut Facts, node: &Node<'_>, id: &str) {
    if id.starts_with(|first: char| first.is_ascii_digit()) {
        let message =
            format!("{id} begins with a digit: Kubernetes refuses Services named {id}-<app>");
        let fix = "onboard the tenant under an id that begins with a letter";
        facts.add("id", Some(node.sign_of(&["tenantId"]).into()), message, fix);
    }
}

/// A release waits for the pools that serve its apps.
fn waits_for(facts: &mut Facts, release: &Node<'_>, pools: &[String]) {
    let depends = release.at(&["spec", "dependsOn"]);
    let items = depends.map(Node::items).unwrap_or_default();
    for pool in pools {
        let waits = items
            .iter()
            .any(|item| item.get("name").and_then(Node::text) == Some(pool.as_str()));
        if !waits {
            let place = depends.unwrap_or_else(|| release.sign_of(&["spec"]));
            let message =
                format!("{pool} serves apps of this tenant, and spec.dependsOn does not name it");
            facts.add(
                "pool",
                Some(place.into()),
                message,
                format!("add `- name: {pool}` to spec.dependsOn"),
            );
        }
    }
}

/// A tenant has one file, in one tier or among the tombstones.
pub(super) fn in_two_tiers(facts: &[Facts]) -> Vec<Finding> {
    let mut first = BTreeMap::new();
    let mut findings = Vec::new();
    for file in facts {
        let Some(tenant) = &file.tenant else { continue };
        if let Some(other) = first.insert(tenant, &file.path) {
            let message = format!("{tenant} is in {other}, too");
            let fix = "keep the file of the tier the tenant is in, and take the other out, with its line in kustomization.yaml";
            findings.push(Finding::file(&file.path, "two-tiers", message, fix));
        }
    }
    findings
}
