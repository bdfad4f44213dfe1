//! Message move tasks, running and ended. They live in memory: a restart ends them, and the messages moved so far stay
//! moved.

use std::collections::VecDeque;

use super::api::MoveTaskState;

/// Tasks remembered over all queues (ours).
const TASKS_KEPT: usize = 1_000;

/// Tasks, latest first. A running task has a handle, an ended one has none.
#[derive(Debug, Default)]
pub(crate) struct MoveTasks(VecDeque<MoveTaskState>);

impl MoveTasks {
    pub(crate) fn push(&mut self, task: MoveTaskState) {
        self.0.push_front(task);
        self.0.truncate(TASKS_KEPT);
    }

    pub(crate) fn running(&mut self, handle: &str) -> Option<&mut MoveTaskState> {
        self.0
            .iter_mut()
            .find(|task| task.task_handle.as_deref() == Some(handle))
    }

    pub(crate) fn of_source(&self, source_arn: &str) -> impl Iterator<Item = &MoveTaskState> {
        self.0
            .iter()
            .filter(move |task| task.source_arn == source_arn)
    }

    /// Ends a running task with this status and returns the number of messages moved. Only a failed task
    /// has a reason.
    pub(crate) fn end(
        &mut self,
        handle: &str,
        status: &'static str,
        failure_reason: Option<&'static str>,
    ) -> Option<usize> {
        let task = self.running(handle)?;
        task.status = status;
        task.failure_reason = failure_reason;
        task.task_handle = None;
        Some(task.approximate_number_of_messages_moved)
    }
}
