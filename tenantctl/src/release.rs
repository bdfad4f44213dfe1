//! The release of a tenant or pool, as the repository states it.
//!
//! [`releases`] follows the kustomizations as Flux does: an unlisted file is ignored. One broken file is an error, so that a
//! reconciler keeps the last good state.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::Value;

use crate::layout::{
    HOLD_ANNOTATION, LEAVE_DATA_ANNOTATION, NAMESPACE, OFFBOARDED_ANNOTATION, TIER_LABEL,
};
use crate::shared::Shared;
use crate::tenant_file::{TenantFile, is_release};
use crate::tree::{RepoPath, Tree, TreeError};
use crate::yaml::{Node, YamlError};
use crate::{chart, kustomization, layout};

const MAX_DEPTH: usize = 8;

#[derive(Debug, Clone, PartialEq)]
pub struct Release {
    pub tenant: String,
    pub path: RepoPath,
    /// The tier by its label; `pool` for a pool. A tombstone keeps the former tier.
    pub tier: String,
    pub version: String,
    /// Whether the tenant has no routes, on purpose.
    pub suspended: bool,
    pub delete_data: bool,
    /// Which owner of its id the tenant is, as written; `None` for the first.
    pub generation: Option<String>,
    /// Reason why waves skip the release.
    pub hold: Option<String>,
    /// Whether the last move left stored events and payments in the former tables, on purpose.
    pub leave_data: bool,
    /// The former tier of a tombstone.
    pub offboarded_from: Option<String>,
    /// By app. Shared by releases with the same placements, such as all basic tenants of a pool.
    pub apps: Arc<BTreeMap<String, AppPlacement>>,
    /// Labels of the HelmRelease.
    pub labels: BTreeMap<String, String>,
    /// Whether Terraform makes the queue, table and parameters.
    pub infra: bool,
    /// Disabled apps whose infrastructure stays.
    pub retain: Vec<String>,
    /// The written values; [`Release::merged_values`] adds the chart's defaults.
    pub values: Value,
}

/// Placement of one app of a release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppPlacement {
    pub enabled: bool,
    /// The pool that serves the app if it is not enabled.
    pub env_id: Option<String>,
    /// Whether the app has a route.
    pub route: bool,
}

/// Reason why the releases cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReleaseError {
    #[error("{path}:{line}: {message}")]
    Broken {
        path: RepoPath,
        line: usize,
        message: String,
    },
    /// The repository cannot be read.
    #[error(transparent)]
    Tree(#[from] TreeError),
}

/// Returns every release that the kustomizations of the pools and the tenants reach, by tenant.
///
/// # Errors
/// The first problem, with its file and line.
pub fn releases(tree: &dyn Tree) -> Result<Vec<Release>, ReleaseError> {
    let mut found = BTreeMap::new();
    for root in [layout::pools(), layout::tenants()] {
        follow(tree, &root, MAX_DEPTH, &|release| release, &mut found)?;
    }
    Ok(found.into_values().collect())
}

/// As [`releases`], without values and with the operators' own labels alone: what the state of a tenant is made of. The rest is
/// most of a release's memory.
///
/// # Errors
/// As [`releases`].
pub fn release_states(tree: &dyn Tree) -> Result<Vec<Release>, ReleaseError> {
    let apps = RefCell::new(Shared::default());
    let without = |mut release: Release| {
        release.values = Value::Null;
        release.apps = apps.borrow_mut().share(release.apps);
        release
            .labels
            .retain(|name, _| name.starts_with(layout::LABEL_PREFIX));
        release
    };
    let mut found = BTreeMap::new();
    for root in [layout::pools(), layout::tenants()] {
        follow(tree, &root, MAX_DEPTH, &without, &mut found)?;
    }
    Ok(found.into_values().collect())
}

/// Collects the releases that a folder's kustomization lists.
fn follow(
    tree: &dyn Tree,
    folder: &RepoPath,
    depth: usize,
    keep: &dyn Fn(Release) -> Release,
    found: &mut BTreeMap<String, Release>,
) -> Result<(), ReleaseError> {
    let list = layout::kustomization(folder);
    let Some(text) = tree.read(&list)? else {
        return Err(broken(
            &list,
            1,
            "this file is missing; it must list the files of the folder",
        ));
    };
    let entries = kustomization::resources(&text).map_err(|error| in_file(&list, error))?;
    let mut seen = BTreeSet::new();
    for (entry, line) in entries {
        let at_line = |message: &str| broken(&list, line, &format!("{entry}: {message}"));
        if depth == 0 {
            return Err(at_line(
                "the kustomizations list each other; remove one of the lines",
            ));
        }
        let path = folder
            .resolve(&entry)
            .filter(|path| path.is_in(folder) && path != folder)
            .ok_or_else(|| at_line("only files and folders below this one can be listed"))?;
        if !seen.insert(path.clone()) {
            return Err(at_line("listed twice; remove one line"));
        }
        let Some(text) = tree.read(&path)? else {
            if tree.read(&layout::kustomization(&path))?.is_none() {
                return Err(at_line(
                    "there is no such file or folder; remove the line or add the file",
                ));
            }
            follow(tree, &path, depth - 1, keep, found)?;
            continue;
        };
        for release in in_text(&path, &text)? {
            if let Some(other) = found.get(&release.tenant) {
                let message = format!(
                    "{} has another HelmRelease in {}; remove one of the two",
                    release.tenant, other.path
                );
                return Err(broken(&path, 1, &message));
            }
            found.insert(release.tenant.clone(), keep(release));
        }
    }
    Ok(())
}

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
    /// Reads the release of a tenant's file.
    pub(crate) fn of(path: &RepoPath, file: &TenantFile<'_>) -> Result<Self, YamlError> {
        let release = file.release();
        let text = |path: &[&str]| file.text(path).map(str::to_owned);
        let missing = |what: &str| YamlError::at(release, format!("{what} is missing or not text"));
        let tenant = text(&["metadata", "name"]).ok_or_else(|| missing("metadata.name"))?;
        if file.text(&["metadata", "namespace"]) != Some(NAMESPACE) {
            return Err(missing(&format!(
                "metadata.namespace, which must be {NAMESPACE},"
            )));
        }
        let values = release.at(&["spec", "values"]);
        let stated = values
            .and_then(|values| values.get("tenantId"))
            .and_then(Node::string);
        if stated != Some(&tenant) {
            let message = format!("spec.values.tenantId must be {tenant}, as metadata.name is");
            return Err(YamlError::at(values.unwrap_or(release), message));
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
            generation: chart::at(&merged, &["infra", "vars", "generation"]).map(|value| {
                value
                    .as_str()
                    .map_or_else(|| value.to_string(), str::to_owned)
            }),
            hold: text(&["metadata", "annotations", HOLD_ANNOTATION]),
            leave_data: text(&["metadata", "annotations", LEAVE_DATA_ANNOTATION]).as_deref()
                == Some("true"),
            offboarded_from: text(&["metadata", "annotations", OFFBOARDED_ANNOTATION]),
            apps: Arc::new(
                chart::map(merged.get("apps"))
                    .map(|(app, values)| (app.clone(), placement(values)))
                    .collect(),
            ),
            labels: chart::map(
                release
                    .at(&["metadata", "labels"])
                    .map(Node::to_json)
                    .as_ref(),
            )
            .filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())))
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

    /// Returns the values, merged over the chart's defaults.
    pub fn merged_values(&self) -> Value {
        chart::merged(&self.values)
    }
}

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
