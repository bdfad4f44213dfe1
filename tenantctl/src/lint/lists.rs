//! The lists of folders: what a `kustomization.yaml` names exists, and can be named there.
//!
//! An entry is a path, however it is spelled. In the application plane a list names each file and folder once and does nothing
//! else: Flux removes an unlisted tenant, and a patch would change what a tenant's file says. Elsewhere an unlisted file is a
//! warning, unless a commented-out line names it.

use std::collections::{BTreeMap, BTreeSet};

use super::facts::Facts;
use super::fields;
use super::files::{Files, Role};
use super::finding::{Finding, Findings, Position};
use super::shape;
use crate::kustomization::LISTS;
use crate::layout::{self, KUSTOMIZATION};
use crate::tree::RepoPath;
use crate::yaml::{Node, NodeKind, parse};

/// Keys with files that the kustomization reads: kinds of fields, and OpenAPI definitions.
const FILE_KEYS: [&str; 2] = ["configurations", "crds"];
/// Keys with files or folders of plugins, or their content.
const PLUGIN_KEYS: [&str; 3] = ["generators", "transformers", "validators"];
/// Keys of a list of the application plane: its resources, and keys that change no field that a tenant's file states.
const OUR_KEYS: [&str; 9] = [
    "apiVersion",
    "bases",
    "buildMetadata",
    "commonAnnotations",
    "commonLabels",
    "kind",
    "labels",
    "metadata",
    "resources",
];
/// Prefix of the labels and annotations that lint, the chart and the policies read.
const OUR_LABELS: &str = "tenantry.dev/";

/// Whether an entry is the content of a file, not its path.
pub(super) fn has_lines(entry: &str) -> bool {
    entry.contains('\n')
}

/// The content of one `kustomization.yaml`.
pub(super) struct List {
    pub(super) path: RepoPath,
    pub(super) folder: RepoPath,
    /// The fields as kustomize decodes them.
    pub(super) root: Node<'static>,
    pub(super) kind: String,
    /// `resources`, then `bases`.
    pub(super) resources: Vec<(String, Position)>,
    pub(super) components: Vec<(String, Position)>,
    /// Other files that the kustomization reads: patches, configurations, inputs of generators.
    reads: Vec<(String, Position)>,
    /// Files or folders of plugins.
    plugins: Vec<(String, Position)>,
    /// Names of the objects that its generators make.
    pub(super) generated: Vec<String>,
    /// Images that it gives a tag.
    images: Vec<String>,
    /// Resources in commented-out lines.
    commented_out: BTreeSet<String>,
}

impl List {
    pub(super) fn items(&self, key: &str) -> &[Node<'static>] {
        self.root.get(key).map(Node::items).unwrap_or_default()
    }

    pub(super) fn generators(&self) -> impl Iterator<Item = &Node<'static>> {
        let keys = ["configMapGenerator", "secretGenerator"];
        keys.into_iter().flat_map(|key| self.items(key))
    }

    /// Returns the paths of the resources.
    pub(super) fn targets(&self) -> impl Iterator<Item = RepoPath> {
        self.resources
            .iter()
            .filter_map(|(entry, _)| self.folder.resolve(entry))
    }

    /// Returns the paths of the files that it reads.
    pub(super) fn inputs(&self) -> impl Iterator<Item = RepoPath> {
        self.reads
            .iter()
            .chain(&self.plugins)
            .filter_map(|(entry, _)| self.folder.resolve(entry))
    }
}

/// Reads a list; `None` if kustomize refuses it.
pub(super) fn read(findings: &mut Findings, path: &RepoPath, text: &str) -> Option<List> {
    if layout::is_ours(path) {
        check_ours(findings, text);
    }
    let root = match fields::read(text) {
        Ok(root) => root,
        Err(_) if findings.len() > 0 => return None,
        Err(refused) => {
            let fix = "correct it: kustomize stops here, for everything that this list is part of";
            findings.add("list", refused.position, refused.message, fix);
            return None;
        }
    };
    let kind = root.get("kind").and_then(Node::text).unwrap_or_default();
    let mut list = List {
        path: path.clone(),
        folder: path.parent().unwrap_or_else(RepoPath::root),
        kind: kind.to_owned(),
        resources: Vec::new(),
        components: Vec::new(),
        reads: Vec::new(),
        plugins: Vec::new(),
        generated: Vec::new(),
        images: Vec::new(),
        commented_out: commented_out(text),
        root,
    };
    let entry = |item: &Node<'_>| Some((item.text()?.to_owned(), Position::from(item)));
    let all = |key: &str| list.items(key).iter().filter_map(entry).collect::<Vec<_>>();
    let resources = LISTS.iter().flat_map(|key| all(key)).collect();
    let components = all("components");
    let is_file =
        |(text, _): &(String, Position)| !has_lines(text) && super::manifests::read(text).is_err();
    let mut reads: Vec<_> = FILE_KEYS.iter().flat_map(|key| all(key)).collect();
    reads.extend(list.root.at(&["openapi", "path"]).and_then(entry));
    let of_generators = |key: &str| {
        let lists = list.generators().filter_map(|it| it.get(key));
        lists.flat_map(Node::items).collect::<Vec<_>>()
    };
    reads.extend(of_generators("envs").into_iter().filter_map(entry));
    // Of these keys an empty path is no path.
    let mut others = all("patchesStrategicMerge");
    others.retain(is_file);
    for key in ["patches", "patchesJson6902", "replacements"] {
        let paths = list.items(key).iter().filter_map(|item| item.get("path"));
        others.extend(paths.filter_map(entry));
    }
    let files = of_generators("files").into_iter();
    others.extend(files.map(|item| (source(item).to_owned(), item.into())));
    let env = list.generators().filter_map(|it| it.get("env"));
    others.extend(env.filter_map(entry));
    let is_path = |(path, _): &(String, Position)| !path.is_empty();
    reads.extend(others.into_iter().filter(is_path));
    let plugins = PLUGIN_KEYS.iter().flat_map(|key| all(key));
    let plugins = plugins.filter(|it| is_file(it) && is_path(it)).collect();
    let names = list.generators().filter_map(|it| it.get("name"));
    let generated = names.filter_map(Node::text).map(str::to_owned).collect();
    let images = ["images", "imageTags"].map(|key| list.items(key));
    let images = images.into_iter().flatten().filter_map(|image| {
        let is_fixed = image.get("newTag").is_some() || image.get("digest").is_some();
        image
            .get("name")
            .filter(|_| is_fixed)?
            .text()
            .map(str::to_owned)
    });
    let images = images.collect();
    check_image_tags(findings, &list);
    list.resources = resources;
    list.components = components;
    list.reads = reads;
    list.plugins = plugins;
    list.generated = generated;
    list.images = images;
    Some(list)
}

/// Returns the path of a generator's file: all of `a.txt`, and the end of `key=a.txt`.
pub(super) fn source<'n>(item: &'n Node<'_>) -> &'n str {
    let text = item.text().unwrap_or_default();
    text.split_once('=').map_or(text, |(_, file)| file)
}

fn check_image_tags(findings: &mut Findings, list: &List) {
    let mut advice = Findings::new(list.path.clone());
    for image in list.items("images") {
        let tag = image
            .get("newTag")
            .filter(|tag| tag.text() == Some("latest"));
        if let Some(tag) = tag {
            let message = "the tag latest means another image tomorrow";
            advice.add("floating", tag, message, "name a version");
        }
    }
    findings.extend(advice.into_warnings());
}

/// Checks a list of the application plane, which `tenantctl` edits: one document in plain YAML that only lists files
/// and folders.
fn check_ours(findings: &mut Findings, text: &str) {
    let documents = match parse(text) {
        Ok(documents) => documents,
        Err(error) => {
            let fix = "correct it; a broken list stops Flux for every tenant";
            return findings.add("yaml", &error, error.message.clone(), fix);
        }
    };
    let [document] = documents.as_slice() else {
        let message = format!("{} documents instead of one", documents.len());
        let fix = "keep one document with apiVersion, kind and resources";
        return findings.add_for_file("list", message, fix);
    };
    let root = &document.root;
    shape::check_ambiguous(findings, root);
    for key in ["apiVersion", "kind"] {
        if root.get(key).is_none() {
            let fix = "write apiVersion: kustomize.config.k8s.io/v1beta1 and kind: Kustomization";
            findings.add("list", root, format!("{key} is missing"), fix);
        }
    }
    if root.get("kind").and_then(Node::text) == Some(fields::COMPONENT) {
        let message = "a component: kustomize refuses it under resources";
        let fix = "write kind: Kustomization and apiVersion: kustomize.config.k8s.io/v1beta1";
        findings.add("list", root.reported_at(&["kind"]), message, fix);
    }
    for pair in root.pairs() {
        let key = pair.key.text().unwrap_or_default();
        if !OUR_KEYS.contains(&key) {
            let message = format!(
                "{key} is not a field of a list of tenants: it could change what their files say"
            );
            let fix = "correct its name, or its indentation; a list here has resources alone";
            findings.add("shape", &pair.key, message, fix);
        }
    }
    let labels = root.get("labels").map(Node::items).unwrap_or_default();
    let maps = [root.get("commonLabels"), root.get("commonAnnotations")];
    let maps = maps
        .into_iter()
        .chain(labels.iter().map(|label| label.get("pairs")));
    for pair in maps.flatten().flat_map(Node::pairs) {
        if pair
            .key
            .text()
            .is_some_and(|key| key.starts_with(OUR_LABELS))
        {
            let message = "a label or annotation of tenantry: the tenants' files state it";
            findings.add("list", &pair.key, message, "remove it here");
        }
    }
    for label in labels.iter().flat_map(Node::pairs) {
        let key = label.key.text().unwrap_or_default();
        let is_off = matches!(&label.value.kind, NodeKind::Scalar { text, .. } if text == "false");
        if key != "pairs" && !is_off {
            let message = format!("{key} writes labels into other fields of the tenants' objects");
            findings.add("list", &label.key, message, "remove it");
        }
    }
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
pub(super) fn check(
    files: &Files,
    lists: &BTreeMap<RepoPath, List>,
    facts: &[Facts],
) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut tagged: BTreeSet<&str> = BTreeSet::new();
    for list in lists.values() {
        tagged.extend(list.images.iter().map(String::as_str));
        check_listed(files, lists, list, &mut findings);
        check_unlisted(files, list, &mut findings);
    }
    for file in facts {
        let untagged = file
            .bare_images
            .iter()
            .filter(|(image, _)| !tagged.contains(image.as_str()));
        for (image, position) in untagged {
            let message = format!("{image} has no tag");
            let fix = "name a version or a digest, here or under images of a kustomization.yaml";
            let finding = Finding::of_file(&file.path, "floating", message, fix);
            findings.push(finding.at(*position).into_warning());
        }
    }
    findings
}

/// Checks that what a list names exists; in the application plane, that each path is listed once.
fn check_listed(
    files: &Files,
    lists: &BTreeMap<RepoPath, List>,
    list: &List,
    findings: &mut Vec<Finding>,
) {
    let finding = |position: Position, message: String, fix: &str| {
        Finding::of_file(&list.path, "list", message, fix).at(position)
    };
    if layout::is_ours(&list.path) {
        findings.extend(repeated(list).into_vec());
    }
    for (entry, position) in list.resources.iter().chain(&list.components) {
        if let Some((problem, fix)) = problem(files, lists, list, entry) {
            findings.push(finding(*position, format!("{entry} {problem}"), fix));
        }
        if is_remote(entry) && !entry.contains("ref=") && !layout::is_ours(&list.path) {
            let message = format!("{entry} has no fixed version");
            let fix = "add ?ref= with a tag or a commit";
            findings.push(finding(*position, message, fix).into_warning());
        }
    }
    let reads = list.reads.iter().map(|read| (read, false));
    let plugins = list.plugins.iter().map(|plugin| (plugin, true));
    for ((file, position), may_be_folder) in reads.chain(plugins) {
        if is_remote(file) {
            continue;
        }
        let problem = match list.folder.resolve(file) {
            _ if file.is_empty() => Some("an empty path names no file"),
            Some(path) if !path.is_in(&list.folder) => {
                Some("is not below this folder, and kustomize reads no other file")
            }
            Some(path) if !may_be_folder && files.folders.contains(&path) => {
                Some("is a folder, and kustomize reads a file there")
            }
            Some(path) if files.has(&path) => None,
            _ => Some("does not exist"),
        };
        if let Some(problem) = problem {
            let fix = "correct the path, or add the file";
            let message = format!("{file} {problem}");
            findings.push(finding(*position, message.trim_start().to_owned(), fix));
        }
    }
}

/// Finds the paths that a list names twice, however they are spelled.
pub(super) fn repeated(list: &List) -> Findings {
    let mut findings = Findings::new(list.path.clone());
    let mut seen = BTreeSet::new();
    for (entry, position) in &list.resources {
        let path = list.folder.resolve(entry);
        if path.is_some_and(|path| !seen.insert(path)) {
            let message = format!("{entry} is listed twice; kustomize then builds nothing at all");
            findings.add("list", *position, message, "remove one of the lines");
        }
    }
    findings
}

/// Returns the problem of a listed resource or component with its path, and the fix.
pub(super) fn problem(
    files: &Files,
    lists: &BTreeMap<RepoPath, List>,
    list: &List,
    entry: &str,
) -> Option<(String, &'static str)> {
    let is_strict = layout::is_ours(&list.path);
    let local_only = "list files and folders of this repository";
    let found = |problem: &str, fix| Some((problem.to_owned(), fix));
    if is_remote(entry) {
        return if is_strict {
            found("is not in this repository", local_only)
        } else {
            None
        };
    }
    let Some(target) = list.folder.resolve(entry) else {
        return found("is outside the repository", local_only);
    };
    if files.is_unknown(&target) {
        return None;
    }
    let is_folder = files.folders.contains(&target) || target == RepoPath::root();
    if is_strict && target.parent().as_ref() != Some(&list.folder) && target != list.folder {
        let fix = "list it in the kustomization.yaml of its own folder";
        return found("is in another folder", fix);
    }
    if list.folder.is_in(&target) || target == list.path {
        return found("lists itself", "remove the line");
    }
    if is_folder && !lists.contains_key(&target) {
        let has_list = [KUSTOMIZATION]
            .iter()
            .chain(&layout::OTHER_KUSTOMIZATIONS)
            .filter_map(|name| target.join(name).ok())
            .any(|path| files.roles.contains_key(&path));
        if has_list {
            // The list is broken, and reported.
            return None;
        }
        let problem = format!("is a folder without {KUSTOMIZATION}");
        return Some((problem, "add that file, or remove the line"));
    }
    if !is_folder && !files.roles.contains_key(&target) {
        return found("does not exist", "remove the line, or add the file");
    }
    if !is_folder && !target.is_in(&list.folder) {
        let fix = "list its folder, or move the file; `kubectl kustomize` needs --load-restrictor LoadRestrictionsNone for it";
        return found(
            "is a file outside this folder, which kustomize refuses",
            fix,
        );
    }
    if matches!(files.roles.get(&target), Some(Role::Template { .. })) {
        return found("is a template, not a tenant", "remove the line");
    }
    None
}

/// Checks that each existing file, and in the application plane each folder, is listed.
fn check_unlisted(files: &Files, list: &List, findings: &mut Vec<Finding>) {
    let List { path, folder, .. } = list;
    let is_strict = layout::is_ours(path);
    let components = list.components.iter();
    let listed: BTreeSet<RepoPath> = components
        .filter_map(|(entry, _)| folder.resolve(entry))
        .chain(list.targets())
        .chain(list.inputs())
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
        let finding = Finding::of_file(unlisted, "unlisted", message, fix);
        findings.push(if is_strict {
            finding
        } else {
            finding.into_warning()
        });
    };
    let is_here = |other: &&RepoPath| other.parent().as_ref() == Some(folder);
    for (file, role) in below(&files.roles, folder).filter(|(file, _)| is_here(file)) {
        let is_listable = !matches!(role, Role::List | Role::Other);
        let is_on_purpose = !is_strict && list.commented_out.contains(file.file_name());
        if is_listable && !listed.contains(file) && !is_on_purpose {
            add(file);
        }
    }
    if is_strict {
        let folders = files.folders.iter().filter(is_here);
        for unlisted in folders.filter(|other| !listed.contains(other)) {
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

/// Whether an entry is a URL or a Git repository, which kustomize fetches.
pub(super) fn is_remote(resource: &str) -> bool {
    resource.contains("://")
        || resource.contains("?ref=")
        || resource.starts_with("git::")
        || resource.starts_with("git@")
        || resource.starts_with("github.com/")
}
