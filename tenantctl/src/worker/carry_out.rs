//! What becomes of a batch of lifecycle messages: parsed, carried out in one go, each with its verdict.
//!
//! A message whose own fault it is goes to the dead-letter queue. One that the repository's state keeps from being carried
//! out (unreachable, broken) is held, its lease extended, and tried again. One whose commit the remote does not take, alone
//! and not for its neighbours' sake, is left to redelivery: five of those, and SQS itself sets it aside.

use std::sync::Arc;
use std::time::Duration;

use shared::health::Condition;
use shared::metrics::{Metrics, label};
use shared::queue::message::Received;
use shared::queue::receiver::{Handler, Verdict};
use shared::queue::retry::backoff_from_half;
use tokio::sync::Mutex;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::apply::{Applied, ApplyError, Options, Outcome, Refused, Results, apply_all};
use crate::git::{GitError, Repository};
use crate::message::{BadMessage, Kind};
use crate::plan::PlanErrorKind;
use crate::request::{InvalidRequestId, Wanted};

/// First wait before the repository is tried again.
const RETRY_BASE: Duration = Duration::from_millis(250);
/// Longest such wait.
const RETRY_MAX: Duration = Duration::from_secs(30);
/// Longest a batch is held before it is left to redelivery after all; below the longest lease.
const HOLD_MAX: Duration = Duration::from_secs(1800);

/// The repository, by turns: this process never competes with itself.
#[derive(Clone)]
pub(super) struct Repositories(Arc<Shared>);

struct Shared {
    repository: Mutex<Repository>,
    reached: Condition,
    unready_after: Duration,
    failing_since: std::sync::Mutex<Option<Instant>>,
}

/// Carries out the messages of one queue.
pub(super) struct CarryOut {
    kind: Kind,
    repositories: Repositories,
    metrics: Metrics,
    shutdown: CancellationToken,
}

/// A message on its way to its verdict.
enum State {
    Settled(Verdict),
    Waiting(Wanted),
}

/// How the next go is to be made.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Together {
    /// All that waits in one push.
    All,
    /// One after the other: the remote did not take them together.
    Alone,
}

/// What the figures mean.
pub(super) fn describe(metrics: &Metrics) {
    metrics.describe_counter(
        "requests_total",
        "Lifecycle messages settled, by queue and outcome",
    );
    metrics.describe_counter(
        "repository_failures_total",
        "Goes at the repository that failed, by code",
    );
    metrics.describe_histogram("apply_seconds", "From a batch's planning to its push");
}

impl Repositories {
    pub(super) fn new(repository: Repository, reached: Condition, unready_after: Duration) -> Self {
        let (repository, failing_since) = (Mutex::new(repository), std::sync::Mutex::new(None));
        Self(Arc::new(Shared {
            repository,
            reached,
            unready_after,
            failing_since,
        }))
    }

    /// Fetches until that succeeds.
    pub(super) async fn reach(&self) {
        let fetch = || async {
            let repository = self.0.repository.lock().await.clone();
            let fetched = tokio::task::spawn_blocking(move || repository.turn()?.fetch()).await;
            let fetched =
                fetched.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()));
            fetched.map(drop).map_err(|error| error.to_string())
        };
        shared::service::retry_forever("the GitOps repository", fetch).await;
        self.succeeded();
    }

    async fn apply(&self, wanted: Vec<Wanted>) -> Result<Results, ApplyError> {
        let repository = self.0.repository.lock().await;
        apply_all(&repository, wanted, &Options::default()).await
    }

    fn succeeded(&self) {
        *self.failing_since() = None;
        if self.0.reached.set(true) {
            tracing::info!("the repository is reached");
        }
    }

    /// Lowers readiness once this has been going on for long enough.
    fn failed(&self) {
        let since = *self.failing_since().get_or_insert_with(Instant::now);
        if since.elapsed() >= self.0.unready_after && self.0.reached.set(false) {
            tracing::error!(
                for_seconds = since.elapsed().as_secs(),
                "the repository keeps failing; not ready"
            );
        }
    }

    fn failing_since(&self) -> std::sync::MutexGuard<'_, Option<Instant>> {
        self.0
            .failing_since
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl CarryOut {
    pub(super) fn new(
        kind: Kind,
        repositories: Repositories,
        metrics: &Metrics,
        shutdown: CancellationToken,
    ) -> Self {
        Self {
            kind,
            repositories,
            metrics: metrics.clone(),
            shutdown,
        }
    }

    fn parse(&self, message: &Received) -> State {
        let parsed =
            self.kind
                .parse(&message.body)
                .map_err(|bad| bad.to_string())
                .and_then(|parsed| {
                    // The queue's own id is the same at each delivery.
                    let delivered_under = match &parsed.id {
                        Some(_) => None,
                        None => Some(message.message_id.parse().map_err(
                            |error: InvalidRequestId| format!("the message's id: {error}"),
                        )?),
                    };
                    Ok(parsed.wanted(delivered_under))
                });
        match parsed {
            Ok(wanted) => State::Waiting(wanted),
            Err(reason) => self.bad(&message.message_id, BadMessage::CODE, &reason),
        }
    }

    /// One go at what waits; `Err` where the remote does not take the commits.
    async fn go(&self, states: &mut [State], together: Together) -> Result<(), GitError> {
        let waiting = states
            .iter()
            .enumerate()
            .filter_map(|(at, state)| match state {
                State::Waiting(wanted) => Some((at, wanted.clone())),
                State::Settled(_) => None,
            });
        let waiting: Vec<_> = waiting.collect();
        let size = if together == Together::All {
            waiting.len().max(1)
        } else {
            1
        };
        for chunk in waiting.chunks(size) {
            let begun = Instant::now();
            let wanted = chunk.iter().map(|(_, wanted)| wanted.clone()).collect();
            match self.repositories.apply(wanted).await {
                Ok(results) => {
                    self.metrics
                        .histogram("apply_seconds", vec![])
                        .record(begun.elapsed().as_secs_f64());
                    for ((at, wanted), result) in chunk.iter().zip(results) {
                        self.settle(&mut states[*at], wanted, result);
                    }
                }
                Err(ApplyError::Git(error @ GitError::Declined { .. })) if chunk.len() > 1 => {
                    return Err(error);
                }
                Err(ApplyError::Git(error @ GitError::Declined { .. })) => {
                    self.failed(&error, error.code());
                    self.count("declined");
                    states[chunk[0].0] = State::Settled(Verdict::Retry);
                }
                Err(error) => {
                    self.failed(&error, error.code());
                    // The others would fare no better.
                    self.repositories.failed();
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// A request's result becomes its message's verdict, unless it is the repository's fault.
    fn settle(&self, state: &mut State, wanted: &Wanted, result: Result<Applied, Refused>) {
        let id = wanted.id.as_str();
        let outcome = match result {
            Ok(Applied {
                outcome: Outcome::Committed(commit),
                attempts,
                ..
            }) => {
                tracing::info!(request_id = id, %commit, attempts, kind = self.kind.as_str(), "committed");
                "committed"
            }
            Ok(Applied {
                outcome: Outcome::NothingToDo,
                ..
            }) => {
                tracing::info!(request_id = id, "nothing to do");
                "nothing_to_do"
            }
            Ok(Applied {
                outcome: Outcome::Repeated(commit),
                ..
            }) => {
                tracing::info!(request_id = id, %commit, "carried out before");
                "repeated"
            }
            Err(refused) if refused.kind() == PlanErrorKind::Repository => {
                self.failed(&refused, refused.code());
                self.repositories.failed();
                return;
            }
            Err(refused) => {
                self.repositories.succeeded();
                *state = self.bad(id, refused.code(), &refused.to_string());
                return;
            }
        };
        self.repositories.succeeded();
        self.count(outcome);
        *state = State::Settled(Verdict::Done);
    }

    fn bad(&self, id: &str, code: &'static str, reason: &str) -> State {
        tracing::warn!(
            request_id = id,
            code,
            reason,
            kind = self.kind.as_str(),
            "refused"
        );
        self.count("refused");
        State::Settled(Verdict::SetAside(format!("{code}: {reason}")))
    }

    fn failed(&self, error: &dyn std::fmt::Display, code: &'static str) {
        self.metrics
            .counter("repository_failures_total", vec![label("code", code)])
            .increment(1);
        tracing::warn!(code, reason = %error, kind = self.kind.as_str(), "not carried out yet");
    }

    fn count(&self, outcome: &'static str) {
        let labels = vec![
            label("queue", self.kind.as_str()),
            label("outcome", outcome),
        ];
        self.metrics.counter("requests_total", labels).increment(1);
    }
}

impl Handler for CarryOut {
    async fn handle(&self, batch: &[Received]) -> Vec<Verdict> {
        let mut states: Vec<State> = batch.iter().map(|message| self.parse(message)).collect();
        let (since, mut attempt, mut together) = (Instant::now(), 0, Together::All);
        while states
            .iter()
            .any(|state| matches!(state, State::Waiting(_)))
        {
            if self.go(&mut states, together).await.is_err() {
                together = Together::Alone;
                continue;
            }
            let is_open = states
                .iter()
                .any(|state| matches!(state, State::Waiting(_)));
            if !is_open || since.elapsed() >= HOLD_MAX {
                break;
            }
            let pause = backoff_from_half(attempt, RETRY_BASE, RETRY_MAX, fastrand::f64());
            attempt += 1;
            // The rest is handed back to the queue.
            if self
                .shutdown
                .run_until_cancelled(tokio::time::sleep(pause))
                .await
                .is_none()
            {
                break;
            }
        }
        let verdict = |state| match state {
            State::Settled(verdict) => verdict,
            State::Waiting(_) => Verdict::Retry,
        };
        states.into_iter().map(verdict).collect()
    }
}
