//! YAML with the place of every value, so that an edit changes the bytes that it must and no others.
//!
//! The text is parsed once into [`Node`]s. Values are read from nodes, and edits are splices at their places. Constructs that
//! these files do not need are errors: anchors and aliases (so merge keys, too), tags, tabs, carriage returns, keys that are
//! not text, duplicate keys. A file that parses means the same to every reader.

mod edit;
pub(crate) mod kustomize;
mod node;
mod parse;
mod scalar;
#[cfg(test)]
mod tests;
pub(crate) mod writable;

pub(crate) use edit::{
    after_colon, append_document, comment_behind, line_end, line_start, remove, set, set_comment,
};
pub(crate) use node::{Document, Node, NodeKind, Pair, YamlError};
pub(crate) use parse::parse;
pub(crate) use scalar::{Style, inline, is_ambiguous, quote_like};
