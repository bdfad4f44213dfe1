//! What the review of a GitOps repository needs: [`lint`] names every file, line and fix.
//!
//! Each file is read once, by as many threads as there are processors, and judged by itself: it parses, it has the shape
//! of its kind (an unknown field is an error, so that a wrong indent cannot pass), ids and paths agree, values pass the
//! chart's schema, nothing floats. What it says of others is kept as `Facts` and judged when all are there:
//! lists, references, tenants in two tiers.

use crate::tree::{RepoPath, Tree};

mod facts;
mod files;
mod floating;
mod lists;
mod references;
mod shape;
mod tenants;
mod values;

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub struct Finding {
    /// The file.
    pub path: RepoPath,
    /// The line, from 1.
    pub line: Option<usize>,
    /// The column, from 1.
    pub column: Option<usize>,
    /// The rule's stable name: `yaml`, `unreadable`, `layout` (what cannot be here, or is missing), `shape` (a field, by the
    /// schema of its kind), `values` (by the chart's), `empty`, `ambiguous`, `release`, `id`, `tier`, `two-tiers`,
    /// `tombstone`, `pool`, `floating`, `reference`, `list` and `unlisted`.
    pub rule: &'static str,
    /// What is wrong.
    pub message: String,
    /// What to do, in words.
    pub fix: String,
}

/// Everything that is wrong in a repository, by path and line; empty for a clean one.
pub fn lint(tree: &dyn Tree) -> Vec<Finding> {
    let (files, mut findings) = files::walk(tree);
    let mut facts = files::read_all(tree, &files);
    for facts in &mut facts {
        findings.append(&mut facts.findings);
    }
    findings.extend(lists::check(&files, &facts));
    findings.extend(references::check(&files, &facts));
    findings.extend(tenants::in_two_tiers(&facts));
    findings.sort();
    findings.dedup();
    findings
}

impl Finding {
    /// A finding of a whole file.
    fn file(
        path: &RepoPath,
        rule: &'static str,
        message: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        Self {
            path: path.clone(),
            line: None,
            column: None,
            rule,
            message: message.into(),
            fix: fix.into(),
        }
    }

    /// The same, at a place.
    fn at(mut self, place: Place) -> Self {
        (self.line, self.column) = (Some(place.line), Some(place.column));
        self
    }
}

/// A place in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    line: usize,
    column: usize,
}

impl From<&crate::yaml::Node<'_>> for Place {
    fn from(node: &crate::yaml::Node<'_>) -> Self {
        Self {
            line: node.line,
            column: node.column,
        }
    }
}
