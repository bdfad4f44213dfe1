//! Copies a tenant's partition from one table to another.
//!
//! Reads are consistent, so an item written before a pass is in it. A pass reads everything and writes only what the other
//! table lacks. [`settle`] deletes an item only after a consistent read has found it in the other table.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::{
    AttributeValue, DeleteRequest, KeysAndAttributes, PutRequest, WriteRequest,
};
use futures_util::future::BoxFuture;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use tenantry_process::arn::TableArn;
use tenantry_tenancy::event::LISTED_AT;
use tenantry_tenancy::tenant::TenantId;

use super::{DataClients, DataError, MAX_TRIES, pause, retrying};

/// Keys per BatchGetItem (DynamoDB: 100), and so the items of one step.
const MAX_GETS: usize = 100;
/// Requests per BatchWriteItem (DynamoDB: 25).
const MAX_WRITES: usize = 25;
/// Single puts in flight.
const MAX_PUTS_IN_FLIGHT: usize = 16;
const HASH: &str = "tenant_id";
/// DynamoDB's code for a condition that does not hold.
const CONDITION_FAILED: &str = "ConditionalCheckFailedException";
/// Attribute of a payment's event that must still be sent: the hash key of the outbox's index.
const OUTBOX: &str = "outbox_shard";
/// Attribute of an idempotency key's record that names what its request created.
const CREATED: &str = "made";
/// Attribute of a charge with the sum of its refunds, which only grows.
const REFUNDED: &str = "refunded";

type Item = HashMap<String, AttributeValue>;

/// What a table holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// Items of the consumer, which never change.
    Events,
    /// Charges, refunds, idempotency keys and the outbox of payments.
    Payments,
}

impl Content {
    const fn range(self) -> &'static str {
        match self {
            Self::Events => "message_id",
            Self::Payments => "sk",
        }
    }
}

/// Which of two items under one key counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Prefer {
    /// The other table's: its home is registered.
    Theirs,
    /// The source's: nothing but this copy writes the other table.
    Ours,
}

/// Result of [`settle`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Settled {
    /// Items that are now in the other table alone.
    pub moved: usize,
    /// Items left, because the other table has another item under their key.
    pub conflicts: usize,
}

/// Copies the events that the other table lacks. Returns their number.
///
/// # Errors
/// A call fails for good or for too long; the next pass goes on.
pub async fn copy_events(
    clients: &DataClients,
    tenant: &TenantId,
    from: &TableArn,
    to: &TableArn,
) -> Result<usize, DataError> {
    let pass = Pass::new(clients, tenant, Content::Events, from, to);
    pass.copy(Prefer::Theirs).await
}

/// Makes the other table equal: charges, refunds and idempotency keys, not the outbox. Call it while nothing writes the
/// source. Returns once a whole consistent pass has found no difference.
///
/// # Errors
/// As [`copy_events`].
pub async fn copy_payments(
    clients: &DataClients,
    tenant: &TenantId,
    from: &TableArn,
    to: &TableArn,
) -> Result<usize, DataError> {
    let pass = Pass::new(clients, tenant, Content::Payments, from, to);
    let mut copied = 0;
    loop {
        let written = pass.copy(Prefer::Ours).await?;
        if written == 0 {
            return Ok(copied);
        }
        copied += written;
    }
}

/// Moves what is left in the source: each item is copied unless the other table has it, read there, then deleted here.
///
/// # Errors
/// As [`copy_events`].
pub async fn settle(
    clients: &DataClients,
    tenant: &TenantId,
    content: Content,
    from: &TableArn,
    to: &TableArn,
) -> Result<Settled, DataError> {
    let pass = Pass::new(clients, tenant, content, from, to);
    let mut settled = Settled::default();
    let mut pages = pass.pages();
    while let Some(items) = pages.next().await? {
        for items in items.chunks(MAX_GETS) {
            pass.copy_chunk(items, Prefer::Theirs).await?;
            let there = pass.find_there(items).await?;
            let (mut done, mut conflicts) = (Vec::new(), 0);
            for item in items {
                match there.get(&pass.range_of(item)) {
                    Some(other) if pass.is_same(item, other) => done.push(pass.key(item)),
                    Some(_) => conflicts += 1,
                    // Payments may have sent and cleared an event meanwhile.
                    None if pass.is_outbox(item) => done.push(pass.key(item)),
                    None => {
                        return Err(DataError {
                            resource: pass.to.name().to_owned(),
                            code: "NotCopied".to_owned(),
                            reason: format!("{} is not there after its copy", pass.range_of(item)),
                        });
                    }
                }
            }
            pass.delete(&done).await?;
            settled.moved += done.len();
            settled.conflicts += conflicts;
        }
    }
    Ok(settled)
}

/// Whether the tenant has no event in the outbox of this table.
///
/// # Errors
/// As [`copy_events`].
pub async fn is_outbox_empty(
    clients: &DataClients,
    tenant: &TenantId,
    payments: &TableArn,
) -> Result<bool, DataError> {
    let pass = Pass::new(clients, tenant, Content::Payments, payments, payments);
    let mut pages = pass.pages();
    while let Some(items) = pages.next().await? {
        if items.iter().any(|item| pass.is_outbox(item)) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// One tenant's partition of two tables.
struct Pass<'a> {
    clients: &'a DataClients,
    tenant: &'a TenantId,
    content: Content,
    from: &'a TableArn,
    to: &'a TableArn,
}

/// Pages of the tenant's partition, in order of the range key.
struct Pages<'a> {
    pass: &'a Pass<'a>,
    from: Option<Item>,
    is_over: bool,
}

impl<'a> Pass<'a> {
    const fn new(
        clients: &'a DataClients,
        tenant: &'a TenantId,
        content: Content,
        from: &'a TableArn,
        to: &'a TableArn,
    ) -> Self {
        Self {
            clients,
            tenant,
            content,
            from,
            to,
        }
    }

    const fn pages(&'a self) -> Pages<'a> {
        Pages {
            pass: self,
            from: None,
            is_over: false,
        }
    }

    /// Copies every item but the outbox once. Returns the number of items written.
    async fn copy(&self, prefer: Prefer) -> Result<usize, DataError> {
        let mut written = 0;
        let mut pages = self.pages();
        while let Some(mut items) = pages.next().await? {
            // An event in the outbox is sent from where it is, until the tenant has moved.
            items.retain(|item| !self.is_outbox(item));
            for items in items.chunks(MAX_GETS) {
                written += self.copy_chunk(items, prefer).await?;
            }
        }
        Ok(written)
    }

    /// Copies up to [`MAX_GETS`] items. Returns the number of items written.
    async fn copy_chunk(&self, items: &[Item], prefer: Prefer) -> Result<usize, DataError> {
        let there = self.find_there(items).await?;
        let is_missing = |item: &&Item| match (there.get(&self.range_of(item)), prefer) {
            (None, _) => true,
            (Some(_), Prefer::Theirs) => false,
            (Some(other), Prefer::Ours) => *item != other,
        };
        let missing: Vec<_> = items.iter().filter(is_missing).collect();
        // The other home may write these at the same time, with another content.
        let (guarded, plain): (Vec<_>, Vec<_>) = missing.iter().partition(|item| {
            prefer == Prefer::Theirs
                && (self.content == Content::Payments || item.contains_key(LISTED_AT))
        });
        let mut puts: Vec<BoxFuture<'_, Result<(), DataError>>> = Vec::new();
        for item in guarded {
            puts.push(Box::pin(self.put_if_absent(item)));
        }
        stream::iter(puts)
            .buffer_unordered(MAX_PUTS_IN_FLIGHT)
            .try_collect::<()>()
            .await?;
        let put = |item: &&Item| {
            let put = PutRequest::builder().set_item(Some((*item).clone()));
            WriteRequest::builder()
                .put_request(put.build().expect("the item is set"))
                .build()
        };
        let puts = plain.iter().map(put).collect();
        self.write(self.to, puts).await?;
        Ok(missing.len())
    }

    async fn put_if_absent(&self, item: &Item) -> Result<(), DataError> {
        let put = self
            .clients
            .dynamodb
            .put_item()
            .table_name(self.to.name())
            .set_item(Some(item.clone()))
            .condition_expression("attribute_not_exists(tenant_id)");
        match retrying(self.to.name(), || put.clone().send()).await {
            Ok(_) => Ok(()),
            Err(error) if error.code == CONDITION_FAILED => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Deletes items of the source by their keys.
    async fn delete(&self, keys: &[Item]) -> Result<(), DataError> {
        let delete = |key: &Item| {
            let delete = DeleteRequest::builder().set_key(Some(key.clone()));
            WriteRequest::builder()
                .delete_request(delete.build().expect("the key is set"))
                .build()
        };
        self.write(self.from, keys.iter().map(delete).collect())
            .await
    }

    async fn write(&self, table: &TableArn, requests: Vec<WriteRequest>) -> Result<(), DataError> {
        for chunk in requests.chunks(MAX_WRITES) {
            let (mut left, mut attempt) = (chunk.to_vec(), 0);
            while !left.is_empty() {
                if attempt > 0 {
                    pause(attempt).await;
                }
                if attempt >= MAX_TRIES {
                    return Err(unprocessed(table));
                }
                attempt += 1;
                let call = self
                    .clients
                    .dynamodb
                    .batch_write_item()
                    .request_items(table.name(), left);
                let output = retrying(table.name(), || call.clone().send()).await?;
                left = output
                    .unprocessed_items
                    .unwrap_or_default()
                    .remove(table.name())
                    .unwrap_or_default();
            }
        }
        Ok(())
    }

    /// Reads the items with the keys of these in the other table, by range key.
    async fn find_there(&self, items: &[Item]) -> Result<HashMap<String, Item>, DataError> {
        let mut found = HashMap::new();
        if items.is_empty() {
            return Ok(found);
        }
        let (mut keys, mut attempt) = (items.iter().map(|item| self.key(item)).collect(), 0);
        loop {
            let keys_and_attributes = KeysAndAttributes::builder()
                .set_keys(Some(keys))
                .consistent_read(true);
            let call = self.clients.dynamodb.batch_get_item().request_items(
                self.to.name(),
                keys_and_attributes.build().expect("the keys are set"),
            );
            let output = retrying(self.to.name(), || call.clone().send()).await?;
            let items = output
                .responses
                .unwrap_or_default()
                .remove(self.to.name())
                .unwrap_or_default();
            attempt = if items.is_empty() { attempt + 1 } else { 0 };
            found.extend(items.into_iter().map(|item| (self.range_of(&item), item)));
            keys = output
                .unprocessed_keys
                .unwrap_or_default()
                .remove(self.to.name())
                .map(|left| left.keys)
                .unwrap_or_default();
            if keys.is_empty() {
                return Ok(found);
            }
            if attempt >= MAX_TRIES {
                return Err(unprocessed(self.to));
            }
            pause(attempt).await;
        }
    }

    /// Whether the other table's item stands for this one. The other home may have changed it since; a key that was used
    /// there for another request, or a charge with fewer refunds, shows a change that was made here too late.
    fn is_same(&self, ours: &Item, theirs: &Item) -> bool {
        if self.content == Content::Events {
            return true;
        }
        let number = |item: &Item| -> Option<u64> { item.get(REFUNDED)?.as_n().ok()?.parse().ok() };
        ours.get(CREATED) == theirs.get(CREATED) && number(ours) <= number(theirs)
    }

    fn is_outbox(&self, item: &Item) -> bool {
        self.content == Content::Payments && item.contains_key(OUTBOX)
    }

    fn range_of(&self, item: &Item) -> String {
        let range = item.get(self.content.range());
        let range = range.and_then(|value| value.as_s().ok());
        range.cloned().unwrap_or_default()
    }

    fn key(&self, item: &Item) -> Item {
        let of = |name: &str| Some((name.to_owned(), item.get(name)?.clone()));
        [HASH, self.content.range()]
            .into_iter()
            .filter_map(of)
            .collect()
    }
}

impl Pages<'_> {
    async fn next(&mut self) -> Result<Option<Vec<Item>>, DataError> {
        if self.is_over {
            return Ok(None);
        }
        let Pass {
            clients,
            tenant,
            from,
            ..
        } = self.pass;
        let query = clients
            .dynamodb
            .query()
            .table_name(from.name())
            .key_condition_expression("tenant_id = :tenant")
            .expression_attribute_values(":tenant", text(tenant.as_str()))
            .consistent_read(true)
            .set_exclusive_start_key(self.from.take());
        let page = match retrying(from.name(), || query.clone().send()).await {
            Ok(page) => page,
            // A former home whose table is gone has nothing left.
            Err(error) if error.is_missing() => return Ok(None),
            Err(error) => return Err(error),
        };
        self.from = page.last_evaluated_key;
        self.is_over = self.from.is_none();
        Ok(Some(page.items.unwrap_or_default()))
    }
}

fn unprocessed(table: &TableArn) -> DataError {
    DataError {
        resource: table.name().to_owned(),
        code: "Unprocessed".to_owned(),
        reason: format!("items are still unprocessed after {MAX_TRIES} tries"),
    }
}

fn text(value: &str) -> AttributeValue {
    AttributeValue::S(value.to_owned())
}
