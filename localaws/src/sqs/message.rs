//! A message: what its sender said, which never changes, and where it stands, which does.

use std::sync::Arc;

use uuid::Uuid;

use super::{attributes::Attributes, md5::Digest};

/// Row key of a message in the store; grows with every message of this endpoint and is never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Seq(pub(crate) u64);

/// The group a message belongs to; messages without one form a group of their own.
pub(crate) type GroupKey = Option<Arc<str>>;

/// What the sender said.
#[derive(Debug)]
pub(crate) struct Payload {
    /// Message id of the API.
    pub(crate) id: Uuid,
    /// The body.
    pub(crate) body: String,
    /// Digest of the body.
    pub(crate) body_md5: Digest,
    /// User attributes.
    pub(crate) attributes: Attributes,
    /// Digest of all user attributes.
    pub(crate) attributes_md5: Option<Digest>,
    /// Message group.
    pub(crate) group: GroupKey,
    /// The `AWSTraceHeader` system attribute.
    pub(crate) trace_header: Option<String>,
    /// Who sent it: the `SenderId` system attribute.
    pub(crate) sender_id: Arc<str>,
    /// When it was accepted, in milliseconds since 1970.
    pub(crate) sent_ms: u64,
}

/// A message in a queue.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    /// What the sender said.
    pub(crate) payload: Arc<Payload>,
    /// ARN of the queue a redrive took it from.
    pub(crate) redriven_from: Option<Arc<str>>,
    /// How often and when it was received.
    pub(crate) receipt: Receipt,
    /// Where it stands.
    pub(crate) place: Place,
}

/// How often and when a message was received. All zero before the first receive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Receipt {
    /// Number of receives; a receipt handle is good for one of them.
    pub(crate) receives: u32,
    /// First receive, in milliseconds since 1970.
    pub(crate) first_ms: u64,
    /// Latest receive, in milliseconds since 1970.
    pub(crate) latest_ms: u64,
}

/// Where a message stands in its queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Can be received; `turn` is its place in its group.
    Ready {
        /// Key in the group's line.
        turn: u64,
    },
    /// Sent with a delay that ends at `until_ms`.
    Delayed {
        /// End of the delay, in milliseconds since 1970.
        until_ms: u64,
    },
    /// Received, and invisible to others until `until_ms`.
    Leased {
        /// End of the lease, in milliseconds since 1970.
        until_ms: u64,
    },
}
