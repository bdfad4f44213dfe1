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

    /// Moves up to `max` ready messages of a dead-letter queue to `target`, or to the source queue of each. Messages
    /// whose target does not exist stay. Returns the number of messages moved.
    pub(crate) fn redrive(
        &mut self,
        id: QueueId,
        target: Option<QueueId>,
        max: usize,
        now_ms: u64,
    ) -> usize {
        let Some(queue) = self.queues.get_mut(&id) else {
            return 0;
        };
        queue.advance(now_ms, &mut self.effects);
        let mut by_target: BTreeMap<QueueId, Vec<(Seq, QueuedMessage)>> = BTreeMap::new();
        for (seq, message) in queue.drain_ready(max) {
            let source = || {
                let name = self.scope.queue_of_arn(message.redriven_from.as_deref()?)?;
                self.names.get(&name).copied()
            };
            let target = target
                .filter(|t| self.queues.contains_key(t))
                .or_else(source)
                .unwrap_or(id);
            by_target.entry(target).or_default().push((seq, message));
        }
        let mut moved = 0;
        for (target, messages) in by_target {
            if target == id {
                let queue = self.queues.get_mut(&id).expect("it was found above");
                for (seq, message) in messages {
                    queue.put(seq, message, now_ms, now_ms);
                }
                continue;
            }
            moved += messages.len();
            self.move_to(target, messages, None, now_ms);
        }
        moved
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
