//! The objects of a file as kustomize reads them, and their identities.

use std::collections::HashSet;

use crate::yaml::{Node, NodeKind, YamlError, kustomize, writable};

/// Kinds of Kubernetes without a namespace, each with its group; kustomize takes every other kind, also an unknown one, for a
/// namespaced one.
const CLUSTER_KINDS: [(&str, &str); 25] = [
    ("apiregistration.k8s.io", "APIService"),
    ("storage.k8s.io", "CSIDriver"),
    ("storage.k8s.io", "CSINode"),
    ("certificates.k8s.io", "CertificateSigningRequest"),
    ("rbac.authorization.k8s.io", "ClusterRole"),
    ("rbac.authorization.k8s.io", "ClusterRoleBinding"),
    ("", "ComponentStatus"),
    ("apiextensions.k8s.io", "CustomResourceDefinition"),
    ("flowcontrol.apiserver.k8s.io", "FlowSchema"),
    ("networking.k8s.io", "IngressClass"),
    (
        "admissionregistration.k8s.io",
        "MutatingWebhookConfiguration",
    ),
    ("", "Namespace"),
    ("", "Node"),
    ("", "PersistentVolume"),
    ("scheduling.k8s.io", "PriorityClass"),
    ("flowcontrol.apiserver.k8s.io", "PriorityLevelConfiguration"),
    ("node.k8s.io", "RuntimeClass"),
    ("authorization.k8s.io", "SelfSubjectAccessReview"),
    ("authorization.k8s.io", "SelfSubjectRulesReview"),
    ("storage.k8s.io", "StorageClass"),
    ("authorization.k8s.io", "SubjectAccessReview"),
    ("authentication.k8s.io", "TokenReview"),
    ("admissionregistration.k8s.io", "ValidatingAdmissionPolicy"),
    (
        "admissionregistration.k8s.io",
        "ValidatingAdmissionPolicyBinding",
    ),
    ("storage.k8s.io", "VolumeAttachment"),
];
/// Suffix of a kind that may be a list of objects.
const LIST_SUFFIX: &str = "List";

/// The identity of an object; kustomize builds no two objects with the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Id {
    pub(super) group: String,
    pub(super) version: String,
    pub(super) kind: String,
    pub(super) namespace: String,
    pub(super) name: String,
}

/// An object of a file.
#[derive(Debug, Clone)]
pub(super) struct Manifest {
    pub(super) id: Id,
    /// Whether a patch with this content deletes its target.
    pub(super) deletes: bool,
}

impl Id {
    pub(super) fn of(root: &Node<'_>) -> Self {
        let text = |path: &[&str]| root.at(path).and_then(value).unwrap_or_default();
        let api = text(&["apiVersion"]);
        let (group, version) = api.split_once('/').unwrap_or(("", api));
        Self {
            group: group.to_owned(),
            version: version.to_owned(),
            kind: text(&["kind"]).to_owned(),
            namespace: text(&["metadata", "namespace"]).to_owned(),
            name: text(&["metadata", "name"]).to_owned(),
        }
    }

    pub(super) fn is_namespaced(&self) -> bool {
        self.version.is_empty()
            || !CLUSTER_KINDS.contains(&(self.group.as_str(), self.kind.as_str()))
    }

    /// Returns a text that is equal for two identities exactly if kustomize treats them as one. To kustomize, an absent
    /// namespace is `default`.
    pub(super) fn key(&self) -> String {
        let namespace = match self.namespace.as_str() {
            _ if !self.is_namespaced() => "",
            "" => "default",
            namespace => namespace,
        };
        let Self {
            group,
            version,
            kind,
            name,
            ..
        } = self;
        [group, version, kind, namespace, name].join("\n")
    }

    pub(super) fn equals(&self, other: &Self) -> bool {
        self.name == other.name && self.key() == other.key()
    }
}

/// Reads the objects of a file or a patch.
pub(super) fn read(text: &str) -> Result<Vec<(Manifest, Node<'static>)>, YamlError> {
    let mut open = kustomize::objects(text)?;
    let is_alone = open.len() == 1;
    open.reverse();
    let mut found = Vec::new();
    while let Some(root) = open.pop() {
        if is_empty(&root) {
            continue;
        }
        let id = Id::of(&root);
        if id.kind.is_empty() {
            return Err(YamlError::at(&root, "not an object: kind is missing"));
        }
        // A file of one `List` is taken apart without being decoded.
        let is_decoded = id.kind.ends_with(LIST_SUFFIX) && !(is_alone && id.kind == LIST_SUFFIX);
        if is_decoded {
            decodable(&root)?;
        }
        let items = root.get("items").filter(|_| id.kind.ends_with(LIST_SUFFIX));
        match items.map(|items| &items.kind) {
            Some(NodeKind::List { items, .. }) => {
                open.extend(items.iter().rev().cloned());
                continue;
            }
            // Of such a file kustomize builds nothing.
            Some(_) if !is_decoded || items.is_some_and(Node::is_null) => continue,
            Some(_) => return Err(YamlError::at(&root, "items must be a list of objects")),
            None => {}
        }
        if id.name.is_empty() && !id.kind.ends_with(LIST_SUFFIX) {
            return Err(YamlError::at(
                &root,
                "not an object: metadata.name is missing",
            ));
        }
        let metadata = root.get("metadata").filter(|it| !it.is_null());
        if metadata.is_some_and(|it| !matches!(it.kind, NodeKind::Map { .. })) {
            return Err(YamlError::at(
                &root,
                "not an object: metadata must be a map",
            ));
        }
        let deletes = root.get("$patch").and_then(Node::text) == Some("delete");
        found.push((Manifest { id, deletes }, root));
    }
    Ok(found)
}

/// Finds why kustomize cannot decode a list of objects, and write its items.
fn decodable(list: &Node<'static>) -> Result<(), YamlError> {
    let mut seen = HashSet::new();
    let mut keys = list.pairs().iter().map(|pair| &pair.key);
    if let Some(key) = keys.find(|key| key.text().is_none() || !seen.insert(key.text())) {
        return Err(YamlError::at(key, "a key must be text, and there once"));
    }
    let items = list.get("items").map(Node::items).unwrap_or_default();
    items.iter().try_for_each(writable::unwritable_item)
}

/// Returns the text of a scalar that is not null.
fn value<'n>(node: &'n Node<'_>) -> Option<&'n str> {
    node.text().filter(|_| !node.is_null())
}

fn is_empty(root: &Node<'_>) -> bool {
    match &root.kind {
        NodeKind::Scalar { .. } => root.is_null(),
        NodeKind::Map { pairs, .. } => pairs.is_empty(),
        NodeKind::List { items, .. } => items.is_empty(),
    }
}
