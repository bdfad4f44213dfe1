//! Deletes outbox entries, many per call, by group commit ([`tenantry_queue::batch`]).
//!
//! A failed delete costs only another send: the sweeper finds the entry, and its event is still stored once.

use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::{DeleteRequest, WriteRequest};
use tenantry_process::retry::{backoff, classify};
use tenantry_queue::batch::{BatchLimits, Measured, group_commit};
use tokio::sync::{mpsc, oneshot};

use crate::ledger::items::Attributes;

/// Items per BatchWriteItem (DynamoDB: 25). Bytes need no bound: a delete has only the key.
const LIMITS: BatchLimits = BatchLimits {
    entries: 25,
    bytes: usize::MAX,
    billed_bytes: usize::MAX,
    in_flight: 8,
};
/// Entries that may wait for the deleting task.
const MAX_ARRIVALS: usize = 1024;
/// Attempts of one batch. After the last, its entries are left to the sweeper.
const MAX_ATTEMPTS: u32 = 4;
/// First and longest wait before the next attempt of a batch.
const RETRY_BASE: Duration = Duration::from_millis(50);
const RETRY_MAX: Duration = Duration::from_secs(1);

/// Sends keys to the deleting task. Clones share the task.
#[derive(Clone)]
pub(crate) struct Clearer(mpsc::Sender<[ClearEntry; 1]>);

/// The key of an outbox entry, and the channel for its outcome.
struct ClearEntry {
    key: Attributes,
    reply: oneshot::Sender<bool>,
}

impl Measured for ClearEntry {
    fn bytes(&self) -> usize {
        0
    }
}

impl Clearer {
    /// Returns a clearer and its deleting task, which runs until it is dropped.
    pub(crate) fn new(client: Client, table: String) -> (Self, impl Future<Output = ()>) {
        let (sender, arrivals) = mpsc::channel(MAX_ARRIVALS);
        let delete = move |batch| delete(client.clone(), table.clone(), batch);
        (Self(sender), group_commit(LIMITS, arrivals, delete))
    }

    /// Deletes the item of this key. Returns whether DynamoDB confirmed that.
    pub(super) async fn clear(&self, key: Attributes) -> bool {
        let (reply, outcome) = oneshot::channel();
        self.0.send([ClearEntry { key, reply }]).await.is_ok() && outcome.await.unwrap_or(false)
    }
}

/// Deletes one batch. Returns its number of keys.
async fn delete(client: Client, table: String, batch: Vec<ClearEntry>) -> usize {
    let count = batch.len();
    let (keys, replies): (Vec<_>, Vec<_>) = batch
        .into_iter()
        .map(|entry| (entry.key, entry.reply))
        .unzip();
    // If two senders send one event, both clear its entry, and DynamoDB rejects a call that has the same key twice.
    let mut left: Vec<Attributes> = Vec::with_capacity(count);
    for key in &keys {
        if !left.contains(key) {
            left.push(key.clone());
        }
    }
    for attempt in 0..MAX_ATTEMPTS {
        left = delete_once(&client, &table, left).await;
        if left.is_empty() {
            break;
        }
        tokio::time::sleep(backoff(attempt, RETRY_BASE, RETRY_MAX, fastrand::f64())).await;
    }
    for (key, reply) in keys.iter().zip(replies) {
        // A dropped receiver means that the entry is left to the sweeper.
        let _ = reply.send(!left.contains(key));
    }
    count
}

/// Calls BatchWriteItem once. Returns the keys that are not deleted.
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
                "delete of outbox entries failed, will retry"
            );
            keys
        }
    }
}
