//! The sides of a comparison.

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Side {
    /// Our service.
    Ours,
    /// Rust, the same SDK, one call per message.
    OneCall,
    /// A bare axum handler.
    Bare,
    /// JavaScript: sqs-consumer, express, AWS SDK v3.
    Node,
    /// Python: Flask and boto3, with the calls of the public sample.
    Python,
}

impl Side {
    /// The name in tables.
    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::Ours => "ours",
            Self::OneCall => "one call each",
            Self::Bare => "bare axum",
            Self::Node => "Node",
            Self::Python => "Python",
        }
    }
}
