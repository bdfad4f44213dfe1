//! Collects the edits of a plan: the last edit of a file wins, and an edit without effect is dropped.

use std::collections::BTreeMap;

use super::error::PlanError;
use crate::kustomization;
use crate::layout::{self, KUSTOMIZATION};
use crate::lint;
use crate::tree::{Edit, RepoPath, Tree};
use crate::yaml::YamlError;

/// The present text of a file, and the new one.
type Change = (Option<String>, Option<String>);

/// The files to write.
pub(super) struct Edits<'t> {
    tree: &'t dyn Tree,
    files: BTreeMap<RepoPath, Change>,
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
        self.change_list(path, |text| {
            kustomization::add(text.unwrap_or(kustomization::EMPTY), path)
        })
    }

    /// Removes a file from its folder's kustomization.
    pub(super) fn unlist(&mut self, path: &RepoPath) -> Result<(), PlanError> {
        self.change_list(path, |text| {
            text.map_or(Ok(String::new()), |text| kustomization::remove(text, path))
        })
    }

    /// Refuses a folder whose list has another name: with a second list, kustomize would build neither.
    fn refuse_other_name(&self, folder: &RepoPath) -> Result<(), PlanError> {
        for name in layout::OTHER_KUSTOMIZATIONS {
            let path = folder
                .join(name)
                .expect("the name is a constant without a slash");
            if self.tree.read(&path)?.is_some() {
                let message =
                    format!("rename it to {KUSTOMIZATION}: kustomize takes one list per folder");
                return Err(PlanError::Broken {
                    path,
                    line: None,
                    message,
                });
            }
        }
        Ok(())
    }

    fn change_list(
        &mut self,
        path: &RepoPath,
        change: impl FnOnce(Option<&str>) -> Result<String, YamlError>,
    ) -> Result<(), PlanError> {
        let folder = path.parent().unwrap_or_else(RepoPath::root);
        let list = layout::kustomization(&folder);
        let before = self.tree.read(&list)?;
        if before.is_none() {
            self.refuse_other_name(&folder)?;
        }
        let edited = self.files.get(&list).map(|(_, after)| after.clone());
        let present = edited.unwrap_or_else(|| before.clone());
        let after = change(present.as_deref()).map_err(|error| PlanError::in_file(&list, error))?;
        if before.is_some() || !after.is_empty() {
            self.write(list, before, after);
        }
        Ok(())
    }

    /// Returns the edits by path.
    ///
    /// # Errors
    /// [`PlanError::Broken`] if lint finds an error in a written file that its present text does not have.
    pub(super) fn finish(self) -> Result<Vec<Edit>, PlanError> {
        let changes: Vec<_> = self
            .files
            .into_iter()
            .filter(|(_, (before, after))| before != after)
            .collect();
        refuse_new_errors(&changes)?;
        let edit = |(path, (_, content))| Edit { path, content };
        Ok(changes.into_iter().map(edit).collect())
    }
}

/// Refuses files with an error that no present file of the plan has: a move takes a tenant's own errors along.
fn refuse_new_errors(changes: &[(RepoPath, Change)]) -> Result<(), PlanError> {
    let errors = |path: &RepoPath, text: &Option<String>| {
        let text = text.as_deref();
        text.map_or_else(Vec::new, |text| lint::errors_of_file(path, text))
    };
    for (path, (_, after)) in changes {
        let mut found = errors(path, after);
        if found.is_empty() {
            continue;
        }
        for (path, (before, _)) in changes {
            for known in errors(path, before) {
                found.retain(|it| (it.rule, &it.message) != (known.rule, &known.message));
            }
        }
        if let Some(finding) = found.into_iter().next() {
            return Err(PlanError::Broken {
                path: path.clone(),
                line: finding.line,
                message: format!("after this change, {}; {}", finding.message, finding.fix),
            });
        }
    }
    Ok(())
}
