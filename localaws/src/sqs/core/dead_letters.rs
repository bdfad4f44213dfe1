//! Dead-letter queues: their source queues, and moves of messages between them.

use std::{collections::BTreeMap, sync::Arc};

use super::{Core, effects::QueueChange};
use crate::sqs::{
    error::{SqsError, SqsResult},
    message::{QueuedMessage, Receives, Seq},
    names::{QueueId, QueueName},
    redrive_policy::RedrivePolicy,
    settings::Settings,
};

/// Result of a redrive.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Redriven {
    pub(crate) moved: usize,
    /// Why the first message that stayed could not be moved.
    pub(crate) failure: Option<MoveFailure>,
}

/// Reason why a message stays in a dead-letter queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MoveFailure {
    /// The message was sent to the dead-letter queue itself.
    NoSource,
    /// The message's source, or the task's queue, was deleted.
    NoQueue,
}

impl MoveFailure {
    /// Returns the reason as `ListMessageMoveTasks` shows it.
    pub(crate) fn reason(self) -> &'static str {
        match self {
            Self::NoSource => "CouldNotDetermineMessageSource",
            Self::NoQueue => "AWS.SimpleQueueService.NonExistentQueue",
        }
    }
}

impl Core {
    /// Returns the queues that name this one as their dead-letter queue, by name.
    pub(crate) fn sources_of(&self, name: &QueueName) -> impl Iterator<Item = &QueueName> {
        self.sources.get(name).into_iter().flatten()
    }

    /// Adds removed messages to another queue. `from` is the ARN of the source queue of dead letters; without it, the
    /// messages leave a dead-letter queue, and their receive count restarts.
    pub(super) fn move_to(
        &mut self,
        target: QueueId,
        moved: Vec<(Seq, QueuedMessage)>,
        from: Option<&Arc<str>>,
        now_ms: u64,
    ) {
        let queue = self
            .queues
            .get_mut(&target)
            .expect("the target was found by name");
        for (seq, mut message) in moved {
            message.redriven_from = from.cloned();
            if from.is_none() {
                message.receives = Receives::default();
            }
            self.effects.changes.push(QueueChange::Move {
                seq,
                queue: target,
                redriven_from: message.redriven_from.clone(),
                receives: message.receives,
            });
            queue.put(seq, message, now_ms, now_ms);
        }
        queue.advance(now_ms, &mut self.effects);
        self.effects.touched.push(target);
    }

    /// Moves these messages of a dead-letter queue, as far as they are ready, to `target`, or to the source queue of
    /// each. A message that cannot be moved stays as it is; the result says why.
    pub(crate) fn redrive(
        &mut self,
        id: QueueId,
        target: Option<QueueId>,
        seqs: &[Seq],
        now_ms: u64,
    ) -> Redriven {
        let mut redriven = Redriven::default();
        if !self.queues.contains_key(&id) {
            redriven.failure = Some(MoveFailure::NoQueue);
            return redriven;
        }
        self.advance_queue(id, now_ms);
        let mut by_target: BTreeMap<QueueId, Vec<(Seq, QueuedMessage)>> = BTreeMap::new();
        for &seq in seqs {
            let Some(message) = self.queues[&id].ready_message(seq) else {
                continue;
            };
            let found = match target {
                Some(target) if self.queues.contains_key(&target) => Ok(target),
                Some(_) => Err(MoveFailure::NoQueue),
                None => self.source_of(message),
            };
            match found {
                Ok(target) => {
                    let queue = self.queues.get_mut(&id).expect("it was found above");
                    let message = queue.remove(seq).expect("it was found above");
                    by_target.entry(target).or_default().push((seq, message));
                }
                Err(failure) => redriven.failure = redriven.failure.or(Some(failure)),
            }
        }
        for (target, messages) in by_target {
            redriven.moved += messages.len();
            self.move_to(target, messages, None, now_ms);
        }
        redriven
    }

    /// Returns the queue from which a message was dead-lettered.
    fn source_of(&self, message: &QueuedMessage) -> Result<QueueId, MoveFailure> {
        let arn = message.redriven_from.as_deref();
        let arn = arn.ok_or(MoveFailure::NoSource)?;
        let name = self.scope.queue_of_arn(arn);
        name.and_then(|name| self.names.get(&name).copied())
            .ok_or(MoveFailure::NoQueue)
    }

    pub(super) fn check_redrive(&self, name: &QueueName, settings: &Settings) -> SqsResult<()> {
        let Some(policy) = &settings.redrive else {
            return Ok(());
        };
        let target = self.names.get(&policy.target).map(|id| &self.queues[id]);
        let target = target.ok_or_else(|| RedrivePolicy::missing_target(&policy.render()))?;
        let source_arn = self.scope.queue_arn(name);
        if target
            .settings
            .redrive_allow
            .as_ref()
            .is_some_and(|allow| !allow.allows(&source_arn))
        {
            return Err(SqsError::parameter(
                policy.render(),
                "RedrivePolicy",
                "The dead letter target does not allow this queue as a source.",
            ));
        }
        Ok(())
    }

    pub(super) fn link(&mut self, name: &QueueName, policy: Option<&RedrivePolicy>) {
        if let Some(policy) = policy {
            self.sources
                .entry(policy.target.clone())
                .or_default()
                .insert(name.clone());
        }
    }

    pub(super) fn unlink(&mut self, name: &QueueName, policy: Option<&RedrivePolicy>) {
        let Some(policy) = policy else { return };
        if let Some(sources) = self.sources.get_mut(&policy.target) {
            sources.remove(name);
            if sources.is_empty() {
                self.sources.remove(&policy.target);
            }
        }
    }
}
