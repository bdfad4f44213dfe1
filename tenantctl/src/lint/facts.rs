//! What one file says: its findings, and the facts that other files are judged by.

use tenantry_tenancy::tenant::TenantId;

use super::files::Role;
use super::{Finding, Place, floating, lists, references, shape, tenants};
use crate::tree::{RepoPath, Tree};
use crate::yaml::{Node, parse};

/// One file, read and judged by itself.
pub(super) struct Facts {
    pub(super) path: RepoPath,
    pub(super) findings: Vec<Finding>,
    /// The tenant whose file it is, or was.
    pub(super) tenant: Option<TenantId>,
    pub(super) objects: Vec<Object>,
    pub(super) references: Vec<Reference>,
    /// Where it is a folder's list.
    pub(super) list: Option<lists::List>,
    /// Images without a tag of their own; a kustomization may give them one.
    pub(super) bare_images: Vec<(String, Place)>,
}

/// A Kubernetes object.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Object {
    pub(super) kind: String,
    pub(super) namespace: Option<String>,
    pub(super) name: String,
}

/// What has to be there for a file to work.
#[derive(Debug)]
pub(super) struct Reference {
    pub(super) to: Target,
    pub(super) place: Place,
}

#[derive(Debug)]
pub(super) enum Target {
    Object(Object),
    /// The release of a pool.
    Pool(String),
    /// A folder of this repository, as Flux takes it.
    Folder(String),
}

impl Facts {
    /// Reads one file.
    pub(super) fn of(tree: &dyn Tree, path: &RepoPath, role: &Role) -> Self {
        let mut facts = Self {
            path: path.clone(),
            findings: Vec::new(),
            tenant: None,
            objects: Vec::new(),
            references: Vec::new(),
            list: None,
            bare_images: Vec::new(),
        };
        if let Role::Tenant { id, .. } | Role::Tombstone { id } = role {
            facts.tenant = Some(id.clone());
        }
        match tree.read(path) {
            Ok(Some(text)) => facts.take(&text, role),
            Ok(None) => {
                facts.add(
                    "unreadable",
                    None,
                    "the file went away while it was read",
                    "run this again",
                );
            }
            Err(error) => facts.add(
                "unreadable",
                None,
                error.to_string(),
                "put a text file here",
            ),
        }
        facts
    }

    /// One more finding.
    pub(super) fn add(
        &mut self,
        rule: &'static str,
        place: Option<Place>,
        message: impl Into<String>,
        fix: impl Into<String>,
    ) {
        let finding = Finding::file(&self.path, rule, message, fix);
        self.findings.push(match place {
            Some(place) => finding.at(place),
            None => finding,
        });
    }

    fn take(&mut self, text: &str, role: &Role) {
        let documents = match parse(text) {
            Ok(documents) => documents,
            Err(error) => {
                let place = Place {
                    line: error.line,
                    column: error.column,
                };
                let fix = "correct it; a broken file stops Flux for everything in its folder";
                return self.add("yaml", Some(place), error.message, fix);
            }
        };
        if *role == Role::List {
            self.list = lists::List::of(self, text, &documents);
            return;
        }
        for document in &documents {
            self.take_object(&document.root);
            shape::check(self, &document.root);
        }
        match role {
            Role::Yaml => {
                for document in &documents {
                    floating::check(self, &document.root);
                }
            }
            Role::Tenant { .. }
            | Role::Tombstone { .. }
            | Role::Pool { .. }
            | Role::Template { .. } => {
                tenants::check(self, role, documents);
            }
            Role::List | Role::Other => {}
        }
    }

    fn take_object(&mut self, root: &Node<'_>) {
        let text = |path: &[&str]| root.at(path).and_then(Node::text).map(str::to_owned);
        let (Some(api), Some(kind), Some(name)) = (
            text(&["apiVersion"]),
            text(&["kind"]),
            text(&["metadata", "name"]),
        ) else {
            return;
        };
        // Kustomize's own kind of this name is a list, not an object.
        if api.starts_with("kustomize.config.k8s.io/") {
            return;
        }
        let object = Object {
            kind,
            namespace: text(&["metadata", "namespace"]),
            name,
        };
        references::gather(self, root, &object);
        self.objects.push(object);
    }
}
