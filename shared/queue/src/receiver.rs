//! Polls a queue, leases messages, passes them to a [`Handler`], and acknowledges them.
//!
//! An idle queue has one long poll. More polls run, up to a limit, only while polls return full. A poll asks for no more
//! messages than there are permits, so the number of unsettled messages is bounded.
//!
//! The handler returns a [`Verdict`] per message; only [`Verdict::Done`] deletes a message. While the handler runs, the
//! receiver extends the leases. A message that can never succeed moves to the dead-letter queue with a reason. Without a
//! dead-letter queue, the message is redelivered with a growing delay. The other messages of the batch are not affected.
//!
//! Messages of one group hold at most a share of the permits. A message beyond that share waits briefly and is then
//! postponed to a later delivery, so that one slow group leaves permits to the others.
//!
//! A receive in flight is never canceled, because messages that it has already leased would stay invisible until their
//! visibility time-out. So a drain takes up to the wait of one long poll.
//!
//! ```no_run
//! use tenantry_process::arn::QueueArn;
//! use tenantry_process::health::Readiness;
//! use tenantry_process::metrics::Metrics;
//! use tenantry_queue::message::Received;
//! use tenantry_queue::receiver::{Handler, Receiver, ReceiverLimits, SourceLookupError, SourceQueue, Verdict};
//! use tokio_util::sync::CancellationToken;
//!
//! struct Print;
//!
//! impl Handler for Print {
//!     async fn handle(&self, batch: &[Received]) -> Vec<Verdict> {
//!         batch.iter().map(|message| { println!("{}", message.body); Verdict::Done }).collect()
//!     }
//! }
//!
//! # async fn example(client: aws_sdk_sqs::Client, queue: QueueArn) -> Result<(), SourceLookupError> {
//! let source = SourceQueue::find(&client, &queue).await?;
//! let metrics = Metrics::new("orders", "prod");
//! let receiving = Readiness::default().condition("queue");
//! let receiver = Receiver::new(client, source, Print, ReceiverLimits::default(), &metrics, receiving);
//! receiver.run(CancellationToken::new()).await; // until the token is canceled and all messages are settled
//! # Ok(())
//! # }
//! ```

mod acknowledge;
mod lease_extender;
mod leases;
mod pollers;
mod shares;
mod source;
mod unsettled;

use std::sync::Arc;
use std::time::Duration;

use aws_sdk_sqs::types::MessageSystemAttributeName;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use parking_lot::Mutex;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::lease_extender::LeaseExtender;
use self::pollers::Pollers;
use self::shares::Shares;
pub use self::source::{SourceLookupError, SourceQueue};
use crate::message::Received;
use tenantry_process::aws::long_poll_timeout;
use tenantry_process::health::Condition;
use tenantry_process::metrics::{Metrics, label};
use tenantry_process::retry::{backoff_from_half, classify};

/// Most messages of one ReceiveMessage (SQS: 10).
pub const MAX_RECEIVE: usize = 10;
/// Longest wait of a poll beside another. A wait makes SQS query all its servers; a short one ends soon on an idle queue.
const EXTRA_POLL_WAIT: Duration = Duration::from_secs(1);
/// Longest pause after the first failed receive; doubled for each further failure.
const ERROR_BACKOFF_BASE: Duration = Duration::from_millis(200);
/// Longest pause after any failed receive.
const ERROR_BACKOFF_MAX: Duration = Duration::from_secs(20);

/// Limits of a [`Receiver`].
#[derive(Debug, Clone, Copy)]
pub struct ReceiverLimits {
    /// Wait of an idle poll: 1 to 20 s (SQS: at most 20 s). 20 s costs three calls per minute.
    pub poll_wait: Duration,
    /// Most polls at once, while they return full.
    pub max_polls: usize,
    /// Most unsettled messages: received and not yet acknowledged.
    pub max_in_hand: usize,
    /// Most unsettled messages of one message group, at least 1. Below `max_in_hand`, one slow group leaves permits to the
    /// others; if equal, groups do not matter.
    pub max_of_one_group: usize,
    /// Duration of a lease, at least 2 s. While the handler runs, a lease is extended at half of this duration.
    pub visibility: Duration,
    /// Longest total duration of a lease, extensions included (SQS: 12 h).
    pub max_lease: Duration,
    /// Time for which receives may fail before the receiver is unready.
    pub unready_after: Duration,
}

impl Default for ReceiverLimits {
    fn default() -> Self {
        Self {
            poll_wait: Duration::from_secs(20),
            max_polls: 16,
            max_in_hand: 400,
            max_of_one_group: 350,
            visibility: Duration::from_secs(60),
            max_lease: Duration::from_secs(3600),
            unready_after: Duration::from_secs(15),
        }
    }
}

/// Outcome of handling one message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The effect is durable: delete the message.
    Done,
    /// A later attempt may succeed: redeliver the message, with a growing delay.
    Retry,
    /// No attempt can succeed: move the message to the dead-letter queue with this reason.
    DeadLetter(String),
}

/// Processes received messages.
pub trait Handler: Send + Sync + 'static {
    /// Handles a batch of 1 to [`MAX_RECEIVE`] messages and returns a verdict for each, in order. A message without a verdict
    /// is redelivered. After a panic, all messages of the batch are redelivered when their leases end.
    fn handle(&self, batch: &[Received]) -> impl Future<Output = Vec<Verdict>> + Send;
}

/// Receives the messages of one queue and passes them to a handler.
pub struct Receiver<H> {
    client: aws_sdk_sqs::Client,
    /// The same client with time-outs that allow for an idle poll's wait.
    long_polls: aws_sdk_sqs::Client,
    source: SourceQueue,
    handler: H,
    limits: ReceiverLimits,
    metrics: Metrics,
    receiving: Condition,
    tasks: TaskTracker,
    permits: Arc<Semaphore>,
    shares: Mutex<Shares>,
    share_freed: Notify,
    lease_extender: LeaseExtender,
}

/// Result of one poll.
struct Polled {
    asked: usize,
    outcome: Result<Vec<Received>, String>,
    permits: OwnedSemaphorePermit,
}

impl<H: Handler> Receiver<H> {
    /// Creates a receiver that has not started. `receiving` is met while polls succeed.
    pub fn new(
        client: aws_sdk_sqs::Client,
        source: SourceQueue,
        handler: H,
        limits: ReceiverLimits,
        metrics: &Metrics,
        receiving: Condition,
    ) -> Self {
        metrics.describe_counter("receive_calls_total", "ReceiveMessage calls, by outcome");
        metrics.describe_counter("received_total", "Messages received");
        metrics.describe_counter("deleted_total", "Messages deleted after they were handled");
        metrics.describe_counter(
            "dead_lettered_total",
            "Messages moved to the dead-letter queue",
        );
        metrics.describe_counter("set_aside_total", "Old name of dead_lettered_total");
        metrics.describe_counter(
            "receive_retries_total",
            "Calls and messages retried, by operation",
        );
        metrics.describe_histogram("queue_lag_seconds", "Age of a message when it is received");
        let long_polls = client
            .config()
            .to_builder()
            .timeout_config(long_poll_timeout(limits.poll_wait));
        Self {
            long_polls: aws_sdk_sqs::Client::from_conf(long_polls.build()),
            client,
            source,
            handler,
            limits,
            metrics: metrics.clone(),
            receiving,
            tasks: TaskTracker::new(),
            permits: Arc::new(Semaphore::new(limits.max_in_hand)),
            shares: Mutex::new(Shares::new(limits.max_of_one_group)),
            share_freed: Notify::new(),
            lease_extender: LeaseExtender::new(&limits),
        }
    }

    /// Polls until the token is canceled, then waits for running handlers and releases messages that no handler has begun.
    pub async fn run(self, shutdown: CancellationToken) {
        let receiver = Arc::new(self);
        let work = async {
            receiver.poll_until(&shutdown).await;
            receiver.tasks.close();
            receiver.tasks.wait().await;
        };
        // When all messages are settled, no lease is left to extend.
        tokio::select! {
            () = work => {}
            () = receiver.extend_leases() => {}
        }
    }

    async fn poll_until(self: &Arc<Self>, shutdown: &CancellationToken) {
        let mut polls = FuturesUnordered::new();
        let mut pollers = Pollers::new(self.limits.max_polls);
        let mut failing: Option<Failing> = None;
        // Until one poll has succeeded, polls do not wait: otherwise readiness would depend on the arrival of a message.
        let mut is_proven = false;
        loop {
            let is_stopping = shutdown.is_cancelled();
            if is_stopping && polls.is_empty() {
                return;
            }
            let may_start = !is_stopping && polls.len() < pollers.wanted();
            let wait = match (is_proven, polls.is_empty()) {
                (false, _) => Duration::ZERO,
                (true, true) => self.limits.poll_wait,
                (true, false) => self.limits.poll_wait.min(EXTRA_POLL_WAIT),
            };
            // The fixed order starts no poll after shutdown, and makes a simulation repeatable.
            tokio::select! {
                biased;
                () = shutdown.cancelled(), if !is_stopping => {}
                // Cancel-safe: dropping `next` leaves the polls in `polls`.
                Some(polled) = polls.next(), if !polls.is_empty() => {
                    failing = self.settle_poll(polled, &mut pollers, failing, shutdown);
                    is_proven = failing.is_none();
                }
                // Cancel-safe: dropped permits are free again.
                permits = self.permits_after(failing.as_ref()), if may_start => {
                    polls.push(Arc::clone(self).poll(wait, permits));
                }
            }
        }
    }

    /// Waits for the pause after a failure and for a permit; returns up to [`MAX_RECEIVE`] permits.
    async fn permits_after(&self, failing: Option<&Failing>) -> OwnedSemaphorePermit {
        if let Some(failing) = failing {
            tokio::time::sleep_until(failing.next_try).await;
        }
        let semaphore = || Arc::clone(&self.permits);
        let mut permits = semaphore()
            .acquire_owned()
            .await
            .expect("the semaphore is never closed");
        let more = semaphore().available_permits().min(MAX_RECEIVE - 1);
        if let Ok(more) = semaphore().try_acquire_many_owned(u32::try_from(more).unwrap_or(0)) {
            permits.merge(more);
        }
        permits
    }

    /// Makes one ReceiveMessage call for as many messages as there are permits.
    async fn poll(self: Arc<Self>, wait: Duration, permits: OwnedSemaphorePermit) -> Polled {
        let asked = permits.num_permits().min(MAX_RECEIVE);
        let client = if wait > EXTRA_POLL_WAIT {
            &self.long_polls
        } else {
            &self.client
        };
        let request = client
            .receive_message()
            .queue_url(&self.source.url)
            .max_number_of_messages(i32::try_from(asked).unwrap_or(1))
            .wait_time_seconds(seconds(wait))
            .visibility_timeout(seconds(self.limits.visibility))
            .message_attribute_names("All")
            .message_system_attribute_names(MessageSystemAttributeName::SentTimestamp)
            .message_system_attribute_names(MessageSystemAttributeName::ApproximateReceiveCount)
            .message_system_attribute_names(MessageSystemAttributeName::MessageGroupId);
        let outcome = match request.send().await {
            Ok(output) => Ok(output
                .messages
                .unwrap_or_default()
                .into_iter()
                .filter_map(Received::from_sdk)
                .collect()),
            Err(error) => Err(classify(&error).reason),
        };
        Polled {
            asked,
            outcome,
            permits,
        }
    }

    /// Starts the messages of a poll, or records its failure; returns the current streak of failures.
    fn settle_poll(
        self: &Arc<Self>,
        polled: Polled,
        pollers: &mut Pollers,
        failing: Option<Failing>,
        shutdown: &CancellationToken,
    ) -> Option<Failing> {
        let count = |outcome| {
            self.metrics
                .counter("receive_calls_total", vec![label("outcome", outcome)])
                .increment(1);
        };
        match polled.outcome {
            Ok(batch) => {
                count("ok");
                pollers.answered(polled.asked, batch.len());
                if self.receiving.set(true) {
                    tracing::info!(queue = self.source.arn.name(), "receiver is ready");
                }
                if !batch.is_empty() {
                    self.start(batch, polled.permits, shutdown);
                }
                None
            }
            Err(reason) => {
                count("error");
                pollers.failed();
                let failing = Failing::again(failing);
                let for_seconds = failing.since.elapsed().as_secs();
                tracing::warn!(
                    queue = self.source.arn.name(),
                    reason,
                    for_seconds,
                    "receive failed"
                );
                if failing.since.elapsed() >= self.limits.unready_after && self.receiving.set(false)
                {
                    tracing::error!(
                        queue = self.source.arn.name(),
                        for_seconds,
                        "receives keep failing: receiver is not ready"
                    );
                }
                Some(failing)
            }
        }
    }
}

/// A streak of failed receives.
struct Failing {
    since: Instant,
    times: u32,
    next_try: Instant,
}

impl Failing {
    fn again(before: Option<Self>) -> Self {
        let now = Instant::now();
        let (since, times) = before.map_or((now, 0), |before| (before.since, before.times + 1));
        let pause = backoff_from_half(
            times,
            ERROR_BACKOFF_BASE,
            ERROR_BACKOFF_MAX,
            fastrand::f64(),
        );
        Self {
            since,
            times,
            next_try: now + pause,
        }
    }
}

/// Converts a duration to whole seconds, as SQS takes them.
fn seconds(duration: Duration) -> i32 {
    i32::try_from(duration.as_secs()).unwrap_or(i32::MAX)
}
