//! Facts that one file states, for the checks across files.

use tenantry_tenancy::tenant::TenantId;

use super::finding::Position;
use super::manifests::Manifest;
use crate::tree::RepoPath;
use crate::yaml::YamlError;

/// Facts of one file.
pub(super) struct Facts {
    pub(super) path: RepoPath,
    /// The tenant of a tenant's file or tombstone.
    pub(super) tenant: Option<TenantId>,
    pub(super) objects: Vec<Object>,
    pub(super) references: Vec<Reference>,
    /// The objects as kustomize reads them.
    pub(super) manifests: Result<Vec<Manifest>, YamlError>,
    /// Images without a tag of their own; a kustomization may give them one.
    pub(super) bare_images: Vec<(String, Position)>,
}

/// A Kubernetes object.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Object {
    pub(super) kind: String,
    pub(super) namespace: Option<String>,
    pub(super) name: String,
}

/// Something that must exist for the file to work.
#[derive(Debug)]
pub(super) struct Reference {
    pub(super) to: Target,
    pub(super) position: Position,
}

#[derive(Debug)]
pub(super) enum Target {
    Object(Object),
    /// The release of a pool.
    Pool(String),
    /// A folder of this repository, as Flux writes its path.
    Folder(String),
}

impl Facts {
    pub(super) fn new(path: RepoPath, tenant: Option<TenantId>) -> Self {
        Self {
            path,
            tenant,
            objects: Vec::new(),
            references: Vec::new(),
            manifests: Ok(Vec::new()),
            bare_images: Vec::new(),
        }
    }

    pub(super) fn refer(&mut self, to: Target, position: impl Into<Position>) {
        let position = position.into();
        self.references.push(Reference { to, position });
    }
}
