//! The result of planning: the edits, and their effect on each tenant.

use tenantry_tenancy::tenant::TenantId;

use crate::tree::Edit;

/// The edits of a request.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Plan {
    /// By path; empty if the repository is in the requested state, a success without a commit.
    pub edits: Vec<Edit>,
    pub subject: String,
    /// Effects for reports, one for each tenant or pool.
    pub effects: Vec<Effect>,
}

/// The effect of a plan on one tenant or pool.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(tag = "effect", rename_all = "snake_case")]
pub enum Effect {
    Onboarded {
        tenant: TenantId,
        tier: &'static str,
    },
    /// The apps are removed, the data stays.
    Offboarded {
        tenant: TenantId,
        from: &'static str,
    },
    /// The data is no longer protected: it is deleted with the tombstone.
    ProtectionLifted {
        tenant: TenantId,
    },
    /// The tombstone is deleted, and the data with it; the id is free.
    Forgotten {
        tenant: TenantId,
    },
    Released {
        release: String,
        from: String,
        to: String,
    },
    /// A wave skipped it.
    Skipped {
        release: String,
        reason: String,
    },
    Moved {
        tenant: TenantId,
        from: &'static str,
        to: &'static str,
    },
    Suspended {
        tenant: TenantId,
    },
    Resumed {
        tenant: TenantId,
    },
    Held {
        tenant: TenantId,
        reason: String,
    },
    /// Waves deploy to the tenant again.
    Unheld {
        tenant: TenantId,
    },
}
