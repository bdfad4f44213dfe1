//! Takes back what the cluster refuses: a changed file with the refused object gets the text that is applied, or is removed.
//!
//! Changed files with an error of their own go with it: the cluster would refuse them next.

use super::edits::Edits;
use super::effect::Plan;
use super::error::PlanError;
use crate::layout;
use crate::lint;
use crate::status::Refused;
use crate::tree::{RepoPath, Tree};
use crate::yaml::kustomize::objects;

/// Returns the edits, of the files of tenants that have changed since the applied commit; none if none of them has the object.
///
/// # Errors
/// [`PlanError`]: a list of tenants cannot be edited.
pub fn take_back(
    tree: &dyn Tree,
    applied: &dyn Tree,
    changed: &[RepoPath],
    refused: &Refused,
) -> Result<Plan, PlanError> {
    let mut files = Vec::new();
    for path in changed {
        let is_tenants = path.is_in(&layout::tenants()) && layout::release_of(path).is_some();
        let (now, then) = (tree.read(path)?, applied.read(path)?);
        if is_tenants && now != then {
            files.push((path, now, then));
        }
    }
    let has = |text: &Option<String>| text.as_deref().is_some_and(|text| defines(text, refused));
    let mut edits = Edits::new(tree);
    if files.iter().any(|(_, now, _)| has(now)) {
        for (path, now, then) in files {
            let errors = |text: &Option<String>| {
                let text = text.as_deref();
                text.map_or(0, |text| lint::errors_of_file(path, text).len())
            };
            if has(&now) || has(&then) || errors(&now) > errors(&then) {
                restore(&mut edits, path, now, then)?;
            }
        }
    }
    Ok(Plan {
        edits: edits.finish()?,
        subject: format!("Take back {}: the cluster refuses it", refused.name),
        effects: Vec::new(),
    })
}

fn restore(
    edits: &mut Edits<'_>,
    path: &RepoPath,
    now: Option<String>,
    then: Option<String>,
) -> Result<(), PlanError> {
    match (now, then) {
        (now, Some(then)) => {
            edits.write(path.clone(), now, then);
            edits.list(path)
        }
        (Some(now), None) => {
            edits.delete(path.clone(), now);
            edits.unlist(path)
        }
        (None, None) => Ok(()),
    }
}

/// Whether one of the text's objects is the refused one.
fn defines(text: &str, refused: &Refused) -> bool {
    let documents = objects(text).unwrap_or_default();
    documents.iter().any(|object| {
        let text = |path: &[&str]| {
            let found = object.at(path).and_then(|node| node.text());
            found.unwrap_or_default().to_owned()
        };
        text(&["kind"]) == refused.kind
            && text(&["metadata", "name"]) == refused.name
            && text(&["metadata", "namespace"]) == refused.namespace
    })
}
