//! Taking entries out of the outbox: many to a call, by the rule of every batch here ([`tenantry_queue::batch`]).
//!
//! A failure costs nothing but another send: what stays in the outbox is swept, and stored once all the same.

use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::{DeleteRequest, WriteRequest};
use tenantry_process::retry::{backoff, classify};
use tenantry_queue::batch::{BatchLimits, Measured, group_commit};
use tokio::sync::{mpsc, oneshot};

use crate::ledger::items::Attributes;

/// Items one BatchWriteItem takes (DynamoDB: 25). Bytes need no bound: deletes are keys alone.
const LIMITS: BatchLimits = BatchLimits {
    entries: 25,
    bytes: usize::MAX,
    billed_bytes: usize::MAX,
    in_flight: 8,
};
/// Entries that may wait to be taken up.
const MAX_ARRIVALS: usize = 1024;
/// Tries of one batch; then its entries are left to the sweeper.
const MAX_TRIES: u32 = 4;
/// First wait before a batch is tried again, and the longest one.
const RETRY_BASE: Duration = Duration::from_millis(50);
const RETRY_MAX: Duration = Duration::from_secs(1);

/// Hands keys to the task that deletes them. Clones share it.
#[derive(Clone)]
pub(crate) struct Clearer(mpsc::Sender<[Cleared; 1]>);

/// An entry's key, and who waits for its end.
struct Cleared {
    key: Attributes,
    reply: oneshot::Sender<bool>,
}

impl Measured for Cleared {
    fn bytes(&self) -> usize {
        0
    }
}

impl Clearer {
    /// A clearer, and the work it hands over to, which goes on until it is dropped.
    pub(crate) fn new(client: Client, table: String) -> (Self, impl Future<Output = ()>) {
        let (sender, arrivals) = mpsc::channel(MAX_ARRIVALS);
        let delete = move |batch| delete(client.clone(), table.clone(), batch);
        (Self(sender), group_commit(LIMITS, arrivals, delete))
    }

    /// Deletes the item of this key; whether that was confirmed.
    pub(super) async fn clear(&self, key: Attributes) -> bool {
        let (reply, outcome) = oneshot::channel();
        self.0.send([Cleared { key, reply }]).await.is_ok() && outcome.await.unwrap_or(false)
    }
}

/// One batch; says how many keys it had.
async fn delete(client: Client, table: String, batch: Vec<Cleared>) -> usize {
    let count = batch.len();
    let (keys, replies): (Vec<_>, Vec<_>) = batch
        .into_iter()
        .map(|entry| (entry.key, entry.reply))
        .unzip();
    // An event sent by two at once is cleared by both; a call with the same key twice is refused.
    let mut left: Vec<Attributes> = Vec::with_capacity(count);
    for key in &keys {
        if !left.contains(key) {
            left.push(key.clone());
        }
    }
    for attempt in 0..MAX_TRIES {
        left = delete_once(&client, &table, left).await;
        if left.is_empty() {
            break;
        }
        tokio::time::sleep(backoff(attempt, RETRY_BASE, RETRY_MAX, fastrand::f64())).await;
    }
    for (key, reply) in keys.iter().zip(replies) {
        // Whoever stopped waiting has left the entry to the sweeper.
        let _ = reply.send(!left.contains(key));
    }
    count
}

/// One BatchWriteItem; the keys that are left.
async fn delete_once(client: &Client, table: &str, keys: Vec<Attributes>) -> Vec<Attributes> {
    let requests = keys.iter().map(|key| {
        let delete = DeleteRequest::builder().set_key(Some(key.clone())).build();
        WriteRequest::builder()
            .delete_request(delete.expect("the key is set"))
            .build()
    });
    match Box::pin(
        client
            .batch_write_item()
            .request_items(table, requests.collect())
            .send(),
    )
    .await
    {
        Ok(output) => {
            let left = output
                .unprocessed_items
                .unwrap_or_default()
                .remove(table)
                .unwrap_or_default();
            left.into_iter()
                .filter_map(|request| Some(request.delete_request?.key))
                .collect()
        }
        Err(error) => {
            let failure = classify(&error);
            tracing::warn!(
                code = failure.code,
                reason = failure.reason,
                "outbox entries not taken out yet"
            );
            keys
        }
    }
}
