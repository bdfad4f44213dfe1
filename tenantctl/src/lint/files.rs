//! The files of a repository, and the role that each has by its path.

use std::collections::{BTreeMap, BTreeSet};

use shared::tenant::{TenantId, Tier};

use super::finding::Finding;
use crate::layout::{self, KUSTOMIZATION, PLACEHOLDER};
use crate::tree::{EntryKind, RepoPath, Tree};

/// Depth of the deepest folder that lint reads.
const MAX_DEPTH: usize = 16;

/// The files and folders of a repository.
pub(super) struct Files {
    pub(super) roles: BTreeMap<RepoPath, Role>,
    pub(super) folders: BTreeSet<RepoPath>,
}

/// The role of a file, by its path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Role {
    Tenant {
        id: TenantId,
        tier: Tier,
    },
    Tombstone {
        id: TenantId,
    },
    Pool {
        name: String,
    },
    Template {
        tier: Tier,
    },
    /// A `kustomization.yaml`.
    List,
    /// YAML that only the general rules apply to.
    Yaml,
    /// Not YAML.
    Other,
}

/// Finds all files and folders; a misplaced one is a finding.
pub(super) fn walk(tree: &dyn Tree) -> (Files, Vec<Finding>) {
    let mut files = Files {
        roles: BTreeMap::new(),
        folders: BTreeSet::new(),
    };
    let mut findings = Vec::new();
    let mut open = vec![(RepoPath::root(), 0)];
    while let Some((folder, depth)) = open.pop() {
        let entries = match tree.list(&folder) {
            Ok(entries) => entries,
            Err(error) => {
                findings.push(Finding::of_file(
                    &folder,
                    "unreadable",
                    error.to_string(),
                    "make the folder readable",
                ));
                continue;
            }
        };
        for entry in entries {
            match entry.kind {
                EntryKind::Folder if depth < MAX_DEPTH => {
                    files.folders.insert(entry.path.clone());
                    open.push((entry.path, depth + 1));
                }
                EntryKind::File => match role(&entry.path) {
                    Ok(role) => drop(files.roles.insert(entry.path, role)),
                    Err((message, fix)) => {
                        findings.push(Finding::of_file(&entry.path, "layout", message, fix))
                    }
                },
                EntryKind::Folder => {
                    findings.push(Finding::of_file(
                        &entry.path,
                        "layout",
                        "the folder is nested too deeply",
                        "move it further up",
                    ));
                }
                EntryKind::Other => findings.push(Finding::of_file(
                    &entry.path,
                    "layout",
                    "a symbolic link or submodule: its content depends on where it is read",
                    "replace it with the file itself",
                )),
            }
        }
    }
    findings.extend(missing(&files));
    (files, findings)
}

/// Reports files that every repository has: without this check, lint of a wrong folder would find nothing.
fn missing(files: &Files) -> Vec<Finding> {
    let lists = [
        layout::tenants(),
        layout::pools(),
        layout::offboarded_folder(),
    ]
    .into_iter()
    .chain(Tier::ALL.map(layout::tier_folder))
    .map(|folder| layout::kustomization(&folder));
    let needed = lists.chain(Tier::ALL.map(layout::template));
    let absent = needed.filter(|path| !files.roles.contains_key(path));
    let fix = "run this at the root of the GitOps repository; if this is the root, add the file";
    absent
        .map(|path| Finding::of_file(&path, "layout", "this file is missing", fix))
        .collect()
}

/// Returns the role of a file by its path, or the problem and its fix.
fn role(path: &RepoPath) -> Result<Role, (String, String)> {
    let name = path.file_name();
    let is_yaml = path.yaml_stem().is_some();
    let folder = path.parent().unwrap_or_else(RepoPath::root);
    let tier = Tier::ALL
        .into_iter()
        .find(|tier| layout::tier_folder(*tier) == folder);
    let is_tombstone = folder == layout::offboarded_folder();
    let is_ours = tier.is_some()
        || is_tombstone
        || folder == layout::pools()
        || folder == layout::templates();
    let is_below_tenants = path
        .as_str()
        .starts_with(&format!("{}/", layout::tenants().as_str()));
    if !is_ours && !is_below_tenants {
        return Ok(match (is_yaml, name) {
            (_, KUSTOMIZATION) => Role::List,
            (true, _) => Role::Yaml,
            (false, _) => Role::Other,
        });
    }
    if name == KUSTOMIZATION {
        return Ok(Role::List);
    }
    if matches!(path.as_str().rsplit_once('.'), Some((_, "md"))) || name.starts_with('.') {
        return Ok(Role::Other);
    }
    let Some(stem) = name.strip_suffix(".yaml") else {
        return Err((
            "not a tenant's file".to_owned(),
            "give it a name that ends in .yaml, or remove it".to_owned(),
        ));
    };
    if folder == layout::templates() {
        let tier = Tier::ALL
            .into_iter()
            .find(|tier| layout::template(*tier) == *path);
        let wanted = "name it <tier>_tenant_template.yaml; the tier is basic, advanced or premium";
        return tier
            .map(|tier| Role::Template { tier })
            .ok_or_else(|| ("not the template of a tier".into(), wanted.into()));
    }
    if folder == layout::pools() {
        let is_pool = stem
            .strip_prefix("pool-")
            .is_some_and(|rest| format!("p{rest}").parse::<TenantId>().is_ok());
        let wanted = "name it after a pool: pool-1.yaml";
        return if is_pool {
            Ok(Role::Pool {
                name: stem.to_owned(),
            })
        } else {
            Err(("not a pool".into(), wanted.into()))
        };
    }
    if !is_ours {
        let message = "not in the folder of a tier".to_owned();
        return Err((
            message,
            "move the tenant to basic, advanced or premium, or remove the file".to_owned(),
        ));
    }
    let id: TenantId = stem.parse().map_err(|rule| {
        (
            format!("{stem} is not a tenant id: {rule}"),
            "name the file after its tenant".to_owned(),
        )
    })?;
    if id.as_str() == PLACEHOLDER {
        return Err((
            format!("{stem} is the templates' placeholder"),
            "name the file after its tenant".to_owned(),
        ));
    }
    Ok(tier.map_or_else(
        || Role::Tombstone { id: id.clone() },
        |tier| Role::Tenant {
            id: id.clone(),
            tier,
        },
    ))
}
