//! Transactions of the ledger: the first part is the request's key, the second is the charge.
//!
//! The key's condition makes every repeat safe. So an attempt with an unclear outcome is repeated until the outcome is
//! clear: this attempt or an earlier attempt committed the transaction, or a known part refused it.

use std::sync::Arc;
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::TransactWriteItem;
use metrics::Counter;
use tenantry_process::metrics::{Metrics, label};
use tenantry_process::retry::{backoff, classify};
use tokio::sync::Semaphore;
use tokio::time::Instant;
use uuid::Uuid;

use super::items::Attributes;

/// First and longest wait before the next attempt of a transaction.
const RETRY_BASE: Duration = Duration::from_millis(25);
const RETRY_MAX: Duration = Duration::from_millis(400);
/// Transactions in flight. Each has its own connection: once the processors are busy, more connections cost memory and make
/// no request faster. Further transactions wait for a permit until their request's deadline.
const MAX_IN_FLIGHT: usize = 24;
/// Attempts of one transaction. The request's deadline usually comes first.
const MAX_ATTEMPTS: u32 = 12;
/// DynamoDB's code for a part whose condition does not hold.
const CONDITION_FAILED: &str = "ConditionalCheckFailed";
/// DynamoDB's codes for a part that conflicts with another write, or is throttled: a later attempt may succeed.
const TRANSIENT: [&str; 4] = [
    "TransactionConflict",
    "ThrottlingError",
    "ProvisionedThroughputExceeded",
    "RequestLimitExceeded",
];
/// DynamoDB's code for a repeat that arrives while the first attempt is still in progress.
const IN_PROGRESS: &str = "TransactionInProgressException";

/// Outcome of a transaction.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum TransactionOutcome {
    Committed,
    /// The key exists already. Has the key's item if DynamoDB returned it.
    KeyTaken(Option<Attributes>),
    /// The charge is not as it was read. Has the charge's item if it exists and DynamoDB returned it.
    ChargeDiffers(Option<Attributes>),
    /// The deadline came before a clear outcome. The transaction may be committed.
    Unclear,
    /// The table rejected the last attempt, which wrote nothing.
    Unavailable,
}

/// Next step after one attempt.
#[derive(Debug, Clone, PartialEq)]
enum NextStep {
    Return(TransactionOutcome),
    /// Another attempt, for this reason.
    Retry(&'static str),
}

/// The reason why a part canceled its transaction: DynamoDB's code, and the existing item.
type CancellationReason = (String, Option<Attributes>);

/// Commits transactions. Clones share permits and metrics.
#[derive(Clone)]
pub(crate) struct Transactions {
    client: Client,
    permits: Arc<Semaphore>,
    metrics: Metrics,
    attempts: Counter,
}

impl Transactions {
    pub(crate) fn new(client: Client, metrics: &Metrics) -> Self {
        metrics.describe_counter("ledger_tries_total", "TransactWriteItems calls");
        metrics.describe_counter(
            "ledger_retries_total",
            "Repeated attempts of transactions, by reason",
        );
        let attempts = metrics.counter("ledger_tries_total", vec![]);
        Self {
            client,
            permits: Arc::new(Semaphore::new(MAX_IN_FLIGHT)),
            metrics: metrics.clone(),
            attempts,
        }
    }

    /// Commits a transaction. The token identifies its content, so that DynamoDB recognizes a repeat.
    pub(crate) async fn commit(
        &self,
        token: Uuid,
        parts: &[TransactWriteItem],
        deadline: Instant,
    ) -> TransactionOutcome {
        for attempt in 0..MAX_ATTEMPTS {
            let Ok(permit) = tokio::time::timeout_at(deadline, self.permits.acquire()).await else {
                return TransactionOutcome::Unclear;
            };
            self.attempts.increment(1);
            let call = self
                .client
                .transact_write_items()
                .set_transact_items(Some(parts.to_vec()))
                .client_request_token(token.to_string());
            let Ok(answer) = tokio::time::timeout_at(deadline, Box::pin(call.send())).await else {
                return TransactionOutcome::Unclear;
            };
            drop(permit);
            let reason = match answer {
                Ok(_) => return TransactionOutcome::Committed,
                Err(error) => match next_step(&error) {
                    NextStep::Return(outcome) => return outcome,
                    NextStep::Retry(reason) => reason,
                },
            };
            self.metrics
                .counter("ledger_retries_total", vec![label("reason", reason)])
                .increment(1);
            let wait = backoff(attempt, RETRY_BASE, RETRY_MAX, fastrand::f64());
            if Instant::now() + wait >= deadline {
                break;
            }
            tokio::time::sleep(wait).await;
        }
        TransactionOutcome::Unclear
    }
}

fn next_step(error: &SdkError<TransactWriteItemsError>) -> NextStep {
    if let Some(TransactWriteItemsError::TransactionCanceledException(canceled)) =
        error.as_service_error()
    {
        let reasons = canceled.cancellation_reasons.iter().flatten();
        let reasons: Vec<CancellationReason> = reasons
            .map(|reason| (reason.code.clone().unwrap_or_default(), reason.item.clone()))
            .collect();
        return after_cancellation(&reasons);
    }
    let failure = classify(error);
    if failure.transient || failure.code == IN_PROGRESS {
        tracing::warn!(
            code = failure.code,
            reason = failure.reason,
            "transaction outcome is unclear, will retry"
        );
        return NextStep::Retry("unclear");
    }
    // An operator can repair a missing table or permission. A request that DynamoDB calls invalid is a defect of this code.
    tracing::error!(
        code = failure.code,
        reason = failure.reason,
        "table rejected the transaction"
    );
    NextStep::Return(TransactionOutcome::Unavailable)
}

/// Returns the next step after DynamoDB canceled a transaction.
///
/// A taken key has precedence, because its change is committed. Transient reasons come next: a later attempt may have
/// another outcome. A changed charge counts only without any other reason, because a request under the same key may be
/// about to commit.
fn after_cancellation(reasons: &[CancellationReason]) -> NextStep {
    let item_of_failed = |part: usize| {
        let (_, item) = reasons
            .get(part)
            .filter(|(code, _)| code == CONDITION_FAILED)?;
        Some(item.clone())
    };
    if let Some(item) = item_of_failed(0) {
        return NextStep::Return(TransactionOutcome::KeyTaken(item));
    }
    let is_transient = |(code, _): &CancellationReason| TRANSIENT.contains(&code.as_str());
    if reasons.is_empty() || reasons.iter().any(is_transient) {
        return NextStep::Retry("conflict");
    }
    if let Some(item) = item_of_failed(1) {
        return NextStep::Return(TransactionOutcome::ChargeDiffers(item));
    }
    tracing::error!(
        ?reasons,
        "table rejected a part of the transaction: this is a defect"
    );
    NextStep::Return(TransactionOutcome::Unavailable)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::items::text;

    fn reasons(codes: &[&str]) -> Vec<CancellationReason> {
        codes
            .iter()
            .map(|code| ((*code).to_owned(), None))
            .collect()
    }

    #[test]
    fn a_taken_key_precedes_transient_reasons_and_those_precede_a_changed_charge() {
        let (key_taken, differs) = (
            NextStep::Return(TransactionOutcome::KeyTaken(None)),
            NextStep::Return(TransactionOutcome::ChargeDiffers(None)),
        );
        for (codes, expected) in [
            (
                &["ConditionalCheckFailed", "None", "None"][..],
                key_taken.clone(),
            ),
            (
                &["ConditionalCheckFailed", "ConditionalCheckFailed", "None"],
                key_taken.clone(),
            ),
            (
                &["ConditionalCheckFailed", "TransactionConflict", "None"],
                key_taken,
            ),
            (&["None", "ConditionalCheckFailed", "None"], differs),
            (
                &["TransactionConflict", "ConditionalCheckFailed", "None"],
                NextStep::Retry("conflict"),
            ),
            (
                &["None", "None", "ThrottlingError"],
                NextStep::Retry("conflict"),
            ),
            (
                &["None", "ProvisionedThroughputExceeded"],
                NextStep::Retry("conflict"),
            ),
            (&[], NextStep::Retry("conflict")),
            (
                &["None", "None", "ValidationError"],
                NextStep::Return(TransactionOutcome::Unavailable),
            ),
        ] {
            assert_eq!(after_cancellation(&reasons(codes)), expected, "{codes:?}");
        }
    }

    #[test]
    fn the_existing_item_is_part_of_the_outcome() {
        let item = Attributes::from([("sk".to_owned(), text("key#k"))]);
        let reasons = [(CONDITION_FAILED.to_owned(), Some(item.clone()))];
        assert_eq!(
            after_cancellation(&reasons),
            NextStep::Return(TransactionOutcome::KeyTaken(Some(item)))
        );
    }
}
