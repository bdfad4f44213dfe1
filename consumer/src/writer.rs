//! Group commit of items: several received batches share one write.
//!
//! SQS returns ten messages per receive, DynamoDB accepts 25 items per call: under load, two and a half batches share a
//! write. A lone batch is written at once.

use tenantry_queue::batch::{BatchLimits, Measured, group_commit};
use tokio::sync::{mpsc, oneshot};

use crate::item::Item;
use crate::table::{MAX_BATCH_ITEMS, Table, WriteOutcome};

/// Bounds of a write. Bytes need none: 25 items of the largest size are below DynamoDB's 16 MB.
const LIMITS: BatchLimits = BatchLimits {
    entries: MAX_BATCH_ITEMS,
    bytes: usize::MAX,
    billed_bytes: usize::MAX,
    in_flight: 32,
};
/// Batches that may wait for the writing task: more than the receiver ever holds.
const MAX_ARRIVALS: usize = 1024;

/// Sends items to the writing task. Clones share the task.
#[derive(Clone)]
pub(crate) struct Writer(mpsc::Sender<Vec<WriteEntry>>);

/// An item and the channel for its outcome.
struct WriteEntry {
    item: Item,
    reply: oneshot::Sender<WriteOutcome>,
}

impl Measured for WriteEntry {
    fn bytes(&self) -> usize {
        0
    }
}

impl Writer {
    /// A writer and its writing task, which ends once every clone of the writer is dropped.
    pub(crate) fn new(table: Table) -> (Self, impl Future<Output = ()>) {
        let (sender, arrivals) = mpsc::channel(MAX_ARRIVALS);
        (
            Self(sender),
            group_commit(LIMITS, arrivals, move |batch| write(table.clone(), batch)),
        )
    }

    /// Writes items. Returns their outcomes in order.
    pub(crate) async fn write(&self, items: Vec<Item>) -> Vec<WriteOutcome> {
        let (entries, replies): (Vec<_>, Vec<_>) = items
            .into_iter()
            .map(|item| {
                let (reply, outcome) = oneshot::channel();
                (WriteEntry { item, reply }, outcome)
            })
            .unzip();
        let count = replies.len();
        if self.0.send(entries).await.is_err() {
            return vec![WriteOutcome::Failed; count];
        }
        let mut outcomes = Vec::with_capacity(count);
        for reply in replies {
            outcomes.push(reply.await.unwrap_or(WriteOutcome::Failed));
        }
        outcomes
    }
}

/// Writes one batch. Returns its number of items.
async fn write(table: Table, batch: Vec<WriteEntry>) -> usize {
    let (items, replies): (Vec<_>, Vec<_>) = batch
        .into_iter()
        .map(|entry| (entry.item, entry.reply))
        .unzip();
    let outcomes = table.write(&items).await;
    for (reply, outcome) in replies.into_iter().zip(outcomes) {
        // A dropped receiver means that the message is left to redelivery.
        let _ = reply.send(outcome);
    }
    items.len()
}
