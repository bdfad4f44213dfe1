//! Findings, and the sink that the checks of one file report to.

use crate::tree::RepoPath;
use crate::yaml::{Node, YamlError};

/// One problem of the repository.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub struct Finding {
    pub path: RepoPath,
    /// From 1.
    pub line: Option<usize>,
    /// From 1.
    pub column: Option<usize>,
    /// Stable name of the rule: `yaml`, `unreadable`, `layout` (a misplaced or missing file), `shape` (a field, by the schema
    /// of its kind), `values` (by the chart's schema), `empty`, `ambiguous`, `release`, `id`, `tier`, `two-tiers`,
    /// `tombstone`, `pool`, `source`, `floating`, `reference`, `list` and `unlisted`.
    pub rule: &'static str,
    pub message: String,
    /// The remedy, as a sentence.
    pub fix: String,
    pub severity: Severity,
}

/// Weight of a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Kustomize builds nothing, or a file of the application plane is wrong.
    Error,
    /// Advice about a file outside the application plane that kustomize can build.
    Warning,
}

/// A position in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Position {
    line: usize,
    column: usize,
}

/// The findings of one file.
pub(super) struct Findings {
    pub(super) path: RepoPath,
    found: Vec<Finding>,
}

impl Finding {
    /// A finding about a whole file.
    pub(super) fn of_file(
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
            severity: Severity::Error,
        }
    }

    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }

    pub(super) fn into_warning(mut self) -> Self {
        self.severity = Severity::Warning;
        self
    }

    pub(super) fn at(mut self, position: Position) -> Self {
        (self.line, self.column) = (Some(position.line), Some(position.column));
        self
    }
}

impl Position {
    /// The position of a finding about a whole list.
    pub(super) const FIRST: Self = Self { line: 1, column: 1 };
}

impl Findings {
    pub(super) fn new(path: RepoPath) -> Self {
        Self {
            path,
            found: Vec::new(),
        }
    }

    pub(super) fn add(
        &mut self,
        rule: &'static str,
        position: impl Into<Position>,
        message: impl Into<String>,
        fix: impl Into<String>,
    ) {
        let finding = Finding::of_file(&self.path, rule, message, fix);
        self.found.push(finding.at(position.into()));
    }

    /// Adds a finding about the whole file.
    pub(super) fn add_for_file(
        &mut self,
        rule: &'static str,
        message: impl Into<String>,
        fix: impl Into<String>,
    ) {
        self.found
            .push(Finding::of_file(&self.path, rule, message, fix));
    }

    pub(super) fn len(&self) -> usize {
        self.found.len()
    }

    /// Turns every finding into a warning.
    pub(super) fn into_warnings(mut self) -> Self {
        self.found = self.found.into_iter().map(Finding::into_warning).collect();
        self
    }

    pub(super) fn extend(&mut self, other: Self) {
        self.found.extend(other.found);
    }

    pub(super) fn into_vec(self) -> Vec<Finding> {
        self.found
    }
}

impl From<&Node<'_>> for Position {
    fn from(node: &Node<'_>) -> Self {
        Self {
            line: node.line,
            column: node.column,
        }
    }
}

impl From<&YamlError> for Position {
    fn from(error: &YamlError) -> Self {
        Self {
            line: error.line,
            column: error.column,
        }
    }
}
