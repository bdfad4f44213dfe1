//! A tenant's or pool's release as the repository says it.
//!
//! [`releases`] follows the kustomizations as Flux does: what is not listed is not there, and one broken file is an error,
//! so that whoever reconciles keeps the last good state.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::layout::{HOLD_ANNOTATION, NAMESPACE, OFFBOARDED_ANNOTATION, TIER_LABEL};
use crate::tenant_file::{TenantFile, is_release};
use crate::tree::{RepoPath, Tree, TreeError};
use crate::yaml::{Node, YamlError};
use crate::{chart, kustomization, layout};

/// Deepest chain of kustomizations that is followed.
const MAX_DEPTH: usize = 8;

/// One `HelmRelease` of a tenant or a pool.
#[derive(Debug, Clone, PartialEq)]
pub struct Release {
    /// The tenant's id or the pool's name.
    pub tenant: String,
    /// Where it is written.
    pub path: RepoPath,
    /// The tier by its label; `pool` for a pool. A tombstone keeps the tier the tenant was in.
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
    /// The values as they are written; [`Release::merged_values`] has the chart's defaults below them.
    pub values: Value,
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
pub fn releases(tree: &dyn Tree) -> Result<Vec<Release>, ReleaseError> {
    let mut found = BTreeMap::new();
    for root in [layout::pools(), layout::tenants()] {
        follow(tree, &root, MAX_DEPTH, &mut found)?;
    }
    Ok(found.into_values().collect())
}

/// Takes in what a folder's kustomization lists.
fn follow(
    tree: &dyn Tree,
    folder: &RepoPath,
    depth: usize,
    found: &mut BTreeMap<String, Release>,
) -> Result<(), ReleaseError> {
    let list = layout::kustomization(folder);
    let Some(text) = tree.read(&list)? else {
        return Err(broken(
            &list,
            1,
            "this file is missing; it lists what the folder has",
        ));
    };
    let entries = kustomization::entries(&text).map_err(|error| in_file(&list, error))?;
    let mut seen = BTreeSet::new();
    for (entry, line) in entries {
        let at_line = |message: &str| broken(&list, line, &format!("{entry}: {message}"));
        if depth == 0 {
            return Err(at_line("the kustomizations list each other"));
        }
        let path = folder
            .join(&entry)
            .map_err(|_| at_line("only files and folders below this one can be listed"))?;
        if !seen.insert(path.clone()) {
            return Err(at_line("listed twice; take one line out"));
        }
        let Some(text) = tree.read(&path)? else {
            if tree.read(&layout::kustomization(&path))?.is_none() {
                return Err(at_line(
                    "there is no such file or folder; take the line out or add the file",
                ));
            }
            follow(tree, &path, depth - 1, found)?;
            continue;
        };
        for release in in_text(&path, &text)? {
            if let Some(other) = found.get(&release.tenant) {
                let message = format!(
                    "{} has another HelmRelease in {}",
                    release.tenant, other.path
                );
                return Err(broken(&path, 1, &message));
            }
            found.insert(release.tenant.clone(), release);
        }
    }
    Ok(())
}

/// The releases of one file.
fn in_text(path: &RepoPath, text: &str) -> Result<Vec<Release>, ReleaseError> {
    let documents = crate::yaml::parse(text).map_err(|error| in_file(path, error))?;
    if !documents.iter().any(|document| is_release(&document.root)) {
        return Ok(Vec::new());
    }
    let file = TenantFile::of(documents).map_err(|error| in_file(path, error))?;
    Release::of(path, &file)
        .map(|release| vec![release])
        .map_err(|error| in_file(path, error))
}

impl Release {
    /// The release that a tenant's file says.
    pub(crate) fn of(path: &RepoPath, file: &TenantFile<'_>) -> Result<Self, YamlError> {
        let release = file.release();
        let text = |path: &[&str]| file.text(path).map(str::to_owned);
        let missing = |what: &str| {
            crate::tenant_file::wrong(release, &format!("{what} is missing or no text"))
        };
        let tenant = text(&["metadata", "name"]).ok_or_else(|| missing("metadata.name"))?;
        if file.text(&["metadata", "namespace"]) != Some(NAMESPACE) {
            return Err(missing(&format!(
                "metadata.namespace, which must be {NAMESPACE},"
            )));
        }
        let values = release.at(&["spec", "values"]);
        let said = values
            .and_then(|values| values.get("tenantId"))
            .and_then(Node::string);
        if said != Some(&tenant) {
            let message = format!("spec.values.tenantId must be {tenant}, as metadata.name is");
            return Err(crate::tenant_file::wrong(
                values.unwrap_or(release),
                &message,
            ));
        }
        let values = values.map(Node::to_json).unwrap_or_default();
        let merged = chart::merged(&values);
        let is = |path: &[&str]| {
            chart::at(&merged, path)
                .and_then(Value::as_bool)
                .unwrap_or(false)
        };
        let retain = chart::at(&merged, &["infra", "retain"]).and_then(Value::as_array);
        Ok(Self {
            tier: text(&["metadata", "labels", TIER_LABEL]).ok_or_else(|| missing(TIER_LABEL))?,
            version: file.version()?.to_owned(),
            suspended: is(&["suspended"]),
            delete_data: is(&["infra", "deleteData"]),
            hold: text(&["metadata", "annotations", HOLD_ANNOTATION]),
            offboarded_from: text(&["metadata", "annotations", OFFBOARDED_ANNOTATION]),
            apps: chart::map(merged.get("apps"))
                .map(|(app, said)| (app.clone(), placement(said)))
                .collect(),
            infra: is(&["infra", "enabled"]),
            retain: retain
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
                .map(str::to_owned)
                .collect(),
            path: path.clone(),
            tenant,
            values,
        })
    }

    /// Every value, merged over the chart's defaults as Helm does.
    pub fn merged_values(&self) -> Value {
        chart::merged(&self.values)
    }
}

/// Where the values of one app place it.
fn placement(app: &Value) -> AppPlacement {
    let is = |path: &[&str]| {
        chart::at(app, path)
            .and_then(Value::as_bool)
            .unwrap_or(false)
    };
    let env_id = app
        .get("envId")
        .and_then(Value::as_str)
        .filter(|pool| !pool.is_empty());
    AppPlacement {
        enabled: is(&["enabled"]),
        env_id: env_id.map(str::to_owned),
        route: is(&["ingress", "enabled"]),
    }
}

fn in_file(path: &RepoPath, error: YamlError) -> ReleaseError {
    broken(path, error.line, &error.message)
}

fn broken(path: &RepoPath, line: usize, message: &str) -> ReleaseError {
    ReleaseError::Broken {
        path: path.clone(),
        line,
        message: message.to_owned(),
    }
}
