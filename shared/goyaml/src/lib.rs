//! YAML by the rules of go-yaml, the library that kustomize reads it with.
//!
//! Neither version of YAML describes these rules. They are those of libyaml 0.1 with go-yaml's own changes, so no parser crate
//! follows them. [`Events`] gives the nodes of a text in order. It refuses what go-yaml refuses, and never panics. It resolves
//! no scalar and no alias.
//!
//! The rules were read from go-yaml's `scannerc.go` and `parserc.go` (© 2006-2010 Kirill Simonov, © 2011-2019 Canonical Ltd, MIT
//! license). `tests.rs` compares the two.

mod events;
mod scanner;
#[cfg(test)]
mod tests;

pub use events::{Event, EventKind, Events, Properties};
pub use scanner::{Mark, SIMPLE_KEY, is_readable};

/// The version of go-yaml: kustomize reads a `kustomization.yaml` with the second, other files with the third.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    V2,
    V3,
}

/// The notation of a scalar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    Plain,
    Single,
    Double,
    /// `|` or `>`.
    Block,
}

/// Reason why a text is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {message}")]
pub struct Error {
    /// From 1.
    pub line: usize,
    /// From 1.
    pub column: usize,
    /// What is wrong, and what to write instead.
    pub message: String,
}
