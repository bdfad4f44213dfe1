//! SQS: standard queues with fair delivery among message groups.
//!
//! [`core`] decides, [`persist`] keeps, this shell joins them: it holds the core under one lock for the
//! microseconds a decision takes, hands the changes to the store, wakes waiting receives, and answers when the
//! changes are on disk. It never holds the lock while waiting for anything.

pub(crate) mod api;
pub(crate) mod attributes;
mod core;
mod error;
mod fair;
mod handle;
mod limits;
mod manage;
mod md5;
mod message;
mod movement;
mod names;
mod persist;
mod queue;
mod receipts;
mod receive;
mod redrive;
mod send;
mod settings;
mod wait;

#[cfg(test)]
mod model_tests;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use rusqlite::Connection;
use serde::{Serialize, de::DeserializeOwned};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub(crate) use self::persist::SCHEMA;
use self::{
    api::FailedEntry,
    core::Core,
    error::{SqsError, SqsResult},
    limits::{BATCH_ENTRIES_MAX, BATCH_ENTRY_ID_CHARS_MAX},
    wait::Waits,
};
use crate::realm::Realm;
use crate::{
    faults::EntryFaults,
    protocol::{self, AwsError, Reply, now_ms},
    store::{LoadError, Store},
};

/// The queue service of one endpoint. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Sqs {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    store: Store,
    /// Told when the earliest alarm changes.
    alarm_moved: tokio::sync::Notify,
    /// Cancelled when receives shall not wait any more.
    no_waiting: CancellationToken,
    /// Cancelled when the service ends.
    ending: CancellationToken,
    tracker: TaskTracker,
}

#[derive(Debug)]
struct State {
    core: Core,
    waits: Waits,
    moves: movement::MoveTasks,
    random: fastrand::Rng,
}

/// What a call needs to know besides its parameters.
#[derive(Debug)]
pub(crate) struct Caller {
    /// Host and port the client addressed, for queue URLs.
    pub(crate) host: String,
    /// `SenderId` of messages it sends.
    pub(crate) sender_id: Arc<str>,
    /// Injected failures of single batch entries.
    pub(crate) entry_faults: EntryFaults,
}

impl Sqs {
    /// An empty service, or what the file holds.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub(crate) fn load(realm: Realm, conn: Option<&Connection>) -> Result<Loaded, LoadError> {
        let mut core = Core::new(realm);
        if let Some(conn) = conn {
            persist::load(conn, &mut core, now_ms())?;
        }
        Ok(Loaded(core))
    }

    /// Runs one operation.
    ///
    /// # Errors
    /// What AWS would answer, or a store that cannot be written.
    pub(crate) async fn call(
        &self,
        action: &str,
        body: &Bytes,
        caller: &Caller,
    ) -> Result<Reply, AwsError> {
        let outcome = match action {
            "SendMessage" => self.send_message(parse(body)?, caller).await.map(answer),
            "SendMessageBatch" => self
                .send_message_batch(parse(body)?, caller)
                .await
                .map(answer),
            "ReceiveMessage" => self.receive_message(parse(body)?, caller).await,
            "DeleteMessage" => self.delete_message(parse(body)?).await.map(answer),
            "DeleteMessageBatch" => self
                .delete_message_batch(parse(body)?, caller)
                .await
                .map(answer),
            "ChangeMessageVisibility" => self.change_visibility(parse(body)?).await.map(answer),
            "ChangeMessageVisibilityBatch" => self
                .change_visibility_batch(parse(body)?, caller)
                .await
                .map(answer),
            "CreateQueue" => self.create_queue(parse(body)?, caller).await.map(answer),
            "GetQueueUrl" => self.get_queue_url(parse(body)?, caller).map(answer),
            "ListQueues" => self.list_queues(&parse(body)?, caller).map(answer),
            "DeleteQueue" => self.delete_queue(parse(body)?).await.map(answer),
            "PurgeQueue" => self.purge_queue(parse(body)?).await.map(answer),
            "GetQueueAttributes" => self.get_queue_attributes(parse(body)?).await.map(answer),
            "SetQueueAttributes" => self.set_queue_attributes(parse(body)?).await.map(answer),
            "TagQueue" => self.tag_queue(parse(body)?).await.map(answer),
            "UntagQueue" => self.untag_queue(parse(body)?).await.map(answer),
            "ListQueueTags" => self.list_queue_tags(parse(body)?).map(answer),
            "ListDeadLetterSourceQueues" => self.list_sources(parse(body)?, caller).map(answer),
            "StartMessageMoveTask" => self.start_move_task(parse(body)?).map(answer),
            "ListMessageMoveTasks" => self.list_move_tasks(parse(body)?).map(answer),
            "CancelMessageMoveTask" => self.cancel_move_task(parse(body)?).map(answer),
            "AddPermission" | "RemovePermission" => Err(SqsError::UnsupportedOperation(format!(
                "This endpoint does not enforce policies; set the Policy attribute instead of calling {action}."
            ))),
            _ => Err(SqsError::InvalidAction(action.to_owned())),
        };
        outcome.map_err(AwsError::from)
    }

    /// Lets all waiting receives answer empty, and later ones not wait.
    pub(crate) fn release_long_polls(&self) {
        self.shared.no_waiting.cancel();
    }

    /// Decides under the lock, then waits until what changed is on disk.
    async fn transact<T>(
        &self,
        decide: impl FnOnce(&mut State, u64) -> SqsResult<T>,
    ) -> SqsResult<T> {
        let room = self.shared.store.room().await;
        let (outcome, pending) = {
            let mut state = self.state();
            let outcome = decide(&mut state, now_ms());
            let effects = state.core.take_effects();
            self.shared.wake(&mut state, &effects);
            (outcome, self.shared.store.submit(room, effects.changes))
        };
        pending.committed().await?;
        outcome
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state()
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        // A panic under the lock is a bug; going on with what is there beats failing every later call.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The service's state, read but not yet served.
#[derive(Debug)]
pub(crate) struct Loaded(Core);

impl Loaded {
    /// Starts serving: changes go to `store`, tasks onto `tracker`.
    pub(crate) fn serve(mut self, store: Store, tracker: &TaskTracker) -> Sqs {
        let ids = self.0.ids();
        let state = State {
            waits: Waits::default(),
            moves: movement::MoveTasks::default(),
            random: fastrand::Rng::new(),
            core: {
                for id in ids {
                    self.0.advance(id, now_ms());
                }
                self.0
            },
        };
        let shared = Arc::new(Shared {
            state: Mutex::new(state),
            store,
            alarm_moved: tokio::sync::Notify::new(),
            no_waiting: CancellationToken::new(),
            ending: CancellationToken::new(),
            tracker: tracker.clone(),
        });
        tracker.spawn(wait::ring_alarms(Arc::clone(&shared)));
        Sqs { shared }
    }
}

impl Sqs {
    /// Ends the service's own tasks.
    pub(crate) fn end(&self) {
        self.shared.no_waiting.cancel();
        self.shared.ending.cancel();
    }
}

fn parse<T: DeserializeOwned>(body: &Bytes) -> SqsResult<T> {
    serde_json::from_slice(body)
        .map_err(|error| SqsError::Serialization(format!("Cannot read the request: {error}")))
}

fn answer<T: Serialize>(body: T) -> Reply {
    protocol::json(protocol::SQS, &body)
}

/// The parameter, or the error that says it is missing.
fn required<T>(value: Option<T>, name: &'static str) -> SqsResult<T> {
    value.ok_or(SqsError::MissingParameter(name))
}

/// Checks the ids of a batch and returns them.
fn batch_ids<'a>(
    ids: impl ExactSizeIterator<Item = Option<&'a str>>,
    entry_type: &'static str,
) -> SqsResult<Vec<String>> {
    match ids.len() {
        0 => return Err(SqsError::EmptyBatchRequest(entry_type)),
        n if n > BATCH_ENTRIES_MAX => return Err(SqsError::TooManyEntriesInBatchRequest(n)),
        _ => {}
    }
    let mut seen: Vec<String> = Vec::with_capacity(ids.len());
    for id in ids {
        let id = required(id, "Id")?;
        let fits = (1..=BATCH_ENTRY_ID_CHARS_MAX).contains(&id.len())
            && id
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
        if !fits {
            return Err(SqsError::InvalidBatchEntryId);
        }
        if seen.iter().any(|other| other == id) {
            return Err(SqsError::BatchEntryIdsNotDistinct(id.to_owned()));
        }
        seen.push(id.to_owned());
    }
    Ok(seen)
}

fn failed(id: String, error: &SqsError) -> FailedEntry {
    FailedEntry {
        id,
        sender_fault: error.sender_fault(),
        code: error.query_code(),
        message: error.to_string(),
    }
}
