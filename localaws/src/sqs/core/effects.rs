//! Effects of an operation beyond its result: changes for the store, and queues whose waiting receives may wake.

use std::{collections::BTreeMap, sync::Arc};

use crate::sqs::{
    message::{Payload, Receives, Seq},
    names::{QueueId, QueueName},
};

#[derive(Debug, Default)]
pub(crate) struct Effects {
    /// Changes for the store, in order.
    pub(crate) changes: Vec<QueueChange>,
    /// Queues that may have a new ready message or an earlier timer.
    pub(crate) touched: Vec<QueueId>,
    pub(crate) deleted: Vec<QueueId>,
}

/// A change of queues or messages for the store.
#[derive(Debug)]
pub(crate) enum QueueChange {
    /// Creates a queue, or replaces its attributes and tags.
    PutQueue {
        id: QueueId,
        name: QueueName,
        created_ms: u64,
        modified_ms: u64,
        attributes: BTreeMap<&'static str, String>,
        tags: BTreeMap<String, String>,
    },
    /// Deletes a queue, not its messages: [`QueueChange::DeleteMessages`] does.
    DeleteQueue(QueueId),
    Insert {
        seq: Seq,
        queue: QueueId,
        payload: Arc<Payload>,
        ready_at_ms: u64,
    },
    /// Saves a receive, or a new visibility timeout.
    Receive {
        seq: Seq,
        receives: Receives,
        until_ms: u64,
    },
    /// Moves a message to another queue, where it is ready.
    Move {
        seq: Seq,
        queue: QueueId,
        redriven_from: Option<Arc<str>>,
        receives: Receives,
    },
    DeleteMessage(Seq),
    DeleteMessages(Vec<Seq>),
    /// Reserves message keys up to this one. A key is never reused, also after a restart: else an old receipt handle
    /// would be valid for a new message.
    ReserveSeqs(u64),
}
