//! Files that tell kustomize which fields objects have: `configurations`, and the OpenAPI definitions of `crds` and `openapi`.

use serde_json::{Map, Value};

use super::{Builder, FIX, List};
use crate::lint::fields::Type::{List as Structs, Scalar, Truth};
use crate::lint::fields::{Fields, Refused, first_document, of_struct};
use crate::lint::finding::{Finding, Position};
use crate::yaml::{Node, NodeKind, kustomize};

/// Field of an object, in a file of `configurations`.
const PLACE: Fields = &[
    ("group", Scalar),
    ("version", Scalar),
    ("kind", Scalar),
    ("path", Scalar),
    ("create", Truth),
];
const CONFIGURATION: Fields = &[
    ("namePrefix", Structs(PLACE)),
    ("nameSuffix", Structs(PLACE)),
    ("namespace", Structs(PLACE)),
    ("commonLabels", Structs(PLACE)),
    ("labels", Structs(PLACE)),
    ("templateLabels", Structs(PLACE)),
    ("commonAnnotations", Structs(PLACE)),
    (
        "nameReference",
        Structs(&[
            ("group", Scalar),
            ("version", Scalar),
            ("kind", Scalar),
            ("fieldSpecs", Structs(PLACE)),
        ]),
    ),
    ("varReference", Structs(PLACE)),
    ("images", Structs(PLACE)),
    ("replicas", Structs(PLACE)),
];

impl Builder<'_> {
    /// Refuses files that kustomize cannot decode. [`crate::lint::lists`] reports those that do not exist.
    pub(super) fn configurations(&mut self, list: &List) {
        for item in list.items("configurations") {
            self.decode(list, item, check_configuration);
        }
        for item in list.items("crds") {
            self.decode(list, item, check_definitions);
        }
        if let Some(item) = list.root.at(&["openapi", "path"]) {
            self.decode(list, item, check_schema);
        }
    }

    fn decode(
        &mut self,
        list: &List,
        item: &Node<'_>,
        check: impl Fn(&str) -> Result<(), Refused>,
    ) {
        let Some(path) = list.folder.resolve(item.text().unwrap_or_default()) else {
            return;
        };
        let checked = self.read(&path).map(|text| check(&text));
        if let Some(Err(Refused { position, message })) = checked {
            let finding = Finding::of_file(&path, "list", message, FIX);
            self.findings.push(finding.at(position));
        }
    }
}

/// Checks a file of `openapi`. kustomize reads it once it needs the schema, and panics on a wrong one.
fn check_schema(text: &str) -> Result<(), Refused> {
    let refuse = |position, reason: &str| {
        let message = format!("not an OpenAPI document: {reason}");
        Err(Refused { position, message })
    };
    if let Some(document) = json(text) {
        return document
            .map(drop)
            .or_else(|error| refuse(Position::FIRST, &error.to_string()));
    }
    match kustomize::kustomization(text) {
        Ok(Some(root)) if is_map(&root) => Ok(()),
        Ok(Some(root)) => refuse(Position::from(&root), "not a map"),
        Ok(None) => refuse(Position::FIRST, "empty"),
        Err(error) => refuse(Position::from(&error), &error.message),
    }
}

/// Checks a file that is listed under `configurations`.
fn check_configuration(text: &str) -> Result<(), Refused> {
    let root = kustomize::configuration(text).map_err(|error| Refused::from(&error))?;
    root.map_or(Ok(()), |root| of_struct(root, CONFIGURATION, "").map(drop))
}

/// Checks a file that is listed under `crds`: OpenAPI definitions by name. The schemas themselves are not checked.
fn check_definitions(text: &str) -> Result<(), Refused> {
    let refuse = |message: String| {
        let position = Position::FIRST;
        Err(Refused { position, message })
    };
    if text.is_empty() {
        return refuse("kustomize panics on an empty file".to_owned());
    }
    if let Some(definitions) = json(text) {
        return match definitions {
            Err(error) => refuse(format!("not JSON: {error}")),
            Ok(found) if found.values().all(|it| it.is_object() || it.is_null()) => Ok(()),
            Ok(_) => refuse("not a map of OpenAPI definitions by name".to_owned()),
        };
    }
    let Some(root) = first_document(text)? else {
        return Ok(());
    };
    let mut values = root.pairs().iter().map(|pair| &pair.value);
    match values.find(|value| !value.is_null() && !is_map(value)) {
        Some(wrong) => Err(Refused::at(wrong, "not an OpenAPI definition")),
        None if is_map(&root) => Ok(()),
        None => Err(Refused::at(
            &root,
            "not a map of OpenAPI definitions by name",
        )),
    }
}

/// Reads a text that is JSON to kustomize, because it begins with a brace. Any other is YAML.
fn json(text: &str) -> Option<serde_json::Result<Map<String, Value>>> {
    text.starts_with('{').then(|| serde_json::from_str(text))
}

fn is_map(node: &Node<'_>) -> bool {
    matches!(node.kind, NodeKind::Map { .. })
}
