//! State of the queue service, and the transaction around it.
//!
//! A transaction holds the state's lock while the core decides, submits the changes to the store and wakes waiting
//! receives. It returns once the changes are on disk. The lock is never held across an await.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::{Value, json};

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::Notify;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    attributes::AttributeData,
    core::Core,
    error::SqsResult,
    message::MessageState,
    move_tasks::MoveTasks,
    names::{QueueId, QueueName},
    wait::WaitIndex,
};
use crate::{faults::EntryFaults, protocol::now_ms, store::Store};

/// Messages shown at a time.
const PEEKED_MAX: usize = 100;

/// The queue service of one endpoint. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Sqs {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    store: Store,
    /// Notified when the earliest timer changes.
    timer_changed: Arc<Notify>,
    long_polls_off: CancellationToken,
    shutdown: CancellationToken,
    tracker: TaskTracker,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) core: Core,
    pub(super) waits: WaitIndex,
    pub(super) move_tasks: MoveTasks,
    pub(super) random: fastrand::Rng,
}

/// The part of a call that is not in its parameters.
#[derive(Debug)]
pub(crate) struct CallContext {
    /// Host and port the client addressed, for queue URLs.
    pub(crate) host: String,
    /// `SenderId` of messages sent by this call.
    pub(crate) sender_id: Arc<str>,
    pub(crate) entry_faults: EntryFaults,
}

impl State {
    /// Finds the queue a URL names.
    ///
    /// # Errors
    /// `InvalidAddress`, `QueueDoesNotExist`.
    pub(super) fn queue_of_url(&self, url: &str) -> SqsResult<QueueId> {
        self.core.find(&self.core.scope.queue_of_url(url)?)
    }
}

impl Sqs {
    /// Starts the service: changes go to `store`, tasks onto `tracker`.
    pub(super) fn start(mut core: Core, store: Store, tracker: &TaskTracker) -> Self {
        for id in core.ids() {
            core.advance(id, now_ms());
        }
        let waits = WaitIndex::default();
        let shared = Arc::new(Shared {
            timer_changed: waits.timer_changed(),
            state: Mutex::new(State {
                core,
                waits,
                move_tasks: MoveTasks::default(),
                random: fastrand::Rng::new(),
            }),
            store,
            long_polls_off: CancellationToken::new(),
            shutdown: CancellationToken::new(),
            tracker: tracker.clone(),
        });
        let sqs = Self { shared };
        tracker.spawn(sqs.clone().run_timers());
        sqs
    }

    /// Ends waiting receives with an empty response; later receives do not wait.
    pub(crate) fn release_long_polls(&self) {
        self.shared.long_polls_off.cancel();
    }

    /// Stops the service's own tasks, and long polls.
    pub(crate) fn stop(&self) {
        self.release_long_polls();
        self.shared.shutdown.cancel();
    }

    /// The oldest messages of a queue as JSON, and when the oldest was sent. Nothing changes.
    pub(crate) fn peek(&self, queue: &str, limit: usize) -> Option<Value> {
        let name = QueueName::parse(queue).ok()?;
        let state = self.state();
        let queue = state.core.queue(state.core.find(&name).ok()?)?;
        let oldest = queue.oldest().next().map(|message| message.payload.sent_ms);
        let shown = queue.oldest().take(limit.min(PEEKED_MAX)).map(|message| {
            let payload = &message.payload;
            let text = |value: &AttributeData| match value {
                AttributeData::Text(text) => text.clone(),
                AttributeData::Binary(bytes) => BASE64_STANDARD.encode(bytes),
            };
            let attributes = payload.attributes.iter();
            let attributes: BTreeMap<&String, String> = attributes
                .map(|(name, attribute)| (name, text(&attribute.value)))
                .collect();
            json!({
                "message_id": payload.id,
                "sent_ms": payload.sent_ms,
                "receive_count": message.receives.count,
                "in_flight": matches!(message.state, MessageState::InFlight { .. }),
                "body": payload.body,
                "attributes": attributes,
            })
        });
        Some(json!({ "oldest_sent_ms": oldest, "messages": shown.collect::<Vec<_>>() }))
    }

    /// Cancelled once receives must not wait any more.
    pub(super) fn long_polls_off(&self) -> &CancellationToken {
        &self.shared.long_polls_off
    }

    /// Cancelled once the service's own tasks must end.
    pub(super) fn shutdown(&self) -> &CancellationToken {
        &self.shared.shutdown
    }

    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.shared.tracker.spawn(task);
    }

    /// Runs `decide` under the lock, then waits until its changes are on disk.
    pub(super) async fn transact<T>(
        &self,
        decide: impl FnOnce(&mut State, u64) -> SqsResult<T>,
    ) -> SqsResult<T> {
        let permit = self.shared.store.reserve().await;
        let (result, commit) = {
            let state = &mut *self.state();
            let result = decide(state, now_ms());
            let effects = state.core.take_effects();
            state.waits.wake(&state.core, &effects);
            (result, self.shared.store.submit(permit, effects.changes))
        };
        commit.done().await?;
        result
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock()
    }

    /// Advances each queue when its timer is due. Runs until the service stops.
    async fn run_timers(self) {
        loop {
            let advanced = self.transact(|state, now_ms| {
                while let Some(id) = state.waits.pop_due(now_ms) {
                    state.core.advance(id, now_ms);
                }
                Ok(())
            });
            // Expired messages that could not be deleted are deleted again after a restart.
            let _ = advanced.await;
            let next_ms = self.state().waits.next_due_ms();
            tokio::select! {
                () = self.shared.shutdown.cancelled() => return,
                () = self.shared.timer_changed.notified() => {}
                () = sleep_until(next_ms) => {}
            }
        }
    }
}

async fn sleep_until(due_ms: Option<u64>) {
    match due_ms {
        Some(due_ms) => {
            tokio::time::sleep(Duration::from_millis(due_ms.saturating_sub(now_ms()))).await;
        }
        None => std::future::pending().await,
    }
}
