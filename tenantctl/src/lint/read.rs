//! Reads and checks each file alone. The lists come first, so that the place of every other file in the lists is known.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};

use super::facts::{Facts, Object};
use super::files::{Files, Role};
use super::finding::{Finding, Findings};
use super::lists::{self, List};
use super::{floating, manifests, references, shape, tenants};
use crate::layout;
use crate::tree::{RepoPath, Tree};
use crate::yaml::{Node, parse, writable};

const MAX_THREADS: usize = 8;

/// Place of a file in the lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// A list names it as a resource.
    Listed,
    /// Its folder has no list, and no list names the file.
    Free,
    /// A list reads the file for another purpose, or leaves it out.
    Beside,
}

/// Reads every list, by folder.
pub(super) fn read_lists(
    tree: &dyn Tree,
    files: &Files,
) -> (BTreeMap<RepoPath, List>, Vec<Finding>) {
    let mut lists = BTreeMap::new();
    let mut found = Vec::new();
    for path in files
        .roles
        .iter()
        .filter_map(|(path, role)| (*role == Role::List).then_some(path))
    {
        let mut findings = Findings::new(path.clone());
        if let Some(text) = text_of(tree, path, &mut findings)
            && let Some(list) = lists::read(&mut findings, path, &text)
            && let Some(other) = lists.insert(list.folder.clone(), list)
        {
            let message = format!(
                "{} is a list of this folder, too; kustomize refuses both",
                other.path
            );
            findings.add_for_file("list", message, "keep one of the two");
        }
        found.extend(findings.into_vec());
    }
    (lists, found)
}

/// Reads every other file; returns the facts by path, and the findings of the files alone.
pub(super) fn read_all(
    tree: &dyn Tree,
    files: &Files,
    lists: &BTreeMap<RepoPath, List>,
) -> (Vec<Facts>, Vec<Finding>) {
    let listed: BTreeSet<RepoPath> = lists.values().flat_map(List::targets).collect();
    let inputs: BTreeSet<RepoPath> = lists.values().flat_map(List::inputs).collect();
    let place = |path: &RepoPath| {
        let has_list = path
            .parent()
            .is_some_and(|folder| lists.contains_key(&folder));
        if listed.contains(path) {
            Place::Listed
        } else if has_list || inputs.contains(path) {
            Place::Beside
        } else {
            Place::Free
        }
    };
    let all: Vec<(&RepoPath, &Role, Place)> = files
        .roles
        .iter()
        .map(|(path, role)| (path, role, place(path)))
        .filter(|(_, role, place)| {
            // Kustomize reads what is listed as a resource, whatever its name.
            !matches!(role, Role::List | Role::Other) || *place == Place::Listed
        })
        .collect();
    let next = AtomicUsize::new(0);
    let work = || {
        let mut done = Vec::new();
        while let Some((path, role, place)) = all.get(next.fetch_add(1, Ordering::Relaxed)) {
            done.push(read(tree, path, role, *place));
        }
        done
    };
    let threads =
        std::thread::available_parallelism().map_or(1, |threads| threads.get().min(MAX_THREADS));
    let mut done = if threads == 1 || all.len() < 2 * threads {
        work()
    } else {
        std::thread::scope(|scope| {
            let running: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
            running
                .into_iter()
                .flat_map(|thread| thread.join().expect("checking a file does not panic"))
                .collect()
        })
    };
    done.sort_by(|(a, _), (b, _)| a.path.cmp(&b.path));
    let (facts, findings): (Vec<_>, Vec<_>) = done.into_iter().unzip();
    (
        facts,
        findings.into_iter().flat_map(Findings::into_vec).collect(),
    )
}

fn read(tree: &dyn Tree, path: &RepoPath, role: &Role, place: Place) -> (Facts, Findings) {
    let tenant = match role {
        Role::Tenant { id, .. } | Role::Tombstone { id } => Some(id.clone()),
        _ => None,
    };
    let (mut facts, mut findings) = (
        Facts::new(path.clone(), tenant),
        Findings::new(path.clone()),
    );
    if layout::is_ours(path) {
        if let Some(text) = text_of(tree, path, &mut findings) {
            check_ours(&mut facts, &mut findings, &text, role);
        }
    } else if place != Place::Beside {
        let mut unreadable = Findings::new(path.clone());
        if let Some(text) = text_of(tree, path, &mut unreadable) {
            check_other(&mut facts, &mut findings, &text, place);
        } else if place == Place::Listed {
            findings.extend(unreadable);
        }
    }
    (facts, findings)
}

/// Checks one file of ours alone.
pub(super) fn check_text(path: &RepoPath, role: &Role, text: &str) -> Vec<Finding> {
    let mut findings = Findings::new(path.clone());
    if *role == Role::List {
        if let Some(list) = lists::read(&mut findings, path, text) {
            findings.extend(lists::repeated(&list));
        }
    } else {
        check_ours(
            &mut Facts::new(path.clone(), None),
            &mut findings,
            text,
            role,
        );
    }
    findings.into_vec()
}

/// Returns the text of a file, or adds a finding.
fn text_of(tree: &dyn Tree, path: &RepoPath, findings: &mut Findings) -> Option<String> {
    match tree.read(path) {
        Ok(Some(text)) => return Some(text),
        Ok(None) => {
            let message = "the file disappeared while lint read it";
            findings.add_for_file("unreadable", message, "run lint again");
        }
        Err(error) => {
            findings.add_for_file("unreadable", error.to_string(), "put a text file here");
        }
    }
    None
}

/// Checks a file of the application plane: plain YAML that kustomize reads likewise, and what it states.
fn check_ours(facts: &mut Facts, findings: &mut Findings, text: &str, role: &Role) {
    let documents = match parse(text) {
        Ok(documents) => documents,
        Err(error) => {
            let fix = "correct it; a broken file stops Flux for everything in its folder";
            facts.manifests = Err(error.clone());
            return findings.add("yaml", &error, error.message.clone(), fix);
        }
    };
    facts.manifests = objects(text).map(|found| found.into_iter().map(|(it, _)| it).collect());
    if let Err(error) = &facts.manifests {
        let fix = "correct it; kustomize refuses it, and with it every tenant";
        findings.add("yaml", error, error.message.clone(), fix);
    }
    for document in &documents {
        take_object(facts, &document.root);
        shape::check(findings, &document.root);
    }
    match role {
        Role::Tenant { .. }
        | Role::Tombstone { .. }
        | Role::Pool { .. }
        | Role::Template { .. } => tenants::check(facts, findings, role, documents),
        Role::List | Role::Yaml | Role::Other => {
            for document in &documents {
                floating::check(facts, findings, &document.root);
            }
        }
    }
}

/// Checks a file that is not ours: whether kustomize builds it. The rest is advice.
fn check_other(facts: &mut Facts, findings: &mut Findings, text: &str, place: Place) {
    let objects = match objects(text) {
        Ok(objects) => objects,
        Err(error) => {
            if place == Place::Listed {
                let fix = "correct it, or take it from the list; kustomize builds nothing with it";
                findings.add("yaml", &error, error.message.clone(), fix);
            }
            facts.manifests = Err(error);
            return;
        }
    };
    let mut advice = Findings::new(facts.path.clone());
    for (_, root) in &objects {
        take_object(facts, root);
        shape::check(&mut advice, root);
        floating::check(facts, &mut advice, root);
    }
    findings.extend(advice.into_warnings());
    facts.manifests = Ok(objects.into_iter().map(|(manifest, _)| manifest).collect());
}

/// Reads the objects of a file that kustomize can read and write.
fn objects(
    text: &str,
) -> Result<Vec<(manifests::Manifest, Node<'static>)>, crate::yaml::YamlError> {
    let objects = manifests::read(text)?;
    for (_, root) in &objects {
        writable::unwritable(root)?;
    }
    Ok(objects)
}

fn take_object(facts: &mut Facts, root: &Node<'_>) {
    let text = |path: &[&str]| root.at(path).and_then(Node::text).map(str::to_owned);
    let (Some(api), Some(kind), Some(name)) = (
        text(&["apiVersion"]),
        text(&["kind"]),
        text(&["metadata", "name"]),
    ) else {
        return;
    };
    // Kustomize's own kind of this name is a list, not an object.
    if api.starts_with("kustomize.config.k8s.io/") {
        return;
    }
    let object = Object {
        kind,
        namespace: text(&["metadata", "namespace"]),
        name,
    };
    references::gather(facts, root, &object);
    facts.objects.push(object);
}
