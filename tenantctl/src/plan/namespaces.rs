//! Namespaces of the platform: their names are not free as tenant ids.
//!
//! A reserved name is never a tenant id. A repository may also hold namespaces of its own components. Flux may not change these
//! for a tenant, and one refused change stops the reconciliation of all tenants.

use tenantry_tenancy::tenant::TenantId;

use super::error::PlanError;
use super::find::{Location, locate};
use crate::layout;
use crate::request::Request;
use crate::tree::{EntryKind, RepoPath, Tree};
use crate::yaml::{Node, kustomize};

/// Refuses to onboard a new tenant whose id is a namespace outside the application plane. Reads every other YAML file.
///
/// # Errors
/// [`PlanError::NamespaceTaken`] with the file that makes the namespace.
pub fn check_namespace(tree: &dyn Tree, request: &Request) -> Result<(), PlanError> {
    let Request::Onboard { tenant, .. } = request else {
        return Ok(());
    };
    if !matches!(locate(tree, tenant)?, Location::Absent) {
        return Ok(());
    }
    let mut folders = vec![RepoPath::root()];
    while let Some(folder) = folders.pop() {
        for entry in tree.list(&folder)? {
            match entry.kind {
                EntryKind::Folder if !layout::is_ours(&entry.path) => folders.push(entry.path),
                EntryKind::File if entry.path.yaml_stem().is_some() => {
                    // A file that is not text makes no namespace.
                    let text = tree.read(&entry.path).ok().flatten().unwrap_or_default();
                    if makes(&text, tenant) {
                        let (tenant, path) = (tenant.clone(), entry.path);
                        return Err(PlanError::NamespaceTaken { tenant, path });
                    }
                }
                _ => {}
            }
        }
    }
    Ok(())
}

/// Whether a file has the Namespace.
fn makes(text: &str, tenant: &TenantId) -> bool {
    if !text.contains("Namespace") || !text.contains(tenant.as_str()) {
        return false;
    }
    let objects = kustomize::objects(text).unwrap_or_default();
    objects
        .iter()
        .any(|root| is_namespace(root, tenant.as_str()))
}

fn is_namespace(root: &Node<'_>, name: &str) -> bool {
    let text = |path: &[&str]| root.at(path).and_then(Node::text);
    text(&["apiVersion"]) == Some("v1")
        && text(&["kind"]) == Some("Namespace")
        && text(&["metadata", "name"]) == Some(name)
}
