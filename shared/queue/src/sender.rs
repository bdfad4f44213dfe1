//! Group commit: many callers share few calls.
//!
//! A lone message leaves at once. While ten or more messages are in flight to a queue, only full batches leave; a partial
//! batch waits until fewer than ten are. So a few callers wait no longer than for a plain SendMessage, and under load a
//! call carries ten messages.
//!
//! Each caller gets the outcome of *its* message. An entry with a transient failure is retried alone, with full jitter,
//! until its caller stops waiting; the other callers of that batch are answered at once.
//!
//! Everything is bounded: open queues, accepted entries and bytes, batches in flight. At a limit, `send` returns
//! [`SendError::Full`] at once and never waits. A send that timed out may still have arrived, so messages need their own
//! ids.
//!
//! ```no_run
//! use tenantry_process::arn::QueueArn;
//! use tenantry_process::metrics::Metrics;
//! use tenantry_queue::message::Outgoing;
//! use tenantry_queue::sender::{SendError, Sender, SenderLimits};
//!
//! # async fn example(client: aws_sdk_sqs::Client, queue: QueueArn) -> Result<(), SendError> {
//! let sender = Sender::new(client, SenderLimits::default(), &Metrics::new("orders", "prod"));
//! let mut message = Outgoing::new(r#"{"order":7}"#.to_owned(), "customer-2".to_owned());
//! message.attribute("message_id", "018f2b1c-0000-7000-8000-000000000007");
//! sender.send(&queue, message).await?; // concurrent tasks share calls
//! sender.drain().await;
//! # Ok(())
//! # }
//! ```

mod worker;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use metrics::Counter;
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::worker::QueueWorker;
use crate::batch::BatchLimits;
use crate::message::Outgoing;
use tenantry_process::arn::QueueArn;
use tenantry_process::metrics::{Metrics, label};

/// Most entries of one SendMessageBatch (SQS: 10).
pub const MAX_BATCH_ENTRIES: usize = 10;
/// Most bytes of one SendMessageBatch, all entries together (SQS: 1 MiB since August 2025).
pub const MAX_BATCH_BYTES: usize = 1024 * 1024;

/// Bytes of one billed unit: SQS bills each started 64 KiB of a call as one request.
const BILLED_BYTES: usize = 64 * 1024;

/// Limits of a [`Sender`].
#[derive(Debug, Clone, Copy)]
pub struct SenderLimits {
    /// Most queues open at once. A queue is open from its first message until [`SenderLimits::close_after`].
    pub max_queues: usize,
    /// Most messages of one queue that are accepted and not yet answered.
    pub max_entries: usize,
    /// Most bytes of all messages that are accepted and not yet answered.
    pub max_bytes: usize,
    /// Most bytes of one batch: [`MAX_BATCH_BYTES`], or 256 KiB for emulators with the older limit.
    pub max_batch_bytes: usize,
    /// Most batches in flight at once, per queue.
    pub max_in_flight: usize,
    /// Longest time that a caller waits for its outcome.
    pub deadline: Duration,
    /// Time after which an idle queue is closed.
    pub close_after: Duration,
}

impl SenderLimits {
    /// Limits of one queue's batches.
    const fn batches(&self) -> BatchLimits {
        BatchLimits {
            entries: MAX_BATCH_ENTRIES,
            bytes: self.max_batch_bytes,
            billed_bytes: BILLED_BYTES,
            in_flight: self.max_in_flight,
        }
    }
}

impl Default for SenderLimits {
    fn default() -> Self {
        Self {
            max_queues: 10_000,
            max_entries: 4_096,
            max_bytes: 16 * 1024 * 1024,
            max_batch_bytes: MAX_BATCH_BYTES,
            max_in_flight: 128,
            deadline: Duration::from_secs(4),
            close_after: Duration::from_secs(60),
        }
    }
}

/// Why a message was not, or may not have been, accepted by its queue.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// A limit is reached. Nothing was sent; try again later.
    #[error("too many messages are waiting to be sent; try again later")]
    Full,
    /// The outcome is late or unknown. The message may have arrived; repeat it under the same id.
    #[error("the queue did not confirm the message in time")]
    TimedOut,
    /// The queue is missing, forbidden or unreachable; the field is the reason.
    #[error("the queue cannot be used now: {0}")]
    Unavailable(String),
    /// The queue refuses this message; a repeat would fail, too.
    #[error("the queue refuses the message: {code}: {message}")]
    Rejected {
        /// SQS's error code.
        code: String,
        /// SQS's error message.
        message: String,
    },
}

/// A message that waits for its outcome.
struct SendEntry {
    message: Outgoing,
    attempt: u32,
    /// True once an attempt ended without a response: the message may have arrived.
    may_have_arrived: bool,
    reply: oneshot::Sender<Result<(), SendError>>,
    /// One entry of its queue, and its bytes of the sender.
    _permits: (OwnedSemaphorePermit, OwnedSemaphorePermit),
}

/// A queue with a running [`QueueWorker`].
struct OpenQueue {
    arrivals: mpsc::UnboundedSender<SendEntry>,
    entries: Arc<Semaphore>,
}

impl SendEntry {
    /// Returns true while the caller waits. An entry without a caller is not sent (again).
    fn has_caller(&self) -> bool {
        !self.reply.is_closed()
    }

    fn answer(self, outcome: Result<(), SendError>) {
        // A failure of this attempt says nothing about earlier attempts.
        let outcome = if self.may_have_arrived {
            outcome.map_err(|_| SendError::TimedOut)
        } else {
            outcome
        };
        // A caller that has stopped waiting got `TimedOut` at its deadline.
        let _ = self.reply.send(outcome);
    }
}

impl OpenQueue {
    /// Returns false if the worker has panicked.
    fn is_alive(&self) -> bool {
        !self.arrivals.is_closed()
    }
}

/// Sends messages to any number of queues. Clones share the same batches.
#[derive(Clone)]
pub struct Sender(Arc<Inner>);

struct Inner {
    client: aws_sdk_sqs::Client,
    limits: SenderLimits,
    queues: Mutex<HashMap<QueueArn, OpenQueue>>,
    bytes: Arc<Semaphore>,
    tasks: TaskTracker,
    closing: CancellationToken,
    counters: Counters,
}

/// Handles of the counters, created once: creating a handle costs more than counting.
struct Counters {
    calls_ok: Counter,
    calls_error: Counter,
    sent: Counter,
    retries: Counter,
    refused: Counter,
}

impl Counters {
    fn new(metrics: &Metrics) -> Self {
        metrics.describe_counter("send_calls_total", "SendMessageBatch calls, by outcome");
        metrics.describe_counter("sent_total", "Messages a queue confirmed");
        metrics.describe_counter(
            "send_retries_total",
            "Messages retried after a transient failure",
        );
        metrics.describe_counter(
            "send_refused_total",
            "Messages refused because a limit was reached",
        );
        let calls = |outcome| metrics.counter("send_calls_total", vec![label("outcome", outcome)]);
        Self {
            calls_ok: calls("ok"),
            calls_error: calls("error"),
            sent: metrics.counter("sent_total", vec![]),
            retries: metrics.counter("send_retries_total", vec![]),
            refused: metrics.counter("send_refused_total", vec![]),
        }
    }
}

impl Sender {
    /// Creates a sender without open queues. `client` must not retry by itself.
    pub fn new(client: aws_sdk_sqs::Client, limits: SenderLimits, metrics: &Metrics) -> Self {
        Self(Arc::new(Inner {
            client,
            limits,
            queues: Mutex::default(),
            bytes: Arc::new(Semaphore::new(limits.max_bytes)),
            tasks: TaskTracker::new(),
            closing: CancellationToken::new(),
            counters: Counters::new(metrics),
        }))
    }

    /// Sends one message; returns once the queue has confirmed *this* message.
    ///
    /// # Errors
    /// A [`SendError`] within [`SenderLimits::deadline`]. After [`SendError::TimedOut`] the message may have arrived; after
    /// every other error it has not.
    pub async fn send(&self, queue: &QueueArn, message: Outgoing) -> Result<(), SendError> {
        self.send_within(self.0.limits.deadline, queue, message)
            .await
    }

    /// As [`Self::send`], with a deadline for this message.
    ///
    /// # Errors
    /// As [`Self::send`], within the shorter of the two deadlines.
    pub async fn send_within(
        &self,
        deadline: Duration,
        queue: &QueueArn,
        message: Outgoing,
    ) -> Result<(), SendError> {
        let size = message.bytes();
        if size > self.0.limits.max_batch_bytes {
            return Err(SendError::Rejected {
                code: "MessageTooLong".to_owned(),
                message: format!(
                    "{size} bytes; the limit is {}",
                    self.0.limits.max_batch_bytes
                ),
            });
        }
        let Some(outcome) = self.0.accept(queue, message, size) else {
            self.0.counters.refused.increment(1);
            return Err(SendError::Full);
        };
        match tokio::time::timeout(deadline.min(self.0.limits.deadline), outcome).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) => Err(SendError::Unavailable(
                "the sender is shutting down".to_owned(),
            )),
            Err(_) => Err(SendError::TimedOut),
        }
    }

    /// Waits until every accepted message was answered. Call it after the last send.
    pub async fn drain(&self) {
        self.0.closing.cancel();
        self.0.tasks.close();
        self.0.tasks.wait().await;
    }
}

impl Inner {
    /// Passes a message to its queue's worker, and starts the worker if there is none. Returns `None` at a limit.
    fn accept(
        self: &Arc<Self>,
        queue: &QueueArn,
        message: Outgoing,
        size: usize,
    ) -> Option<oneshot::Receiver<Result<(), SendError>>> {
        let bytes = Arc::clone(&self.bytes)
            .try_acquire_many_owned(u32::try_from(size).ok()?)
            .ok()?;
        let (reply, outcome) = oneshot::channel();
        // Locked until the entry is sent, so that a worker never ends with an entry about to arrive.
        let mut queues = self.queues.lock();
        if !queues.get(queue).is_some_and(OpenQueue::is_alive) {
            if !queues.contains_key(queue) && queues.len() >= self.limits.max_queues {
                return None;
            }
            queues.insert(queue.clone(), self.open(queue));
        }
        let open = queues.get(queue)?;
        let permit = Arc::clone(&open.entries).try_acquire_owned().ok()?;
        let entry = SendEntry {
            message,
            attempt: 0,
            may_have_arrived: false,
            reply,
            _permits: (permit, bytes),
        };
        open.arrivals.send(entry).ok()?;
        Some(outcome)
    }

    fn open(self: &Arc<Self>, queue: &QueueArn) -> OpenQueue {
        let (sender, arrivals) = mpsc::unbounded_channel();
        self.tasks
            .spawn(QueueWorker::new(Arc::clone(self), queue.clone(), arrivals).run());
        OpenQueue {
            arrivals: sender,
            entries: Arc::new(Semaphore::new(self.limits.max_entries)),
        }
    }

    /// Closes an idle queue; returns false if an entry has arrived meanwhile.
    fn close(&self, queue: &QueueArn, arrivals: &mpsc::UnboundedReceiver<SendEntry>) -> bool {
        let mut queues = self.queues.lock();
        let is_idle = arrivals.is_empty();
        if is_idle {
            queues.remove(queue);
        }
        is_idle
    }
}
