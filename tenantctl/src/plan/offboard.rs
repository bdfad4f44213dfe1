//! Offboards a tenant in two steps. The first removes the apps and leaves a tombstone, which keeps the data protected and the id
//! taken. The second, on request, lifts the protection. The data is deleted with the tombstone: see `forget`.

use serde_json::{Value, json};
use tenantry_tenancy::tenant::{TenantId, Tier};

use super::edits::Edits;
use super::effect::{Effect, Plan};
use super::error::PlanError;
use super::find::{ActiveTenant, Location, locate};
use crate::layout::{self, OFFBOARDED_ANNOTATION};
use crate::release::Release;
use crate::tenant_file::TenantFile;
use crate::tree::{RepoPath, Tree};
use crate::yaml::{YamlError, set};

/// Apps without data of their own.
const WITHOUT_DATA: [&str; 1] = ["producer"];

const FORMER_TIER: [&str; 3] = ["metadata", "annotations", OFFBOARDED_ANNOTATION];
/// Key of a tombstone that permits the deletion of its data.
pub(super) const DELETE_DATA: [&str; 4] = ["spec", "values", "infra", "deleteData"];

pub(super) fn offboard(
    tree: &dyn Tree,
    tenant: &TenantId,
    tier: Option<Tier>,
    delete_data: bool,
) -> Result<Plan, PlanError> {
    let mut edits = Edits::new(tree);
    let mut effects = Vec::new();
    let path = layout::tombstone(tenant);
    let (before, after) = match locate(tree, tenant)? {
        Location::Absent => {
            return Err(PlanError::NotFound {
                tenant: tenant.clone(),
            });
        }
        Location::Active(active) => {
            refuse_other_tier(tenant, active.tier, tier)?;
            let after =
                tombstone(&active).map_err(|error| PlanError::in_file(&active.path, error))?;
            effects.push(Effect::Offboarded {
                tenant: tenant.clone(),
                from: active.tier.as_str(),
            });
            edits.unlist(&active.path)?;
            edits.delete(active.path, active.text);
            (None, after)
        }
        Location::Tombstone { text, .. } => {
            let former = former_tier(&path, &text)?;
            refuse_other_tier(tenant, former, tier)?;
            (Some(text.clone()), text)
        }
    };
    let after = if delete_data {
        without_protection(&path, &after)?
    } else {
        after
    };
    if delete_data && before.as_deref() != Some(&after) {
        effects.push(Effect::ProtectionLifted {
            tenant: tenant.clone(),
        });
    }
    edits.write(path.clone(), before, after);
    edits.list(&path)?;
    let subject = match (delete_data, effects.len()) {
        (true, 2) => format!("Offboard {tenant}; its data may be deleted"),
        (true, _) => format!("Offboard {tenant}: its data may be deleted"),
        (false, _) => format!("Offboard {tenant}; its data stays"),
    };
    Ok(Plan {
        edits: edits.finish()?,
        subject,
        effects,
    })
}

/// Returns the tombstone: the `HelmRelease` without apps and routes, with the infrastructure that holds the data.
fn tombstone(active: &ActiveTenant) -> Result<String, YamlError> {
    let file = TenantFile::parse(&active.text)?;
    let release = Release::of(&active.path, &file)?;
    let document = &file.documents[file.index];
    let chunk = &active.text[document.chunk.clone()];
    let chunk = chunk
        .strip_prefix("---\n")
        .filter(|_| document.is_marked)
        .unwrap_or(chunk);
    let mut text = chunk.trim_end_matches('\n').to_owned();
    text.push('\n');
    text = set(&text, 0, &FORMER_TIER, &Value::from(active.tier.as_str()))?;
    let mut retain = release.retain.clone();
    for (app, placement) in release.apps.iter() {
        let path = |key: &'static [&'static str]| {
            ["spec", "values", "apps", app.as_str()]
                .into_iter()
                .chain(key.iter().copied())
                .collect::<Vec<_>>()
        };
        let had_data = placement.enabled && !WITHOUT_DATA.contains(&app.as_str());
        if had_data && !retain.contains(app) {
            retain.push(app.clone());
        }
        if placement.enabled {
            text = set(&text, 0, &path(&["enabled"]), &json!(false))?;
        }
        if placement.route {
            text = set(&text, 0, &path(&["ingress", "enabled"]), &json!(false))?;
        }
    }
    retain.sort();
    if retain != release.retain {
        text = set(
            &text,
            0,
            &["spec", "values", "infra", "retain"],
            &json!(retain),
        )?;
    }
    Ok(text)
}

fn without_protection(path: &RepoPath, text: &str) -> Result<String, PlanError> {
    let broken = |error| PlanError::in_file(path, error);
    let index = TenantFile::parse(text).map_err(broken)?.index;
    set(text, index, &DELETE_DATA, &json!(true)).map_err(broken)
}

/// Returns the former tier of an offboarded tenant.
fn former_tier(path: &RepoPath, text: &str) -> Result<Tier, PlanError> {
    let file = TenantFile::parse(text).map_err(|error| PlanError::in_file(path, error))?;
    file.text(&FORMER_TIER)
        .and_then(|tier| tier.parse().ok())
        .ok_or_else(|| PlanError::Broken {
            path: path.clone(),
            line: Some(file.release().line),
            message: format!(
                "the annotation {OFFBOARDED_ANNOTATION} must name the tier the tenant was in"
            ),
        })
}

fn refuse_other_tier(tenant: &TenantId, tier: Tier, asked: Option<Tier>) -> Result<(), PlanError> {
    match asked {
        Some(asked) if asked != tier => Err(PlanError::OtherTier {
            tenant: tenant.clone(),
            tier,
            asked,
        }),
        _ => Ok(()),
    }
}
