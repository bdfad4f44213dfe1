//! One write of the ledger: a transaction whose first part is the request's key and whose second is the charge.
//!
//! The key's condition makes a repeat harmless, however the first try ended, so a try without a clear end is simply
//! repeated until it has one: committed, now or then; or refused, and by which part.

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

/// First wait before a transaction is tried again.
const RETRY_BASE: Duration = Duration::from_millis(25);
/// Longest such wait.
const RETRY_MAX: Duration = Duration::from_millis(400);
/// Transactions on the wire at once. Each has a connection of its own: beyond what keeps the processors busy, more cost
/// memory and make none quicker. Others wait for their turn, up to their request's deadline.
const MAX_IN_FLIGHT: usize = 24;
/// Tries of one transaction; the request's deadline usually comes first.
const MAX_TRIES: u32 = 12;
/// DynamoDB's code of a part whose condition did not hold.
const CONDITION_FAILED: &str = "ConditionalCheckFailed";
/// DynamoDB's codes of a part that was in somebody's way, or came too fast: the same may succeed later.
const PASSING: [&str; 4] = [
    "TransactionConflict",
    "ThrottlingError",
    "ProvisionedThroughputExceeded",
    "RequestLimitExceeded",
];
/// DynamoDB's code for a repeat that came while the first try was still being carried out.
const IN_PROGRESS: &str = "TransactionInProgressException";

/// How a transaction ended.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum End {
    /// It is written.
    Committed,
    /// Something was carried out under this key before; the item, where DynamoDB gave it.
    KeyTaken(Option<Attributes>),
    /// The charge is not as the transaction expects it; the item, where there is one and DynamoDB gave it.
    ChargeDiffers(Option<Attributes>),
    /// No clear end in time. It may have been committed.
    Unclear,
    /// The table cannot take it now; nothing was written by the last try.
    Unavailable,
}

/// What to do after one try. Pure.
#[derive(Debug, Clone, PartialEq)]
enum Step {
    End(End),
    Again(&'static str),
}

/// Why a part of a transaction kept it from being carried out: DynamoDB's code, and the item that is there.
type Reason = (String, Option<Attributes>);

/// Carries transactions out. Clones share the figures.
#[derive(Clone)]
pub(crate) struct Transactions {
    client: Client,
    places: Arc<Semaphore>,
    metrics: Metrics,
    tries: Counter,
}

impl Transactions {
    pub(crate) fn new(client: Client, metrics: &Metrics) -> Self {
        metrics.describe_counter("ledger_tries_total", "TransactWriteItems calls");
        metrics.describe_counter(
            "ledger_retries_total",
            "Transactions tried again, by reason",
        );
        let tries = metrics.counter("ledger_tries_total", vec![]);
        Self {
            client,
            places: Arc::new(Semaphore::new(MAX_IN_FLIGHT)),
            metrics: metrics.clone(),
            tries,
        }
    }

    /// Carries out a transaction; the token names its content, so that DynamoDB knows a repeat.
    pub(crate) async fn carry_out(
        &self,
        token: Uuid,
        parts: &[TransactWriteItem],
        until: Instant,
    ) -> End {
        for attempt in 0..MAX_TRIES {
            let Ok(place) = tokio::time::timeout_at(until, self.places.acquire()).await else {
                return End::Unclear;
            };
            self.tries.increment(1);
            let call = self
                .client
                .transact_write_items()
                .set_transact_items(Some(parts.to_vec()))
                .client_request_token(token.to_string());
            let Ok(outcome) = tokio::time::timeout_at(until, Box::pin(call.send())).await else {
                return End::Unclear;
            };
            drop(place);
            let reason = match outcome {
                Ok(_) => return End::Committed,
                Err(error) => match step(&error) {
                    Step::End(end) => return end,
                    Step::Again(reason) => reason,
                },
            };
            self.metrics
                .counter("ledger_retries_total", vec![label("reason", reason)])
                .increment(1);
            let wait = backoff(attempt, RETRY_BASE, RETRY_MAX, fastrand::f64());
            if Instant::now() + wait >= until {
                break;
            }
            tokio::time::sleep(wait).await;
        }
        End::Unclear
    }
}

fn step(error: &SdkError<TransactWriteItemsError>) -> Step {
    if let Some(TransactWriteItemsError::TransactionCanceledException(cancelled)) =
        error.as_service_error()
    {
        let reasons = cancelled.cancellation_reasons.iter().flatten();
        let reasons: Vec<Reason> = reasons
            .map(|reason| (reason.code.clone().unwrap_or_default(), reason.item.clone()))
            .collect();
        return after_cancellation(&reasons);
    }
    let failure = classify(error);
    if failure.transient || failure.code == IN_PROGRESS {
        tracing::warn!(
            code = failure.code,
            reason = failure.reason,
            "transaction without a clear end; again"
        );
        return Step::Again("unclear");
    }
    // Missing table, missing permission: an operator's to mend. A request DynamoDB calls invalid is a defect of ours.
    tracing::error!(
        code = failure.code,
        reason = failure.reason,
        "the table does not take the transaction"
    );
    Step::End(End::Unavailable)
}

/// The key's word goes first: what it names has happened. Then whatever may be otherwise later. The charge's word counts
/// only where nothing else stood in the way, because a request under the same key may be just about to be committed.
fn after_cancellation(reasons: &[Reason]) -> Step {
    let item_of_failed = |at: usize| {
        let (_, item) = reasons
            .get(at)
            .filter(|(code, _)| code == CONDITION_FAILED)?;
        Some(item.clone())
    };
    if let Some(item) = item_of_failed(0) {
        return Step::End(End::KeyTaken(item));
    }
    let is_passing = |(code, _): &Reason| PASSING.contains(&code.as_str());
    if reasons.is_empty() || reasons.iter().any(is_passing) {
        return Step::Again("conflict");
    }
    if let Some(item) = item_of_failed(1) {
        return Step::End(End::ChargeDiffers(item));
    }
    tracing::error!(
        ?reasons,
        "the table refuses a part of the transaction: this is a defect"
    );
    Step::End(End::Unavailable)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::items::text;

    fn reasons(codes: &[&str]) -> Vec<Reason> {
        codes
            .iter()
            .map(|code| ((*code).to_owned(), None))
            .collect()
    }

    #[test]
    fn the_key_goes_first_then_what_passes_then_the_charge() {
        let (key_taken, differs) = (
            Step::End(End::KeyTaken(None)),
            Step::End(End::ChargeDiffers(None)),
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
                Step::Again("conflict"),
            ),
            (
                &["None", "None", "ThrottlingError"],
                Step::Again("conflict"),
            ),
            (
                &["None", "ProvisionedThroughputExceeded"],
                Step::Again("conflict"),
            ),
            (&[], Step::Again("conflict")),
            (
                &["None", "None", "ValidationError"],
                Step::End(End::Unavailable),
            ),
        ] {
            assert_eq!(after_cancellation(&reasons(codes)), expected, "{codes:?}");
        }
    }

    #[test]
    fn the_item_that_is_there_is_handed_on() {
        let item = Attributes::from([("sk".to_owned(), text("key#k"))]);
        let reasons = [(CONDITION_FAILED.to_owned(), Some(item.clone()))];
        assert_eq!(
            after_cancellation(&reasons),
            Step::End(End::KeyTaken(Some(item)))
        );
    }
}
