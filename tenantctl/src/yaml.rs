//! YAML with the place of everything in it, so that an edit changes the bytes it has to and no others.
//!
//! The text is parsed once into [`Node`]s; values are read from them and edits are splices at their places. What these
//! files have no use for is an error, not a guess: anchors and aliases (and with them merge keys), tags, tabs,
//! carriage returns, keys that are no text, a key twice in one map. So a file means the same to every reader.

mod edit;
mod node;
mod parse;
mod scalar;
#[cfg(test)]
mod tests;

pub(crate) use edit::{append_document, comment_behind, remove, set, set_comment};
pub(crate) use node::{Document, Kind, Node, YamlError};
pub(crate) use parse::parse;
pub(crate) use scalar::{Style, inline, is_ambiguous};
