//! The objects that kustomize builds from each list, or the reason why it builds nothing.
//!
//! The module follows kustomize 5.8 with its defaults: resources and bases, generators, components, then patches, namespace and
//! names. It compares identities of objects, and their other content where a JSON patch names it. It does not follow remote
//! resources, transformers, replacements and variables: it checks that their files exist, and treats their result as unknown.

mod configurations;
mod generators;
mod patches;
mod selectors;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use serde_json::Value;

use super::fields::COMPONENT;
use super::files::Files;
use super::finding::{Finding, Position};
use super::lists::{self, List};
use super::manifests::{self, Id, Manifest};
use crate::layout;
use crate::tree::{RepoPath, Tree};
use crate::yaml::kustomize::MERGE_KEY;
use crate::yaml::{Node, YamlError, writable};

const FIX: &str =
    "correct it; kustomize then builds nothing of this list and of the lists that name it";
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

    fn transform(&mut self, list: &List, built: &mut Built) {
        self.configurations(list);
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

    /// Refuses keys of labels and annotations that kustomize writes as a number or a truth value, and values that it cannot
    /// write. Without an object it writes only its own configuration, in which a merge key is wrong, too.
    fn check_labels(&mut self, list: &List, built: &Built) {
        let is_written = !built.objects.is_empty();
        let maps = ["commonLabels", "commonAnnotations"].map(|key| list.root.get(key));
        let labels = list.items("labels").iter().map(|label| label.get("pairs"));
        let of_all = list.root.get("generatorOptions");
        let of_all = of_all.filter(|_| list.generators().next().is_some());
        let options = list.generators().map(|it| it.get("options"));
        let options = options.chain([of_all]).flatten();
        let of_options = options.flat_map(|it| ["labels", "annotations"].map(|key| it.get(key)));
        let pairs = maps
            .into_iter()
            .chain(labels)
            .chain(of_options)
            .flatten()
            .flat_map(Node::pairs);
        for pair in pairs {
            let key = pair.key.text().unwrap_or_default();
            let is_wrong = if is_written {
                !writable::stays_text(&pair.key)
            } else {
                key == MERGE_KEY
            };
            // kustomize writes the map into its own configuration, which it reads again.
            if let Some(message) = writable::unwritable_break(key) {
                self.add(list, (&pair.key).into(), message);
            } else if is_wrong {
                let message =
                    format!("kustomize writes the key {key} without quotes, where it is not text");
                self.add(list, (&pair.key).into(), message);
            }
            let value = pair.value.text().filter(|_| is_written);
            let value = value.map(generators::folded);
            if let Some(message) = value.as_deref().and_then(writable::unwritable_block) {
                self.add(list, (&pair.value).into(), message);
            }
        }
    }

    fn add(&mut self, list: &List, position: Position, message: String) {
        self.findings
            .push(Finding::of_file(&list.path, "list", message, FIX).at(position));
    }
}
