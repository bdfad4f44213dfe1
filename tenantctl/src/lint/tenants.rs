//! The files of tenants, pools and templates: ids and paths agree, and each object belongs to the tenant.

use std::collections::BTreeMap;

use serde_json::Value;
use tenantry_tenancy::tenant::Tier;

use super::facts::Facts;
use super::files::Role;
use super::finding::{Finding, Findings};
use super::{floating, objects, releases, shape, values};
use crate::chart;
use crate::layout::{
    self, NAMESPACE, OFFBOARDED_ANNOTATION, PLACEHOLDER, POD_SECURITY_LABEL,
    POD_SECURITY_VERSION_LABEL, SERVICE_ACCOUNT, TENANT_LABEL, TIER_LABEL,
};
use crate::tenant_file::{TenantFile, VERSION};
use crate::yaml::{Document, Node};

/// Checks the file of a tenant, a pool, a tombstone or a template.
pub(super) fn check(
    facts: &mut Facts,
    findings: &mut Findings,
    role: &Role,
    documents: Vec<Document<'_>>,
) {
    for document in &documents {
        shape::check_scalars(findings, &document.root);
    }
    let file = match TenantFile::of(documents) {
        Ok(file) => file,
        Err(error) => {
            let fix = "keep one HelmRelease in this file";
            return findings.add("release", &error, error.message.clone(), fix);
        }
    };
    let Some((id, tier)) = id_and_tier(findings, role, &file) else {
        return;
    };
    check_agreement(findings, role, &file, &id, &tier);
    for (index, document) in file.documents.iter().enumerate() {
        if index != file.index {
            check_owner(findings, &document.root, &id, &tier);
        }
    }
    let release = file.release();
    releases::check(findings, release, matches!(role, Role::Pool { .. }));
    floating::tenant_version(findings, release.at(&VERSION).unwrap_or(release));
    let Some(node) = release.at(&["spec", "values"]) else {
        let fix = format!("add spec.values with tenantId: {id}");
        return findings.add("id", release, "spec.values is missing", fix);
    };
    let known = findings.len();
    let merged = values::check(findings, node);
    objects::check(findings, node, &id);
    if findings.len() > known {
        // Values of a wrong shape do not say where an app runs.
        return;
    }
    values::refer_to_module(facts, node, &merged);
    let pools = values::refer_to_pools(facts, node, &merged);
    match role {
        Role::Tombstone { .. } => check_no_apps(findings, node, &merged),
        Role::Tenant { .. } => {
            check_first_letter(findings, node, &id);
            check_waits_for_pools(findings, release, &pools);
        }
        Role::Template { .. } => check_waits_for_pools(findings, release, &pools),
        _ => {}
    }
}

/// Returns the id and the tier that the file's path requires.
fn id_and_tier(
    findings: &mut Findings,
    role: &Role,
    file: &TenantFile<'_>,
) -> Option<(String, String)> {
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
                findings.add(
                    "tombstone",
                    place,
                    message,
                    "name the tier the tenant was in: basic, advanced or premium",
                );
            }
            Some((id.to_string(), tier?.to_string()))
        }
        Role::List | Role::Yaml | Role::Other => None,
    }
}

/// Checks the fields that repeat the id or the tier, and those that are equal for all tenants.
fn check_agreement(
    findings: &mut Findings,
    role: &Role,
    file: &TenantFile<'_>,
    id: &str,
    tier: &str,
) {
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
        let node = release.reported_at(path);
        let found = release.at(path).and_then(Node::string);
        if found == Some(wanted) {
            continue;
        }
        let name = path.join(".");
        let message = match release.at(path).and_then(Node::text) {
            Some(found) => format!("{name} is {found}, but must be {wanted}"),
            None => format!("{name} is missing; it must be {wanted}"),
        };
        let fix = match role {
            Role::Template { .. } => {
                format!(
                    "write {wanted}: onboarding replaces {PLACEHOLDER} with the id of the tenant"
                )
            }
            _ if wanted == id => format!("write {wanted}, or name the file after the tenant"),
            _ if wanted == tier => {
                format!("write {wanted}, or change the tier with `tenantctl move`")
            }
            _ => format!("write {wanted}"),
        };
        findings.add(
            if wanted == tier { "tier" } else { "id" },
            node,
            message,
            fix,
        );
    }
}

/// Requires that any other object of the file is the tenant's Namespace: Flux applies tenants' files with an account that may
/// write no other kind, and one refused object stops it for every tenant.
fn check_owner(findings: &mut Findings, root: &Node<'_>, id: &str, tier: &str) {
    let text = |path: &[&str]| root.at(path).and_then(Node::string);
    let (api, kind) = (text(&["apiVersion"]), text(&["kind"]));
    let name = text(&["metadata", "name"]);
    if api.is_none() || kind.is_none() || name.is_none() {
        let message = "not a Kubernetes object: apiVersion, kind or metadata.name is missing";
        return findings.add("shape", root, message, "add it, or remove the document");
    }
    let (kind, name) = (kind.unwrap_or_default(), name.unwrap_or_default());
    if api != Some("v1") || kind != "Namespace" {
        let message =
            format!("{kind} {name}: a tenant's file has its HelmRelease and its Namespace alone");
        let fix = "move the object to infrastructure/; Flux may write no such object for a tenant, and would stop for all";
        return findings.add("id", root.reported_at(&["kind"]), message, fix);
    }
    if name != id {
        let place = root.reported_at(&["metadata", "name"]);
        let message = format!("Namespace {name} is not the namespace {id}");
        return findings.add("id", place, message, format!("write {id}"));
    }
    let labels = [
        (TENANT_LABEL, id),
        (TIER_LABEL, tier),
        (POD_SECURITY_LABEL, "restricted"),
    ];
    let version = root.at(&["metadata", "labels", POD_SECURITY_VERSION_LABEL]);
    if let Some(place) = version
        && !place.string().is_some_and(is_current_standard)
    {
        let message = format!(
            "the label {POD_SECURITY_VERSION_LABEL} must be latest, or v1.30 or newer: older standards check less"
        );
        findings.add(
            "id",
            place,
            message,
            "write v1.30, as the tier's template does",
        );
    }
    for (label, wanted) in labels {
        if text(&["metadata", "labels", label]) != Some(wanted) {
            let place = root.reported_at(&["metadata", "labels", label]);
            findings.add(
                "id",
                place,
                format!("the label {label} must be {wanted}"),
                format!("write {wanted}"),
            );
        }
    }
}

/// Whether a Pod Security Standard is one that admission accepts: `latest`, or of a minor version from 30 to 99.
fn is_current_standard(version: &str) -> bool {
    let minor = version.strip_prefix("v1.").map(str::as_bytes);
    version == "latest" || matches!(minor, Some([b'3'..=b'9', b'0'..=b'9']))
}

/// Requires that a tombstone runs no app and has no route.
fn check_no_apps(findings: &mut Findings, node: &Node<'_>, merged: &Value) {
    for (app, values) in chart::map(merged.get("apps")) {
        for path in [&["enabled"][..], &["ingress", "enabled"]] {
            if chart::at(values, path) == Some(&Value::Bool(true)) {
                let steps: Vec<&str> = ["apps", app]
                    .into_iter()
                    .chain(path.iter().copied())
                    .collect();
                let message = format!("{} is true, but the tenant is offboarded", steps.join("."));
                findings.add(
                    "tombstone",
                    node.reported_at(&steps),
                    message,
                    "write false",
                );
            }
        }
    }
}

/// Requires an id that begins with a letter: Services are named `<id>-<app>`, by RFC 1035. The chart refuses others, too.
fn check_first_letter(findings: &mut Findings, node: &Node<'_>, id: &str) {
    if id.starts_with(|first: char| first.is_ascii_digit()) {
        let message =
            format!("{id} begins with a digit: Kubernetes refuses Services named {id}-<app>");
        let fix = "onboard the tenant under an id that begins with a letter";
        findings.add("id", node.reported_at(&["tenantId"]), message, fix);
    }
}

/// Requires that a release waits for the pools that serve its apps.
fn check_waits_for_pools(findings: &mut Findings, release: &Node<'_>, pools: &[String]) {
    let depends = release.at(&["spec", "dependsOn"]);
    let items = depends.map(Node::items).unwrap_or_default();
    for pool in pools {
        let waits = items
            .iter()
            .any(|item| item.get("name").and_then(Node::text) == Some(pool.as_str()));
        if !waits {
            let place = depends.unwrap_or_else(|| release.reported_at(&["spec"]));
            let message =
                format!("{pool} serves apps of this tenant, but spec.dependsOn does not name it");
            findings.add(
                "pool",
                place,
                message,
                format!("add `- name: {pool}` to spec.dependsOn"),
            );
        }
    }
}

/// Finds tenants and pools whose id is a namespace of the platform: Flux may not change it, and stops for every tenant.
pub(super) fn in_namespaces(facts: &[Facts]) -> Vec<Finding> {
    let others = facts.iter().filter(|file| !layout::is_ours(&file.path));
    let mut taken = BTreeMap::new();
    for file in others {
        let namespaces = file
            .objects
            .iter()
            .filter(|object| object.kind == "Namespace");
        taken.extend(namespaces.map(|object| (object.name.as_str(), &file.path)));
    }
    let tenants = facts
        .iter()
        .filter_map(|file| Some((&file.path, file.tenant.as_ref()?)));
    tenants
        .filter_map(|(path, tenant)| {
            let other = taken.get(tenant.as_str())?;
            let message = format!("{tenant} is a namespace of the platform: {other}");
            let fix = "onboard the tenant under another id, or rename the namespace";
            Some(Finding::of_file(path, "id", message, fix))
        })
        .collect()
}

/// Finds tenants with more than one file, in tiers or among the tombstones.
pub(super) fn in_two_tiers(facts: &[Facts]) -> Vec<Finding> {
    let mut first = BTreeMap::new();
    let mut findings = Vec::new();
    for file in facts {
        let Some(tenant) = &file.tenant else { continue };
        if let Some(other) = first.insert(tenant, &file.path) {
            let message = format!("{tenant} also has the file {other}");
            let fix = "keep the file of the tenant's tier; remove the other file and its line in kustomization.yaml";
            findings.push(Finding::of_file(&file.path, "two-tiers", message, fix));
        }
    }
    findings
}
