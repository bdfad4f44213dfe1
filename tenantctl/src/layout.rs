//! Where things are in the repository. Only parsed types become part of a path.

use tenantry_tenancy::tenant::{TenantId, Tier};

use crate::tree::RepoPath;

/// The folder of one environment of the application plane.
pub const APPLICATION_PLANE: &str = "application-plane/production";

/// The file that lists what a folder has for the cluster.
pub const KUSTOMIZATION: &str = "kustomization.yaml";

/// The folder of tombstones, beside those of the tiers.
pub const OFFBOARDED: &str = "offboarded";

/// What holds a tenant's place in a tier's template; no tenant can have this id.
pub const PLACEHOLDER: &str = "tenant-template";

/// The namespace of every tenant's and pool's `HelmRelease`.
pub const NAMESPACE: &str = "flux-tenants";

/// The service account that reconciles them, with the rights of a tenant and no more.
pub const SERVICE_ACCOUNT: &str = "tenant-reconciler";

/// The label with the tenant's id.
pub const TENANT_LABEL: &str = "tenantry.dev/tenant";

/// The label with the tier.
pub const TIER_LABEL: &str = "tenantry.dev/tier";

/// The annotation that makes waves skip a tenant; its value is the reason.
pub const HOLD_ANNOTATION: &str = "tenantry.dev/hold";

/// The annotation of a tombstone: the tier the tenant was in.
pub const OFFBOARDED_ANNOTATION: &str = "tenantry.dev/offboarded-from";

/// Where the kustomizations of all tenants begin.
pub fn tenants() -> RepoPath {
    path(format_args!("tenants"))
}

/// A tier's tenants.
pub fn tier_folder(tier: Tier) -> RepoPath {
    path(format_args!("tenants/{tier}"))
}

/// The tombstones.
pub fn offboarded_folder() -> RepoPath {
    path(format_args!("tenants/{OFFBOARDED}"))
}

/// The pools.
pub fn pools() -> RepoPath {
    path(format_args!("pooled-envs"))
}

/// The templates.
pub fn templates() -> RepoPath {
    path(format_args!("tier-templates"))
}

/// What a new tenant of a tier is made from.
pub fn template(tier: Tier) -> RepoPath {
    path(format_args!("tier-templates/{tier}_tenant_template.yaml"))
}

/// A tenant's file.
pub fn tenant(tier: Tier, tenant: &TenantId) -> RepoPath {
    path(format_args!("tenants/{tier}/{tenant}.yaml"))
}

/// What is left of a tenant.
pub fn tombstone(tenant: &TenantId) -> RepoPath {
    path(format_args!("tenants/{OFFBOARDED}/{tenant}.yaml"))
}

/// The list of a folder.
pub(crate) fn kustomization(folder: &RepoPath) -> RepoPath {
    folder
        .join(KUSTOMIZATION)
        .expect("the name is a constant without a slash")
}

fn path(below: std::fmt::Arguments<'_>) -> RepoPath {
    let path = format!("{APPLICATION_PLANE}/{below}");
    path.parse()
        .expect("constants, tiers and tenant ids have neither slashes nor dots")
}
