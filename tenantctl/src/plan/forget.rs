//! Deletes the tombstone of a tenant. Flux then deletes the Terraform object, and the unprotected data with it; the id is free
//! again.

use serde_json::Value;
use tenantry_tenancy::tenant::TenantId;

use super::edits::Edits;
use super::effect::{Effect, Plan};
use super::error::PlanError;
use super::find::{Location, locate};
use super::offboard::DELETE_DATA;
use crate::layout;
use crate::tenant_file::TenantFile;
use crate::tree::Tree;

pub(super) fn forget(tree: &dyn Tree, tenant: &TenantId) -> Result<Plan, PlanError> {
    let mut edits = Edits::new(tree);
    let mut effects = Vec::new();
    match locate(tree, tenant)? {
        Location::Active(active) => {
            return Err(PlanError::NotOffboarded {
                tenant: tenant.clone(),
                tier: active.tier,
            });
        }
        Location::Tombstone { path, text } => {
            let file =
                TenantFile::parse(&text).map_err(|error| PlanError::in_file(&path, error))?;
            let lifted = file
                .release()
                .at(&DELETE_DATA)
                .is_some_and(|node| node.to_json() == Value::Bool(true));
            if !lifted {
                // The resources would stay, and no file would name them.
                return Err(PlanError::Protected {
                    tenant: tenant.clone(),
                });
            }
            edits.delete(path, text);
            effects.push(Effect::Forgotten {
                tenant: tenant.clone(),
            });
        }
        // A repeated request.
        Location::Absent => {}
    }
    edits.unlist(&layout::tombstone(tenant))?;
    Ok(Plan {
        edits: edits.finish()?,
        subject: format!("Forget {tenant}: its data is deleted, its id is free"),
        effects,
    })
}
