//! Dead-letter queues: which queue names which, and the ways of messages between them.

use std::{collections::BTreeMap, sync::Arc};

use super::{Core, QueueId};
use crate::sqs::{
    error::{SqsError, SqsResult},
    message::{Entry, Receipt, Seq},
    names::QueueName,
    persist::Change,
    redrive::RedrivePolicy,
    settings::Settings,
};

impl Core {
    /// Queues that name this one as their dead-letter queue, in order.
    pub(crate) fn sources_of(&self, name: &QueueName) -> impl Iterator<Item = &QueueName> {
        self.sources.get(name).into_iter().flatten()
    }

    /// Puts messages taken out of one queue into another. With `from`, they say where they came from; a
    /// message that comes back from a dead-letter queue says so no more and starts counting receives anew.
    pub(super) fn move_to(
        &mut self,
        target: QueueId,
        moved: Vec<(Seq, Entry)>,
        from: Option<&Arc<str>>,
        now_ms: u64,
    ) {
        let queue = self
            .queues
            .get_mut(&target)
            .expect("the target was found by name");
        for (seq, mut entry) in moved {
            entry.redriven_from = from.cloned();
            if from.is_none() {
                entry.receipt = Receipt::default();
            }
            self.effects.changes.push(Change::Move {
                seq,
                queue: target,
                redriven_from: entry.redriven_from.clone(),
                receipt: entry.receipt,
            });
            queue.put(seq, entry, now_ms, now_ms);
        }
        queue.advance(now_ms, &mut self.effects);
        self.effects.touched.push(target);
    }

    /// Moves up to `max` ready messages of a dead-letter queue to `target`, or back to where each came from.
    /// Messages whose destination is gone stay. Returns how many moved.
    pub(crate) fn redrive_back(
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
        let mut by_target: BTreeMap<QueueId, Vec<(Seq, Entry)>> = BTreeMap::new();
        for (seq, entry) in queue.drain_ready(max) {
            let home = || {
                let source = self.realm.queue_of_arn(entry.redriven_from.as_deref()?)?;
                self.names.get(&source).copied()
            };
            let target = target
                .filter(|t| self.queues.contains_key(t))
                .or_else(home)
                .unwrap_or(id);
            by_target.entry(target).or_default().push((seq, entry));
        }
        let mut moved = 0;
        for (target, entries) in by_target {
            if target == id {
                let queue = self.queues.get_mut(&id).expect("it was found above");
                for (seq, entry) in entries {
                    queue.put(seq, entry, now_ms, now_ms);
                }
                continue;
            }
            moved += entries.len();
            self.move_to(target, entries, None, now_ms);
        }
        moved
    }

    pub(super) fn check_redrive(&self, name: &QueueName, settings: &Settings) -> SqsResult<()> {
        let Some(policy) = &settings.redrive else {
            return Ok(());
        };
        let target = self.names.get(&policy.target).map(|id| &self.queues[id]);
        let target = target.ok_or_else(|| RedrivePolicy::missing_target(&policy.render()))?;
        let source_arn = self.realm.queue_arn(name);
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
