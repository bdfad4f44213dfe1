//! Suspends, resumes, holds and unholds a tenant. Each is one key of the tenant's file.

use serde_json::{Value, json};
use tenantry_tenancy::tenant::TenantId;

use super::edits::Edits;
use super::effect::{Effect, Plan};
use super::error::PlanError;
use super::find;
use crate::layout::HOLD_ANNOTATION;
use crate::request::HoldReason;
use crate::tenant_file::TenantFile;
use crate::tree::Tree;
use crate::yaml::{remove, set};

const SUSPENDED: [&str; 3] = ["spec", "values", "suspended"];
const HOLD: [&str; 3] = ["metadata", "annotations", HOLD_ANNOTATION];

pub(super) fn suspend(tree: &dyn Tree, tenant: &TenantId) -> Result<Plan, PlanError> {
    let effect = Effect::Suspended {
        tenant: tenant.clone(),
    };
    set_key(
        tree,
        tenant,
        &SUSPENDED,
        Some(json!(true)),
        format!("Suspend {tenant}"),
        effect,
    )
}

pub(super) fn resume(tree: &dyn Tree, tenant: &TenantId) -> Result<Plan, PlanError> {
    let effect = Effect::Resumed {
        tenant: tenant.clone(),
    };
    set_key(
        tree,
        tenant,
        &SUSPENDED,
        None,
        format!("Resume {tenant}"),
        effect,
    )
}

pub(super) fn hold(
    tree: &dyn Tree,
    tenant: &TenantId,
    reason: &HoldReason,
) -> Result<Plan, PlanError> {
    let effect = Effect::Held {
        tenant: tenant.clone(),
        reason: reason.to_string(),
    };
    let value = Value::from(reason.as_str());
    set_key(
        tree,
        tenant,
        &HOLD,
        Some(value),
        format!("Hold {tenant}: waves skip it"),
        effect,
    )
}

pub(super) fn unhold(tree: &dyn Tree, tenant: &TenantId) -> Result<Plan, PlanError> {
    let effect = Effect::Unheld {
        tenant: tenant.clone(),
    };
    set_key(
        tree,
        tenant,
        &HOLD,
        None,
        format!("Unhold {tenant}: waves include it"),
        effect,
    )
}

/// Sets a key, or removes it. The chart's default, or the absence of the annotation, means the opposite.
fn set_key(
    tree: &dyn Tree,
    tenant: &TenantId,
    path: &[&str],
    value: Option<Value>,
    subject: String,
    effect: Effect,
) -> Result<Plan, PlanError> {
    let active = find::active(tree, tenant)?;
    let broken = |error| PlanError::in_file(&active.path, error);
    let file = TenantFile::parse(&active.text).map_err(broken)?;
    let after = match &value {
        Some(value) => set(&active.text, file.index, path, value),
        None => {
            // A manual `suspended: false` is the requested state.
            let says_no = file
                .release()
                .at(path)
                .is_some_and(|node| node.to_json() == json!(false));
            if says_no {
                Ok(active.text.clone())
            } else {
                remove(&active.text, file.index, path)
            }
        }
    }
    .map_err(broken)?;
    let mut edits = Edits::new(tree);
    edits.write(active.path.clone(), Some(active.text.clone()), after);
    let edits = edits.finish()?;
    let effects = if edits.is_empty() {
        Vec::new()
    } else {
        vec![effect]
    };
    Ok(Plan {
        edits,
        subject,
        effects,
    })
}
