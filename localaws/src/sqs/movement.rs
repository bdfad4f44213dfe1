//! Message move tasks: taking the messages of a dead-letter queue back to where they came from.
//!
//! A task moves a chunk, lets other calls in, and goes on until the queue has no ready message left or it
//! has moved as many as there were at its start. Tasks live in memory: a restart ends them where they are,
//! and what they moved stays moved.

use std::{collections::VecDeque, time::Duration};

use super::{
    Sqs,
    api::{
        CancelMoveTask, MoveTask, MoveTaskCancelled, MoveTaskStarted, MoveTaskState,
        MoveTasks as Listing,
    },
    core::QueueId,
    error::{SqsError, SqsResult},
    limits::{MOVE_CHUNK, MOVE_RATE, MOVE_TASKS_KEPT},
    names::QueueName,
    required,
};
use crate::protocol::{now_ms, request_id};

/// Tasks remembered in all, over every queue (ours).
const TASKS_KEPT: usize = 1_000;

/// The tasks that run and the latest that ended.
#[derive(Debug, Default)]
pub(crate) struct MoveTasks {
    tasks: VecDeque<Task>,
}

#[derive(Debug)]
struct Task {
    handle: String,
    state: MoveTaskState,
}

impl MoveTasks {
    fn find(&mut self, handle: &str) -> Option<&mut Task> {
        self.tasks.iter_mut().find(|task| task.handle == handle)
    }

    fn is_running(&self, source_arn: &str) -> bool {
        self.tasks
            .iter()
            .any(|task| task.state.source_arn == source_arn && task.state.status == "RUNNING")
    }
}

impl Sqs {
    pub(super) fn start_move_task(&self, request: MoveTask) -> SqsResult<MoveTaskStarted> {
        let source_arn = required(request.source_arn, "SourceArn")?;
        let rate = request.max_number_of_messages_per_second;
        if rate.is_some_and(|rate| !MOVE_RATE.contains(&rate)) {
            return Err(SqsError::parameter(
                rate.unwrap_or_default(),
                "MaxNumberOfMessagesPerSecond",
                "Must be between 1 and 500, if provided.",
            ));
        }
        let handle = request_id();
        let mut state = self.state();
        let source_name = self.queue_of_arn(&state, &source_arn)?;
        let source = state
            .core
            .find(&source_name)
            .map_err(|_| missing(&source_arn))?;
        let destination = match &request.destination_arn {
            Some(arn) => {
                let name = self.queue_of_arn(&state, arn)?;
                Some(state.core.find(&name).map_err(|_| missing(arn))?)
            }
            None => None,
        };
        if state.core.sources_of(&source_name).next().is_none() {
            return Err(SqsError::InvalidParameterValue(
                "Source queue must be configured as a Dead Letter Queue.".into(),
            ));
        }
        if state.moves.is_running(&source_arn) {
            return Err(SqsError::UnsupportedOperation(
                "There is already a task running. Only one active task is allowed for a source queue arn at a given \
                 time."
                    .into(),
            ));
        }
        let to_move = state.core.present(&source_name, now_ms())?.counts().ready;
        state.moves.tasks.push_front(Task {
            handle: handle.clone(),
            state: MoveTaskState {
                task_handle: Some(handle.clone()),
                status: "RUNNING",
                source_arn,
                destination_arn: request.destination_arn,
                max_number_of_messages_per_second: rate,
                approximate_number_of_messages_moved: 0,
                approximate_number_of_messages_to_move: to_move,
                started_timestamp: now_ms(),
            },
        });
        state.moves.tasks.truncate(TASKS_KEPT);
        drop(state);
        let task = self
            .clone()
            .run_move_task(handle.clone(), source, destination, to_move, rate);
        self.shared.tracker.spawn(task);
        Ok(MoveTaskStarted {
            task_handle: handle,
        })
    }

    pub(super) fn list_move_tasks(&self, request: MoveTask) -> SqsResult<Listing> {
        let source_arn = required(request.source_arn, "SourceArn")?;
        let state = self.state();
        let name = self.queue_of_arn(&state, &source_arn)?;
        state.core.find(&name).map_err(|_| missing(&source_arn))?;
        let asked = request.max_results.unwrap_or(1);
        let max = usize::try_from(asked)
            .ok()
            .filter(|max| (1..=MOVE_TASKS_KEPT).contains(max))
            .ok_or_else(|| {
                SqsError::parameter(
                    asked,
                    "MaxResults",
                    "Must be between 1 and 10, if provided.",
                )
            })?;
        let of_source = state
            .moves
            .tasks
            .iter()
            .filter(|task| task.state.source_arn == source_arn);
        Ok(Listing {
            results: of_source.take(max).map(|task| task.state.clone()).collect(),
        })
    }

    pub(super) fn cancel_move_task(&self, request: CancelMoveTask) -> SqsResult<MoveTaskCancelled> {
        let handle = required(request.task_handle, "TaskHandle")?;
        let mut state = self.state();
        let task = state
            .moves
            .find(&handle)
            .filter(|task| task.state.status == "RUNNING");
        let task = task.ok_or_else(|| SqsError::ResourceNotFound("Task does not exist.".into()))?;
        task.state.status = "CANCELLED";
        task.state.task_handle = None;
        Ok(MoveTaskCancelled {
            moved: task.state.approximate_number_of_messages_moved,
        })
    }

    async fn run_move_task(
        self,
        handle: String,
        source: QueueId,
        destination: Option<QueueId>,
        to_move: usize,
        rate: Option<i64>,
    ) {
        let rate = rate.and_then(|rate| usize::try_from(rate).ok());
        let chunk = rate.map_or(MOVE_CHUNK, |rate| rate.min(MOVE_CHUNK));
        let pause = rate.map_or(Duration::ZERO, |rate| {
            Duration::from_millis((chunk * 1_000 / rate) as u64)
        });
        let mut left = to_move;
        while left > 0 {
            let moved = self.transact(|state, now_ms| {
                let running = state
                    .moves
                    .find(&handle)
                    .is_some_and(|task| task.state.status == "RUNNING");
                if !running {
                    return Ok(0);
                }
                let moved = state
                    .core
                    .redrive_back(source, destination, chunk.min(left), now_ms);
                if let Some(task) = state.moves.find(&handle) {
                    task.state.approximate_number_of_messages_moved += moved;
                }
                Ok(moved)
            });
            match moved.await {
                Ok(moved) if moved > 0 => left = left.saturating_sub(moved),
                Ok(_) => break,
                Err(error) => {
                    tracing::warn!(%error, "a message move task ended early");
                    break;
                }
            }
            tokio::select! {
                () = self.shared.ending.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
            }
        }
        if let Some(task) = self.state().moves.find(&handle)
            && task.state.status == "RUNNING"
        {
            task.state.status = "COMPLETED";
            task.state.task_handle = None;
        }
    }

    fn queue_of_arn(&self, state: &super::State, arn: &str) -> SqsResult<QueueName> {
        state
            .core
            .realm
            .queue_of_arn(arn)
            .ok_or_else(|| missing(arn))
    }
}

fn missing(arn: &str) -> SqsError {
    SqsError::ResourceNotFound(format!(
        "The resource that you specified for the ARN {arn} doesn't exist."
    ))
}
