//! Takes back what the cluster refuses.
//!
//! Of an object: a changed file with the object gets the text that is applied, or is removed. Changed files with an error of
//! their own go with it: the cluster would refuse them next. Of a build: see [`take_back_build`].

use std::collections::{BTreeMap, BTreeSet};

use super::edits::Edits;
use super::effect::Plan;
use super::error::PlanError;
use crate::kustomization;
use crate::layout::{self, KUSTOMIZATION};
use crate::lint::{self, Finding};
use crate::status::RefusedObject;
use crate::tree::{MemoryTree, RepoPath, Tree};
use crate::yaml::kustomize::objects;

/// Returns the edits, of the files of tenants that have changed since the applied commit; none if none of them has the object.
///
/// # Errors
/// [`PlanError`]: a list of tenants cannot be edited.
pub fn take_back(
    tree: &dyn Tree,
    applied: &dyn Tree,
    changed: &[RepoPath],
    refused: &RefusedObject,
) -> Result<Plan, PlanError> {
    let mut files = Vec::new();
    for path in changed {
        let is_tenants = path.is_in(&layout::tenants()) && layout::release_of(path).is_some();
        let (now, then) = (tree.read(path)?, applied.read(path)?);
        if is_tenants && now != then {
            files.push((path, now, then));
        }
    }
    let has = |text: &Option<String>| text.as_deref().is_some_and(|text| defines(text, refused));
    let mut edits = Edits::new(tree);
    if files.iter().any(|(_, now, _)| has(now)) {
        for (path, now, then) in files {
            let errors = |text: &Option<String>| {
                let text = text.as_deref();
                text.map_or(0, |text| lint::errors_of_file(path, text).len())
            };
            if has(&now) || has(&then) || errors(&now) > errors(&then) {
                restore(&mut edits, path, now, then)?;
            }
        }
    }
    Ok(Plan {
        edits: edits.finish()?,
        subject: format!("Take back {}: the cluster refuses it", refused.name),
        effects: Vec::new(),
    })
}

fn restore(
    edits: &mut Edits<'_>,
    path: &RepoPath,
    now: Option<String>,
    then: Option<String>,
) -> Result<(), PlanError> {
    match (now, then) {
        (now, Some(then)) => {
            edits.write(path.clone(), now, then);
            edits.list(path)
        }
        (Some(now), None) => {
            edits.delete(path.clone(), now);
            edits.unlist(path)
        }
        (None, None) => Ok(()),
    }
}

/// Whether one of the text's objects is the refused one.
fn defines(text: &str, refused: &RefusedObject) -> bool {
    let documents = objects(text).unwrap_or_default();
    documents.iter().any(|object| {
        let text = |path: &[&str]| {
            let found = object.at(path).and_then(|node| node.text());
            found.unwrap_or_default().to_owned()
        };
        text(&["kind"]) == refused.kind
            && text(&["metadata", "name"]) == refused.name
            && text(&["metadata", "namespace"]) == refused.namespace
    })
}

/// Text that stands for a file that is no text: lint refuses it, too.
const UNREADABLE: &str = "\0";

/// The former texts of a file, newest first, down to the applied one; `None` where the file did not exist.
pub(crate) type Former<'a> = &'a dyn Fn(&RepoPath) -> Vec<Option<String>>;

/// Returns the edits after which kustomize can build the files and lists of tenants again; none if no changed file is the reason.
///
/// A changed file in which lint finds an error that the applied commit does not have goes back, version by version, until lint
/// finds none. What others have committed since stays: a list that goes back gets the entries of their files again.
///
/// # Errors
/// [`PlanError`]: the applied tree cannot be read.
pub fn take_back_build(
    tree: &dyn Tree,
    applied: &dyn Tree,
    changed: &[RepoPath],
    former: Former<'_>,
) -> Result<Plan, PlanError> {
    let applied = MemoryTree::copy_of(applied, &RepoPath::root())?;
    let known = errors_of_tenants(&applied);
    let mut now = applied.clone();
    for path in changed {
        match tree.read(path) {
            Ok(Some(text)) => now.insert(path.clone(), text),
            Ok(None) => drop(now.remove(path)),
            Err(_) => now.insert(path.clone(), UNREADABLE),
        }
    }
    let head = now.clone();
    let mut back = Back {
        now,
        applied,
        changed: changed.iter().collect(),
        left: BTreeMap::new(),
        former,
    };
    loop {
        let is_new = |finding: &Finding| !known.contains(&key(finding));
        let mut found = lint_tenants(&back.now);
        found.retain(|finding| is_new(finding) && back.stops_the_build(finding));
        if found.is_empty() {
            break;
        }
        let paths: BTreeSet<(RepoPath, bool)> = found
            .into_iter()
            .map(|finding| (finding.path, finding.rule == "unlisted"))
            .collect();
        let mut has_changed = false;
        for (path, is_unlisted) in paths {
            has_changed |= if is_unlisted {
                back.list(&path)
            } else {
                back.step(&path)
            };
        }
        if !has_changed {
            // The reason is in no changed file: a person has to look.
            back.now = head.clone();
            break;
        }
    }
    let mut edits = Edits::new(tree);
    for path in changed {
        let before = head.read(path)?;
        match (before, back.now.read(path)?) {
            (before, Some(after)) => edits.write(path.clone(), before, after),
            (Some(before), None) => edits.delete(path.clone(), before),
            (None, None) => {}
        }
    }
    Ok(Plan {
        edits: edits.finish()?,
        subject: "Take back files of tenants: kustomize cannot build them".to_owned(),
        effects: Vec::new(),
    })
}

/// Files that go back.
struct Back<'a> {
    now: MemoryTree,
    applied: MemoryTree,
    changed: BTreeSet<&'a RepoPath>,
    /// Former texts that are left, by file; a file is here once it has gone back.
    left: BTreeMap<RepoPath, std::vec::IntoIter<Option<String>>>,
    former: Former<'a>,
}

impl Back<'_> {
    /// Whether a finding can be the reason. Kustomize ignores a file that no list names, so such a file is only a reason to list
    /// it again after its list has gone back.
    fn stops_the_build(&self, finding: &Finding) -> bool {
        finding.rule != "unlisted"
            || list_of(&finding.path).is_some_and(|list| self.left.contains_key(&list))
    }

    /// Takes back one version of what is wrong with a file or a list. Returns whether something changed.
    fn step(&mut self, path: &RepoPath) -> bool {
        if path.file_name() == KUSTOMIZATION {
            // A file that was removed and is still listed comes back, so that no tenant is uninstalled.
            let gone = self.removed_and_listed(path);
            if !gone.is_empty() {
                return self.each(&gone);
            }
            return self.one(path);
        }
        // Two files of one tenant: the finding is about one of them.
        let twins = |other: &&&RepoPath| {
            other.yaml_stem() == path.yaml_stem() && other.is_in(&layout::tenants())
        };
        let twins: Vec<RepoPath> = self
            .changed
            .iter()
            .filter(twins)
            .map(|it| (*it).clone())
            .collect();
        self.each(&twins)
    }

    /// Takes back one version of each file. Returns whether something changed.
    fn each(&mut self, paths: &[RepoPath]) -> bool {
        let mut has_changed = false;
        for path in paths {
            has_changed |= self.one(path);
        }
        has_changed
    }

    /// Gives a changed file its former text. A file that never was there leaves its list; one that the cluster has stays.
    fn one(&mut self, path: &RepoPath) -> bool {
        let text = |tree: &MemoryTree| tree.read(path).ok().flatten();
        let applied = text(&self.applied);
        if !self.changed.contains(path) || text(&self.now) == applied {
            return false;
        }
        let former = self.former;
        let left = self
            .left
            .entry(path.clone())
            .or_insert_with(|| former(path).into_iter());
        match left.find(|text| text.is_some() || applied.is_none()) {
            None => return false,
            Some(Some(text)) => {
                self.now.insert(path.clone(), text);
                self.list(path);
            }
            Some(None) => {
                self.now.remove(path);
                self.change_list(path, kustomization::remove);
            }
        }
        true
    }

    /// Lists a file in its folder.
    fn list(&mut self, path: &RepoPath) -> bool {
        self.change_list(path, kustomization::add)
    }

    fn change_list(
        &mut self,
        path: &RepoPath,
        change: impl Fn(&str, &RepoPath) -> Result<String, crate::yaml::YamlError>,
    ) -> bool {
        let Some(list) = list_of(path).filter(|_| layout::release_of(path).is_some()) else {
            return false;
        };
        let Ok(Some(before)) = self.now.read(&list) else {
            return false;
        };
        // A list that cannot be read is a finding itself.
        let Some(after) = change(&before, path).ok().filter(|after| *after != before) else {
            return false;
        };
        self.now.insert(list, after);
        true
    }

    /// The changed files that a list names and that are gone.
    fn removed_and_listed(&self, list: &RepoPath) -> Vec<RepoPath> {
        let text = self.now.read(list).ok().flatten().unwrap_or_default();
        let folder = list.parent().unwrap_or_else(RepoPath::root);
        let entries = kustomization::resources(&text).unwrap_or_default();
        let named = entries
            .iter()
            .filter_map(|(entry, _)| folder.resolve(entry));
        let is_gone = |path: &RepoPath| {
            let existed = || (self.former)(path).iter().any(Option::is_some);
            self.changed.contains(path) && matches!(self.now.read(path), Ok(None)) && existed()
        };
        named.filter(is_gone).collect()
    }
}

fn list_of(path: &RepoPath) -> Option<RepoPath> {
    path.parent().map(|folder| layout::kustomization(&folder))
}

fn lint_tenants(tree: &MemoryTree) -> Vec<Finding> {
    let mut found = lint::lint(tree);
    found.retain(|finding| finding.is_error() && finding.path.is_in(&layout::tenants()));
    found
}

fn errors_of_tenants(tree: &MemoryTree) -> BTreeSet<(RepoPath, String)> {
    lint_tenants(tree).iter().map(key).collect()
}

fn key(finding: &Finding) -> (RepoPath, String) {
    (finding.path.clone(), finding.message.clone())
}
