//! A plan as a patch for `git apply`: git's own diff of two commits in a scratch repository with the changed files alone.

use std::path::Path;

use super::failure::GitError;
use super::import::{self, Commit};
use super::names::Author;
use super::program::{DEFAULT_TIMEOUT, Git};
use crate::tree::{Edit, Tree, TreeError};

const REFERENCE: &str = "refs/heads/patch";

#[derive(Debug, thiserror::Error)]
pub enum PatchError {
    #[error(transparent)]
    Tree(#[from] TreeError),
    #[error(transparent)]
    Git(#[from] GitError),
}

/// Returns the edits as a unified patch; empty if they change nothing.
pub fn patch(tree: &dyn Tree, edits: &[Edit], scratch: &Path) -> Result<String, PatchError> {
    let mut before = Vec::new();
    for edit in edits {
        let content = tree.read(&edit.path)?;
        before.extend(content.map(|text| Edit {
            path: edit.path.clone(),
            content: Some(text),
        }));
    }
    let git = Git::new(scratch, DEFAULT_TIMEOUT);
    git.output(&["init", "--quiet", "--bare", "--template=", "."], &[])?;
    let author = Author::tenantctl();
    let commit = |edits, message| Commit {
        parent: None,
        author: &author,
        message,
        edits,
    };
    let old = import::run(&git, REFERENCE, &[commit(&before, "before")])?;
    let after = Commit {
        parent: Some(&old),
        ..commit(edits, "after")
    };
    let new = import::run(&git, REFERENCE, &[after])?;
    let options = [
        "-p",
        "--no-ext-diff",
        "--no-textconv",
        "--no-color",
        "--no-renames",
        "--full-index",
    ];
    let mut arguments = vec!["diff-tree"];
    arguments.extend(options);
    arguments.extend([old.as_str(), new.as_str()]);
    Ok(git.output(&arguments, &[])?)
}
