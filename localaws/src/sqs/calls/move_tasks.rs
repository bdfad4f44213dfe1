//! Message move tasks: messages of a dead-letter queue return to their source queues, or go to a named queue.
//!
//! A task moves the messages that were ready at its start, a chunk per transaction, so that other calls run in between.
//! A message that cannot be moved stays, and the task ends as failed once it has moved the others.

use std::time::Duration;

use super::{in_range, required};
use crate::{
    protocol::{now_ms, request_id},
    sqs::{
        api::{
            CancelMoveTask, MoveTaskCancelled, MoveTaskList, MoveTaskRequest, MoveTaskStarted,
            MoveTaskState,
        },
        core::dead_letters::MoveFailure,
        error::{SqsError, SqsResult},
        limits::{LISTED_MOVE_TASKS, MOVE_CHUNK, MOVE_RATE},
        message::Seq,
        names::{QueueId, QueueName},
        service::{Sqs, State},
    },
};

impl Sqs {
    pub(super) fn start_move_task(&self, request: MoveTaskRequest) -> SqsResult<MoveTaskStarted> {
        let source_arn = required(request.source_arn, "SourceArn")?;
        let rate = request.max_number_of_messages_per_second;
        let messages_per_s = in_range(
            rate,
            "MaxNumberOfMessagesPerSecond",
            &MOVE_RATE,
            "Must be between 1 and 500, if provided.",
        )?;
        let handle = request_id();
        let mut state = self.state();
        let (source_name, source) = queue_of_arn(&state, &source_arn)?;
        let destination = match &request.destination_arn {
            Some(arn) => Some(queue_of_arn(&state, arn)?.1),
            None => None,
        };
        if destination == Some(source) {
            return Err(SqsError::InvalidParameterValue(
                "Source queue arn and destination queue arn cannot be the same.".into(),
            ));
        }
        if state.core.sources_of(&source_name).next().is_none() {
            return Err(SqsError::InvalidParameterValue(
                "Source queue must be configured as a Dead Letter Queue.".into(),
            ));
        }
        if state
            .move_tasks
            .of_source(&source_arn)
            .any(|task| task.task_handle.is_some())
        {
            return Err(SqsError::UnsupportedOperation(
                "There is already a task running. Only one active task is allowed for a source queue arn at a given \
                 time."
                    .into(),
            ));
        }
        let to_move = state.core.find_advanced(&source_name, now_ms())?.ready();
        state.move_tasks.push(MoveTaskState {
            task_handle: Some(handle.clone()),
            status: "RUNNING",
            source_arn,
            destination_arn: request.destination_arn,
            max_number_of_messages_per_second: rate,
            approximate_number_of_messages_moved: 0,
            approximate_number_of_messages_to_move: to_move.len(),
            failure_reason: None,
            started_timestamp: now_ms(),
        });
        drop(state);
        let task = self.clone().run_move_task(
            handle.clone(),
            source,
            destination,
            to_move,
            messages_per_s,
        );
        self.spawn(task);
        Ok(MoveTaskStarted {
            task_handle: handle,
        })
    }

    pub(super) fn list_move_tasks(&self, request: MoveTaskRequest) -> SqsResult<MoveTaskList> {
        let source_arn = required(request.source_arn, "SourceArn")?;
        let state = self.state();
        queue_of_arn(&state, &source_arn)?;
        let max = in_range(
            request.max_results,
            "MaxResults",
            &LISTED_MOVE_TASKS,
            "Must be between 1 and 10, if provided.",
        )?
        .unwrap_or(1);
        let results = state.move_tasks.of_source(&source_arn).take(max as usize);
        Ok(MoveTaskList {
            results: results.cloned().collect(),
        })
    }

    pub(super) fn cancel_move_task(&self, request: CancelMoveTask) -> SqsResult<MoveTaskCancelled> {
        let handle = required(request.task_handle, "TaskHandle")?;
        let moved = self.state().move_tasks.end(&handle, "CANCELLED", None);
        let moved =
            moved.ok_or_else(|| SqsError::ResourceNotFound("Task does not exist.".into()))?;
        Ok(MoveTaskCancelled { moved })
    }

    async fn run_move_task(
        self,
        handle: String,
        source: QueueId,
        destination: Option<QueueId>,
        to_move: Vec<Seq>,
        messages_per_s: Option<u32>,
    ) {
        let rate = messages_per_s.map(|rate| rate as usize);
        let chunk = rate.map_or(MOVE_CHUNK, |rate| rate.min(MOVE_CHUNK));
        let pause = rate.map_or(Duration::ZERO, |rate| {
            Duration::from_millis((chunk * 1_000 / rate) as u64)
        });
        let mut failure = None;
        for seqs in to_move.chunks(chunk) {
            let redriven = self.transact(|state, now_ms| {
                let Some(task) = state.move_tasks.running(&handle) else {
                    return Ok(None);
                };
                let redriven = state.core.redrive(source, destination, seqs, now_ms);
                task.approximate_number_of_messages_moved += redriven.moved;
                Ok(Some(redriven))
            });
            match redriven.await {
                Ok(Some(redriven)) => {
                    failure = failure.or(redriven.failure.map(MoveFailure::reason));
                }
                // The task was canceled.
                Ok(None) => return,
                Err(error) => {
                    tracing::warn!(%error, "message move task failed");
                    failure = Some("InternalError");
                    break;
                }
            }
            tokio::select! {
                () = self.shutdown().cancelled() => return,
                () = tokio::time::sleep(pause) => {}
            }
        }
        let status = failure.map_or("COMPLETED", |_| "FAILED");
        self.state().move_tasks.end(&handle, status, failure);
    }
}

fn queue_of_arn(state: &State, arn: &str) -> SqsResult<(QueueName, QueueId)> {
    let queue = state.core.scope.queue_of_arn(arn).and_then(|name| {
        let id = state.core.find(&name).ok()?;
        Some((name, id))
    });
    queue.ok_or_else(|| {
        SqsError::ResourceNotFound(format!(
            "The resource that you specified for the ARN {arn} doesn't exist."
        ))
    })
}
