//! The files of a repository, and what each is by its place.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};

use tenantry_tenancy::tenant::{TenantId, Tier};

use super::Finding;
use super::facts::Facts;
use crate::layout::{self, KUSTOMIZATION, PLACEHOLDER};
use crate::tree::{EntryKind, RepoPath, Tree};

/// Deepest folder that is looked into.
const MAX_DEPTH: usize = 16;

/// Most threads that read files.
const MAX_THREADS: usize = 8;

/// What there is, before anything is read.
pub(super) struct Files {
    /// Every file, with what it is.
    pub(super) roles: BTreeMap<RepoPath, Role>,
    /// Every folder.
    pub(super) folders: BTreeSet<RepoPath>,
}

/// What a file is by its place.
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
    /// A folder's list.
    List,
    /// YAML of which only the general rules are known.
    Yaml,
    /// No YAML.
    Other,
}

/// Everything below the root; what cannot be there is a finding.
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
                findings.push(Finding::file(
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
                        findings.push(Finding::file(&entry.path, "layout", message, fix))
                    }
                },
                EntryKind::Folder => {
                    findings.push(Finding::file(
                        &entry.path,
                        "layout",
                        "nested too deeply",
                        "move it up",
                    ));
                }
                EntryKind::Other => findings.push(Finding::file(
                    &entry.path,
                    "layout",
                    "a symbolic link or submodule: what it means depends on where it is read",
                    "put the file itself here",
                )),
            }
        }
    }
    findings.extend(missing(&files));
    (files, findings)
}

/// What every repository has: without it, a look into the wrong folder would find nothing wrong.
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
        .map(|path| Finding::file(&path, "layout", "this file is missing", fix))
        .collect()
}

/// Reads and judges every file by itself.
pub(super) fn read_all(tree: &dyn Tree, files: &Files) -> Vec<Facts> {
    let all: Vec<(&RepoPath, &Role)> = files
        .roles
        .iter()
        .filter(|(_, role)| **role != Role::Other)
        .collect();
    let next = AtomicUsize::new(0);
    let work = || {
        let mut done = Vec::new();
        while let Some((path, role)) = all.get(next.fetch_add(1, Ordering::Relaxed)) {
            done.push(Facts::of(tree, path, role));
        }
        done
    };
    let threads =
        std::thread::available_parallelism().map_or(1, |threads| threads.get().min(MAX_THREADS));
    let mut facts: Vec<Facts> = if threads == 1 || all.len() < 2 * threads {
        work()
    } else {
        std::thread::scope(|scope| {
            let running: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
            running
                .into_iter()
                .flat_map(|thread| thread.join().expect("judging a file does not panic"))
                .collect()
        })
    };
    facts.sort_by(|a, b| a.path.cmp(&b.path));
    facts
}

/// What a file is by its path, or why it cannot be there, and what to do.
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
            "no tenant's file".to_owned(),
            "give it a name that ends in .yaml, or take it out".to_owned(),
        ));
    };
    if folder == layout::templates() {
        let tier = Tier::ALL
            .into_iter()
            .find(|tier| layout::template(*tier) == *path);
        let wanted = "name it <tier>_tenant_template.yaml, with basic, advanced or premium as tier";
        return tier
            .map(|tier| Role::Template { tier })
            .ok_or_else(|| ("no tier's template".into(), wanted.into()));
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
            Err(("no pool".into(), wanted.into()))
        };
    }
    if !is_ours {
        let message = "no folder of a tier".to_owned();
        return Err((
            message,
            "put tenants into basic, advanced or premium, or take the file out".to_owned(),
        ));
    }
    let id: TenantId = stem.parse().map_err(|rule| {
        (
            format!("{stem} is no tenant id: {rule}"),
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
