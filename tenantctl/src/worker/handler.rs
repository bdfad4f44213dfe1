//! The handler of lifecycle messages: it parses a batch, applies it together, and settles each message.
//!
//! A malformed or conflicting message is dead-lettered. While the repository is unreachable or broken, a message is held with
//! an extended lease, and tried again. A message whose commit the remote declines, even when pushed alone, is left to
//! redelivery: after five deliveries SQS dead-letters it.

use std::sync::Arc;
use std::time::Duration;

use tenantry_process::health::Condition;
use tenantry_process::hold::{Hold, HoldLimits};
use tenantry_process::metrics::{Metrics, label};
use tenantry_queue::message::Received;
use tenantry_queue::receiver::{Handler, Verdict};
use tokio::sync::Mutex;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::apply::{
    Applied, ApplyError, ApplyOptions, ApplyOutcome, ApplyResults, RequestError, apply_all,
};
use crate::git::{GitError, Repository, on_blocking_thread};
use crate::message::{BadMessage, MessageKind};
use crate::plan::PlanErrorKind;
use crate::request::{IdentifiedRequest, InvalidRequestId};

/// Pauses and total time for which a batch is held before it is left to redelivery; below the longest lease.
const HOLD: HoldLimits = HoldLimits {
    base: Duration::from_millis(250),
    max: Duration::from_secs(30),
    total: Duration::from_secs(1800),
};

/// The repository, used by one queue at a time: the process never competes with itself.
#[derive(Clone)]
pub(super) struct SharedRepository(Arc<Inner>);

struct Inner {
    repository: Mutex<Repository>,
    reached: Condition,
    unready_after: Duration,
    failing_since: parking_lot::Mutex<Option<Instant>>,
}

/// Applies the messages of one queue.
pub(super) struct LifecycleHandler {
    kind: MessageKind,
    repository: SharedRepository,
    metrics: Metrics,
    shutdown: CancellationToken,
}

enum MessageState {
    Settled(Verdict),
    Pending(IdentifiedRequest),
}

/// The pushes of the next attempt.
#[derive(Clone, Copy, PartialEq, Eq)]
enum PushMode {
    /// One push for all pending requests.
    Together,
    /// One push for each request: the remote declined them together.
    Separately,
}

pub(super) fn describe_metrics(metrics: &Metrics) {
    metrics.describe_counter(
        "requests_total",
        "Lifecycle messages settled, by queue and outcome",
    );
    metrics.describe_counter(
        "repository_failures_total",
        "Failed attempts at the repository, by code",
    );
    metrics.describe_histogram("apply_seconds", "From a batch's planning to its push");
}

impl SharedRepository {
    pub(super) fn new(repository: Repository, reached: Condition, unready_after: Duration) -> Self {
        let (repository, failing_since) = (Mutex::new(repository), parking_lot::Mutex::new(None));
        Self(Arc::new(Inner {
            repository,
            reached,
            unready_after,
            failing_since,
        }))
    }

    /// Fetches until a fetch succeeds.
    pub(super) async fn fetch_until_reached(&self) {
        let fetch = || async {
            let repository = self.0.repository.lock().await.clone();
            let fetched = on_blocking_thread(move || repository.lock()?.fetch()).await;
            fetched.map(drop).map_err(|error| error.to_string())
        };
        tenantry_process::run::retry_forever("the GitOps repository", fetch).await;
        self.succeeded();
    }

    async fn apply(&self, requests: Vec<IdentifiedRequest>) -> Result<ApplyResults, ApplyError> {
        let repository = self.0.repository.lock().await;
        apply_all(&repository, requests, &ApplyOptions::default()).await
    }

    fn succeeded(&self) {
        *self.0.failing_since.lock() = None;
        if self.0.reached.set(true) {
            tracing::info!("repository reached");
        }
    }

    /// Clears readiness after failures for `unready_after`.
    fn failed(&self) {
        let since = *self.0.failing_since.lock().get_or_insert_with(Instant::now);
        if since.elapsed() >= self.0.unready_after && self.0.reached.set(false) {
            tracing::error!(
                for_seconds = since.elapsed().as_secs(),
                "worker not ready: the repository keeps failing"
            );
        }
    }
}

impl LifecycleHandler {
    pub(super) fn new(
        kind: MessageKind,
        repository: SharedRepository,
        metrics: &Metrics,
        shutdown: CancellationToken,
    ) -> Self {
        Self {
            kind,
            repository,
            metrics: metrics.clone(),
            shutdown,
        }
    }

    fn parse(&self, message: &Received) -> MessageState {
        match self.identify(message) {
            Ok(identified) => MessageState::Pending(identified),
            Err(reason) => self.dead_letter(&message.message_id, BadMessage::CODE, &reason),
        }
    }

    fn identify(&self, message: &Received) -> Result<IdentifiedRequest, String> {
        let parsed = self
            .kind
            .parse(&message.body)
            .map_err(|bad| bad.to_string())?;
        if parsed.id.is_some() {
            return Ok(parsed.identified(None));
        }
        // The queue's message id is equal at each delivery.
        let id = message
            .message_id
            .parse()
            .map_err(|error: InvalidRequestId| format!("the message's id: {error}"))?;
        Ok(parsed.identified(Some(id)))
    }

    /// Applies the pending requests once; `Err` if the remote declines a push of several commits.
    async fn apply_pending(
        &self,
        states: &mut [MessageState],
        mode: PushMode,
    ) -> Result<(), GitError> {
        let pending = states
            .iter()
            .enumerate()
            .filter_map(|(at, state)| match state {
                MessageState::Pending(identified) => Some((at, identified.clone())),
                MessageState::Settled(_) => None,
            });
        let pending: Vec<_> = pending.collect();
        let size = match mode {
            PushMode::Together => pending.len().max(1),
            PushMode::Separately => 1,
        };
        for chunk in pending.chunks(size) {
            let begun = Instant::now();
            let requests = chunk
                .iter()
                .map(|(_, identified)| identified.clone())
                .collect();
            match self.repository.apply(requests).await {
                Ok(results) => {
                    self.metrics
                        .histogram("apply_seconds", vec![])
                        .record(begun.elapsed().as_secs_f64());
                    for ((at, identified), result) in chunk.iter().zip(results) {
                        self.settle(&mut states[*at], identified, result);
                    }
                }
                Err(ApplyError::Git(error @ GitError::Declined { .. })) if chunk.len() > 1 => {
                    return Err(error);
                }
                Err(ApplyError::Git(error @ GitError::Declined { .. })) => {
                    self.failed(&error, error.code());
                    self.count("declined");
                    states[chunk[0].0] = MessageState::Settled(Verdict::Retry);
                }
                Err(error) => {
                    self.failed(&error, error.code());
                    // The other requests would fail the same way.
                    self.repository.failed();
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Settles a message with the result of its request, unless the repository is at fault.
    fn settle(
        &self,
        state: &mut MessageState,
        identified: &IdentifiedRequest,
        result: Result<Applied, RequestError>,
    ) {
        let id = identified.id.as_str();
        let outcome = match result {
            Ok(Applied {
                outcome: ApplyOutcome::Committed(commit),
                attempts,
                ..
            }) => {
                tracing::info!(request_id = id, %commit, attempts, kind = self.kind.as_str(), "message committed");
                "committed"
            }
            Ok(Applied {
                outcome: ApplyOutcome::NothingToDo,
                ..
            }) => {
                tracing::info!(request_id = id, "message needs no commit");
                "nothing_to_do"
            }
            Ok(Applied {
                outcome: ApplyOutcome::Repeated(commit),
                ..
            }) => {
                tracing::info!(request_id = id, %commit, "message was applied before");
                "repeated"
            }
            Err(refused) if refused.kind() == PlanErrorKind::Repository => {
                self.failed(&refused, refused.code());
                self.repository.failed();
                return;
            }
            Err(refused) => {
                self.repository.succeeded();
                *state = self.dead_letter(id, refused.code(), &refused.to_string());
                return;
            }
        };
        self.repository.succeeded();
        self.count(outcome);
        *state = MessageState::Settled(Verdict::Done);
    }

    fn dead_letter(&self, id: &str, code: &'static str, reason: &str) -> MessageState {
        tracing::warn!(
            request_id = id,
            code,
            reason,
            kind = self.kind.as_str(),
            "message refused: dead-lettered"
        );
        self.count("refused");
        MessageState::Settled(Verdict::DeadLetter(format!("{code}: {reason}")))
    }

    fn failed(&self, error: &dyn std::fmt::Display, code: &'static str) {
        self.metrics
            .counter("repository_failures_total", vec![label("code", code)])
            .increment(1);
        tracing::warn!(code, reason = %error, kind = self.kind.as_str(), "apply failed, will retry");
    }

    fn count(&self, outcome: &'static str) {
        let labels = vec![
            label("queue", self.kind.as_str()),
            label("outcome", outcome),
        ];
        self.metrics.counter("requests_total", labels).increment(1);
    }
}

fn is_pending(states: &[MessageState]) -> bool {
    states
        .iter()
        .any(|state| matches!(state, MessageState::Pending(_)))
}

impl Handler for LifecycleHandler {
    async fn handle(&self, batch: &[Received]) -> Vec<Verdict> {
        let mut states: Vec<MessageState> =
            batch.iter().map(|message| self.parse(message)).collect();
        let mut mode = PushMode::Together;
        let mut hold = Hold::new(HOLD, &self.shutdown);
        while is_pending(&states) {
            if self.apply_pending(&mut states, mode).await.is_err() {
                mode = PushMode::Separately;
                continue;
            }
            // When the hold ends, pending messages return to the queue.
            if !is_pending(&states) || !hold.pause().await {
                break;
            }
        }
        let verdict = |state| match state {
            MessageState::Settled(verdict) => verdict,
            MessageState::Pending(_) => Verdict::Retry,
        };
        states.into_iter().map(verdict).collect()
    }
}
