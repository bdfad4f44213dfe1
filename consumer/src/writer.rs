//! Group commit for items: what several batches bring shares calls.
//!
//! SQS hands over ten messages at a time, DynamoDB takes 25 items: at load, two and a half batches share a write. One
//! that comes alone is written at once.

use crate::item::Item;
use tenantry_queue::batch::{BatchLimits, Measured, group_commit};
use tokio::sync::{mpsc, oneshot};

use crate::table::{MAX_BATCH_ITEMS, Table, Written};

/// Bounds of the writes. Bytes need none: 25 items of the largest size are within DynamoDB's 16 MB.
const LIMITS: BatchLimits = BatchLimits {
    entries: MAX_BATCH_ITEMS,
    bytes: usize::MAX,
    billed_bytes: usize::MAX,
    in_flight: 32,
};
/// Batches that may wait to be taken; more than are ever in hand.
const MAX_ARRIVALS: usize = 1024;

/// Hands items to the task that writes them. Clones share it.
#[derive(Clone)]
pub(crate) struct Writer(mpsc::Sender<Vec<Entry>>);

/// An item on its way, and who waits for it.
struct Entry {
    item: Item,
    reply: oneshot::Sender<Written>,
}

impl Measured for Entry {
    fn bytes(&self) -> usize {
        0
    }
}

impl Writer {
    /// A writer, and the work it hands over to: it ends once every clone of the writer is gone.
    pub(crate) fn new(table: Table) -> (Self, impl Future<Output = ()>) {
        let (sender, arrivals) = mpsc::channel(MAX_ARRIVALS);
        (
            Self(sender),
            group_commit(LIMITS, arrivals, move |batch| write(table.clone(), batch)),
        )
    }

    /// Writes items; tells of each, in order, what became of it.
    pub(crate) async fn write(&self, items: Vec<Item>) -> Vec<Written> {
        let (entries, outcomes): (Vec<_>, Vec<_>) = items
            .into_iter()
            .map(|item| {
                let (reply, outcome) = oneshot::channel();
                (Entry { item, reply }, outcome)
            })
            .unzip();
        let count = outcomes.len();
        if self.0.send(entries).await.is_err() {
            return vec![Written::NotYet; count];
        }
        let mut written = Vec::with_capacity(count);
        for outcome in outcomes {
            written.push(outcome.await.unwrap_or(Written::NotYet));
        }
        written
    }
}

/// One batch; says how many items it had.
async fn write(table: Table, batch: Vec<Entry>) -> usize {
    let (items, replies): (Vec<_>, Vec<_>) = batch
        .into_iter()
        .map(|entry| (entry.item, entry.reply))
        .unzip();
    let written = table.write(&items).await;
    for (reply, written) in replies.into_iter().zip(written) {
        // Whoever stopped waiting has left its message to redelivery.
        let _ = reply.send(written);
    }
    items.len()
}
