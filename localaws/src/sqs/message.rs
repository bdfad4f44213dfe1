//! A message: the payload, which never changes, and its state in a queue.

use std::sync::Arc;

use uuid::Uuid;

use super::{attributes::MessageAttributes, md5::Digest};

/// Row key of a message in the store. Keys increase over all queues and are never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Seq(pub(crate) u64);

/// Message group; messages without one form a group of their own.
pub(crate) type GroupKey = Option<Arc<str>>;

#[derive(Debug)]
pub(crate) struct Payload {
    pub(crate) id: Uuid,
    pub(crate) body: String,
    pub(crate) body_md5: Digest,
    pub(crate) attributes: MessageAttributes,
    pub(crate) attributes_md5: Option<Digest>,
    pub(crate) group: GroupKey,
    /// System attribute `AWSTraceHeader`.
    pub(crate) trace_header: Option<String>,
    /// System attribute `SenderId`.
    pub(crate) sender_id: Arc<str>,
    /// Time of acceptance, in milliseconds since 1970.
    pub(crate) sent_ms: u64,
}

#[derive(Clone, Debug)]
pub(crate) struct QueuedMessage {
    pub(crate) payload: Arc<Payload>,
    /// ARN of the queue from which the message was dead-lettered.
    pub(crate) redriven_from: Option<Arc<str>>,
    pub(crate) receives: Receives,
    pub(crate) state: MessageState,
}

/// Receives of a message. All zero before the first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Receives {
    /// Number of receives; a receipt handle is valid for one of them.
    pub(crate) count: u32,
    /// First receive, in milliseconds since 1970.
    pub(crate) first_ms: u64,
    /// Latest receive, in milliseconds since 1970.
    pub(crate) latest_ms: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MessageState {
    Ready {
        /// Position in the message group.
        position: u64,
    },
    Delayed {
        /// End of the delay, in milliseconds since 1970.
        until_ms: u64,
    },
    /// Received, and invisible to other receives.
    InFlight {
        /// End of the visibility timeout, in milliseconds since 1970.
        until_ms: u64,
    },
}
