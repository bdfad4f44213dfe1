//! The objects that kustomize builds from each list, or the reason why it builds nothing.
//!
//! The module follows kustomize 5.8 with its defaults: resources and bases, generators, components, then patches, namespace and
//! names. It compares identities of objects, and their other content where a JSON patch names it. It does not follow remote
//! resources, transformers, replacements and variables: it checks that their files exist, and treats their result as unknown.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use regex_lite::Regex;
use serde_json::Value;

use super::fields::COMPONENT;
use super::files::Files;
use super::finding::{Finding, Position};
use super::json_patch::{self, Operation, Outcome};
use super::lists::{self, List};
use super::manifests::{self, Id, Manifest};
use crate::layout;
use crate::tree::{RepoPath, Tree};
use crate::yaml::{Node, YamlError, kustomize};

const FIX: &str =
    "correct it; kustomize then builds nothing of this list and of the lists that name it";
/// The `apiVersion` of the plugins that kustomize has built in.
const BUILTIN_API: &str = "builtin";
/// Kinds whose names a prefix or suffix leaves alone.
const FIXED_NAMES: [&str; 3] = ["APIService", "CustomResourceDefinition", "Namespace"];
const REPLICATED: [&str; 4] = [
    "Deployment",
    "ReplicaSet",
    "ReplicationController",
    "StatefulSet",
];
/// Fields that change the content of objects in ways that are not followed.
const CHANGES: [&str; 12] = [
    "buildMetadata",
    "commonAnnotations",
    "commonLabels",
    "components",
    "imageTags",
    "images",
    "labels",
    "namespace",
    "replacements",
    "replicas",
    "transformers",
    "vars",
];
const EMPTY_KEY: &str = "kustomize cannot merge a map with an empty key";
const OPERATIONS: [&str; 6] = ["add", "copy", "move", "remove", "replace", "test"];

/// The objects of the files that lists name.
pub(super) type Objects<'a> = BTreeMap<&'a RepoPath, &'a Result<Vec<Manifest>, YamlError>>;

/// The objects that a list builds.
#[derive(Debug, Clone, Default)]
struct Built {
    objects: Vec<Object>,
    /// Keys of the objects' present identities.
    keys: HashSet<String>,
    /// Whether the list builds more than is known, or does not build.
    is_open: bool,
}

#[derive(Debug, Clone)]
struct Object {
    /// The present identity, then the former ones.
    ids: Vec<Id>,
    /// The file or list that it comes from.
    from: RepoPath,
    content: Content,
}

/// The content of an object beyond its identity, as far as it is known.
#[derive(Debug, Clone)]
enum Content {
    /// The content of its file.
    Original,
    /// After JSON patches.
    Patched(Value),
    Unknown,
}

struct Builder<'a> {
    tree: &'a dyn Tree,
    files: &'a Files,
    lists: &'a BTreeMap<RepoPath, List>,
    objects: &'a Objects<'a>,
    built: BTreeMap<RepoPath, Built>,
    /// The files of patched objects.
    parsed: HashMap<RepoPath, Vec<(Manifest, Node<'static>)>>,
    findings: Vec<Finding>,
}

/// Builds every list that is not a component; returns the errors that stop kustomize.
pub(super) fn check(
    tree: &dyn Tree,
    files: &Files,
    lists: &BTreeMap<RepoPath, List>,
    objects: &Objects<'_>,
) -> Vec<Finding> {
    let mut builder = Builder {
        tree,
        files,
        lists,
        objects,
        built: BTreeMap::new(),
        parsed: HashMap::new(),
        findings: Vec::new(),
    };
    for (folder, list) in lists {
        if list.kind != COMPONENT {
            builder.build(folder, &mut Vec::new());
        }
    }
    builder.findings
}

impl Builder<'_> {
    fn build(&mut self, folder: &RepoPath, above: &mut Vec<RepoPath>) -> Built {
        if let Some(built) = self.built.get(folder) {
            return built.clone();
        }
        let built = self.accumulate(folder, Built::default(), above);
        self.built.insert(folder.clone(), built.clone());
        built
    }

    /// Adds the objects that a list names to the objects built already. A component starts with those of the list that names
    /// it, any other list with none.
    fn accumulate(
        &mut self,
        folder: &RepoPath,
        mut built: Built,
        above: &mut Vec<RepoPath>,
    ) -> Built {
        let lists = self.lists;
        let Some(list) = lists.get(folder) else {
            built.is_open = true;
            return built;
        };
        above.push(folder.clone());
        let mut seen = BTreeSet::new();
        for (entry, position) in &list.resources {
            // In the application plane a path that is listed twice is reported as such.
            let is_repeated = layout::is_ours(&list.path)
                && list
                    .folder
                    .resolve(entry)
                    .is_some_and(|path| !seen.insert(path));
            if !is_repeated {
                self.resource(list, entry, *position, &mut built, above);
            }
        }
        self.generate(list, &mut built);
        for (entry, position) in &list.components {
            let Some(target) = self.listed(list, entry) else {
                built.is_open = true;
                continue;
            };
            if above.iter().any(|folder| folder.is_in(&target)) {
                self.add(
                    list,
                    *position,
                    format!("{entry} is a folder that lists this one"),
                );
                built.is_open = true;
            } else if !self.files.folders.contains(&target) {
                self.add(
                    list,
                    *position,
                    format!("{entry} is not the folder of a component"),
                );
                built.is_open = true;
            } else if self
                .lists
                .get(&target)
                .is_some_and(|found| found.kind != COMPONENT)
            {
                let message = format!("{entry} is not a component: list it under resources");
                self.add(list, *position, message);
                built.is_open = true;
            } else {
                built = self.accumulate(&target, built, above);
            }
        }
        self.transform(list, &mut built);
        built.keys = built
            .objects
            .iter()
            .map(|object| object.ids[0].key())
            .collect();
        above.pop();
        built
    }

    /// Returns the path of an entry, unless it is remote or [`lists`] reports it.
    fn listed(&self, list: &List, entry: &str) -> Option<RepoPath> {
        let folder = &list.folder;
        if lists::is_remote(entry) || lists::problem(self.files, self.lists, list, entry).is_some()
        {
            return None;
        }
        folder.resolve(entry)
    }

    fn resource(
        &mut self,
        list: &List,
        entry: &str,
        position: Position,
        built: &mut Built,
        above: &mut Vec<RepoPath>,
    ) {
        let Some(target) = self.listed(list, entry) else {
            built.is_open = true;
            return;
        };
        if self.files.folders.contains(&target) {
            if above.iter().any(|folder| folder.is_in(&target)) {
                self.add(
                    list,
                    position,
                    format!("{entry} lists itself, or a folder that lists it"),
                );
                built.is_open = true;
                return;
            }
            if self
                .lists
                .get(&target)
                .is_some_and(|found| found.kind == COMPONENT)
            {
                let message = format!("{entry} is a component: list it under components");
                self.add(list, position, message);
                built.is_open = true;
                return;
            }
            let below = self.build(&target, above);
            built.is_open |= below.is_open;
            self.append(list, entry, position, below.objects, built);
            return;
        }
        let objects = self.objects;
        match objects.get(&target) {
            Some(Ok(found)) => {
                let object = |manifest: &Manifest| Object {
                    ids: vec![manifest.id.clone()],
                    from: target.clone(),
                    content: Content::Original,
                };
                let found = found.iter().map(object).collect();
                self.append(list, entry, position, found, built);
            }
            // The file is reported, or it cannot be read here.
            Some(Err(_)) | None => built.is_open = true,
        }
    }

    /// Adds the objects of an entry, up to the first that is there already.
    fn append(
        &mut self,
        list: &List,
        entry: &str,
        position: Position,
        found: Vec<Object>,
        built: &mut Built,
    ) {
        for object in found {
            let id = &object.ids[0];
            if built.keys.insert(id.key()) {
                built.objects.push(object);
                continue;
            }
            let mut there = built.objects.iter();
            let from = there.find(|other| other.ids[0].equals(id));
            let from = from.map_or(&list.path, |same| &same.from);
            let message = if *from == object.from {
                format!(
                    "{entry} gives {} {} twice; kustomize then builds nothing at all",
                    id.kind, id.name
                )
            } else {
                format!(
                    "{entry} gives {} {}, as {} does; kustomize then builds nothing at all",
                    id.kind, id.name, from
                )
            };
            built.is_open = true;
            return self.add(list, position, message);
        }
    }

    fn generate(&mut self, list: &List, built: &mut Built) {
        for (kind, key) in [
            ("Secret", "secretGenerator"),
            ("ConfigMap", "configMapGenerator"),
        ] {
            for generator in list.items(key) {
                let text = |key| generator.get(key).and_then(Node::text).unwrap_or_default();
                let id = Id {
                    group: String::new(),
                    version: "v1".to_owned(),
                    kind: kind.to_owned(),
                    namespace: text("namespace").to_owned(),
                    name: text("name").to_owned(),
                };
                if id.name.is_empty() {
                    self.add(
                        list,
                        generator.into(),
                        format!("a {kind} of a generator needs a name"),
                    );
                    built.is_open = true;
                    continue;
                }
                let broken = self.broken_key(list, generator);
                let broken = broken.or_else(|| self.broken_content(kind, list, generator));
                if let Some((position, message)) = broken {
                    self.add(list, position, message);
                    built.is_open = true;
                }
                let is_merged = matches!(text("behavior"), "merge" | "replace");
                let there = built
                    .objects
                    .iter()
                    .filter(|other| other.ids.iter().any(|other| other.equals(&id)))
                    .count();
                match (is_merged, there) {
                    (true, 1) => {
                        let is_it =
                            |object: &&mut Object| object.ids.iter().any(|it| it.equals(&id));
                        if let Some(object) = built.objects.iter_mut().find(is_it) {
                            object.content = Content::Unknown;
                        }
                    }
                    (true, 0) if built.is_open => {}
                    (false, 0) => {
                        built.keys.insert(id.key());
                        built.objects.push(Object {
                            ids: vec![id],
                            from: list.path.clone(),
                            content: Content::Unknown,
                        });
                    }
                    (true, _) => {
                        let message = format!("there is no {kind} {} to merge with", id.name);
                        self.add(list, generator.into(), message);
                    }
                    (false, _) => {
                        let message = format!("there is a {kind} {} already", id.name);
                        self.add(list, generator.into(), message);
                    }
                }
            }
        }
        for key in ["helmCharts", "helmChartInflationGenerator"] {
            if let Some(charts) = list
                .root
                .get(key)
                .filter(|charts| !charts.items().is_empty())
            {
                let message = format!("{key}: Flux and `kubectl kustomize` render no chart");
                self.add(list, charts.into(), message);
                built.is_open = true;
            }
        }
        for key in ["generators", "transformers", "validators"] {
            for item in list.items(key) {
                built.is_open = true;
                self.plugin(list, item);
            }
        }
    }

    /// Refuses a plugin that is not kustomize's own: Flux starts none.
    fn plugin(&mut self, list: &List, item: &Node<'_>) {
        let entry = item.text().unwrap_or_default();
        let found = self.content_or_file(list, entry);
        let found = match found {
            Ok(found) => found,
            Err(Some(error)) => {
                return self.add(list, item.into(), format!("{entry} is broken: {error}"));
            }
            // A folder, or a file that is reported elsewhere.
            Err(None) => return,
        };
        for (Manifest { id, .. }, root) in &found {
            if root.get("apiVersion").and_then(Node::text) != Some(BUILTIN_API) {
                let message = format!(
                    "{} is a plugin, which neither Flux nor kubectl starts",
                    id.kind
                );
                self.add(list, item.into(), message);
            }
        }
    }

    fn transform(&mut self, list: &List, built: &mut Built) {
        let merges = list.items("patchesStrategicMerge");
        let mut are_empty = true;
        for item in merges {
            let text = item.text().unwrap_or_default();
            let patch = self.content_or_file(list, text);
            are_empty &= patch.as_ref().is_ok_and(Vec::is_empty);
            match patch {
                Ok(patch) => self.merge(list, item.into(), &patch, built),
                Err(Some(error)) => {
                    self.add(list, item.into(), format!("the patch is broken: {error}"));
                }
                Err(None) => built.is_open = true,
            }
        }
        if let (Some(first), true) = (merges.first(), are_empty) {
            let message = "the patches are empty: take the list out".to_owned();
            self.add(list, first.into(), message);
        }
        for patch in list.items("patches") {
            self.patch(list, patch, built);
        }
        self.rename(list, built);
        self.check_labels(list, built);
        if CHANGES.iter().any(|key| list.root.get(key).is_some()) {
            for object in &mut built.objects {
                object.content = Content::Unknown;
            }
        }
        for patch in list.items("patchesJson6902") {
            self.json_patch(list, patch, built);
        }
        for replicas in list.items("replicas") {
            let name = replicas
                .get("name")
                .and_then(Node::text)
                .unwrap_or_default();
            let is_there = built.objects.iter().any(|object| {
                let is_it = |id: &Id| id.name == name && REPLICATED.contains(&id.kind.as_str());
                object.ids.iter().any(is_it)
            });
            if !is_there && !built.is_open {
                self.add(
                    list,
                    replicas.into(),
                    format!("replicas: there is no workload {name}"),
                );
            }
        }
        if ["replacements", "vars"]
            .iter()
            .any(|key| !list.items(key).is_empty())
        {
            built.is_open = true;
        }
    }

    /// Returns the objects that an entry is or whose file it names; no error if the file is reported elsewhere.
    fn content_or_file(
        &self,
        list: &List,
        entry: &str,
    ) -> Result<Vec<(Manifest, Node<'static>)>, Option<YamlError>> {
        match manifests::read(entry) {
            Ok(found) => return Ok(found),
            Err(error) if lists::has_lines(entry) => return Err(Some(error)),
            Err(_) => {}
        }
        let path = list.folder.resolve(entry).ok_or(None)?;
        let text = self.read(&path).ok_or(None)?;
        manifests::read(&text).map_err(Some)
    }

    fn read(&self, path: &RepoPath) -> Option<String> {
        self.tree.read(path).ok().flatten()
    }

    /// Applies an entry of `patches`: a strategic merge patch or a JSON patch, whichever its content is.
    fn patch(&mut self, list: &List, patch: &Node<'static>, built: &mut Built) {
        let text = |key| patch.get(key).and_then(Node::text).unwrap_or_default();
        let position = Position::from(patch);
        let (inline, path) = (text("patch").trim(), text("path"));
        let content = match (inline.is_empty(), path.is_empty()) {
            (true, true) | (false, false) => {
                return self.add(
                    list,
                    position,
                    "a patch has either path or patch".to_owned(),
                );
            }
            (false, true) => inline.to_owned(),
            (true, false) => match list.folder.resolve(path).and_then(|path| self.read(&path)) {
                Some(content) => content,
                None => {
                    built.is_open = true;
                    return;
                }
            },
        };
        let position = patch
            .get("path")
            .or_else(|| patch.get("patch"))
            .map_or(position, Position::from);
        let target = patch.get("target");
        match (manifests::read(&content), json_patch::read(&content)) {
            (Ok(merge), Some(json)) if !merge.is_empty() && !json.is_empty() => {
                let message = "this is both a strategic merge patch and a JSON patch".to_owned();
                self.add(list, position, message);
            }
            (Err(merge), None) => {
                self.add(list, position, format!("the patch is broken: {merge}"));
            }
            (Ok(merge), _) if merge.is_empty() => {}
            (Ok(merge), _) => match target {
                None => self.merge(list, position, &merge, built),
                Some(_) if merge.len() > 1 => {
                    let message = "a patch with a target is one document".to_owned();
                    self.add(list, position, message);
                }
                Some(target) => self.merge_selected(list, target, &merge, built),
            },
            (Err(_), Some(json)) => match target {
                None => {
                    self.add(list, position, "a JSON patch needs a target".to_owned());
                }
                Some(target) => self.operate(list, target, position, &json, built),
            },
        }
    }

    fn json_patch(&mut self, list: &List, patch: &Node<'static>, built: &mut Built) {
        let text = |key| patch.get(key).and_then(Node::text).unwrap_or_default();
        let position = Position::from(patch);
        let target = patch.get("target");
        let name = target
            .and_then(|target| target.get("name"))
            .and_then(Node::text);
        if name.unwrap_or_default().is_empty() {
            return self.add(
                list,
                position,
                "a JSON patch needs a target with a name".to_owned(),
            );
        }
        let (inline, path) = (text("patch"), text("path"));
        if inline.is_empty() == path.is_empty() {
            return self.add(
                list,
                position,
                "a patch has either path or patch".to_owned(),
            );
        }
        let content = if path.is_empty() {
            Some(inline.to_owned())
        } else {
            list.folder.resolve(path).and_then(|path| self.read(&path))
        };
        let Some(content) = content else {
            built.is_open = true;
            return;
        };
        match (json_patch::read(&content), target) {
            (Some(found), Some(target)) if !found.is_empty() => {
                self.operate(list, target, position, &found, built);
            }
            _ => self.add(list, position, "the patch is broken or empty".to_owned()),
        }
    }

    /// Applies a strategic merge patch to the object that each of its documents names.
    fn merge(
        &mut self,
        list: &List,
        position: Position,
        patch: &[(Manifest, Node<'static>)],
        built: &mut Built,
    ) {
        for (manifest, root) in patch {
            let id = &manifest.id;
            let found: Vec<usize> = (0..built.objects.len())
                .filter(|index| {
                    built.objects[*index]
                        .ids
                        .iter()
                        .any(|other| other.equals(id))
                })
                .collect();
            match found.as_slice() {
                [one] => {
                    self.mergeable(list, position, root, [&built.objects[*one]]);
                    built.objects[*one].content = Content::Unknown;
                    if manifest.deletes {
                        built.objects.remove(*one);
                    }
                }
                _ if built.is_open => {}
                found => {
                    let number = if found.is_empty() {
                        "no"
                    } else {
                        "more than one"
                    };
                    let message = format!(
                        "the patch names {} {}, and there is {number} such object",
                        id.kind, id.name
                    );
                    self.add(list, position, message);
                }
            }
        }
    }

    fn merge_selected(
        &mut self,
        list: &List,
        target: &Node<'static>,
        patch: &[(Manifest, Node<'static>)],
        built: &mut Built,
    ) {
        let Some(selected) = self.select(list, target, built) else {
            return;
        };
        for (manifest, root) in patch {
            let objects = selected.iter().map(|index| &built.objects[*index]);
            self.mergeable(list, target.into(), root, objects);
            for index in &selected {
                built.objects[*index].content = Content::Unknown;
            }
            if manifest.deletes {
                let mut index = 0;
                built.objects.retain(|_| {
                    index += 1;
                    !selected.contains(&(index - 1))
                });
                built.is_open = true;
            }
        }
    }

    /// Finds why kustomize cannot merge a patch into objects.
    fn mergeable<'o>(
        &mut self,
        list: &List,
        position: Position,
        patch: &Node<'_>,
        objects: impl IntoIterator<Item = &'o Object>,
    ) {
        let mut objects = objects.into_iter().peekable();
        if objects.peek().is_none() {
            return;
        }
        let problem = if let Err(error) = kustomize::unwritable(patch) {
            Some(format!("the patch is broken: {error}"))
        } else {
            let patch = patch.to_json();
            unmergeable(&patch)
                .or_else(|| objects.find_map(|object| conflict(&self.content(object)?, &patch)))
        };
        if let Some(problem) = problem {
            self.add(list, position, problem);
        }
    }

    /// Applies a JSON patch to the objects that the target selects.
    fn operate(
        &mut self,
        list: &List,
        target: &Node<'static>,
        position: Position,
        patch: &[Operation],
        built: &mut Built,
    ) {
        let Some(selected) = self.select(list, target, built) else {
            return;
        };
        if selected.is_empty() {
            return;
        }
        let mut names = patch.iter().map(|operation| operation.name.as_str());
        if let Some(unknown) = names.find(|name| !OPERATIONS.contains(name)) {
            let message = format!("{unknown:?} is not an operation of a JSON patch");
            return self.add(list, position, message);
        }
        // Labels decide among the selected objects, and are not followed.
        let is_certain = ["labelSelector", "annotationSelector"]
            .iter()
            .all(|key| target.get(key).is_none());
        self.check_history(
            list,
            position,
            selected.iter().map(|index| &built.objects[*index]),
        );
        for index in selected {
            let content = self.content(&built.objects[index]);
            let patched = content.filter(|_| is_certain).map(|mut content| {
                let outcome = json_patch::apply(&mut content, patch);
                (content, outcome)
            });
            built.objects[index].content = match patched {
                Some((content, Outcome::Applied)) => Content::Patched(content),
                Some((_, Outcome::Failed(reason))) => {
                    self.add(
                        list,
                        position,
                        format!("the patch does not apply: {reason}"),
                    );
                    Content::Unknown
                }
                Some((_, Outcome::Unknown)) | None => Content::Unknown,
            };
        }
    }

    /// Finds an object whose former identity kustomize keeps and cannot read: it writes the identities with commas between them.
    fn check_history<'o>(
        &mut self,
        list: &List,
        position: Position,
        objects: impl IntoIterator<Item = &'o Object>,
    ) {
        // An empty name is not kept.
        let has_comma = |id: &&Id| {
            !id.name.is_empty()
                && [&id.kind, &id.name, &id.namespace]
                    .iter()
                    .any(|it| it.contains(','))
        };
        let mut ids = objects.into_iter().map(|object| &object.ids[0]);
        if let Some(Id { kind, name, .. }) = ids.find(has_comma) {
            let message = format!(
                "kustomize cannot change {kind} {name}: its name, namespace or kind has a comma"
            );
            self.add(list, position, message);
        }
    }

    /// Returns the content of an object, as far as it is known.
    fn content(&mut self, object: &Object) -> Option<Value> {
        match &object.content {
            Content::Original => {}
            Content::Patched(content) => return Some(content.clone()),
            Content::Unknown => return None,
        }
        let tree = self.tree;
        let found = self.parsed.entry(object.from.clone()).or_insert_with(|| {
            let text = tree.read(&object.from).ok().flatten().unwrap_or_default();
            manifests::read(&text).unwrap_or_default()
        });
        let id = object.ids.last()?;
        let (_, root) = found.iter().find(|(manifest, _)| manifest.id.equals(id))?;
        let mut content = root.to_json();
        // Names may have changed since.
        let id = &object.ids[0];
        if let Some(metadata) = content.get_mut("metadata") {
            metadata["name"] = Value::from(id.name.as_str());
        }
        Some(content)
    }

    /// Returns the objects that a target may select; `None` after a finding.
    fn select(&mut self, list: &List, target: &Node<'static>, built: &Built) -> Option<Vec<usize>> {
        let mut patterns = Vec::new();
        for key in ["group", "version", "kind", "name", "namespace"] {
            let Some(text) = target.get(key) else {
                continue;
            };
            let pattern = text.text().unwrap_or_default();
            if pattern.is_empty() {
                continue;
            }
            match Regex::new(&format!("^(?:{pattern})$")) {
                Ok(pattern) => patterns.push((key, pattern)),
                Err(_) => {
                    let message = format!("the target's {key} {pattern:?} is not a pattern");
                    self.add(list, text.into(), message);
                    return None;
                }
            }
        }
        let is_selected = |id: &Id| {
            patterns.iter().all(|(key, pattern)| {
                pattern.is_match(match *key {
                    "group" => &id.group,
                    "version" => &id.version,
                    "kind" => &id.kind,
                    "name" => &id.name,
                    _ => &id.namespace,
                })
            })
        };
        let selected = built.objects.iter().enumerate();
        let selected = selected.filter(|(_, object)| object.ids.iter().any(is_selected));
        Some(selected.map(|(index, _)| index).collect())
    }

    /// Sets the namespace, then the prefix and the suffix of names.
    fn rename(&mut self, list: &List, built: &mut Built) {
        let text = |key| list.root.get(key).and_then(Node::text).unwrap_or_default();
        let namespace = text("namespace");
        let position = |key| list.root.get(key).map_or(Position::FIRST, Position::from);
        if !namespace.is_empty() {
            self.check_history(list, position("namespace"), &built.objects);
            for index in 0..built.objects.len() {
                let mut id = built.objects[index].ids[0].clone();
                if id.kind == "Namespace" && id.group.is_empty() {
                    namespace.clone_into(&mut id.name);
                } else if id.is_namespaced() {
                    namespace.clone_into(&mut id.namespace);
                }
                built.objects[index].ids.insert(0, id.clone());
                let same = built
                    .objects
                    .iter()
                    .filter(|other| other.ids[0].equals(&id))
                    .count();
                if same > 1 {
                    let message = format!(
                        "namespace {namespace} makes two objects {} {} of one name",
                        id.kind, id.name
                    );
                    self.add(list, position("namespace"), message);
                    built.is_open = true;
                    break;
                }
            }
        }
        let (prefix, suffix) = (text("namePrefix"), text("nameSuffix"));
        if prefix.is_empty() && suffix.is_empty() {
            return;
        }
        let is_renamed = |object: &&Object| !FIXED_NAMES.contains(&object.ids[0].kind.as_str());
        let key = if prefix.is_empty() {
            "nameSuffix"
        } else {
            "namePrefix"
        };
        self.check_history(list, position(key), built.objects.iter().filter(is_renamed));
        for object in &mut built.objects {
            let mut id = object.ids[0].clone();
            if is_renamed(&&*object) {
                id.name = format!("{prefix}{}{suffix}", id.name);
                object.ids.insert(0, id);
            }
        }
    }

    /// Finds a key that a generator has twice, one that kustomize writes as a number, and a source of a wrong form.
    fn broken_key(&self, list: &List, generator: &Node<'static>) -> Option<(Position, String)> {
        let mut keys: Vec<(String, Position)> = Vec::new();
        for item in items(generator, "envs").chain(generator.get("env")) {
            let path = list.folder.resolve(item.text().unwrap_or_default());
            let text = path.and_then(|path| self.read(&path)).unwrap_or_default();
            let keys_of_file = variables(&text).map(|(key, _)| (key.to_owned(), item.into()));
            keys.extend(keys_of_file);
        }
        let literals = items(generator, "literals").map(|item| (item, false));
        let files = items(generator, "files").map(|item| (item, true));
        for (item, is_file) in literals.chain(files) {
            let text = item.text().unwrap_or_default();
            let key = match text.split_once('=') {
                Some((key, value))
                    if !key.is_empty()
                        && (!is_file || !value.is_empty() && !value.contains('=')) =>
                {
                    key
                }
                None if is_file => text
                    .trim_end_matches('/')
                    .rsplit('/')
                    .next()
                    .unwrap_or(text),
                _ => {
                    let message = format!("{text:?} is not of the form key=value");
                    return Some((item.into(), message));
                }
            };
            // kustomize writes and reads the list once more, which folds this line break.
            keys.push((key.replace('\u{85}', " "), item.into()));
        }
        let mut seen = BTreeSet::new();
        keys.into_iter().find_map(|(key, position)| {
            let message = if let Some(reason) = kustomize::unwritable_key(&key) {
                reason
            } else if !kustomize::stays(&key) {
                format!("kustomize writes the key {key} without quotes, where it is not text")
            } else if !seen.insert(key.clone()) {
                format!("the generator has the key {key} twice")
            } else {
                return None;
            };
            Some((position, message))
        })
    }

    /// Finds a file with a control character, in a ConfigMap's generator. A Secret's generator encodes its files.
    fn broken_content(
        &self,
        kind: &str,
        list: &List,
        generator: &Node<'static>,
    ) -> Option<(Position, String)> {
        if kind == "Secret" {
            return None;
        }
        let broken = |item: &Node<'_>, file: &str, find: fn(&str) -> Option<String>| {
            let content = self.read(&list.folder.resolve(file)?)?;
            Some((item.into(), format!("{file}: {}", find(&content)?)))
        };
        let in_file = items(generator, "files").find_map(|item| {
            let text = item.text()?;
            let file = text.split_once('=').map_or(text, |(_, file)| file);
            broken(item, file, kustomize::unwritable_character)
        });
        let mut envs = items(generator, "envs").chain(generator.get("env"));
        in_file.or_else(|| {
            envs.find_map(|item| {
                broken(item, item.text()?, |content| {
                    let mut variables = variables(content);
                    variables.find_map(|(_, value)| kustomize::unwritable_character(value))
                })
            })
        })
    }

    /// Refuses keys of labels and annotations that kustomize writes as a number or a truth value.
    fn check_labels(&mut self, list: &List, built: &Built) {
        if built.objects.is_empty() {
            return;
        }
        let maps = ["commonLabels", "commonAnnotations"].map(|key| list.root.get(key));
        let labels = list.items("labels").iter().map(|label| label.get("pairs"));
        let generators: Vec<_> = ["configMapGenerator", "secretGenerator"]
            .into_iter()
            .flat_map(|key| list.items(key))
            .collect();
        let of_all = list.root.get("generatorOptions");
        let of_all = of_all.filter(|_| !generators.is_empty());
        let options = generators.iter().map(|it| it.get("options"));
        let options = options.chain([of_all]).flatten();
        let of_options = options.flat_map(|it| ["labels", "annotations"].map(|key| it.get(key)));
        let pairs = maps
            .into_iter()
            .chain(labels)
            .chain(of_options)
            .flatten()
            .flat_map(Node::pairs);
        for pair in pairs.filter(|pair| !kustomize::stays_text(&pair.key)) {
            let key = pair.key.text().unwrap_or_default();
            let message =
                format!("kustomize writes the key {key} without quotes, where it is not text");
            self.add(list, (&pair.key).into(), message);
        }
    }

    fn add(&mut self, list: &List, position: Position, message: String) {
        self.findings
            .push(Finding::of_file(&list.path, "list", message, FIX).at(position));
    }
}

/// Finds why kustomize merges a patch into no object.
fn unmergeable(patch: &Value) -> Option<String> {
    if has_empty_key(patch) {
        return Some(EMPTY_KEY.to_owned());
    }
    let strategy = wrong_strategy(patch)?;
    Some(format!(
        "$patch: {strategy}: write delete, merge or replace"
    ))
}

/// Finds why kustomize cannot merge a patch into this object.
fn conflict(object: &Value, patch: &Value) -> Option<String> {
    if has_empty_key(object) {
        return Some(EMPTY_KEY.to_owned());
    }
    let key = other_kind(object, patch)?;
    Some(format!(
        "{key} is a map, a list or a scalar in the patch, and another of them in the object"
    ))
}

/// Whether a value has a map with an empty key, outside lists.
fn has_empty_key(value: &Value) -> bool {
    value.as_object().is_some_and(|fields| {
        fields
            .iter()
            .any(|(key, value)| key.is_empty() || has_empty_key(value))
    })
}

/// Finds a field that has another kind of value in a strategic merge patch than in the object.
fn other_kind<'p>(object: &Value, patch: &'p Value) -> Option<&'p str> {
    let kind = |value: &Value| (value.is_object(), value.is_array());
    let fields = patch.as_object()?;
    if fields.contains_key("$patch") {
        return None;
    }
    fields.iter().find_map(|(key, value)| {
        let there = object
            .get(key)
            .filter(|it| !it.is_null() && !value.is_null())?;
        if kind(there) != kind(value) {
            return Some(key.as_str());
        }
        other_kind(there, value)
    })
}

/// Finds a strategy in a strategic merge patch that kustomize does not know. It reads only those of what the object has, too; a
/// wrong one is a mistake everywhere.
fn wrong_strategy(patch: &Value) -> Option<String> {
    match patch {
        Value::Object(fields) => fields.iter().find_map(|(key, value)| {
            let strategy = value.as_str().unwrap_or_default();
            if key == "$patch" && !["delete", "merge", "replace"].contains(&strategy) {
                return Some(strategy.to_owned());
            }
            wrong_strategy(value)
        }),
        Value::Array(items) => items.iter().find_map(wrong_strategy),
        _ => None,
    }
}

/// Returns the names and the values of a generator's file of variables.
fn variables(text: &str) -> impl Iterator<Item = (&str, &str)> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let lines = text.lines().map(str::trim_start);
    lines
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|line| line.split_once('=').unwrap_or((line, "")))
        .filter(|(key, _)| !key.is_empty())
}

fn items<'n>(node: &'n Node<'static>, key: &str) -> impl Iterator<Item = &'n Node<'static>> {
    node.get(key).map(Node::items).unwrap_or_default().iter()
}
