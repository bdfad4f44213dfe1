//! Every `kustomization.yaml` lists what is there, once, and leaves nothing out.
//!
//! In the application plane nothing may be left out: an unlisted tenant is one that Flux removes. Elsewhere a component
//! is taken away by taking away its line; a file whose line is commented out is left out on purpose.

use std::collections::BTreeSet;

use super::facts::Facts;
use super::files::{Files, Role};
use super::{Finding, Place, shape};
use crate::layout::{self, APPLICATION_PLANE, KUSTOMIZATION};
use crate::tree::RepoPath;
use crate::yaml::{Document, Node};

/// What one `kustomization.yaml` says.
pub(super) struct List {
    /// `resources` and `components`.
    entries: Vec<(String, Place)>,
    /// Other files it reads: patches, configurations, what generators are fed with.
    reads: Vec<(String, Place)>,
    /// Names of the objects its generators make.
    pub(super) generated: Vec<String>,
    /// Images it gives a tag.
    images: Vec<String>,
    /// Entries that are commented out.
    left_out: BTreeSet<String>,
}

impl List {
    /// Reads a list.
    pub(super) fn of(facts: &mut Facts, text: &str, documents: &[Document<'_>]) -> Option<Self> {
        let [document] = documents else {
            let fix = "keep one document with apiVersion, kind and resources";
            facts.add(
                "list",
                None,
                format!("{} documents instead of one", documents.len()),
                fix,
            );
            return None;
        };
        let root = &document.root;
        if root
            .get("apiVersion")
            .and_then(Node::text)
            .is_none_or(|api| !api.starts_with("kustomize.config.k8s.io/"))
        {
            let place = root.sign_of(&["apiVersion"]);
            facts.add(
                "list",
                Some(place.into()),
                "no kustomization",
                "write apiVersion: kustomize.config.k8s.io/v1beta1",
            );
        }
        shape::check(facts, root);
        let mut list = Self {
            entries: Vec::new(),
            reads: Vec::new(),
            generated: Vec::new(),
            images: Vec::new(),
            left_out: commented_out(text),
        };
        let texts = |key: &str| {
            let items = root.get(key).map(Node::items).unwrap_or_default();
            items
                .iter()
                .filter_map(|item| Some((item.text()?.to_owned(), Place::from(item))))
        };
        list.entries
            .extend(["resources", "components"].into_iter().flat_map(texts));
        list.reads.extend(
            [
                "configurations",
                "crds",
                "generators",
                "transformers",
                "validators",
            ]
            .into_iter()
            .flat_map(texts),
        );
        for patch in root.get("patches").map(Node::items).unwrap_or_default() {
            list.reads.extend(
                patch
                    .get("path")
                    .and_then(|path| Some((path.text()?.to_owned(), path.into()))),
            );
        }
        for generator in ["configMapGenerator", "secretGenerator"]
            .into_iter()
            .filter_map(|key| root.get(key))
        {
            list.take_generators(generator);
        }
        for image in root.get("images").map(Node::items).unwrap_or_default() {
            if let Some(tag) = image
                .get("newTag")
                .filter(|tag| tag.text() == Some("latest"))
            {
                facts.add(
                    "floating",
                    Some(tag.into()),
                    "the tag latest names another image tomorrow",
                    "name a version",
                );
            }
            let is_fixed = image.get("newTag").is_some() || image.get("digest").is_some();
            list.images.extend(
                image
                    .get("name")
                    .filter(|_| is_fixed)
                    .and_then(Node::text)
                    .map(str::to_owned),
            );
        }
        Some(list)
    }

    fn take_generators(&mut self, generators: &Node<'_>) {
        for generator in generators.items() {
            self.generated.extend(
                generator
                    .get("name")
                    .and_then(Node::text)
                    .map(str::to_owned),
            );
            for key in ["files", "envs"] {
                for item in generator.get(key).map(Node::items).unwrap_or_default() {
                    let text = item.text().unwrap_or_default();
                    let file = text.split_once('=').map_or(text, |(_, file)| file);
                    self.reads.push((file.to_owned(), item.into()));
                }
            }
        }
    }
}

/// The names in lines like `# - karpenter.yaml`.
fn commented_out(text: &str) -> BTreeSet<String> {
    let entry = |line: &str| {
        let comment = line.trim_start().strip_prefix('#')?.trim_start();
        Some(
            comment
                .strip_prefix("- ")?
                .split_whitespace()
                .next()?
                .to_owned(),
        )
    };
    text.lines().filter_map(entry).collect()
}

/// Judges every list by what there is.
pub(super) fn check(files: &Files, facts: &[Facts]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut tagged: BTreeSet<&str> = BTreeSet::new();
    for file in facts {
        let Some(list) = &file.list else { continue };
        tagged.extend(list.images.iter().map(String::as_str));
        check_entries(files, &file.path, list, &mut findings);
        check_left_out(files, &file.path, list, &mut findings);
    }
    for file in facts {
        for (image, place) in file
            .bare_images
            .iter()
            .filter(|(image, _)| !tagged.contains(image.as_str()))
        {
            let fix = "name a version or a digest, here or under images of a kustomization.yaml";
            let finding = Finding::file(&file.path, "floating", format!("{image} has no tag"), fix);
            findings.push(finding.at(*place));
        }
    }
    findings
}

/// What is listed is there, and listed once.
fn check_entries(files: &Files, path: &RepoPath, list: &List, findings: &mut Vec<Finding>) {
    let folder = path.parent().unwrap_or_else(RepoPath::root);
    let is_strict = is_below(&folder, APPLICATION_PLANE);
    let mut seen = BTreeSet::new();
    for (entry, place) in &list.entries {
        let mut add = |message: String, fix: &str| {
            findings.push(Finding::file(path, "list", message, fix).at(*place));
        };
        if is_remote(entry) {
            if is_strict {
                add(
                    format!("{entry} is not in this repository"),
                    "list files and folders of this repository",
                );
            } else if !entry.contains("ref=") {
                add(
                    format!("{entry} has no fixed version"),
                    "add ?ref= with a tag or a commit",
                );
            }
            continue;
        }
        let Some(target) = resolved(&folder, entry) else {
            add(
                format!("{entry} is outside of the repository"),
                "list files and folders of this repository",
            );
            continue;
        };
        if is_strict && target.parent().as_ref() != Some(&folder) {
            add(
                format!("{entry} is in another folder"),
                "list it in the kustomization.yaml of its own folder",
            );
        }
        let is_folder = files.folders.contains(&target);
        if is_folder && !files.roles.contains_key(&layout::kustomization(&target)) {
            add(
                format!("{entry} is a folder without {KUSTOMIZATION}"),
                "add that file, or take the line out",
            );
        } else if !is_folder && !files.roles.contains_key(&target) {
            add(
                format!("{entry} is not there"),
                "take the line out, or add the file",
            );
        } else if target == *path || target == folder {
            add(format!("{entry} lists itself"), "take the line out");
        } else if matches!(files.roles.get(&target), Some(Role::Template { .. })) {
            add(
                format!("{entry} is a template, no tenant"),
                "take the line out",
            );
        }
        if !seen.insert(target) {
            add(
                format!("{entry} is listed twice; kustomize then builds nothing at all"),
                "take one of the lines out",
            );
        }
    }
    for (entry, place) in &list.reads {
        let is_there =
            resolved(&folder, entry).is_some_and(|target| files.roles.contains_key(&target));
        if !is_remote(entry) && !is_there {
            let fix = "correct the path, or add the file";
            findings
                .push(Finding::file(path, "list", format!("{entry} is not there"), fix).at(*place));
        }
    }
}

/// What is there is listed.
fn check_left_out(files: &Files, path: &RepoPath, list: &List, findings: &mut Vec<Finding>) {
    let folder = path.parent().unwrap_or_else(RepoPath::root);
    let is_strict = is_below(&folder, APPLICATION_PLANE);
    let listed: BTreeSet<RepoPath> = list
        .entries
        .iter()
        .chain(&list.reads)
        .filter_map(|(entry, _)| resolved(&folder, entry))
        .collect();
    let mut add = |unlisted: &RepoPath| {
        let name = unlisted.file_name();
        let message = format!("{name} is not listed in {path}: for the cluster it is not there");
        let fix = if is_strict {
            format!("add the line `- {name}` to {path}, or take the file out")
        } else {
            format!(
                "add `- {name}` to {path}, as a comment (`# - {name}`) if it is left out on purpose"
            )
        };
        findings.push(Finding::file(unlisted, "unlisted", message, fix));
    };
    let is_in = |other: &&RepoPath| other.parent().as_ref() == Some(&folder);
    for (file, role) in below(&files.roles, &folder).filter(|(file, _)| is_in(file)) {
        let is_listable = !matches!(role, Role::List | Role::Other);
        let is_on_purpose = !is_strict && list.left_out.contains(file.file_name());
        if is_listable && !listed.contains(file) && !is_on_purpose {
            add(file);
        }
    }
    if is_strict {
        let first = format!("{}/", folder.as_str());
        let folders = files
            .folders
            .iter()
            .filter(|other| other.as_str().starts_with(&first))
            .filter(is_in);
        for unlisted in folders.filter(|other| !listed.contains(other)) {
            add(unlisted);
        }
    }
}

/// The files whose paths begin with a folder's.
fn below<'f>(
    roles: &'f std::collections::BTreeMap<RepoPath, Role>,
    folder: &RepoPath,
) -> impl Iterator<Item = (&'f RepoPath, &'f Role)> {
    let prefix = if folder.as_str().is_empty() {
        String::new()
    } else {
        format!("{}/", folder.as_str())
    };
    roles
        .range(folder.clone()..)
        .skip_while({
            let prefix = prefix.clone();
            move |(path, _)| !path.as_str().starts_with(&prefix)
        })
        .take_while(move |(path, _)| path.as_str().starts_with(&prefix))
}

fn is_below(folder: &RepoPath, other: &str) -> bool {
    folder
        .as_str()
        .strip_prefix(other)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn is_remote(entry: &str) -> bool {
    entry.contains("://")
        || entry.contains("?ref=")
        || entry.starts_with("git@")
        || entry.starts_with("github.com/")
}

/// Where an entry is, seen from a folder; `None` where that is outside of the repository.
fn resolved(folder: &RepoPath, entry: &str) -> Option<RepoPath> {
    let mut steps: Vec<&str> = folder
        .as_str()
        .split('/')
        .filter(|step| !step.is_empty())
        .collect();
    for step in entry.trim_end_matches('/').split('/') {
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
