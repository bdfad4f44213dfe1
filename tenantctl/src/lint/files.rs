//! The files of a repository, and the role that each has by its path.

use std::collections::{BTreeMap, BTreeSet};

use tenantry_tenancy::tenant::{TenantId, Tier};

use super::finding::Finding;
use crate::layout::{self, KUSTOMIZATION, PLACEHOLDER};
use crate::tree::{EntryKind, RepoPath, Tree};

/// Depth of the deepest folder that lint reads.
const MAX_DEPTH: usize = 16;

/// The files and folders of a repository.
pub(super) struct Files {
    pub(super) roles: BTreeMap<RepoPath, Role>,
    pub(super) folders: BTreeSet<RepoPath>,
    /// Symbolic links, submodules and folders too deep to read, outside the application plane: their content is unknown.
    pub(super) unknown: BTreeSet<RepoPath>,
}

impl Files {
    /// Whether something of this path exists; also if its content is unknown.
    pub(super) fn has(&self, path: &RepoPath) -> bool {
        self.roles.contains_key(path) || self.folders.contains(path) || self.is_unknown(path)
    }

    pub(super) fn is_unknown(&self, path: &RepoPath) -> bool {
        self.unknown.iter().any(|unknown| path.is_in(unknown))
    }
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
    /// A `kustomization.yaml`, or another name of it.
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
        unknown: BTreeSet::new(),
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
                        findings.push(Finding::of_file(&entry.path, "layout", message, fix));
                    }
                },
                EntryKind::Folder | EntryKind::Other if !layout::is_ours(&entry.path) => {
                    files.unknown.insert(entry.path);
                }
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
pub(super) fn role(path: &RepoPath) -> Result<Role, (String, String)> {
    let folder = path.parent().unwrap_or_else(RepoPath::root);
    let tier = Tier::ALL
        .into_iter()
        .find(|tier| layout::tier_folder(*tier) == folder);
    let is_known_folder = tier.is_some()
        || [
            layout::offboarded_folder(),
            layout::pools(),
            layout::templates(),
        ]
        .contains(&folder);
    let is_below_tenants = path
        .as_str()
        .starts_with(&format!("{}/", layout::tenants().as_str()));
    let (name, is_yaml) = (path.file_name(), path.yaml_stem().is_some());
    if name == KUSTOMIZATION {
        return Ok(Role::List);
    }
    if layout::OTHER_KUSTOMIZATIONS.contains(&name) {
        return if layout::is_ours(path) {
            let fix = format!("rename it to {KUSTOMIZATION}, the one name that tenantctl edits");
            Err((
                "another name of kustomize for the list of a folder".to_owned(),
                fix,
            ))
        } else {
            Ok(Role::List)
        };
    }
    if !is_known_folder && !is_below_tenants {
        return Ok(if is_yaml { Role::Yaml } else { Role::Other });
    }
    if name.ends_with(".md") || name.starts_with('.') {
        return Ok(Role::Other);
    }
    let problem = |message: &str, fix: &str| Err((message.to_owned(), fix.to_owned()));
    let Some(stem) = name.strip_suffix(".yaml") else {
        let fix = "give it a name that ends in .yaml, or remove it";
        return problem("not a tenant's file", fix);
    };
    if folder == layout::templates() {
        let fix = "name it <tier>_tenant_template.yaml; the tier is basic, advanced or premium";
        let tier = Tier::ALL
            .into_iter()
            .find(|tier| layout::template(*tier) == *path);
        return tier.map_or_else(
            || problem("not the template of a tier", fix),
            |tier| Ok(Role::Template { tier }),
        );
    }
    if folder == layout::pools() {
        let number = stem.strip_prefix("pool-");
        let is_pool = number.is_some_and(|rest| format!("p{rest}").parse::<TenantId>().is_ok());
        return if is_pool {
            Ok(Role::Pool {
                name: stem.to_owned(),
            })
        } else {
            problem("not a pool", "name it after a pool: pool-1.yaml")
        };
    }
    if !is_known_folder {
        let fix = "move the tenant to basic, advanced or premium, or remove the file";
        return problem("not in the folder of a tier", fix);
    }
    let fix = "name the file after its tenant";
    match stem.parse::<TenantId>() {
        Err(rule) => problem(&format!("{stem} is not a tenant id: {rule}"), fix),
        Ok(id) if id.as_str() == PLACEHOLDER => {
            problem(&format!("{stem} is the templates' placeholder"), fix)
        }
        Ok(id) => Ok(match tier {
            Some(tier) => Role::Tenant { id, tier },
            None => Role::Tombstone { id },
        }),
    }
}
