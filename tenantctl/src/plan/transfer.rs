//! Moves a tenant to another tier: the file of the new tier's template, with the manual changes of the old file.
//!
//! A manual change is a difference from the old tier's template. The name, namespace and release stay, so the move is an upgrade
//! in place for Helm, and the same object for Terraform.
//!
//! The tenant's data follows: `local` copies it before and after the switch; on a cluster, `tenantctl settle` copies it after
//! the switch, from the former resources, which `infra.retain` keeps. An annotation says that the data stays.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tenantry_tenancy::tenant::{TenantId, Tier};

use super::edits::Edits;
use super::effect::{Effect, Plan};
use super::error::PlanError;
use super::find::ActiveTenant;
use super::{find, template};
use crate::layout::{self, LEAVE_DATA_ANNOTATION, TIER_LABEL};
use crate::release::Release;
use crate::tenant_file::{TenantFile, VERSION};
use crate::tree::{RepoPath, Tree};
use crate::yaml::{
    Document, Node, YamlError, append_document, comment_behind, parse, remove, set, set_comment,
};

/// Apps with data of their own.
const WITH_DATA: [&str; 2] = ["consumer", "payments"];
/// Apps whose queue and tables stay although they do not run in the silo.
const RETAIN: [&str; 4] = ["spec", "values", "infra", "retain"];
const LEAVE_DATA: [&str; 3] = ["metadata", "annotations", LEAVE_DATA_ANNOTATION];

/// Values by their path of keys. A list is one value.
type Leaves = BTreeMap<Vec<String>, Value>;

pub(super) fn transfer(
    tree: &dyn Tree,
    tenant: &TenantId,
    to: Tier,
    leave_data: bool,
) -> Result<Plan, PlanError> {
    let active = find::active(tree, tenant)?;
    let from = active.tier;
    let subject = format!("Move {tenant} from {from} to {to}");
    let path = layout::tenant(to, tenant);
    let mut edits = Edits::new(tree);
    if from == to {
        edits.list(&path)?;
        let subject = format!("Move {tenant} to {to}");
        return Ok(Plan {
            edits: edits.finish()?,
            subject,
            effects: Vec::new(),
        });
    }
    let broken = |error| PlanError::in_file(&active.path, error);
    let file = TenantFile::parse(&active.text).map_err(broken)?;
    let version = file.version().map_err(broken)?;
    let old = template::instance(tree, from, tenant, version)?;
    let new = template::instance(tree, to, tenant, version)?;
    let mut text = with_manual_changes(&old, &active.text, new).map_err(broken)?;
    drop(file);
    let retained = retained(&active, &path, &text).map_err(broken)?;
    if !retained.is_empty() {
        let index = TenantFile::parse(&text).map_err(broken)?.index;
        text = set(&text, index, &RETAIN, &json!(retained)).map_err(broken)?;
    }
    if leave_data {
        let index = TenantFile::parse(&text).map_err(broken)?.index;
        text = set(&text, index, &LEAVE_DATA, &Value::from("true")).map_err(broken)?;
    }
    edits.write(path.clone(), None, text);
    edits.unlist(&active.path)?;
    edits.delete(active.path, active.text);
    edits.list(&path)?;
    let effects = vec![Effect::Moved {
        tenant: tenant.clone(),
        from: from.as_str(),
        to: to.as_str(),
    }];
    Ok(Plan {
        edits: edits.finish()?,
        subject,
        effects,
    })
}

/// Returns the apps whose former queue and tables stay: the tenant has left them, and the data is still to be moved from
/// there, or stays.
fn retained(active: &ActiveTenant, path: &RepoPath, new: &str) -> Result<Vec<String>, YamlError> {
    let before = Release::of(&active.path, &TenantFile::parse(&active.text)?)?;
    let after = Release::of(path, &TenantFile::parse(new)?)?;
    let is_enabled =
        |release: &Release, app: &str| release.apps.get(app).is_some_and(|app| app.enabled);
    let mut retained: Vec<String> = WITH_DATA
        .into_iter()
        .filter(|app| is_enabled(&before, app) || before.retain.iter().any(|kept| kept == app))
        .filter(|app| !is_enabled(&after, app))
        .map(str::to_owned)
        .collect();
    retained.sort();
    Ok(retained)
}

/// Returns `new` with every change from `old` to `actual`, except those that make the tier.
fn with_manual_changes(old: &str, actual: &str, new: String) -> Result<String, YamlError> {
    let (old_documents, documents) = (parse(old)?, parse(actual)?);
    let mut text = new;
    for document in &documents {
        let Some(before) = old_documents
            .iter()
            .find(|old| identity(old) == identity(document))
        else {
            // An object added by hand is copied.
            text = append_document(&text, &actual[document.chunk.clone()]);
            continue;
        };
        let new_documents = parse(&text)?;
        let Some(index) = new_documents
            .iter()
            .position(|new| identity(new) == identity(document))
        else {
            continue;
        };
        let new_root = new_documents[index].root.to_json();
        let (before, after) = (
            leaves(&before.root.to_json()),
            leaves(&document.root.to_json()),
        );
        let is_kept =
            |path: &[String]| !is_set_by_tier(path, &before) && is_used_in(path, &new_root);
        for (path, value) in &after {
            if before.get(path) != Some(value) && is_kept(path) {
                text = set_with_comment(&text, index, path, value, actual, &document.root)?;
            }
        }
        for path in before
            .keys()
            .filter(|path| !has(&document.root, path) && is_kept(path))
        {
            text = remove(&text, index, &keys(path))?;
        }
    }
    Ok(text)
}

/// Sets one value and copies the comment behind it: Flux finds image tags by such comments.
fn set_with_comment(
    text: &str,
    index: usize,
    path: &[String],
    value: &Value,
    actual: &str,
    root: &Node<'_>,
) -> Result<String, YamlError> {
    let path = keys(path);
    let edited = set(text, index, &path, value)?;
    match root.at(&path).and_then(|node| comment_behind(actual, node)) {
        Some(comment) => set_comment(&edited, index, &path, comment),
        None => Ok(edited),
    }
}

/// Returns the identity of an object: the same object has the same identity in another file.
fn identity<'d>(document: &'d Document<'_>) -> [Option<&'d str>; 4] {
    [
        &["apiVersion"][..],
        &["kind"],
        &["metadata", "namespace"],
        &["metadata", "name"],
    ]
    .map(|path| document.root.at(path).and_then(Node::text))
}

/// Whether a value states the tier or the placement of an app. The new template decides these.
fn is_set_by_tier(path: &[String], template: &Leaves) -> bool {
    match keys(path).as_slice() {
        ["metadata", "labels", label] => *label == TIER_LABEL,
        // Each move decides anew whether the data follows, and which former resources stay.
        path if path == LEAVE_DATA || path == RETAIN => true,
        ["spec", "dependsOn"] | ["spec", "values", "tier"] => true,
        ["spec", "values", "apps", app, "enabled" | "envId"]
        | ["spec", "values", "apps", app, "ingress", "enabled"] => template
            .keys()
            .any(|path| path.get(3).map(String::as_str) == Some(*app) && path[2] == "apps"),
        path => *path == VERSION,
    }
}

/// Whether a value has a use in the new tier. The image of an app that a pool runs has none.
fn is_used_in(path: &[String], new: &Value) -> bool {
    match keys(path).as_slice() {
        ["spec", "values", "apps", app, "image", ..] => {
            new.pointer(&format!("/spec/values/apps/{app}/enabled")) != Some(&Value::Bool(false))
        }
        _ => true,
    }
}

fn leaves(root: &Value) -> Leaves {
    fn walk(value: &Value, path: &mut Vec<String>, leaves: &mut Leaves) {
        match value.as_object() {
            Some(map) if !map.is_empty() => {
                for (key, value) in map {
                    path.push(key.clone());
                    walk(value, path, leaves);
                    path.pop();
                }
            }
            _ => drop(leaves.insert(path.clone(), value.clone())),
        }
    }
    let mut leaves = Leaves::new();
    walk(root, &mut Vec::new(), &mut leaves);
    leaves
}

fn has(root: &Node<'_>, path: &[String]) -> bool {
    root.at(&keys(path)).is_some()
}

fn keys(path: &[String]) -> Vec<&str> {
    path.iter().map(String::as_str).collect()
}
