//! Poll, lease, hand over, acknowledge.
//!
//! A queue is polled from the start: one long poll while it is idle, more, up to a bound, only while polls come back
//! full. A poll asks for no more than there are permits for, so what is in hand is bounded. Each batch goes to a
//! [`Handler`], which says per message what became of it; only then is a message deleted. While a handler works, its
//! messages' leases are extended. A message that can never succeed is moved to the dead-letter queue with the reason,
//! or, where there is none, left to redelivery at growing distance; its neighbours go on.
//!
//! Messages of one group may hold their share of the permits and no more: what comes beyond waits a moment, then is left
//! to a later delivery, so that a group that cannot be worked off leaves room for the others.
//!
//! A receive in flight is never cancelled: the messages it may already have leased would be stranded until their
//! visibility time-out. So draining takes up to the wait of one long poll.
//!
//! ```no_run
//! use tenantry_process::arn::QueueArn;
//! use tenantry_process::health::Readiness;
//! use tenantry_process::metrics::Metrics;
//! use tenantry_queue::message::Received;
//! use tenantry_queue::receiver::{Handler, Receiver, ReceiverLimits, Source, SourceLookupError, Verdict};
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
//! let source = Source::find(&client, &queue).await?;
//! let metrics = Metrics::new("orders", "pool-1");
//! let receiving = Readiness::default().condition("queue");
//! let receiver = Receiver::new(client, source, Print, ReceiverLimits::default(), &metrics, receiving);
//! receiver.run(CancellationToken::new()).await; // until the token is cancelled and all is settled
//! # Ok(())
//! # }
//! ```

mod acknowledge;
mod in_hand;
mod keeper;
mod leases;
mod pollers;
mod shares;
mod source;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_sdk_sqs::types::MessageSystemAttributeName;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::keeper::Keeper;
use self::pollers::Pollers;
use self::shares::Shares;
pub use self::source::{Source, SourceLookupError};
use crate::message::Received;
use tenantry_process::aws::long_poll_timeout;
use tenantry_process::health::Condition;
use tenantry_process::metrics::{Metrics, label};
use tenantry_process::retry::{backoff_from_half, classify};

/// Messages one receive returns (SQS: 10).
pub const MAX_RECEIVE: usize = 10;
/// Longest a poll beyond the first waits: long enough to ask every server, short enough to end soon when idle.
const EXTRA_POLL_WAIT: Duration = Duration::from_secs(1);
/// First wait after a failed receive.
const ERROR_BACKOFF_BASE: Duration = Duration::from_millis(200);
/// Longest such wait.
const ERROR_BACKOFF_MAX: Duration = Duration::from_secs(20);

/// Bounds of a [`Receiver`].
#[derive(Debug, Clone, Copy)]
pub struct ReceiverLimits {
    /// How long an idle poll waits: 1 to 20 s (SQS's bound). 20 s costs three calls a minute.
    pub poll_wait: Duration,
    /// Polls at once while they come back full.
    pub max_polls: usize,
    /// Messages received and not yet acknowledged.
    pub max_in_hand: usize,
    /// How many of them may be of one message group, at least 1. Below `max_in_hand`, one group that cannot be worked
    /// off leaves room for the others; equal to it, groups do not matter.
    pub max_of_one_group: usize,
    /// The lease asked for with each receive; extended at half of it while a handler works. At least 2 s.
    pub visibility: Duration,
    /// Longest a lease is extended in total (SQS: 12 h).
    pub max_lease: Duration,
    /// How long receives may fail before readiness is lowered.
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

/// What became of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Its effect is durable: delete it.
    Done,
    /// It may succeed later: leave it to redelivery, at growing distance.
    Retry,
    /// It can never succeed: set it aside, with this reason.
    SetAside(String),
}

/// What is done with messages.
pub trait Handler: Send + Sync + 'static {
    /// Handles a batch of 1 to [`MAX_RECEIVE`] messages and says of each, in order, what became of it. One without a
    /// verdict is left to redelivery.
    fn handle(&self, batch: &[Received]) -> impl Future<Output = Vec<Verdict>> + Send;
}

/// Drains one queue into a handler.
pub struct Receiver<H> {
    client: aws_sdk_sqs::Client,
    /// The same with time-outs for an idle poll's wait.
    long_polls: aws_sdk_sqs::Client,
    source: Source,
    handler: H,
    limits: ReceiverLimits,
    metrics: Metrics,
    receiving: Condition,
    tasks: TaskTracker,
    permits: Arc<Semaphore>,
    shares: Mutex<Shares>,
    share_freed: Notify,
    keeper: Keeper,
}

/// What one poll brought.
struct Polled {
    asked: usize,
    outcome: Result<Vec<Received>, String>,
    permits: OwnedSemaphorePermit,
}

impl<H: Handler> Receiver<H> {
    /// A receiver that has not started; `receiving` tells readiness whether polls succeed.
    pub fn new(
        client: aws_sdk_sqs::Client,
        source: Source,
        handler: H,
        limits: ReceiverLimits,
        metrics: &Metrics,
        receiving: Condition,
    ) -> Self {
        metrics.describe_counter("receive_calls_total", "ReceiveMessage calls, by outcome");
        metrics.describe_counter("received_total", "Messages received");
        metrics.describe_counter("deleted_total", "Messages deleted after they were handled");
        metrics.describe_counter("set_aside_total", "Messages moved to the dead-letter queue");
        metrics.describe_counter(
            "receive_retries_total",
            "Calls and messages tried again, by operation",
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
            keeper: Keeper::new(&limits),
        }
    }

    /// Polls until the token is cancelled, then finishes what is in hand and hands back what was not started.
    pub async fn run(self, shutdown: CancellationToken) {
        let receiver = Arc::new(self);
        let work = async {
            receiver.poll_until(&shutdown).await;
            receiver.tasks.close();
            receiver.tasks.wait().await;
        };
        // Once everything is settled no lease is left to keep.
        tokio::select! {
            () = work => {}
            () = receiver.keep_leases() => {}
        }
    }

    async fn poll_until(self: &Arc<Self>, shutdown: &CancellationToken) {
        let mut polls = FuturesUnordered::new();
        let mut pollers = Pollers::new(self.limits.max_polls);
        let mut failing: Option<Failing> = None;
        // Until a poll has succeeded it does not wait, so that readiness does not hang on a message coming in.
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
            // In order: nothing starts once the receiver is to stop, and a simulation can be replayed.
            tokio::select! {
                biased;
                () = shutdown.cancelled(), if !is_stopping => {}
                // Dropping `next` loses nothing: the polls stay where they are.
                Some(polled) = polls.next(), if !polls.is_empty() => {
                    failing = self.take(polled, &mut pollers, failing, shutdown);
                    is_proven = failing.is_none();
                }
                // The permits go back if another branch wins.
                permits = self.permits_after(failing.as_ref()), if may_start => {
                    polls.push(Arc::clone(self).poll(wait, permits));
                }
            }
        }
    }

    /// Permits for the next poll, once there is one and the pause after a failure is over.
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

    /// One receive.
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

    /// Takes what a poll brought; says how long receives have been failing.
    fn take(
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
                    tracing::info!(queue = self.source.arn.name(), "receiving");
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
                        "receives keep failing; not ready"
                    );
                }
                Some(failing)
            }
        }
    }
}

/// Receives that keep failing.
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

/// A duration in the whole seconds SQS takes.
fn seconds(duration: Duration) -> i32 {
    i32::try_from(duration.as_secs()).unwrap_or(i32::MAX)
}
