//! Group commit: many callers, few calls.
//!
//! A lone message leaves at once. While ten or more are on the wire to its queue, arrivals gather: a full batch leaves
//! beside them, a partial one once there are fewer. So a few callers wait no longer than a plain SendMessage takes, and
//! under load a call carries ten messages. Each caller gets the outcome of *its* entry: a failed entry is tried again
//! alone where that can help, with full jitter, until its caller stops waiting; its neighbours have long been answered.
//!
//! Everything is bounded: queues open, entries and bytes accepted, batches on the wire. Full is an error at once, never
//! a wait. A send that timed out may have arrived all the same: messages need ids of their own.
//!
//! ```no_run
//! use tenantry_process::arn::QueueArn;
//! use tenantry_process::metrics::Metrics;
//! use tenantry_queue::message::Outgoing;
//! use tenantry_queue::sender::{SendError, Sender, SenderLimits};
//!
//! # async fn example(client: aws_sdk_sqs::Client, queue: QueueArn) -> Result<(), SendError> {
//! let sender = Sender::new(client, SenderLimits::default(), &Metrics::new("orders", "pool-1"));
//! let mut message = Outgoing::new(r#"{"order":7}"#.to_owned(), "tenant-2".to_owned());
//! message.attribute("message_id", "018f2b1c-0000-7000-8000-000000000007");
//! sender.send(&queue, message).await?; // from as many tasks as there are; they share calls
//! sender.drain().await;
//! # Ok(())
//! # }
//! ```

mod lane;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use metrics::Counter;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::lane::Lane;
use crate::batch::BatchLimits;
use crate::message::Outgoing;
use tenantry_process::arn::QueueArn;
use tenantry_process::metrics::{Metrics, label};

/// Entries one SendMessageBatch takes (SQS: 10).
pub const MAX_BATCH_ENTRIES: usize = 10;
/// Bytes one SendMessageBatch takes, all entries together (SQS: 1 MiB since August 2025).
pub const MAX_BATCH_BYTES: usize = 1024 * 1024;

/// SQS bills a call once per 64 KiB of payload, started ones included.
const BILLED_BYTES: usize = 64 * 1024;

/// Bounds of a [`Sender`].
#[derive(Debug, Clone, Copy)]
pub struct SenderLimits {
    /// Queues held open at once; idle ones close by themselves.
    pub max_queues: usize,
    /// Entries of one queue accepted and not yet answered.
    pub max_entries: usize,
    /// Bytes of all entries accepted and not yet answered.
    pub max_bytes: usize,
    /// Bytes of one batch: [`MAX_BATCH_BYTES`], less for emulators with the older limit.
    pub max_batch_bytes: usize,
    /// Batches on the wire at once, per queue.
    pub max_in_flight: usize,
    /// How long a caller waits for its outcome.
    pub deadline: Duration,
    /// How long an idle queue is held open.
    pub close_after: Duration,
}

impl SenderLimits {
    /// Bounds of one queue's batches.
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
    /// A bound is reached: nothing was sent, try again.
    #[error("too much is waiting to be sent")]
    Full,
    /// No outcome in time, or none that can be relied on: it may or may not have arrived; a repeat under the same id is
    /// harmless.
    #[error("the queue did not confirm the message in time")]
    TimedOut,
    /// The queue cannot be used now, whatever is sent: missing, forbidden, unreachable.
    #[error("the queue cannot be used now: {0}")]
    Unavailable(String),
    /// The queue refuses this message for good.
    #[error("the queue refuses the message: {code}: {message}")]
    Rejected {
        /// SQS's error code.
        code: String,
        /// SQS's sentence.
        message: String,
    },
}

/// A message waiting for its outcome.
struct Entry {
    message: Outgoing,
    attempt: u32,
    /// Whether an attempt ended without the queue's word: it may have arrived.
    may_have_arrived: bool,
    reply: oneshot::Sender<Result<(), SendError>>,
    /// Its place among its queue's entries, and its share of the bytes that may wait.
    _bounds: (OwnedSemaphorePermit, OwnedSemaphorePermit),
}

/// A queue held open.
struct Open {
    arrivals: mpsc::UnboundedSender<Entry>,
    places: Arc<Semaphore>,
}

impl Entry {
    /// Whether its caller still waits. One that does not is never sent (again).
    fn is_wanted(&self) -> bool {
        !self.reply.is_closed()
    }

    fn answer(self, outcome: Result<(), SendError>) {
        // A refusal now says nothing of an attempt before.
        let outcome = if self.may_have_arrived {
            outcome.map_err(|_| SendError::TimedOut)
        } else {
            outcome
        };
        // A caller that stopped waiting was answered already: with its deadline.
        let _ = self.reply.send(outcome);
    }
}

impl Open {
    /// False where its lane has died of a panic.
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
    lanes: Mutex<HashMap<QueueArn, Open>>,
    bytes: Arc<Semaphore>,
    tasks: TaskTracker,
    closing: CancellationToken,
    counters: Counters,
}

/// What is counted, made once: making a handle costs more than what it counts.
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
            "Messages sent again after a transient failure",
        );
        metrics.describe_counter(
            "send_refused_total",
            "Messages not taken because a bound was reached",
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
    /// A sender without open queues.
    pub fn new(client: aws_sdk_sqs::Client, limits: SenderLimits, metrics: &Metrics) -> Self {
        Self(Arc::new(Inner {
            client,
            limits,
            lanes: Mutex::default(),
            bytes: Arc::new(Semaphore::new(limits.max_bytes)),
            tasks: TaskTracker::new(),
            closing: CancellationToken::new(),
            counters: Counters::new(metrics),
        }))
    }

    /// Sends one message; returns once its queue has confirmed *this* message.
    ///
    /// # Errors
    /// A [`SendError`] within [`SenderLimits::deadline`]; only [`SendError::TimedOut`] leaves open whether it arrived.
    pub async fn send(&self, queue: &QueueArn, message: Outgoing) -> Result<(), SendError> {
        self.send_within(self.0.limits.deadline, queue, message)
            .await
    }

    /// As [`Self::send`], for a caller that cannot wait as long as the limits say.
    ///
    /// # Errors
    /// As [`Self::send`], within the shorter of the two.
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

    /// Ends once everything accepted was answered. Call it when no more messages come.
    pub async fn drain(&self) {
        self.0.closing.cancel();
        self.0.tasks.close();
        self.0.tasks.wait().await;
    }
}

impl Inner {
    /// Hands a message to its queue's lane, opening one where there is none; none where a bound is reached.
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
        // Held over the hand-over, so that a lane never closes with an entry on its way in.
        let mut lanes = self.lanes();
        if !lanes.get(queue).is_some_and(Open::is_alive) {
            if !lanes.contains_key(queue) && lanes.len() >= self.limits.max_queues {
                return None;
            }
            lanes.insert(queue.clone(), self.open(queue));
        }
        let lane = lanes.get(queue)?;
        let place = Arc::clone(&lane.places).try_acquire_owned().ok()?;
        let entry = Entry {
            message,
            attempt: 0,
            may_have_arrived: false,
            reply,
            _bounds: (place, bytes),
        };
        lane.arrivals.send(entry).ok()?;
        Some(outcome)
    }

    fn open(self: &Arc<Self>, queue: &QueueArn) -> Open {
        let (sender, arrivals) = mpsc::unbounded_channel();
        self.tasks
            .spawn(Lane::new(Arc::clone(self), queue.clone(), arrivals).run());
        Open {
            arrivals: sender,
            places: Arc::new(Semaphore::new(self.limits.max_entries)),
        }
    }

    /// Forgets an idle queue, unless an entry came in at the last moment.
    fn close(&self, queue: &QueueArn, arrivals: &mpsc::UnboundedReceiver<Entry>) -> bool {
        let mut lanes = self.lanes();
        let idle = arrivals.is_empty();
        if idle {
            lanes.remove(queue);
        }
        idle
    }

    fn lanes(&self) -> std::sync::MutexGuard<'_, HashMap<QueueArn, Open>> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
