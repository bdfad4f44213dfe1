//! A new bare repository with one commit in it.

use std::fs;
use std::path::Path;

use super::failure::GitError;
use super::import::{self, Commit};
use super::names::{Author, Branch};
use super::program::{DEFAULT_TIMEOUT, Git};
use crate::tree::Edit;

/// Creates the bare repository `folder`, whose `branch` has one commit with these files. The folder appears complete or not
/// at all.
pub fn seed(folder: &Path, branch: &Branch, files: &[Edit], message: &str) -> Result<(), GitError> {
    let unwritable = |source| GitError::Cache {
        folder: folder.to_owned(),
        source,
    };
    let growing = folder.with_extension("new");
    if growing.exists() {
        fs::remove_dir_all(&growing).map_err(unwritable)?;
    }
    fs::create_dir_all(&growing).map_err(unwritable)?;
    let git = Git::new(&growing, DEFAULT_TIMEOUT);
    let head = format!("--initial-branch={branch}");
    git.output(
        &["init", "--quiet", "--bare", "--template=", &head, "."],
        &[],
    )?;
    let author = Author::tenantctl();
    let commit = Commit {
        parent: None,
        author: &author,
        message,
        edits: files,
    };
    import::run(&git, &format!("refs/heads/{branch}"), &[commit])?;
    fs::rename(&growing, folder).map_err(unwritable)
}
