//! What is driven: our services, or what they are held against.

use clap::ValueEnum;

/// Whose services run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Ours.
    Ours,
    /// The reference, whose consumer acknowledges so.
    Reference(Acknowledge),
}

/// When the reference's consumer deletes a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Acknowledge {
    /// Before its item is stored: what fails then is lost.
    Before,
    /// After it: what fails between is stored again, under another id.
    After,
}

impl Acknowledge {
    /// The word on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Before => "before",
            Self::After => "after",
        }
    }
}
