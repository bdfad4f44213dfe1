//! The result of planning: the edits, and their effect on each tenant.

use shared::tenant::TenantId;

use crate::tree::Edit;

/// The edits that fulfil a request.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Plan {
    /// By path; empty where nothing is to be done, which is a success without a commit.
    pub edits: Vec<Edit>,
    /// The first line of the commit message.
    pub subject: String,
    /// What it means, tenant by tenant, for reports.
    pub effects: Vec<Effect>,
}

/// What a plan means for one tenant or pool.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(tag = "effect", rename_all = "snake_case")]
pub enum Effect {
    /// A new tenant.
    Onboarded {
        /// The tenant.
        tenant: TenantId,
        /// Its tier.
        tier: &'static str,
    },
    /// Its apps go, its data stays.
    Offboarded {
        /// The tenant.
        tenant: TenantId,
        /// The tier it was in.
        from: &'static str,
    },
    /// Its data is no longer protected: it goes with the tombstone.
    ProtectionLifted {
        /// The tenant.
        tenant: TenantId,
    },
    /// Its tombstone goes, and its data with that; its id is free.
    Forgotten {
        /// The tenant.
        tenant: TenantId,
    },
    /// Another release.
    Released {
        /// The tenant or pool.
        release: String,
        /// The version it had.
        from: String,
        /// The version it gets.
        to: String,
    },
    /// A wave left it out.
    Skipped {
        /// The tenant or pool.
        release: String,
        /// The reason of its hold.
        reason: String,
    },
    /// Another tier.
    Moved {
        /// The tenant.
        tenant: TenantId,
        /// The tier it was in.
        from: &'static str,
        /// The tier it is in now.
        to: &'static str,
    },
    /// No routes any more.
    Suspended {
        /// The tenant.
        tenant: TenantId,
    },
    /// Routes again.
    Resumed {
        /// The tenant.
        tenant: TenantId,
    },
    /// Waves skip it.
    Held {
        /// The tenant.
        tenant: TenantId,
        /// Why.
        reason: String,
    },
    /// Waves take it along again.
    Unheld {
        /// The tenant.
        tenant: TenantId,
    },
}
