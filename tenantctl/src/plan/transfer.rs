//! A change of tier: the file that onboarding into the new tier would write, with what people changed by hand in the old.
//!
//! Changed by hand is what differs from the old tier's template. The name, namespace and release stay the same, so that
//! for Helm it is an upgrade in place, and for Terraform the same object.

use std::collections::BTreeMap;

use serde_json::Value;
use shared::tenant::{TenantId, Tier};

use super::edits::Edits;
use super::effect::{Effect, Plan};
use super::error::PlanError;
use super::{find, template};
use crate::layout::{self, TIER_LABEL};
use crate::tenant_file::{TenantFile, VERSION};
use crate::tree::Tree;
use crate::yaml::{
    Document, Node, YamlError, append_document, comment_behind, parse, remove, set, set_comment,
};

/// Values by their path of keys; lists are values as a whole.
type Leaves = BTreeMap<Vec<String>, Value>;

pub(super) fn transfer(
    tree: &dyn Tree,
    tenant: &TenantId,
    to: Tier,
    leave_data: bool,
) -> Result<Plan, PlanError> {
    let live = find::live(tree, tenant)?;
    let from = live.tier;
    let subject = format!("Move {tenant} from {from} to {to}");
    let path = layout::tenant(to, tenant);
    let mut edits = Edits::new(tree);
    if from == to {
        edits.list(&path)?;
        let subject = format!("Move {tenant} to {to}");
        return Ok(Plan {
            edits: edits.finish(),
            subject,
            effects: Vec::new(),
        });
    }
    if home_of_data(from) != home_of_data(to) && !leave_data {
        return Err(PlanError::DataStaysBehind {
            tenant: tenant.clone(),
            from,
            to,
        });
    }
    let broken = |error| PlanError::in_file(&live.path, error);
    let file = TenantFile::parse(&live.text).map_err(broken)?;
    let version = file.version().map_err(broken)?;
    let old = template::instance(tree, from, tenant, version)?;
    let new = template::instance(tree, to, tenant, version)?;
    let text = carried_over(&old, &live.text, new).map_err(broken)?;
    drop(file);
    edits.write(path.clone(), None, text);
    edits.unlist(&live.path)?;
    edits.delete(live.path, live.text);
    edits.list(&path)?;
    let effects = vec![Effect::Moved {
        tenant: tenant.clone(),
        from: from.as_str(),
        to: to.as_str(),
    }];
    Ok(Plan {
        edits: edits.finish(),
        subject,
        effects,
    })
}

/// Where a tier's tenants have their events: in the pool's table, or one of their own.
fn home_of_data(tier: Tier) -> bool {
    match tier {
        Tier::Basic => false,
        Tier::Advanced | Tier::Premium => true,
    }
}

/// `new` with every change that leads from `old` to `actual`, but for what makes the tier.
fn carried_over(old: &str, actual: &str, new: String) -> Result<String, YamlError> {
    let (old_documents, documents) = (parse(old)?, parse(actual)?);
    let mut text = new;
    for document in &documents {
        let Some(before) = old_documents.iter().find(|old| name(old) == name(document)) else {
            // An object that somebody added: it goes along as it is.
            text = append_document(&text, &actual[document.chunk.clone()]);
            continue;
        };
        let new_documents = parse(&text)?;
        let Some(index) = new_documents
            .iter()
            .position(|new| name(new) == name(document))
        else {
            continue;
        };
        let new_root = new_documents[index].root.to_json();
        let (before, after) = (
            leaves(&before.root.to_json()),
            leaves(&document.root.to_json()),
        );
        let is_carried =
            |path: &[String]| !makes_the_tier(path, &before) && runs_in(path, &new_root);
        for (path, value) in &after {
            if before.get(path) != Some(value) && is_carried(path) {
                text = put(&text, index, path, value, actual, &document.root)?;
            }
        }
        for path in before
            .keys()
            .filter(|path| !has(&document.root, path) && is_carried(path))
        {
            text = remove(&text, index, &keys(path))?;
        }
    }
    Ok(text)
}

/// Sets one value, and takes the comment behind it along: Flux finds image tags by theirs.
fn put(
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

/// What an object is called; the same object has the same name in another file.
fn name<'d>(document: &'d Document<'_>) -> [Option<&'d str>; 4] {
    [
        &["apiVersion"][..],
        &["kind"],
        &["metadata", "namespace"],
        &["metadata", "name"],
    ]
    .map(|path| document.root.at(path).and_then(Node::text))
}

/// Whether a value says which tier the tenant is in, and where its apps run: that is the new template's to say.
fn makes_the_tier(path: &[String], template: &Leaves) -> bool {
    match keys(path).as_slice() {
        ["metadata", "labels", label] => *label == TIER_LABEL,
        ["spec", "dependsOn"] | ["spec", "values", "tier"] => true,
        ["spec", "values", "apps", app, "enabled" | "envId"]
        | ["spec", "values", "apps", app, "ingress", "enabled"] => template
            .keys()
            .any(|path| path.get(3).map(String::as_str) == Some(*app) && path[2] == "apps"),
        path => *path == VERSION,
    }
}

/// Whether a value is of use in the new tier: the image of an app that a pool runs is not.
fn runs_in(path: &[String], new: &Value) -> bool {
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
