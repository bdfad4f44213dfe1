//! Generators of ConfigMaps and Secrets, and plugins.

use std::collections::BTreeSet;

use super::{Builder, Built, Content, List, Manifest, Object};
use crate::lint::finding::Position;
use crate::lint::lists;
use crate::lint::manifests::Id;
use crate::yaml::{Node, kustomize, writable};

/// The `apiVersion` of the plugins that kustomize has built in.
const BUILTIN_API: &str = "builtin";

impl Builder<'_> {
    pub(super) fn generate(&mut self, list: &List, built: &mut Built) {
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
                        let object = Object {
                            ids: vec![id.clone()],
                            from: list.path.clone(),
                            content: Content::Unknown,
                        };
                        // The hash of its content becomes a part of its name.
                        if is_hashed(list, generator) {
                            self.check_history(list, generator.into(), [&object]);
                        }
                        built.keys.insert(id.key());
                        built.objects.push(object);
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
            keys.push((folded(key), item.into()));
        }
        let mut seen = BTreeSet::new();
        keys.into_iter().find_map(|(key, position)| {
            let message = if let Some(reason) = writable::unwritable_key(&key) {
                reason
            } else if !writable::stays(&key) {
                format!("kustomize writes the key {key} without quotes, where it is not text")
            } else if !seen.insert(key.clone()) {
                format!("the generator has the key {key} twice")
            } else {
                return None;
            };
            Some((position, message))
        })
    }

    /// Finds a value that kustomize cannot write, in a ConfigMap's generator. A Secret's generator encodes the values.
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
            broken(item, lists::source(item), |content| {
                writable::unwritable_character(content)
                    .or_else(|| writable::unwritable_block(content))
            })
        });
        let in_literal = || {
            items(generator, "literals").find_map(|item| {
                let (_, value) = item.text()?.split_once('=')?;
                let value = folded(unquoted(value));
                Some((item.into(), writable::unwritable_block(&value)?))
            })
        };
        let mut envs = items(generator, "envs").chain(generator.get("env"));
        in_file.or_else(in_literal).or_else(|| {
            envs.find_map(|item| {
                broken(item, item.text()?, |content| {
                    let mut variables = variables(content);
                    variables.find_map(|(_, value)| writable::unwritable_character(value))
                })
            })
        })
    }
}

/// Returns a text of the list as kustomize has it: it writes and reads the list once more, which folds this line break.
pub(super) fn folded(text: &str) -> String {
    text.replace('\u{85}', " ")
}

/// Returns the value of a literal without one pair of quotes around it.
fn unquoted(value: &str) -> &str {
    let inner = |quote| value.strip_prefix(quote)?.strip_suffix(quote);
    inner('"').or_else(|| inner('\'')).unwrap_or(value)
}

/// Whether the name of a generated object gets a hash.
fn is_hashed(list: &List, generator: &Node<'static>) -> bool {
    let of_all = list.root.get("generatorOptions");
    let options = [generator.get("options"), of_all];
    !options.into_iter().flatten().any(|options| {
        let option = options.get("disableNameSuffixHash");
        option.and_then(kustomize::truth) == Some(true)
    })
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
