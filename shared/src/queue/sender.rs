//! Group commit: many callers, few calls.
//!
//! A lone message leaves at once. While a batch for its queue is on the wire, arrivals gather; a full batch leaves
//! beside it, a partial one when the wire is free. So one caller waits no longer than a plain SendMessage takes, and
//! under load a call carries ten messages. Each caller gets the outcome of *its* entry: a failed entry is tried again
//! alone where that can help, with full jitter, until its caller stops waiting; its neighbours have long been answered.
//!
//! Everything is bounded: queues open, entries and bytes waiting, batches on the wire. Full is an error at once, never
//! a wait. A send that timed out may have arrived all the same: messages need ids of their own.

mod gather;
mod lane;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::lane::Lane;
use crate::arn::QueueArn;
use crate::metrics::{Metrics, label};
use crate::queue::message::Outgoing;

/// Entries one SendMessageBatch takes (SQS: 10).
pub const MAX_BATCH_ENTRIES: usize = 10;
/// Bytes one SendMessageBatch takes, all entries together (SQS: 1 MiB since August 2025).
pub const MAX_BATCH_BYTES: usize = 1024 * 1024;

/// Bounds of a [`Sender`].
#[derive(Debug, Clone, Copy)]
pub struct SenderLimits {
    /// Queues held open at once; idle ones close by themselves.
    pub max_queues: usize,
    /// Entries that wait per queue.
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

impl Default for SenderLimits {
    fn default() -> Self {
        Self {
            max_queues: 10_000,
            max_entries: 4_096,
            max_bytes: 16 * 1024 * 1024,
            max_batch_bytes: MAX_BATCH_BYTES,
            max_in_flight: 32,
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
    /// No outcome in time: it may or may not have arrived; a repeat under the same id is harmless.
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
    reply: oneshot::Sender<Result<(), SendError>>,
    /// Its share of the bytes that may wait.
    _bytes: OwnedSemaphorePermit,
}

impl Entry {
    /// Whether its caller still waits. One that does not is never sent (again).
    fn is_wanted(&self) -> bool {
        !self.reply.is_closed()
    }

    fn answer(self, outcome: Result<(), SendError>) {
        // A caller that stopped waiting was answered already: with its deadline.
        let _ = self.reply.send(outcome);
    }
}

/// Sends messages to any number of queues. Clones share the same batches.
#[derive(Clone)]
pub struct Sender(Arc<Inner>);

struct Inner {
    client: aws_sdk_sqs::Client,
    limits: SenderLimits,
    lanes: Mutex<HashMap<QueueArn, mpsc::Sender<Entry>>>,
    bytes: Arc<Semaphore>,
    tasks: TaskTracker,
    closing: CancellationToken,
    metrics: Metrics,
}

impl Sender {
    /// A sender without open queues.
    pub fn new(client: aws_sdk_sqs::Client, limits: SenderLimits, metrics: &Metrics) -> Self {
        metrics.describe_counter("send_calls_total", "SendMessageBatch calls, by outcome");
        metrics.describe_counter("sent_total", "Messages a queue confirmed");
        metrics.describe_counter("send_retries_total", "Messages sent again after a transient failure");
        metrics.describe_counter("send_refused_total", "Messages not taken because a bound was reached");
        Self(Arc::new(Inner {
            client,
            limits,
            lanes: Mutex::default(),
            bytes: Arc::new(Semaphore::new(limits.max_bytes)),
            tasks: TaskTracker::new(),
            closing: CancellationToken::new(),
            metrics: metrics.clone(),
        }))
    }

    /// Sends one message; returns once its queue has confirmed *this* message.
    ///
    /// # Errors
    /// A [`SendError`] within the deadline; only [`SendError::TimedOut`] leaves open whether it arrived.
    pub async fn send(&self, queue: &QueueArn, message: Outgoing) -> Result<(), SendError> {
        let size = message.bytes();
        if size > self.0.limits.max_batch_bytes {
            return Err(SendError::Rejected {
                code: "MessageTooLong".to_owned(),
                message: format!("{size} bytes; the limit is {}", self.0.limits.max_batch_bytes),
            });
        }
        let (reply, outcome) = oneshot::channel();
        let share = u32::try_from(size).unwrap_or(u32::MAX);
        let accepted = Arc::clone(&self.0.bytes)
            .try_acquire_many_owned(share)
            .is_ok_and(|bytes| self.0.enqueue(queue, Entry { message, attempt: 0, reply, _bytes: bytes }));
        if !accepted {
            self.0.metrics.counter("send_refused_total", vec![]).increment(1);
            return Err(SendError::Full);
        }
        match tokio::time::timeout(self.0.limits.deadline, outcome).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) => Err(SendError::Unavailable("the sender is shutting down".to_owned())),
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
    /// Hands the entry to its queue's lane, opening one where there is none; false where a bound is reached.
    fn enqueue(self: &Arc<Self>, queue: &QueueArn, mut entry: Entry) -> bool {
        // Held over the hand-over, so that a lane never closes with an entry on its way in.
        let mut lanes = self.lanes();
        if let Some(lane) = lanes.get(queue) {
            match lane.try_send(entry) {
                Ok(()) => return true,
                Err(TrySendError::Full(_)) => return false,
                Err(TrySendError::Closed(back)) => entry = back,
            }
        } else if lanes.len() >= self.limits.max_queues {
            return false;
        }
        let (lane, arrivals) = mpsc::channel(self.limits.max_entries);
        let taken = lane.try_send(entry).is_ok();
        lanes.insert(queue.clone(), lane);
        self.tasks.spawn(Lane::new(Arc::clone(self), queue.clone(), arrivals).run());
        taken
    }

    /// Forgets an idle queue, unless an entry came in at the last moment.
    fn close(&self, queue: &QueueArn, arrivals: &mpsc::Receiver<Entry>) -> bool {
        let mut lanes = self.lanes();
        let idle = arrivals.is_empty();
        if idle {
            lanes.remove(queue);
        }
        idle
    }

    fn lanes(&self) -> std::sync::MutexGuard<'_, HashMap<QueueArn, mpsc::Sender<Entry>>> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count_call(&self, outcome: &'static str) {
        self.metrics.counter("send_calls_total", vec![label("outcome", outcome)]).increment(1);
    }
}
