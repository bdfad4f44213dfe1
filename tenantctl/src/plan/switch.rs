//! Switches of one tenant: suspended or not, on hold or not. Each is one key of its file.

use serde_json::{Value, json};
use shared::tenant::TenantId;

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
    switch(
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
    switch(
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
    switch(
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
    switch(
        tree,
        tenant,
        &HOLD,
        None,
        format!("Unhold {tenant}: waves take it along"),
        effect,
    )
}

/// Sets a key, or takes it away: then the chart's default, or the absence of an annotation, says the opposite.
fn switch(
    tree: &dyn Tree,
    tenant: &TenantId,
    path: &[&str],
    value: Option<Value>,
    subject: String,
    effect: Effect,
) -> Result<Plan, PlanError> {
    let live = find::live(tree, tenant)?;
    let broken = |error| PlanError::in_file(&live.path, error);
    let file = TenantFile::parse(&live.text).map_err(broken)?;
    let after = match &value {
        Some(value) => set(&live.text, file.index, path, value),
        None => {
            // `suspended: false`, written by hand, is what was asked for.
            let says_no = file
                .release()
                .at(path)
                .is_some_and(|node| node.to_json() == json!(false));
            if says_no {
                Ok(live.text.clone())
            } else {
                remove(&live.text, file.index, path)
            }
        }
    }
    .map_err(broken)?;
    let mut edits = Edits::new(tree);
    edits.write(live.path.clone(), Some(live.text.clone()), after);
    let edits = edits.finish();
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
