//! The services under test: ours or the reference.

use clap::ValueEnum;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    Ours,
    Reference(Acknowledge),
}

/// When the reference's consumer deletes a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Acknowledge {
    /// Before it stores the item: a failure loses the message.
    Before,
    /// After it stores the item: a failure between the two stores the item again, under another id.
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
