//! The ledger: charges and refunds. Each is written once, together with its event, even if its request is repeated.
//!
//! A write is one transaction. Its first part is the request's key, which must not exist yet; its last part is the event's
//! entry in the outbox. A charge is the part between the two. A refund has two parts there: its charge, which must be
//! unchanged since it was read, and the refund itself. So no part ever exists without the others. A repeat under a key
//! receives the first response, from the key's own item. The ledger sends nothing.

pub(crate) mod items;
mod transaction;

use std::ops::ControlFlow;
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::types::{
    ConditionCheck, Put, ReturnValuesOnConditionCheckFailure, TransactWriteItem, Update,
};
use metrics::Counter;
use tenantry_process::metrics::{Metrics, label};
use tenantry_process::retry::{backoff, classify};
use tenantry_service::idempotency::IdempotencyKey;
use tenantry_tenancy::generation::Owner;
use tokio::time::Instant;
use uuid::Uuid;

use self::items::{Attributes, CHARGE_PREFIX, KeyRecord, number, text};
use self::transaction::{TransactionOutcome, Transactions};
use crate::charge::{Charge, NewCharge};
use crate::clock::Clock;
use crate::money::Amount;
use crate::outbox::OutboxEntry;
use crate::table::{HASH, RANGE};

/// Deadline of all table calls of a request, which is answered within 5 s.
const REQUEST_TIMEOUT: Duration = Duration::from_millis(4300);
/// Attempts of a refund whose charge other refunds keep changing. The deadline usually comes first.
const MAX_REFUND_ATTEMPTS: u32 = 100;
/// First and longest wait before the next attempt of a refund whose charge has changed, or of a failed read.
const RETRY_BASE: Duration = Duration::from_millis(5);
const RETRY_MAX: Duration = Duration::from_millis(100);
/// Attempts of one read.
const MAX_READ_ATTEMPTS: u32 = 4;
/// Condition that no item with this key exists.
const NOT_EXISTS: &str = "attribute_not_exists(sk)";

/// Owner and idempotency key of a request that changes the ledger.
#[derive(Debug, Clone)]
pub(crate) struct KeyedRequest {
    pub(crate) owner: Owner,
    pub(crate) key: IdempotencyKey,
}

/// The response to a request, the same for every repeat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RecordedResponse {
    /// The charge, or the refund's charge.
    pub(crate) charge: Uuid,
    pub(crate) body: String,
}

/// Outcome of a request that changes the ledger.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum ChangeOutcome {
    /// The change is written, and its event is in the outbox.
    Recorded(RecordedResponse, OutboxEntry),
    /// The change was written by an earlier request with the same key.
    Replayed(RecordedResponse),
}

/// The reason why a request has no response of the ledger. Except for `Unavailable`, the request has changed nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum LedgerError {
    #[error("the key was used for another request; use a new key")]
    KeyReused,
    #[error("the tenant has no charge with this id; check the id")]
    NoCharge,
    /// The refund exceeds the rest of the charge, which has this many minor units.
    #[error("{0} minor units are left to refund; choose a smaller amount")]
    RefundExceedsCharge(u64),
    /// The request may have been written. A repeat under the same key receives the outcome.
    #[error("the table is unavailable; repeat the request under the same key")]
    Unavailable,
}

/// Identity of a change, given before the change is written.
struct Change {
    /// Id of the charge or refund that the change creates.
    id: Uuid,
    fingerprint: String,
}

/// The ledger's items in the table. Clones share the client.
#[derive(Clone)]
pub(crate) struct Ledger {
    client: Client,
    table: String,
    transactions: Transactions,
    clock: Clock,
    counters: Counters,
}

#[derive(Clone)]
struct Counters {
    recorded: Counter,
    replayed: Counter,
}

impl Ledger {
    pub(crate) fn new(client: Client, table: String, clock: Clock, metrics: &Metrics) -> Self {
        metrics.describe_counter(
            "ledger_requests_total",
            "Charges and refunds recorded or replayed, by outcome",
        );
        let count =
            |outcome| metrics.counter("ledger_requests_total", vec![label("outcome", outcome)]);
        let counters = Counters {
            recorded: count("recorded"),
            replayed: count("replayed"),
        };
        let transactions = Transactions::new(client.clone(), metrics);
        Self {
            client,
            table,
            transactions,
            clock,
            counters,
        }
    }

    /// Records a charge.
    pub(crate) async fn charge(
        &self,
        request: &KeyedRequest,
        new: NewCharge,
    ) -> Result<ChangeOutcome, LedgerError> {
        let deadline = Instant::now() + REQUEST_TIMEOUT;
        let change = Change {
            id: Uuid::now_v7(),
            fingerprint: items::charge_fingerprint(&new),
        };
        let now = self.clock.now();
        let charge = new.recorded(change.id, request.owner.clone(), now);
        let response = RecordedResponse {
            charge: charge.id,
            body: json(&charge.body()),
        };
        let entry = OutboxEntry::new(request.owner.clone(), &charge.event(), now);
        let parts = [
            self.put(self.key_item(request, &change, &response)),
            self.put(items::from_charge(&charge)),
            self.put(entry.clone().into_item()),
        ];
        match self.transactions.commit(change.id, &parts, deadline).await {
            TransactionOutcome::Committed => Ok(self.recorded(response, entry)),
            TransactionOutcome::KeyTaken(item) => {
                self.resolve_taken_key(deadline, request, &change, (response, entry), item)
                    .await
            }
            // A charge with this new id cannot be this request's own: its key would exist, too.
            TransactionOutcome::ChargeDiffers(_)
            | TransactionOutcome::Unclear
            | TransactionOutcome::Unavailable => Err(LedgerError::Unavailable),
        }
    }

    /// Records a refund of a charge.
    pub(crate) async fn refund(
        &self,
        request: &KeyedRequest,
        charge_id: Uuid,
        amount: Amount,
    ) -> Result<ChangeOutcome, LedgerError> {
        let deadline = Instant::now() + REQUEST_TIMEOUT;
        let change = Change {
            id: Uuid::now_v7(),
            fingerprint: items::refund_fingerprint(charge_id, amount),
        };
        let mut charge = self
            .find_until(deadline, &request.owner, charge_id)
            .await?
            .ok_or(LedgerError::NoCharge)?;
        for attempt in 0..MAX_REFUND_ATTEMPTS {
            let attempted = self
                .attempt_refund(deadline, request, &change, &charge, amount)
                .await?;
            let changed_charge = match attempted {
                ControlFlow::Break(outcome) => return Ok(outcome),
                ControlFlow::Continue(item) => item,
            };
            charge = self
                .charge_after_conflict(deadline, request, charge_id, changed_charge)
                .await?;
            let wait = backoff(attempt, RETRY_BASE, RETRY_MAX, fastrand::f64());
            if Instant::now() + wait >= deadline {
                break;
            }
            tokio::time::sleep(wait).await;
        }
        Err(LedgerError::Unavailable)
    }

    /// Attempts a refund once, of the charge as it was read. If another refund came first, continues with the charge's
    /// item, or with `None` if DynamoDB did not return the item.
    async fn attempt_refund(
        &self,
        deadline: Instant,
        request: &KeyedRequest,
        change: &Change,
        charge: &Charge,
        amount: Amount,
    ) -> Result<ControlFlow<ChangeOutcome, Option<Attributes>>, LedgerError> {
        let Some(refund) = charge.refund(amount, change.id, self.clock.now()) else {
            return self.refuse_refund(deadline, request, change, charge).await;
        };
        let response = RecordedResponse {
            charge: charge.id,
            body: json(&refund.body()),
        };
        let entry = OutboxEntry::new(request.owner.clone(), &refund.event(), self.clock.now());
        let parts = [
            self.put(self.key_item(request, change, &response)),
            self.raise_refunded(charge, refund.charge.refunded),
            self.put(items::from_refund(&refund)),
            self.put(entry.clone().into_item()),
        ];
        // A token identifies one content, and each attempt has another content. The refund's id is the same in all attempts.
        match self
            .transactions
            .commit(Uuid::now_v7(), &parts, deadline)
            .await
        {
            TransactionOutcome::Committed => Ok(ControlFlow::Break(self.recorded(response, entry))),
            TransactionOutcome::KeyTaken(item) => self
                .resolve_taken_key(deadline, request, change, (response, entry), item)
                .await
                .map(ControlFlow::Break),
            TransactionOutcome::ChargeDiffers(item) => Ok(ControlFlow::Continue(item)),
            TransactionOutcome::Unclear | TransactionOutcome::Unavailable => {
                Err(LedgerError::Unavailable)
            }
        }
    }

    /// Refuses a refund that exceeds the rest of the charge, unless a request under the same key has already refunded it.
    /// Key and charge are checked in one transaction, because two reads would see two moments.
    async fn refuse_refund(
        &self,
        deadline: Instant,
        request: &KeyedRequest,
        change: &Change,
        charge: &Charge,
    ) -> Result<ControlFlow<ChangeOutcome, Option<Attributes>>, LedgerError> {
        let checks = self.checks(request, charge);
        match self
            .transactions
            .commit(Uuid::now_v7(), &checks, deadline)
            .await
        {
            TransactionOutcome::Committed => Err(LedgerError::RefundExceedsCharge(charge.left())),
            TransactionOutcome::KeyTaken(item) => {
                let record = self.key_record(deadline, request, item).await?;
                self.replay(record, &change.fingerprint)
                    .map(ControlFlow::Break)
            }
            TransactionOutcome::ChargeDiffers(item) => Ok(ControlFlow::Continue(item)),
            TransactionOutcome::Unclear | TransactionOutcome::Unavailable => {
                Err(LedgerError::Unavailable)
            }
        }
    }

    /// Returns the owner's charge of this id, if it exists.
    pub(crate) async fn find(
        &self,
        owner: &Owner,
        id: Uuid,
    ) -> Result<Option<Charge>, LedgerError> {
        self.find_until(Instant::now() + REQUEST_TIMEOUT, owner, id)
            .await
    }

    /// Returns up to `limit` of the owner's charges before the charge `before`, newest first, and whether there are
    /// more.
    pub(crate) async fn newest(
        &self,
        owner: &Owner,
        limit: usize,
        before: Option<Uuid>,
    ) -> Result<(Vec<Charge>, bool), LedgerError> {
        let call = self
            .client
            .query()
            .table_name(&self.table)
            .key_condition_expression("tenant_id = :tenant AND begins_with(sk, :charges)")
            .expression_attribute_values(":tenant", text(owner.tenant.as_str()))
            .expression_attribute_values(":charges", text(&items::range(owner, CHARGE_PREFIX)))
            .scan_index_forward(false)
            .consistent_read(true)
            // An additional charge shows that there is a next page.
            .limit(i32::try_from(limit + 1).unwrap_or(i32::MAX))
            .set_exclusive_start_key(before.map(|id| items::key(owner, &items::charge_sk(id))));
        let output = read(Instant::now() + REQUEST_TIMEOUT, || call.clone().send()).await?;
        let found = output.items.unwrap_or_default();
        let has_more = found.len() > limit || output.last_evaluated_key.is_some();
        let charges = found
            .iter()
            .take(limit)
            .map(parse_charge)
            .collect::<Result<_, _>>()?;
        Ok((charges, has_more))
    }

    async fn find_until(
        &self,
        deadline: Instant,
        owner: &Owner,
        id: Uuid,
    ) -> Result<Option<Charge>, LedgerError> {
        let item = self
            .get(deadline, items::key(owner, &items::charge_sk(id)))
            .await?;
        item.map(|item| parse_charge(&item)).transpose()
    }

    async fn get(
        &self,
        deadline: Instant,
        key: Attributes,
    ) -> Result<Option<Attributes>, LedgerError> {
        let call = self
            .client
            .get_item()
            .table_name(&self.table)
            .set_key(Some(key))
            .consistent_read(true);
        Ok(read(deadline, || call.clone().send()).await?.item)
    }

    fn recorded(&self, response: RecordedResponse, entry: OutboxEntry) -> ChangeOutcome {
        self.counters.recorded.increment(1);
        ChangeOutcome::Recorded(response, entry)
    }

    /// Resolves a key that is taken: by an earlier attempt of this request, by its repeat, or by another request.
    async fn resolve_taken_key(
        &self,
        deadline: Instant,
        request: &KeyedRequest,
        change: &Change,
        (response, entry): (RecordedResponse, OutboxEntry),
        item: Option<Attributes>,
    ) -> Result<ChangeOutcome, LedgerError> {
        let record = self.key_record(deadline, request, item).await?;
        if record.created == change.id {
            // Only the last content can be committed: the charge has changed since the earlier attempts.
            return Ok(self.recorded(response, entry));
        }
        self.replay(record, &change.fingerprint)
    }

    fn replay(&self, record: KeyRecord, fingerprint: &str) -> Result<ChangeOutcome, LedgerError> {
        if record.fingerprint != fingerprint {
            return Err(LedgerError::KeyReused);
        }
        self.counters.replayed.increment(1);
        Ok(ChangeOutcome::Replayed(RecordedResponse {
            charge: record.charge,
            body: record.response,
        }))
    }

    /// Returns the record under a taken key. Reads the item if DynamoDB did not return it.
    async fn key_record(
        &self,
        deadline: Instant,
        request: &KeyedRequest,
        item: Option<Attributes>,
    ) -> Result<KeyRecord, LedgerError> {
        let item = match item.filter(|item| !item.is_empty()) {
            Some(item) => item,
            // A missing item has just expired, so a repeat of the request takes the key.
            None => self
                .get(
                    deadline,
                    items::key(&request.owner, &items::key_sk(&request.key)),
                )
                .await?
                .ok_or(LedgerError::Unavailable)?,
        };
        items::to_key_record(&item).ok_or_else(|| invalid_item(&item))
    }

    /// Returns the charge after another refund. Reads the item if DynamoDB did not return it.
    async fn charge_after_conflict(
        &self,
        deadline: Instant,
        request: &KeyedRequest,
        id: Uuid,
        item: Option<Attributes>,
    ) -> Result<Charge, LedgerError> {
        match item.filter(|item| !item.is_empty()) {
            Some(item) => parse_charge(&item),
            None => self
                .find_until(deadline, &request.owner, id)
                .await?
                .ok_or(LedgerError::NoCharge),
        }
    }

    fn key_item(
        &self,
        request: &KeyedRequest,
        change: &Change,
        response: &RecordedResponse,
    ) -> Attributes {
        let record = KeyRecord {
            fingerprint: change.fingerprint.clone(),
            created: change.id,
            charge: response.charge,
            response: response.body.clone(),
        };
        items::from_key(&request.owner, &request.key, &record, self.clock.now())
    }

    /// Returns a part that writes a new item.
    fn put(&self, item: Attributes) -> TransactWriteItem {
        let put = Put::builder()
            .table_name(&self.table)
            .set_item(Some(item))
            .condition_expression(NOT_EXISTS)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        TransactWriteItem::builder()
            .put(put.build().expect("table and item are set"))
            .build()
    }

    /// Returns a part that sets the refunded sum of a charge, which must be unchanged since it was read.
    fn raise_refunded(&self, charge: &Charge, refunded: u64) -> TransactWriteItem {
        let update = Update::builder()
            .table_name(&self.table)
            .set_key(Some(items::key(
                &charge.owner,
                &items::charge_sk(charge.id),
            )))
            .update_expression("SET refunded = :after")
            .condition_expression("refunded = :before AND amount >= :after")
            .expression_attribute_values(":before", number(charge.refunded))
            .expression_attribute_values(":after", number(refunded))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        TransactWriteItem::builder()
            .update(update.build().expect("table, key and expression are set"))
            .build()
    }

    /// Returns parts that write nothing: they check that the key is free and the charge unchanged since it was read.
    fn checks(&self, request: &KeyedRequest, charge: &Charge) -> [TransactWriteItem; 2] {
        let check = |sk: String| {
            ConditionCheck::builder()
                .table_name(&self.table)
                .set_key(Some(items::key(&request.owner, &sk)))
                .return_values_on_condition_check_failure(
                    ReturnValuesOnConditionCheckFailure::AllOld,
                )
        };
        let key = check(items::key_sk(&request.key)).condition_expression(NOT_EXISTS);
        let charge = check(items::charge_sk(charge.id))
            .condition_expression("refunded = :before")
            .expression_attribute_values(":before", number(charge.refunded));
        [key, charge].map(|check| {
            let check = check.build().expect("table, key and condition are set");
            TransactWriteItem::builder().condition_check(check).build()
        })
    }
}

fn parse_charge(item: &Attributes) -> Result<Charge, LedgerError> {
    items::to_charge(item).ok_or_else(|| invalid_item(item))
}

fn invalid_item(item: &Attributes) -> LedgerError {
    let (tenant_id, sk) = (items::as_text(item, HASH), items::as_text(item, RANGE));
    tracing::error!(tenant_id, sk, "ledger item has an invalid format");
    LedgerError::Unavailable
}

fn json(body: &impl serde::Serialize) -> String {
    serde_json::to_string(body).expect("strings and numbers serialize")
}

/// Reads until the deadline. Repeats reads that failed transiently.
async fn read<T, E, F>(deadline: Instant, call: impl Fn() -> F) -> Result<T, LedgerError>
where
    F: Future<Output = Result<T, SdkError<E>>>,
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    for attempt in 0..MAX_READ_ATTEMPTS {
        let Ok(outcome) = tokio::time::timeout_at(deadline, Box::pin(call())).await else {
            break;
        };
        let failure = match outcome {
            Ok(found) => return Ok(found),
            Err(error) => classify(&error),
        };
        tracing::warn!(
            code = failure.code,
            reason = failure.reason,
            "read of the ledger failed"
        );
        if !failure.transient {
            break;
        }
        tokio::time::sleep(backoff(attempt, RETRY_BASE, RETRY_MAX, fastrand::f64())).await;
    }
    Err(LedgerError::Unavailable)
}
