//! Reading and checking each file alone.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::facts::{Facts, Object};
use super::files::{Files, Role};
use super::finding::{Finding, Findings};
use super::{floating, lists, references, shape, tenants};
use crate::tree::{RepoPath, Tree};
use crate::yaml::{Document, Node, parse};

const MAX_THREADS: usize = 8;

/// Reads every file; returns the facts by path, and the findings of the files alone.
pub(super) fn read_all(tree: &dyn Tree, files: &Files) -> (Vec<Facts>, Vec<Finding>) {
    let all: Vec<(&RepoPath, &Role)> = files
        .roles
        .iter()
        .filter(|(_, role)| **role != Role::Other)
        .collect();
    let next = AtomicUsize::new(0);
    let work = || {
        let mut done = Vec::new();
        while let Some((path, role)) = all.get(next.fetch_add(1, Ordering::Relaxed)) {
            done.push(read(tree, path, role));
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

fn read(tree: &dyn Tree, path: &RepoPath, role: &Role) -> (Facts, Findings) {
    let tenant = match role {
        Role::Tenant { id, .. } | Role::Tombstone { id } => Some(id.clone()),
        _ => None,
    };
    let (mut facts, mut findings) = (
        Facts::new(path.clone(), tenant),
        Findings::new(path.clone()),
    );
    match tree.read(path) {
        Ok(Some(text)) => check(&mut facts, &mut findings, &text, role),
        Ok(None) => {
            let message = "the file disappeared while lint read it";
            findings.add_for_file("unreadable", message, "run lint again");
        }
        Err(error) => {
            findings.add_for_file("unreadable", error.to_string(), "put a text file here");
        }
    }
    (facts, findings)
}

fn check(facts: &mut Facts, findings: &mut Findings, text: &str, role: &Role) {
    let documents = match parse(text) {
        Ok(documents) => documents,
        Err(error) => {
            let fix = "correct it; a broken file stops Flux for everything in its folder";
            return findings.add("yaml", &error, error.message.clone(), fix);
        }
    };
    if *role == Role::List {
        facts.list = lists::read(findings, text, &documents);
        return;
    }
    for document in &documents {
        take_object(facts, document);
        shape::check(findings, &document.root);
    }
    match role {
        Role::Yaml => {
            for document in &documents {
                floating::check(facts, findings, &document.root);
            }
        }
        Role::Tenant { .. }
        | Role::Tombstone { .. }
        | Role::Pool { .. }
        | Role::Template { .. } => {
            tenants::check(facts, findings, role, documents);
        }
        Role::List | Role::Other => {}
    }
}

fn take_object(facts: &mut Facts, document: &Document<'_>) {
    let root = &document.root;
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
