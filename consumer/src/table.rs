//! Writing items: many to a call, each with its own outcome, any number of times with the same effect.

use std::collections::HashMap;
use std::sync::Arc;

use aws_sdk_dynamodb::types::{AttributeValue, PutRequest, WriteRequest};
use futures_util::future::join_all;
use tenantry_tenancy::event::is_id_of_key;

use crate::item::Item;
use tenantry_process::retry::{Failure, classify};

/// Items one BatchWriteItem takes (DynamoDB: 25).
pub(crate) const MAX_BATCH_ITEMS: usize = 25;
/// DynamoDB's code for an item it will never take.
const INVALID: &str = "ValidationException";
/// The condition that no item of this key is there.
const NOT_THERE: &str = "attribute_not_exists(message_id)";
/// DynamoDB's code for a condition that did not hold.
const CONDITION_FAILED: &str = "ConditionalCheckFailedException";

/// The environment's table. Clones share the client.
#[derive(Clone)]
pub(crate) struct Table {
    client: aws_sdk_dynamodb::Client,
    name: Arc<str>,
}

/// What became of an item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Written {
    /// It is stored, now or since an earlier delivery.
    Stored,
    /// It may be stored later.
    NotYet,
    /// The table will never take it, and why.
    Never(String),
}

type Attributes = HashMap<String, AttributeValue>;
/// What makes an item one: tenant and message id.
type Key = (String, String);

impl Table {
    pub(crate) fn new(client: aws_sdk_dynamodb::Client, name: String) -> Self {
        Self {
            client,
            name: name.into(),
        }
    }

    /// Writes up to [`MAX_BATCH_ITEMS`] items, once each; tells of each, in order, what became of it.
    pub(crate) async fn write(&self, items: &[Item]) -> Vec<Written> {
        let mut outcomes: HashMap<Key, Written> = HashMap::new();
        // BatchWriteItem refuses a call with the same key twice; two deliveries of one message are one item.
        let unique: HashMap<Key, &Item> = items.iter().map(|item| (key_of(item), item)).collect();
        let (guarded, plain): (Vec<_>, Vec<_>) = unique
            .into_iter()
            .partition(|(_, item)| is_id_of_key(&item.message_id));
        // Their repeats may carry another payload: the first is kept.
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
                    .unwrap_or(Written::NotYet)
            })
            .collect()
    }

    /// One BatchWriteItem; where it is refused for one item's sake, that item is found by writing each alone.
    async fn write_batch(&self, chunk: &[(Key, &Item)], outcomes: &mut HashMap<Key, Written>) {
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
                let left: Vec<Key> = output
                    .unprocessed_items
                    .unwrap_or_default()
                    .remove(&*self.name)
                    .unwrap_or_default()
                    .iter()
                    .filter_map(|request| key_in(request.put_request()?.item()))
                    .collect();
                for (key, _) in chunk {
                    let written = if left.contains(key) {
                        Written::NotYet
                    } else {
                        Written::Stored
                    };
                    outcomes.insert(key.clone(), written);
                }
            }
            Err(failure) if failure.code == INVALID && chunk.len() > 1 => {
                for (key, item) in chunk {
                    outcomes.insert(key.clone(), self.put(item, None).await);
                }
            }
            Err(failure) => {
                let written = failed(&failure);
                outcomes.extend(chunk.iter().map(|(key, _)| (key.clone(), written.clone())));
            }
        }
    }

    async fn put_guarded(&self, key: Key, item: Item) -> (Key, Written) {
        let written = self.put(&item, Some(NOT_THERE)).await;
        (key, written)
    }

    /// One PutItem; under a condition, an item that is there already is as good as stored.
    async fn put(&self, item: &Item, condition: Option<&str>) -> Written {
        let request = self
            .client
            .put_item()
            .table_name(&*self.name)
            .set_item(Some(item.clone().into_attributes()))
            .set_condition_expression(condition.map(ToOwned::to_owned));
        match request.send().await.map_err(|error| classify(&error)) {
            Ok(_) => Written::Stored,
            Err(failure) if failure.code == CONDITION_FAILED => Written::Stored,
            Err(failure) => failed(&failure),
        }
    }
}

/// What a failed write means for its item. Only DynamoDB's word that the item is invalid condemns it; a missing table or
/// a missing permission is an operator's to mend, and the item waits.
fn failed(failure: &Failure) -> Written {
    if failure.code == INVALID {
        return Written::Never(failure.reason.clone());
    }
    tracing::warn!(
        code = failure.code,
        reason = failure.reason,
        "items not stored yet"
    );
    Written::NotYet
}

fn key_of(item: &Item) -> Key {
    (item.tenant.to_string(), item.message_id.clone())
}

fn key_in(attributes: &Attributes) -> Option<Key> {
    let text = |name| attributes.get(name)?.as_s().ok().cloned();
    Some((text("tenant_id")?, text("message_id")?))
}
