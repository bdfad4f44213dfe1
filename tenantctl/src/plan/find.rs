//! Finds a tenant: in a tier, among the tombstones, or absent. It reads four files in a repository of any size.

use tenantry_tenancy::tenant::{TenantId, Tier};

use super::error::PlanError;
use crate::layout;
use crate::tree::{RepoPath, Tree};

/// Location of a tenant in the repository.
#[derive(Debug)]
pub(super) enum Location {
    Active(ActiveTenant),
    Tombstone { path: RepoPath, text: String },
    Absent,
}

#[derive(Debug)]
pub(super) struct ActiveTenant {
    pub(super) tier: Tier,
    pub(super) path: RepoPath,
    pub(super) text: String,
}

/// Reads the four files that a tenant may have.
pub(super) fn locate(tree: &dyn Tree, tenant: &TenantId) -> Result<Location, PlanError> {
    let mut active: Option<ActiveTenant> = None;
    for tier in Tier::ALL {
        let path = layout::tenant(tier, tenant);
        let Some(text) = tree.read(&path)? else {
            continue;
        };
        if let Some(other) = &active {
            return Err(second_file(path, tenant, other.tier));
        }
        active = Some(ActiveTenant { tier, path, text });
    }
    let path = layout::tombstone(tenant);
    let tombstone = tree.read(&path)?;
    Ok(match (active, tombstone) {
        (Some(active), Some(_)) => return Err(second_file(path, tenant, active.tier)),
        (Some(active), None) => Location::Active(active),
        (None, Some(text)) => Location::Tombstone { path, text },
        (None, None) => Location::Absent,
    })
}

fn second_file(path: RepoPath, tenant: &TenantId, tier: Tier) -> PlanError {
    let message = format!("{tenant} also has a file in tier {tier}; remove one of the two");
    PlanError::Broken {
        path,
        line: None,
        message,
    }
}

/// Returns the tenant, which must be in a tier.
pub(super) fn active(tree: &dyn Tree, tenant: &TenantId) -> Result<ActiveTenant, PlanError> {
    match locate(tree, tenant)? {
        Location::Active(active) => Ok(active),
        Location::Tombstone { path, .. } => Err(PlanError::Gone {
            tenant: tenant.clone(),
            path,
        }),
        Location::Absent => Err(PlanError::NotFound {
            tenant: tenant.clone(),
        }),
    }
}
