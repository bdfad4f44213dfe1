//! Collects the edits of a plan: the last edit of a file wins, and an edit without effect is dropped.

use std::collections::BTreeMap;

use super::error::PlanError;
use crate::kustomization;
use crate::layout;
use crate::tree::{Edit, RepoPath, Tree};
use crate::yaml::YamlError;

/// The files to write, each with its present text.
pub(super) struct Edits<'t> {
    tree: &'t dyn Tree,
    files: BTreeMap<RepoPath, (Option<String>, Option<String>)>,
}

impl<'t> Edits<'t> {
    pub(super) fn new(tree: &'t dyn Tree) -> Self {
        Self {
            tree,
            files: BTreeMap::new(),
        }
    }

    /// Writes a file; `before` is its present text.
    pub(super) fn write(&mut self, path: RepoPath, before: Option<String>, after: String) {
        self.files.insert(path, (before, Some(after)));
    }

    pub(super) fn delete(&mut self, path: RepoPath, before: String) {
        self.files.insert(path, (Some(before), None));
    }

    /// Lists a file in its folder's kustomization, and the folder in the one above. Flux removes an object that it does not reach.
    pub(super) fn list(&mut self, path: &RepoPath) -> Result<(), PlanError> {
        if let Some(folder) = path.parent().filter(|folder| *folder != layout::tenants()) {
            self.list_one(&folder)?;
        }
        self.list_one(path)
    }

    fn list_one(&mut self, path: &RepoPath) -> Result<(), PlanError> {
        self.change_list(path, |text, name| {
            kustomization::add(text.unwrap_or(kustomization::EMPTY), name)
        })
    }

    /// Removes a file from its folder's kustomization.
    pub(super) fn unlist(&mut self, path: &RepoPath) -> Result<(), PlanError> {
        self.change_list(path, |text, name| {
            text.map_or(Ok(String::new()), |text| kustomization::remove(text, name))
        })
    }

    fn change_list(
        &mut self,
        path: &RepoPath,
        change: impl FnOnce(Option<&str>, &str) -> Result<String, YamlError>,
    ) -> Result<(), PlanError> {
        let list = layout::kustomization(&path.parent().unwrap_or_else(RepoPath::root));
        let before = self.tree.read(&list)?;
        let after = change(before.as_deref(), path.file_name())
            .map_err(|error| PlanError::in_file(&list, error))?;
        if before.is_some() || !after.is_empty() {
            self.write(list, before, after);
        }
        Ok(())
    }

    /// Returns the edits by path.
    pub(super) fn finish(self) -> Vec<Edit> {
        let changes = self
            .files
            .into_iter()
            .filter(|(_, (before, after))| before != after);
        changes
            .map(|(path, (_, content))| Edit { path, content })
            .collect()
    }
}
