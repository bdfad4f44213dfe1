//! The ledger: charges and refunds, each written once whatever is repeated, and its event with it.
//!
//! A write is one transaction: the request's key, which must not be there yet; the charge, which must be as it was read;
//! and the event's entry in the outbox. So there is no moment at which one of them is there without the others. Whoever
//! comes second under a key gets what the first one got, from the key's own item. Nothing here sends anything.

pub(crate) mod items;
mod transaction;

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
use tenantry_tenancy::tenant::TenantId;
use tokio::time::Instant;
use uuid::Uuid;

use self::items::{Attributes, CHARGE_PREFIX, KeyRecord, number, text};
use self::transaction::{End, Transactions};
use crate::charge::{Charge, NewCharge};
use crate::clock::Clock;
use crate::money::Amount;
use crate::outbox::Entry;
use crate::table::{HASH, RANGE};

/// Longest a request may take of the table altogether: an answer comes within 5 s.
const WITHIN: Duration = Duration::from_millis(4300);
/// Times a refund is made anew because another one of its charge came first; the deadline usually ends it before.
const MAX_RACES: u32 = 100;
/// First wait after a lost race, and the longest one.
const RACE_BASE: Duration = Duration::from_millis(5);
const RACE_MAX: Duration = Duration::from_millis(100);
/// Tries of one read.
const MAX_READS: u32 = 4;
/// The condition that no item of this key is there.
const NOT_THERE: &str = "attribute_not_exists(sk)";

/// A tenant's request to change the ledger.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) tenant: TenantId,
    pub(crate) key: IdempotencyKey,
}

/// What a request is answered with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    /// The charge it is about.
    pub(crate) charge: Uuid,
    /// The body, the same for every repeat.
    pub(crate) body: String,
}

/// What became of a request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It was carried out, and its event is in the outbox.
    Recorded(Answer, Entry),
    /// It was carried out before, under the same key.
    Replayed(Answer),
}

/// Why a request was not carried out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum LedgerError {
    /// The key stands for another request.
    #[error("the key was used for another request")]
    KeyReused,
    /// The tenant has no such charge.
    #[error("there is no such charge")]
    NoCharge,
    /// Less is left than was asked for.
    #[error("{0} minor units are left to refund")]
    TooMuch(u64),
    /// The table does not answer, or not clearly: a repeat under the same key finds out.
    #[error("the table cannot be used now")]
    Unavailable,
}

/// A tenant's charges and refunds in a table. Clones share the client.
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
            "Charges and refunds answered, by outcome",
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
        request: &Request,
        new: NewCharge,
    ) -> Result<Outcome, LedgerError> {
        let until = Instant::now() + WITHIN;
        let asked = Asked {
            id: Uuid::now_v7(),
            fingerprint: items::of_charge(&new),
        };
        let now = self.clock.now();
        let charge = new.recorded(asked.id, request.tenant.clone(), now);
        let answer = Answer {
            charge: charge.id,
            body: json(&charge.body()),
        };
        let entry = Entry::new(request.tenant.clone(), &charge.event(), now);
        let parts = [
            self.put(self.key_item(request, &asked, &answer)),
            self.put(items::from_charge(&charge)),
            self.put(entry.clone().into_item()),
        ];
        match self.transactions.carry_out(asked.id, &parts, until).await {
            End::Committed => Ok(self.recorded(answer, entry)),
            End::KeyTaken(item) => {
                self.taken(until, request, &asked, (answer, entry), item)
                    .await
            }
            // An id of ours that is there already: not this one's, or the key would be there, too.
            End::ChargeDiffers(_) | End::Unclear | End::Unavailable => {
                Err(LedgerError::Unavailable)
            }
        }
    }

    /// Records a refund of a charge.
    pub(crate) async fn refund(
        &self,
        request: &Request,
        charge_id: Uuid,
        amount: Amount,
    ) -> Result<Outcome, LedgerError> {
        let until = Instant::now() + WITHIN;
        let asked = Asked {
            id: Uuid::now_v7(),
            fingerprint: items::of_refund(charge_id, amount),
        };
        let mut charge = self
            .find_until(until, &request.tenant, charge_id)
            .await?
            .ok_or(LedgerError::NoCharge)?;
        for race in 0..MAX_RACES {
            // Each content has a token of its own; the refund's id is the same in all of them.
            let token = Uuid::now_v7();
            let end = match charge.refund(amount, asked.id, self.clock.now()) {
                Some(refund) => {
                    let answer = Answer {
                        charge: charge_id,
                        body: json(&refund.body()),
                    };
                    let entry =
                        Entry::new(request.tenant.clone(), &refund.event(), self.clock.now());
                    let parts = [
                        self.put(self.key_item(request, &asked, &answer)),
                        self.raise_refunded(&charge, refund.charge.refunded),
                        self.put(items::from_refund(&refund)),
                        self.put(entry.clone().into_item()),
                    ];
                    match self.transactions.carry_out(token, &parts, until).await {
                        End::Committed => return Ok(self.recorded(answer, entry)),
                        End::KeyTaken(item) => {
                            return self
                                .taken(until, request, &asked, (answer, entry), item)
                                .await;
                        }
                        end => end,
                    }
                }
                // Unless this very request is what took it: asked at once, because the two are read one after the other.
                None => match self
                    .transactions
                    .carry_out(token, &self.checks(request, &charge), until)
                    .await
                {
                    End::Committed => return Err(LedgerError::TooMuch(charge.left())),
                    End::KeyTaken(item) => {
                        let record = self.record(until, request, item).await?;
                        return self.replay(record, &asked.fingerprint);
                    }
                    end => end,
                },
            };
            let End::ChargeDiffers(item) = end else { break };
            charge = self.after_a_race(until, request, charge_id, item).await?;
            let wait = backoff(race, RACE_BASE, RACE_MAX, fastrand::f64());
            if Instant::now() + wait >= until {
                break;
            }
            tokio::time::sleep(wait).await;
        }
        Err(LedgerError::Unavailable)
    }

    /// A charge of the tenant's.
    pub(crate) async fn find(
        &self,
        tenant: &TenantId,
        id: Uuid,
    ) -> Result<Option<Charge>, LedgerError> {
        self.find_until(Instant::now() + WITHIN, tenant, id).await
    }

    /// Up to `limit` of the tenant's charges, newest first, from before one of them; and whether there are more.
    pub(crate) async fn newest(
        &self,
        tenant: &TenantId,
        limit: usize,
        before: Option<Uuid>,
    ) -> Result<(Vec<Charge>, bool), LedgerError> {
        let call = self
            .client
            .query()
            .table_name(&self.table)
            .key_condition_expression("tenant_id = :tenant AND begins_with(sk, :charges)")
            .expression_attribute_values(":tenant", text(tenant.as_str()))
            .expression_attribute_values(":charges", text(CHARGE_PREFIX))
            .scan_index_forward(false)
            .consistent_read(true)
            // One more tells whether there is a next page.
            .limit(i32::try_from(limit + 1).unwrap_or(i32::MAX))
            .set_exclusive_start_key(before.map(|id| items::key(tenant, items::charge_sk(id))));
        let output = read(Instant::now() + WITHIN, || call.clone().send()).await?;
        let found = output.items.unwrap_or_default();
        let has_more = found.len() > limit || output.last_evaluated_key.is_some();
        let charges = found
            .iter()
            .take(limit)
            .map(readable)
            .collect::<Result<_, _>>()?;
        Ok((charges, has_more))
    }

    async fn find_until(
        &self,
        until: Instant,
        tenant: &TenantId,
        id: Uuid,
    ) -> Result<Option<Charge>, LedgerError> {
        let item = self
            .get(until, items::key(tenant, items::charge_sk(id)))
            .await?;
        item.map(|item| readable(&item)).transpose()
    }

    async fn get(
        &self,
        until: Instant,
        key: Attributes,
    ) -> Result<Option<Attributes>, LedgerError> {
        let call = self
            .client
            .get_item()
            .table_name(&self.table)
            .set_key(Some(key))
            .consistent_read(true);
        Ok(read(until, || call.clone().send()).await?.item)
    }

    fn recorded(&self, answer: Answer, entry: Entry) -> Outcome {
        self.counters.recorded.increment(1);
        Outcome::Recorded(answer, entry)
    }

    /// The key is taken: by an earlier try of this very request, by a repeat of it, or by another request.
    async fn taken(
        &self,
        until: Instant,
        request: &Request,
        asked: &Asked,
        (answer, entry): (Answer, Entry),
        item: Option<Attributes>,
    ) -> Result<Outcome, LedgerError> {
        let record = self.record(until, request, item).await?;
        if record.made == asked.id {
            // Only the last content tried can be there: what a refund was made of before cannot come true any more.
            return Ok(self.recorded(answer, entry));
        }
        self.replay(record, &asked.fingerprint)
    }

    fn replay(&self, record: KeyRecord, fingerprint: &str) -> Result<Outcome, LedgerError> {
        if record.fingerprint != fingerprint {
            return Err(LedgerError::KeyReused);
        }
        self.counters.replayed.increment(1);
        Ok(Outcome::Replayed(Answer {
            charge: record.charge,
            body: record.answer,
        }))
    }

    /// What was carried out under the key that is taken; read where DynamoDB did not give it.
    async fn record(
        &self,
        until: Instant,
        request: &Request,
        item: Option<Attributes>,
    ) -> Result<KeyRecord, LedgerError> {
        let item = match item.filter(|item| !item.is_empty()) {
            Some(item) => item,
            // Gone where its time to live ended just now: the next try comes first.
            None => self
                .get(
                    until,
                    items::key(&request.tenant, items::key_sk(&request.key)),
                )
                .await?
                .ok_or(LedgerError::Unavailable)?,
        };
        items::to_key_record(&item).ok_or_else(|| unreadable(&item))
    }

    /// The charge as another refund left it.
    async fn after_a_race(
        &self,
        until: Instant,
        request: &Request,
        id: Uuid,
        item: Option<Attributes>,
    ) -> Result<Charge, LedgerError> {
        match item.filter(|item| !item.is_empty()) {
            Some(item) => readable(&item),
            None => self
                .find_until(until, &request.tenant, id)
                .await?
                .ok_or(LedgerError::NoCharge),
        }
    }

    fn key_item(&self, request: &Request, asked: &Asked, answer: &Answer) -> Attributes {
        let record = KeyRecord {
            fingerprint: asked.fingerprint.clone(),
            made: asked.id,
            charge: answer.charge,
            answer: answer.body.clone(),
        };
        items::from_key(&request.tenant, &request.key, &record, self.clock.now())
    }

    /// A part that writes an item which must not be there.
    fn put(&self, item: Attributes) -> TransactWriteItem {
        let put = Put::builder()
            .table_name(&self.table)
            .set_item(Some(item))
            .condition_expression(NOT_THERE)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        TransactWriteItem::builder()
            .put(put.build().expect("table and item are set"))
            .build()
    }

    /// A part that sets what was refunded of a charge, which must be as it was read.
    fn raise_refunded(&self, charge: &Charge, refunded: u64) -> TransactWriteItem {
        let update = Update::builder()
            .table_name(&self.table)
            .set_key(Some(items::key(
                &charge.tenant,
                items::charge_sk(charge.id),
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

    /// Parts that write nothing: nothing was carried out under the key, and the charge is as it was read.
    fn checks(&self, request: &Request, charge: &Charge) -> [TransactWriteItem; 2] {
        let check = |sk: String| {
            ConditionCheck::builder()
                .table_name(&self.table)
                .set_key(Some(items::key(&request.tenant, sk)))
                .return_values_on_condition_check_failure(
                    ReturnValuesOnConditionCheckFailure::AllOld,
                )
        };
        let key = check(items::key_sk(&request.key)).condition_expression(NOT_THERE);
        let charge = check(items::charge_sk(charge.id))
            .condition_expression("refunded = :before")
            .expression_attribute_values(":before", number(charge.refunded));
        [key, charge].map(|check| {
            let check = check.build().expect("table, key and condition are set");
            TransactWriteItem::builder().condition_check(check).build()
        })
    }
}

/// What a request is known by while it is carried out.
struct Asked {
    /// What it will have made, if it comes first.
    id: Uuid,
    fingerprint: String,
}

/// The charge in an item of the ledger's.
fn readable(item: &Attributes) -> Result<Charge, LedgerError> {
    items::to_charge(item).ok_or_else(|| unreadable(item))
}

fn unreadable(item: &Attributes) -> LedgerError {
    let (tenant_id, sk) = (items::as_text(item, HASH), items::as_text(item, RANGE));
    tracing::error!(tenant_id, sk, "an item of the ledger cannot be read");
    LedgerError::Unavailable
}

fn json(body: &impl serde::Serialize) -> String {
    serde_json::to_string(body).expect("strings and numbers serialise")
}

/// Reads, again where that may help.
async fn read<T, E, F>(until: Instant, call: impl Fn() -> F) -> Result<T, LedgerError>
where
    F: Future<Output = Result<T, SdkError<E>>>,
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    for attempt in 0..MAX_READS {
        let Ok(outcome) = tokio::time::timeout_at(until, Box::pin(call())).await else {
            break;
        };
        let failure = match outcome {
            Ok(found) => return Ok(found),
            Err(error) => classify(&error),
        };
        tracing::warn!(
            code = failure.code,
            reason = failure.reason,
            "the ledger was not read"
        );
        if !failure.transient {
            break;
        }
        tokio::time::sleep(backoff(attempt, RACE_BASE, RACE_MAX, fastrand::f64())).await;
    }
    Err(LedgerError::Unavailable)
}
