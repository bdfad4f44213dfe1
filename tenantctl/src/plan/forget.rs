//! The last of a tenant: its tombstone goes. With it goes the Terraform object and so, for it has been unprotected, the data;
//! the id is free again.

use serde_json::Value;
use shared::tenant::TenantId;

use super::edits::Edits;
use super::effect::{Effect, Plan};
use super::error::PlanError;
use super::find::{Found, find};
use super::offboard::DELETE_DATA;
use crate::layout;
use crate::tenant_file::TenantFile;
use crate::tree::Tree;

pub(super) fn forget(tree: &dyn Tree, tenant: &TenantId) -> Result<Plan, PlanError> {
    let mut edits = Edits::new(tree);
    let mut effects = Vec::new();
    match find(tree, tenant)? {
        Found::Live(live) => {
            return Err(PlanError::NotOffboarded {
                tenant: tenant.clone(),
                tier: live.tier,
            });
        }
        Found::Tombstone { path, text } => {
            let file =
                TenantFile::parse(&text).map_err(|error| PlanError::in_file(&path, error))?;
            let lifted = file
                .release()
                .at(&DELETE_DATA)
                .is_some_and(|node| node.to_json() == Value::Bool(true));
            if !lifted {
                // The resources would be left behind with nobody who knows of them.
                return Err(PlanError::Protected {
                    tenant: tenant.clone(),
                });
            }
            edits.delete(path, text);
            effects.push(Effect::Forgotten {
                tenant: tenant.clone(),
            });
        }
        // Asked for again.
        Found::Nowhere => {}
    }
    edits.unlist(&layout::tombstone(tenant))?;
    Ok(Plan {
        edits: edits.finish(),
        subject: format!("Forget {tenant}: its data goes, its id is free"),
        effects,
    })
}
