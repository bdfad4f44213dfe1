//! The lists of folders: every `kustomization.yaml` names each file and folder that exists, once, and no other.
//!
//! In the application plane every file must be listed: Flux removes an unlisted tenant. Elsewhere the removal of a line
//! removes a component. There, a file in a commented-out line is unlisted on purpose.

use std::collections::{BTreeMap, BTreeSet};

use super::facts::{Facts, List};
use super::files::{Files, Role};
use super::finding::{Finding, Findings, Position};
use super::shape;
use crate::layout::{self, APPLICATION_PLANE, KUSTOMIZATION};
use crate::tree::RepoPath;
use crate::yaml::{Document, Node};

/// Keys with paths of files that the kustomization reads.
const READ_KEYS: [&str; 5] = [
    "configurations",
    "crds",
    "generators",
    "transformers",
    "validators",
];

pub(super) fn read(
    findings: &mut Findings,
    text: &str,
    documents: &[Document<'_>],
) -> Option<List> {
    let [document] = documents else {
        let message = format!("{} documents instead of one", documents.len());
        let fix = "keep one document with apiVersion, kind and resources";
        findings.add_for_file("list", message, fix);
        return None;
    };
    let root = &document.root;
    let api = root.get("apiVersion").and_then(Node::text);
    if api.is_none_or(|api| !api.starts_with("kustomize.config.k8s.io/")) {
        let fix = "write apiVersion: kustomize.config.k8s.io/v1beta1";
        findings.add(
            "list",
            root.reported_at(&["apiVersion"]),
            "not a kustomization",
            fix,
        );
    }
    shape::check(findings, root);
    let mut list = List {
        commented_out: commented_out(text),
        ..List::default()
    };
    let paths = |key| {
        items(root, key)
            .iter()
            .filter_map(|item| Some((item.text()?.to_owned(), item.into())))
    };
    list.resources
        .extend(["resources", "components"].into_iter().flat_map(paths));
    list.reads.extend(READ_KEYS.into_iter().flat_map(paths));
    for patch in items(root, "patches") {
        let path = patch.get("path");
        list.reads
            .extend(path.and_then(|path| Some((path.text()?.to_owned(), path.into()))));
    }
    for generator in ["configMapGenerator", "secretGenerator"]
        .into_iter()
        .flat_map(|key| items(root, key))
    {
        read_generator(&mut list, generator);
    }
    for image in items(root, "images") {
        read_image(findings, &mut list, image);
    }
    Some(list)
}

fn items<'n, 't>(node: &'n Node<'t>, key: &str) -> &'n [Node<'t>] {
    node.get(key).map(Node::items).unwrap_or_default()
}

fn read_generator(list: &mut List, generator: &Node<'_>) {
    list.generated.extend(
        generator
            .get("name")
            .and_then(Node::text)
            .map(str::to_owned),
    );
    for item in ["files", "envs"]
        .into_iter()
        .flat_map(|key| items(generator, key))
    {
        let text = item.text().unwrap_or_default();
        let file = text.split_once('=').map_or(text, |(_, file)| file);
        list.reads.push((file.to_owned(), item.into()));
    }
}

fn read_image(findings: &mut Findings, list: &mut List, image: &Node<'_>) {
    if let Some(tag) = image
        .get("newTag")
        .filter(|tag| tag.text() == Some("latest"))
    {
        let message = "the tag latest means another image tomorrow";
        findings.add("floating", tag, message, "name a version");
    }
    let is_fixed = image.get("newTag").is_some() || image.get("digest").is_some();
    let name = image.get("name").filter(|_| is_fixed).and_then(Node::text);
    list.images.extend(name.map(str::to_owned));
}

/// Returns the names in lines like `# - karpenter.yaml`.
fn commented_out(text: &str) -> BTreeSet<String> {
    let name = |line: &str| {
        let comment = line.trim_start().strip_prefix('#')?.trim_start();
        Some(
            comment
                .strip_prefix("- ")?
                .split_whitespace()
                .next()?
                .to_owned(),
        )
    };
    text.lines().filter_map(name).collect()
}

/// Checks every list against the files and folders that exist.
pub(super) fn check(files: &Files, facts: &[Facts]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut tagged: BTreeSet<&str> = BTreeSet::new();
    for file in facts {
        let Some(list) = &file.list else { continue };
        tagged.extend(list.images.iter().map(String::as_str));
        check_listed(files, &file.path, list, &mut findings);
        check_unlisted(files, &file.path, list, &mut findings);
    }
    for file in facts {
        let untagged = file
            .bare_images
            .iter()
            .filter(|(image, _)| !tagged.contains(image.as_str()));
        for (image, position) in untagged {
            let message = format!("{image} has no tag");
            let fix = "name a version or a digest, here or under images of a kustomization.yaml";
            findings.push(Finding::of_file(&file.path, "floating", message, fix).at(*position));
        }
    }
    findings
}

/// Checks that each listed resource exists, and is listed once.
fn check_listed(files: &Files, path: &RepoPath, list: &List, findings: &mut Vec<Finding>) {
    let folder = path.parent().unwrap_or_else(RepoPath::root);
    let mut seen = BTreeSet::new();
    let mut add = |position: Position, message: String, fix: &str| {
        findings.push(Finding::of_file(path, "list", message, fix).at(position));
    };
    for (resource, position) in &list.resources {
        for (problem, fix) in problems(files, path, &folder, resource) {
            add(*position, format!("{resource} {problem}"), fix);
        }
        let target = resolved(&folder, resource).filter(|_| !is_remote(resource));
        if target.is_some_and(|target| !seen.insert(target)) {
            let message =
                format!("{resource} is listed twice; kustomize then builds nothing at all");
            add(*position, message, "remove one of the lines");
        }
    }
    for (file, position) in &list.reads {
        let exists = resolved(&folder, file).is_some_and(|file| files.roles.contains_key(&file));
        if !is_remote(file) && !exists {
            add(
                *position,
                format!("{file} does not exist"),
                "correct the path, or add the file",
            );
        }
    }
}

/// Returns the problems of one listed resource, each with its fix.
fn problems(
    files: &Files,
    list: &RepoPath,
    folder: &RepoPath,
    resource: &str,
) -> Vec<(String, &'static str)> {
    let is_strict = is_below(folder, APPLICATION_PLANE);
    let local_only = "list files and folders of this repository";
    if is_remote(resource) {
        return if is_strict {
            vec![("is not in this repository".to_owned(), local_only)]
        } else if resource.contains("ref=") {
            Vec::new()
        } else {
            vec![(
                "has no fixed version".to_owned(),
                "add ?ref= with a tag or a commit",
            )]
        };
    }
    let Some(target) = resolved(folder, resource) else {
        return vec![("is outside the repository".to_owned(), local_only)];
    };
    let mut problems = Vec::new();
    if is_strict && target.parent().as_ref() != Some(folder) {
        let fix = "list it in the kustomization.yaml of its own folder";
        problems.push(("is in another folder".to_owned(), fix));
    }
    let is_folder = files.folders.contains(&target);
    if is_folder && !files.roles.contains_key(&layout::kustomization(&target)) {
        let problem = format!("is a folder without {KUSTOMIZATION}");
        problems.push((problem, "add that file, or remove the line"));
    } else if !is_folder && !files.roles.contains_key(&target) {
        problems.push((
            "does not exist".to_owned(),
            "remove the line, or add the file",
        ));
    } else if target == *list || target == *folder {
        problems.push(("lists itself".to_owned(), "remove the line"));
    } else if matches!(files.roles.get(&target), Some(Role::Template { .. })) {
        problems.push(("is a template, not a tenant".to_owned(), "remove the line"));
    }
    problems
}

/// Checks that each existing file, and in the application plane each folder, is listed.
fn check_unlisted(files: &Files, path: &RepoPath, list: &List, findings: &mut Vec<Finding>) {
    let folder = path.parent().unwrap_or_else(RepoPath::root);
    let is_strict = is_below(&folder, APPLICATION_PLANE);
    let listed: BTreeSet<RepoPath> = list
        .resources
        .iter()
        .chain(&list.reads)
        .filter_map(|(resource, _)| resolved(&folder, resource))
        .collect();
    let mut add = |unlisted: &RepoPath| {
        let name = unlisted.file_name();
        let message = format!("{path} does not list {name}, so the cluster does not get it");
        let fix = if is_strict {
            format!("add the line `- {name}` to {path}, or remove the file")
        } else {
            format!(
                "add `- {name}` to {path}, as a comment (`# - {name}`) if it is unlisted on purpose"
            )
        };
        findings.push(Finding::of_file(unlisted, "unlisted", message, fix));
    };
    let is_in = |other: &&RepoPath| other.parent().as_ref() == Some(&folder);
    for (file, role) in below(&files.roles, &folder).filter(|(file, _)| is_in(file)) {
        let is_listable = !matches!(role, Role::List | Role::Other);
        let is_on_purpose = !is_strict && list.commented_out.contains(file.file_name());
        if is_listable && !listed.contains(file) && !is_on_purpose {
            add(file);
        }
    }
    if is_strict {
        let first = format!("{}/", folder.as_str());
        let below = files
            .folders
            .iter()
            .filter(|other| other.as_str().starts_with(&first));
        for unlisted in below.filter(is_in).filter(|other| !listed.contains(other)) {
            add(unlisted);
        }
    }
}

/// Returns the files below a folder.
fn below<'f>(
    roles: &'f BTreeMap<RepoPath, Role>,
    folder: &RepoPath,
) -> impl Iterator<Item = (&'f RepoPath, &'f Role)> {
    let prefix = if folder.as_str().is_empty() {
        String::new()
    } else {
        format!("{}/", folder.as_str())
    };
    // Names like `a-b` sort between the folder `a` and the files in it.
    let is_below = move |path: &RepoPath| path.as_str().starts_with(&prefix);
    let is_before = is_below.clone();
    roles
        .range(folder.clone()..)
        .skip_while(move |(path, _)| !is_before(path))
        .take_while(move |(path, _)| is_below(path))
}

fn is_below(folder: &RepoPath, other: &str) -> bool {
    folder
        .as_str()
        .strip_prefix(other)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn is_remote(resource: &str) -> bool {
    resource.contains("://")
        || resource.contains("?ref=")
        || resource.starts_with("git@")
        || resource.starts_with("github.com/")
}

/// Returns the path of a resource listed in a folder; `None` outside the repository.
fn resolved(folder: &RepoPath, resource: &str) -> Option<RepoPath> {
    let mut steps: Vec<&str> = folder
        .as_str()
        .split('/')
        .filter(|step| !step.is_empty())
        .collect();
    for step in resource.trim_end_matches('/').split('/') {
        match step {
            "." => {}
            ".." => drop(steps.pop()?),
            "" => return None,
            step => steps.push(step),
        }
    }
    if steps.is_empty() {
        Some(RepoPath::root())
    } else {
        steps.join("/").parse().ok()
    }
}
