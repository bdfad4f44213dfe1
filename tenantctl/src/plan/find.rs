//! Where a tenant is: in a tier, among the tombstones, or nowhere. Four files are looked for, whatever the repository's size.

use shared::tenant::{TenantId, Tier};

use super::error::PlanError;
use crate::layout;
use crate::tree::{RepoPath, Tree};

/// Where a tenant is.
#[derive(Debug)]
pub(super) enum Found {
    /// In a tier.
    Live(Live),
    /// Offboarded.
    Tombstone {
        path: RepoPath,
        text: String,
    },
    Nowhere,
}

/// A tenant in a tier.
#[derive(Debug)]
pub(super) struct Live {
    pub(super) tier: Tier,
    pub(super) path: RepoPath,
    pub(super) text: String,
}

/// Looks for a tenant.
pub(super) fn find(tree: &dyn Tree, tenant: &TenantId) -> Result<Found, PlanError> {
    let mut live: Option<Live> = None;
    for tier in Tier::ALL {
        let path = layout::tenant(tier, tenant);
        let Some(text) = tree.read(&path)? else {
            continue;
        };
        if let Some(other) = &live {
            let message = format!(
                "{tenant} is in tier {}, too; take one of the two away",
                other.tier
            );
            return Err(PlanError::Broken {
                path,
                line: None,
                message,
            });
        }
        live = Some(Live { tier, path, text });
    }
    let path = layout::tombstone(tenant);
    let tombstone = tree.read(&path)?;
    Ok(match (live, tombstone) {
        (Some(live), Some(_)) => {
            let message = format!(
                "{tenant} is in tier {}, too; take one of the two away",
                live.tier
            );
            return Err(PlanError::Broken {
                path,
                line: None,
                message,
            });
        }
        (Some(live), None) => Found::Live(live),
        (None, Some(text)) => Found::Tombstone { path, text },
        (None, None) => Found::Nowhere,
    })
}

/// A tenant that must be in a tier.
pub(super) fn live(tree: &dyn Tree, tenant: &TenantId) -> Result<Live, PlanError> {
    match find(tree, tenant)? {
        Found::Live(live) => Ok(live),
        Found::Tombstone { path, .. } => Err(PlanError::Gone {
            tenant: tenant.clone(),
            path,
        }),
        Found::Nowhere => Err(PlanError::NotFound {
            tenant: tenant.clone(),
        }),
    }
}
