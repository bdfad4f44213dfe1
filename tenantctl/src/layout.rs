//! Paths, labels and names in the repository. Only parsed types become part of a path.

use tenantry_tenancy::tenant::{TenantId, Tier};

use crate::tree::RepoPath;

pub const APPLICATION_PLANE: &str = "application-plane/production";

/// The file that lists the resources of a folder.
pub const KUSTOMIZATION: &str = "kustomization.yaml";

/// The other names of that file; kustomize refuses a folder with two of the three.
pub const OTHER_KUSTOMIZATIONS: [&str; 2] = ["kustomization.yml", "Kustomization"];

pub const OFFBOARDED: &str = "offboarded";

/// The placeholder for the tenant's id in a template. No tenant can have this id.
pub const PLACEHOLDER: &str = "tenant-template";

/// The namespace of the `HelmRelease` of every tenant and pool.
pub const NAMESPACE: &str = "flux-tenants";

/// The service account that reconciles them, with the rights of a tenant alone.
pub const SERVICE_ACCOUNT: &str = "tenant-reconciler";

/// The `HelmRepository` of the tenants' chart.
pub(crate) const CHART_SOURCE: &str = "tenantry-charts";

/// Namespaces that it may be in.
pub(crate) const SOURCES: [&str; 2] = [NAMESPACE, "flux-system"];

/// The ConfigMap with the values that all tenants of a cluster share.
pub(crate) const SHARED_VALUES: &str = "cluster-values";

pub const TENANT_LABEL: &str = "tenantry.dev/tenant";

pub const TIER_LABEL: &str = "tenantry.dev/tier";

/// Prefix of the labels that operators give a tenant.
pub const LABEL_PREFIX: &str = "label.tenantry.dev/";

/// The label without which admission refuses a tenant's namespace.
pub(crate) const POD_SECURITY_LABEL: &str = "pod-security.kubernetes.io/enforce";

/// The label with the version of that standard.
pub(crate) const POD_SECURITY_VERSION_LABEL: &str = "pod-security.kubernetes.io/enforce-version";

pub const HOLD_ANNOTATION: &str = "tenantry.dev/hold";

/// The annotation of a tombstone with the former tier.
pub const OFFBOARDED_ANNOTATION: &str = "tenantry.dev/offboarded-from";

/// The annotation of a tenant whose last move left its stored events and payments in the former tables, on purpose.
pub const LEAVE_DATA_ANNOTATION: &str = "tenantry.dev/leave-data";

/// Whether a path belongs to the tenants, the pools, the templates or the lists on the way to them.
pub(crate) fn is_ours(path: &RepoPath) -> bool {
    path.as_str()
        .strip_prefix(APPLICATION_PLANE)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

pub fn tenants() -> RepoPath {
    path(format_args!("tenants"))
}

pub fn tier_folder(tier: Tier) -> RepoPath {
    path(format_args!("tenants/{tier}"))
}

pub fn offboarded_folder() -> RepoPath {
    path(format_args!("tenants/{OFFBOARDED}"))
}

pub fn pools() -> RepoPath {
    path(format_args!("pooled-envs"))
}

pub fn templates() -> RepoPath {
    path(format_args!("tier-templates"))
}

pub fn template(tier: Tier) -> RepoPath {
    path(format_args!("tier-templates/{tier}_tenant_template.yaml"))
}

pub fn tenant(tier: Tier, tenant: &TenantId) -> RepoPath {
    path(format_args!("tenants/{tier}/{tenant}.yaml"))
}

pub fn tombstone(tenant: &TenantId) -> RepoPath {
    path(format_args!("tenants/{OFFBOARDED}/{tenant}.yaml"))
}

/// The tenant or pool whose file this is.
pub fn release_of(path: &RepoPath) -> Option<&str> {
    let is_release = path.is_in(&tenants()) || path.is_in(&pools());
    let stem = path.yaml_stem().filter(|_| is_release)?;
    (path.file_name() != KUSTOMIZATION).then_some(stem)
}

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
