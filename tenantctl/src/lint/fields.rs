//! The fields of a `kustomization.yaml`, as kustomize 5.8 decodes them: unknown fields and wrong types are errors, names of fields
//! are compared without case, the last of two equal keys wins, and `null` is an absent field.

use super::finding::Position;
use crate::yaml::{Node, NodeKind, Pair, Style, YamlError, kustomize, writable};

/// A type of kustomize.
pub(super) enum Type {
    Text,
    /// Text, or another scalar, which is read as text.
    Scalar,
    Truth,
    Number,
    Texts,
    TextMap,
    /// A list of anything.
    Items,
    Struct(Fields),
    List(Fields),
}

pub(super) type Fields = &'static [(&'static str, Type)];

use Type::{Items, List, Number, Scalar, Struct, Text, TextMap, Texts, Truth};

const METADATA: Fields = &[
    ("name", Text),
    ("namespace", Text),
    ("labels", TextMap),
    ("annotations", TextMap),
];
const FIELD_SPEC: Fields = &[
    ("group", Text),
    ("version", Text),
    ("kind", Text),
    ("path", Text),
    ("create", Truth),
];
const SELECTOR: Fields = &[
    ("group", Text),
    ("version", Text),
    ("kind", Text),
    ("name", Text),
    ("namespace", Text),
    ("annotationSelector", Text),
    ("labelSelector", Text),
];
const PATCH: Fields = &[
    ("path", Text),
    ("patch", Text),
    ("target", Struct(SELECTOR)),
    (
        "options",
        Struct(&[("allowNameChange", Truth), ("allowKindChange", Truth)]),
    ),
];
const IMAGE: Fields = &[
    ("name", Text),
    ("newName", Text),
    ("tagSuffix", Text),
    ("newTag", Text),
    ("digest", Text),
];
const OPTIONS: Fields = &[
    ("labels", TextMap),
    ("annotations", TextMap),
    ("disableNameSuffixHash", Truth),
    ("immutable", Truth),
];
const GENERATOR: Fields = &[
    ("namespace", Text),
    ("name", Text),
    ("behavior", Text),
    ("literals", Texts),
    ("files", Texts),
    ("envs", Texts),
    ("env", Text),
    ("options", Struct(OPTIONS)),
    // Of a Secret alone.
    ("type", Text),
];
const COPY: Fields = &[
    ("delimiter", Text),
    ("index", Number),
    ("encoding", Text),
    ("create", Truth),
];
const SOURCE: Fields = &[
    ("group", Text),
    ("version", Text),
    ("kind", Text),
    ("name", Text),
    ("namespace", Text),
    ("fieldPath", Text),
    ("options", Struct(COPY)),
];
const TARGET: Fields = &[
    ("select", Struct(SELECTOR)),
    ("reject", List(SELECTOR)),
    ("fieldPaths", Texts),
    ("options", Struct(COPY)),
];
const REPLACEMENT: Fields = &[
    ("path", Text),
    ("source", Struct(SOURCE)),
    ("sourceValue", Text),
    ("targets", List(TARGET)),
];
const LABEL: Fields = &[
    ("pairs", TextMap),
    ("includeSelectors", Truth),
    ("includeTemplates", Truth),
    ("fields", List(FIELD_SPEC)),
];
const VAR: Fields = &[
    ("name", Text),
    (
        "objref",
        Struct(&[
            ("apiVersion", Text),
            ("group", Text),
            ("version", Text),
            ("kind", Text),
            ("name", Text),
            ("namespace", Text),
        ]),
    ),
    ("fieldref", Struct(&[("fieldPath", Text)])),
];
const SORT: Fields = &[
    ("order", Text),
    (
        "legacySortOptions",
        Struct(&[("orderFirst", Texts), ("orderLast", Texts)]),
    ),
];
const KUSTOMIZATION: Fields = &[
    ("apiVersion", Text),
    ("kind", Text),
    ("metadata", Struct(METADATA)),
    ("openapi", TextMap),
    ("namePrefix", Text),
    ("nameSuffix", Text),
    ("namespace", Text),
    ("commonLabels", TextMap),
    ("labels", List(LABEL)),
    ("commonAnnotations", TextMap),
    ("patchesStrategicMerge", Texts),
    ("patchesJson6902", List(PATCH)),
    ("patches", List(PATCH)),
    ("images", List(IMAGE)),
    ("imageTags", List(IMAGE)),
    ("replacements", List(REPLACEMENT)),
    ("replicas", List(&[("name", Text), ("count", Number)])),
    ("vars", List(VAR)),
    ("sortOptions", Struct(SORT)),
    ("resources", Texts),
    ("components", Texts),
    ("crds", Texts),
    ("bases", Texts),
    ("configMapGenerator", List(GENERATOR)),
    ("secretGenerator", List(GENERATOR)),
    (
        "helmGlobals",
        Struct(&[("chartHome", Text), ("configHome", Text)]),
    ),
    // Kustomize builds no chart without a flag that Flux does not give: a list with one is refused.
    ("helmCharts", Items),
    ("helmChartInflationGenerator", Items),
    ("generatorOptions", Struct(OPTIONS)),
    ("configurations", Texts),
    ("generators", Texts),
    ("transformers", Texts),
    ("validators", Texts),
    ("buildMetadata", Texts),
];
/// Lists that kustomize adds to others and then forgets: an empty one leaves the file empty.
const FORGOTTEN: [&str; 3] = ["bases", "imageTags", "helmChartInflationGenerator"];

/// The version of the Kubernetes API that kustomize 5.8 has built in.
const BUILT_IN_OPENAPI: &str = "v1.21.2";

pub(super) const COMPONENT: &str = "Component";

/// Reason why kustomize refuses a `kustomization.yaml`.
pub(super) struct Refused {
    pub(super) position: Position,
    pub(super) message: String,
}

impl Refused {
    pub(super) fn at(node: &Node<'_>, message: impl Into<String>) -> Self {
        Self {
            position: node.into(),
            message: message.into(),
        }
    }
}

impl From<&YamlError> for Refused {
    fn from(error: &YamlError) -> Self {
        Self {
            position: error.into(),
            message: error.message.clone(),
        }
    }
}

/// Reads a `kustomization.yaml`: the fields under their proper names, without those that are `null`.
pub(super) fn read(text: &str) -> Result<Node<'static>, Refused> {
    let first = Position::FIRST;
    let root = first_document(text)?;
    let is_empty = || Refused {
        position: first,
        message: "kustomize calls this file empty, and stops".to_owned(),
    };
    let root = root.ok_or_else(is_empty)?;
    let NodeKind::Map { .. } = root.kind else {
        return Err(Refused::at(&root, "a kustomization.yaml is a map"));
    };
    let root = of_struct(root, KUSTOMIZATION, "")?;
    for Pair { key, value } in root.pairs() {
        // kustomize never writes the metadata of the list itself.
        if key.text() != Some("metadata") {
            writable::control_characters(value).map_err(|error| Refused::from(&error))?;
        }
    }
    let says_something = root.pairs().iter().any(|pair| {
        let name = pair.key.text().unwrap_or_default();
        let holds = match &pair.value.kind {
            NodeKind::Scalar { text, .. } => !text.is_empty(),
            NodeKind::List { items, .. } => !items.is_empty() || !FORGOTTEN.contains(&name),
            NodeKind::Map { .. } => true,
        };
        holds && !["apiVersion", "kind"].contains(&name)
    });
    if !says_something {
        return Err(is_empty());
    }
    let text = |key| root.get(key).and_then(Node::text).unwrap_or_default();
    let (kind, api) = (text("kind"), text("apiVersion"));
    let version = match kind {
        COMPONENT => "kustomize.config.k8s.io/v1alpha1",
        "" | "Kustomization" => "kustomize.config.k8s.io/v1beta1",
        _ => {
            let message = format!("kind is {kind}: write Kustomization or Component");
            return Err(Refused::at(root.reported_at(&["kind"]), message));
        }
    };
    if !api.is_empty() && api != version {
        let message = format!("apiVersion is {api}, but kustomize takes {version} alone");
        return Err(Refused::at(root.reported_at(&["apiVersion"]), message));
    }
    if let Some(openapi) = root.get("openapi") {
        check_openapi(openapi)?;
    }
    if let Some(sort) = root.get("sortOptions") {
        let order = sort.get("order").and_then(Node::text).unwrap_or_default();
        let is_legacy = order == "legacy";
        if !is_legacy && (order != "fifo" || sort.get("legacySortOptions").is_some()) {
            let message =
                "sortOptions needs an order, fifo or legacy, and fifo no legacySortOptions";
            return Err(Refused::at(sort, message));
        }
    }
    Ok(root)
}

/// Checks the choice of an OpenAPI document: a built-in version, or a file.
fn check_openapi(openapi: &Node<'static>) -> Result<(), Refused> {
    let version = openapi.get("version");
    if let (Some(version), Some(_)) = (version, openapi.get("path")) {
        let message = "openapi takes a version or a path, not both";
        return Err(Refused::at(version, message));
    }
    match version.filter(|version| !version.is_null()) {
        Some(version) if !["", BUILT_IN_OPENAPI].contains(&version.text().unwrap_or_default()) => {
            let message = format!("openapi.version: kustomize has {BUILT_IN_OPENAPI} alone");
            Err(Refused::at(version, message))
        }
        _ => Ok(()),
    }
}

pub(super) fn first_document(text: &str) -> Result<Option<Node<'static>>, Refused> {
    kustomize::kustomization(text).map_err(|error| Refused::from(&error))
}

/// Reads a map of these fields, whose place is `path`.
pub(super) fn of_struct(
    node: Node<'static>,
    fields: Fields,
    path: &str,
) -> Result<Node<'static>, Refused> {
    let Node {
        kind,
        span,
        line,
        column,
    } = node;
    let NodeKind::Map { mut pairs, is_flow } = kind else {
        let node = Node {
            kind,
            span,
            line,
            column,
        };
        let path = if path.is_empty() { "the file" } else { path };
        return Err(Refused::at(&node, format!("{path} must be a map")));
    };
    let mut kept: Vec<Pair<'static>> = Vec::with_capacity(pairs.len());
    // kustomize decodes JSON whose keys are sorted: of two spellings of one field, the later one in this order wins.
    pairs.sort_by(|one, other| one.key.text().cmp(&other.key.text()));
    for Pair { mut key, value } in pairs {
        let written = key.text().unwrap_or_default();
        let found = fields
            .iter()
            .find(|(name, _)| *name == written)
            .or_else(|| {
                fields
                    .iter()
                    .find(|(name, _)| name.eq_ignore_ascii_case(written))
            });
        let Some((name, kind)) = found else {
            let message = if path.is_empty() {
                format!("{written} is not a field")
            } else {
                format!("{written} is not a field of {path}")
            };
            return Err(Refused::at(&key, message));
        };
        kept.retain(|pair| pair.key.text() != Some(*name));
        if is_null(&value) {
            continue;
        }
        if let NodeKind::Scalar { text, .. } = &mut key.kind {
            *text = (*name).into();
        }
        let path = if path.is_empty() {
            (*name).to_owned()
        } else {
            format!("{path}.{name}")
        };
        let value = of_type(value, kind, &path)?;
        kept.push(Pair { key, value });
    }
    let kind = NodeKind::Map {
        pairs: kept,
        is_flow,
    };
    Ok(Node {
        kind,
        span,
        line,
        column,
    })
}

fn of_type(mut node: Node<'static>, kind: &Type, path: &str) -> Result<Node<'static>, Refused> {
    let wrong = |node: &Node<'_>, wanted: &str| {
        let quotes = if wanted == "text" {
            ": put it in quotes"
        } else {
            ""
        };
        Err(Refused::at(
            node,
            format!("{path} must be {wanted}{quotes}"),
        ))
    };
    match kind {
        Text if !is_text(&node) => wrong(&node, "text"),
        Scalar if node.text().is_none() => wrong(&node, "text"),
        Truth if kustomize::truth(&node).is_none() => wrong(&node, "true or false"),
        Number if !kustomize::is_whole_number(&node) => wrong(&node, "a whole number"),
        Items if !matches!(node.kind, NodeKind::List { .. }) => wrong(&node, "a list"),
        Text | Scalar | Truth | Number | Items => Ok(node),
        Texts => {
            let NodeKind::List { items, .. } = &mut node.kind else {
                return wrong(&node, "a list");
            };
            for item in items {
                if is_null(item) {
                    // JSON's null is the empty text.
                    let (text, style) = ("".into(), Style::Double);
                    item.kind = NodeKind::Scalar { text, style };
                }
                if !is_text(item) {
                    return wrong(item, "text");
                }
            }
            Ok(node)
        }
        TextMap => {
            let NodeKind::Map { pairs, .. } = &node.kind else {
                return wrong(&node, "a map");
            };
            let bad = pairs
                .iter()
                .find(|pair| !is_null(&pair.value) && !is_text(&pair.value));
            if let Some(pair) = bad {
                return wrong(&pair.value, "text");
            }
            match pairs
                .iter()
                .find(|pair| is_null(&pair.key) || pair.key.text().is_none())
            {
                Some(pair) => Err(Refused::at(&pair.key, "a key must be text")),
                None => Ok(node),
            }
        }
        Struct(fields) => of_struct(node, fields, path),
        List(fields) => {
            let NodeKind::List { items, is_flow } = node.kind else {
                return wrong(&node, "a list");
            };
            let item = |item: Node<'static>| {
                if is_null(&item) {
                    let kind = NodeKind::Map {
                        pairs: Vec::new(),
                        is_flow: true,
                    };
                    return Ok(Node { kind, ..item });
                }
                of_struct(item, fields, path)
            };
            let items = items.into_iter().map(item).collect::<Result<_, _>>()?;
            let kind = NodeKind::List { items, is_flow };
            Ok(Node { kind, ..node })
        }
    }
}

fn is_null(node: &Node<'_>) -> bool {
    node.is_null()
}

fn is_text(node: &Node<'_>) -> bool {
    kustomize::is_text(node)
}
