//! The environment's table: batched, idempotent writes of items, with one outcome per item.

use std::collections::HashMap;
use std::sync::Arc;

use aws_sdk_dynamodb::types::{AttributeValue, PutRequest, WriteRequest};
use futures_util::future::join_all;
use tenantry_process::retry::{Failure, classify};
use tenantry_tenancy::event::is_id_of_key;

use crate::item::Item;

/// Items per BatchWriteItem (DynamoDB: 25).
pub(crate) const MAX_BATCH_ITEMS: usize = 25;
/// DynamoDB's code for an item that it will never accept.
const INVALID: &str = "ValidationException";
/// Condition that no item with this key exists.
const NOT_EXISTS: &str = "attribute_not_exists(message_id)";
/// DynamoDB's code for a condition that does not hold.
const CONDITION_FAILED: &str = "ConditionalCheckFailedException";

/// The environment's table. Clones share the client.
#[derive(Clone)]
pub(crate) struct Table {
    client: aws_sdk_dynamodb::Client,
    name: Arc<str>,
}

/// Outcome of writing one item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum WriteOutcome {
    /// The item is stored, now or by an earlier delivery.
    Stored,
    /// The write failed and can be tried again.
    Failed,
    /// The table will never accept the item, for this reason.
    Rejected(String),
}

type Attributes = HashMap<String, AttributeValue>;
/// Tenant and message id.
type Key = (String, String);

impl Table {
    pub(crate) fn new(client: aws_sdk_dynamodb::Client, name: String) -> Self {
        Self {
            client,
            name: name.into(),
        }
    }

    /// Writes items, each once. Returns their outcomes in order.
    pub(crate) async fn write(&self, items: &[Item]) -> Vec<WriteOutcome> {
        let mut outcomes: HashMap<Key, WriteOutcome> = HashMap::new();
        // BatchWriteItem rejects a call that has one key twice. Two deliveries of one message have the same key.
        let unique: HashMap<Key, &Item> = items.iter().map(|item| (key_of(item), item)).collect();
        let (guarded, plain): (Vec<_>, Vec<_>) = unique
            .into_iter()
            .partition(|(_, item)| is_id_of_key(&item.message_id));
        // A repeat under an idempotency key may have another payload: the first payload is kept.
        let puts = guarded
            .into_iter()
            .map(|(key, item)| self.put_guarded(key, item.clone()));
        outcomes.extend(join_all(puts).await);
        for chunk in plain.chunks(MAX_BATCH_ITEMS) {
            self.write_batch(chunk, &mut outcomes).await;
        }
        items
            .iter()
            .map(|item| {
                outcomes
                    .get(&key_of(item))
                    .cloned()
                    .unwrap_or(WriteOutcome::Failed)
            })
            .collect()
    }

    /// Calls BatchWriteItem once. If DynamoDB rejects the call for one item, every item is written alone to find it.
    async fn write_batch(&self, chunk: &[(Key, &Item)], outcomes: &mut HashMap<Key, WriteOutcome>) {
        let puts = chunk.iter().map(|(_, item)| {
            let put = PutRequest::builder()
                .set_item(Some((*item).clone().into_attributes()))
                .build();
            WriteRequest::builder()
                .put_request(put.expect("the item is set"))
                .build()
        });
        let request = self
            .client
            .batch_write_item()
            .request_items(&*self.name, puts.collect());
        match request.send().await.map_err(|error| classify(&error)) {
            Ok(output) => {
                let unprocessed: Vec<Key> = output
                    .unprocessed_items
                    .unwrap_or_default()
                    .remove(&*self.name)
                    .unwrap_or_default()
                    .iter()
                    .filter_map(|request| key_in(request.put_request()?.item()))
                    .collect();
                for (key, _) in chunk {
                    let outcome = if unprocessed.contains(key) {
                        WriteOutcome::Failed
                    } else {
                        WriteOutcome::Stored
                    };
                    outcomes.insert(key.clone(), outcome);
                }
            }
            Err(failure) if failure.code == INVALID && chunk.len() > 1 => {
                for (key, item) in chunk {
                    outcomes.insert(key.clone(), self.put(item, None).await);
                }
            }
            Err(failure) => {
                let outcome = outcome_of(&failure);
                outcomes.extend(chunk.iter().map(|(key, _)| (key.clone(), outcome.clone())));
            }
        }
    }

    async fn put_guarded(&self, key: Key, item: Item) -> (Key, WriteOutcome) {
        let outcome = self.put(&item, Some(NOT_EXISTS)).await;
        (key, outcome)
    }

    /// Calls PutItem once. An item that exists already counts as stored.
    async fn put(&self, item: &Item, condition: Option<&str>) -> WriteOutcome {
        let request = self
            .client
            .put_item()
            .table_name(&*self.name)
            .set_item(Some(item.clone().into_attributes()))
            .set_condition_expression(condition.map(ToOwned::to_owned));
        match request.send().await.map_err(|error| classify(&error)) {
            Ok(_) => WriteOutcome::Stored,
            Err(failure) if failure.code == CONDITION_FAILED => WriteOutcome::Stored,
            Err(failure) => outcome_of(&failure),
        }
    }
}

/// The outcome of a failed write. Only DynamoDB's own validation rejects an item for good. An operator can repair a
/// missing table or permission, so the item is tried again.
fn outcome_of(failure: &Failure) -> WriteOutcome {
    if failure.code == INVALID {
        return WriteOutcome::Rejected(failure.reason.clone());
    }
    tracing::warn!(
        code = failure.code,
        reason = failure.reason,
        "write failed, will retry"
    );
    WriteOutcome::Failed
}

fn key_of(item: &Item) -> Key {
    (item.owner.tenant.to_string(), item.message_id.clone())
}

fn key_in(attributes: &Attributes) -> Option<Key> {
    let text = |name| attributes.get(name)?.as_s().ok().cloned();
    Some((text("tenant_id")?, text("message_id")?))
}
