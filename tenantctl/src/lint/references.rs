//! References between files: sources, releases and folders to wait for, pools, service accounts and values exist.

use std::collections::{BTreeMap, BTreeSet};

use super::facts::{Facts, Object, Reference, Target};
use super::files::Files;
use super::finding::Finding;
use crate::layout;
use crate::tree::RepoPath;
use crate::yaml::Node;

/// The source of the repository itself: `flux bootstrap` makes it, with or without manifests in the repository.
const BOOTSTRAPPED: [&str; 2] = ["GitRepository", "OCIRepository"];
const BOOTSTRAPPED_NAME: &str = "flux-system";

/// The accounts of Flux's controllers in its own namespace: `flux bootstrap` makes them.
const BOOTSTRAPPED_ACCOUNTS: [&str; 2] = ["helm-controller", "kustomize-controller"];

/// Kinds that another controller may make at run time, for example a Secret by External Secrets.
const MADE_ELSEWHERE: [&str; 2] = ["Secret", "Bucket"];

/// Records the references of one object.
pub(super) fn gather(facts: &mut Facts, root: &Node<'_>, object: &Object) {
    let is_flux = root
        .get("apiVersion")
        .and_then(Node::text)
        .is_some_and(|api| api.contains(".toolkit.fluxcd.io/"));
    if !is_flux {
        return;
    }
    let own = object.namespace.as_deref();
    let mut add = |kind: &str, node: &Node<'_>| {
        let text = |key| node.get(key).and_then(Node::text);
        let Some(name) = text("name") else { return };
        let kind = text("kind").unwrap_or(kind).to_owned();
        let namespace = text("namespace").or(own).map(str::to_owned);
        let to = Target::Object(Object {
            kind,
            namespace,
            name: name.to_owned(),
        });
        facts.refer(to, node.get("name").unwrap_or(node));
    };
    let spec = |path: &[&str]| root.get("spec").and_then(|spec| spec.at(path));
    if object.kind == "HelmRelease" || object.kind == "Kustomization" {
        for item in spec(&["dependsOn"]).map(Node::items).unwrap_or_default() {
            add(&object.kind, item);
        }
        let sources = [
            spec(&["sourceRef"]),
            spec(&["chart", "spec", "sourceRef"]),
            spec(&["chartRef"]),
        ];
        for source in sources.into_iter().flatten() {
            add("GitRepository", source);
        }
        for values in [
            spec(&["valuesFrom"]),
            spec(&["postBuild", "substituteFrom"]),
        ]
        .into_iter()
        .flatten()
        {
            for item in values.items() {
                if item.get("optional").and_then(Node::text) != Some("true") {
                    add("ConfigMap", item);
                }
            }
        }
        if let Some(account) = spec(&["serviceAccountName"])
            && let Some(name) = account.text()
        {
            let namespace = own.map(str::to_owned);
            let to = Object {
                kind: "ServiceAccount".to_owned(),
                namespace,
                name: name.to_owned(),
            };
            facts.refer(Target::Object(to), account);
        }
    }
    // The path of a Kustomization is in its source; lint knows the folders of this repository alone.
    let is_this_repository =
        spec(&["sourceRef", "name"]).and_then(Node::text) == Some(BOOTSTRAPPED_NAME);
    if object.kind == "Kustomization"
        && is_this_repository
        && let Some(path) = spec(&["path"])
        && let Some(text) = path.text()
    {
        facts.refer(Target::Folder(text.to_owned()), path);
    }
}

/// Finds references to something that does not exist.
pub(super) fn check(files: &Files, facts: &[Facts]) -> Vec<Finding> {
    let mut objects: BTreeMap<(&str, &str), Vec<Option<&str>>> = BTreeMap::new();
    for object in facts.iter().flat_map(|file| &file.objects) {
        objects
            .entry((&object.kind, &object.name))
            .or_default()
            .push(object.namespace.as_deref());
    }
    let generated: BTreeSet<&str> = facts
        .iter()
        .filter_map(|file| file.list.as_ref())
        .flat_map(|list| &list.generated)
        .map(String::as_str)
        .collect();
    let pools = layout::pools();
    let mut findings = Vec::new();
    for file in facts {
        for Reference { to, position } in &file.references {
            let (is_there, message, fix) = match to {
                Target::Pool(pool) => {
                    let path = pools.join(&format!("{pool}.yaml"));
                    let is_there = path.is_ok_and(|path| files.roles.contains_key(&path));
                    let fix = format!("name a pool of {pools}, or add {pools}/{pool}.yaml");
                    (is_there, format!("there is no pool {pool}"), fix)
                }
                Target::Folder(folder) => {
                    let fix =
                        "correct spec.path: it is relative to the repository's root".to_owned();
                    (
                        has_folder(files, folder),
                        format!("there is no folder {folder}"),
                        fix,
                    )
                }
                Target::Object(object) => {
                    let namespace = object.namespace.as_deref();
                    let is_there = is_made_elsewhere(object)
                        || object.kind == "ConfigMap" && generated.contains(object.name.as_str())
                        || objects
                            .get(&(object.kind.as_str(), object.name.as_str()))
                            .is_some_and(|found| {
                                found.iter().any(|other| {
                                    other.is_none() || namespace.is_none() || *other == namespace
                                })
                            });
                    let full = format!(
                        "{} {}/{}",
                        object.kind,
                        namespace.unwrap_or("-"),
                        object.name
                    );
                    (
                        is_there,
                        format!("there is no {full} in this repository"),
                        "correct the name or the namespace, or add the object".to_owned(),
                    )
                }
            };
            if !is_there {
                findings
                    .push(Finding::of_file(&file.path, "reference", message, fix).at(*position));
            }
        }
    }
    findings
}

fn is_made_elsewhere(object: &Object) -> bool {
    MADE_ELSEWHERE.contains(&object.kind.as_str())
        || BOOTSTRAPPED.contains(&object.kind.as_str()) && object.name == BOOTSTRAPPED_NAME
        || object.kind == "ServiceAccount"
            && object.namespace.as_deref() == Some(BOOTSTRAPPED_NAME)
            && BOOTSTRAPPED_ACCOUNTS.contains(&object.name.as_str())
}

fn has_folder(files: &Files, folder: &str) -> bool {
    let folder = folder.trim_start_matches("./").trim_end_matches('/');
    folder.is_empty()
        || folder
            .parse::<RepoPath>()
            .is_ok_and(|folder| files.folders.contains(&folder))
}
