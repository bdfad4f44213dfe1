//! All queues: names, dead-letter moves, and the changes of each operation. Pure, like [`queue`](super::queue): times, ids
//! and keys are arguments, [`Effects`] are results.
//!
//! It promises that [`Effects::changes`], applied in order, bring the store to the state in memory. It never waits, does
//! no input or output, and reads no clock.

pub(super) mod dead_letters;
pub(super) mod effects;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    ops::Bound,
    sync::Arc,
};

use self::effects::{Effects, QueueChange};
use super::{
    error::{SqsError, SqsResult},
    limits::{MS_PER_S, PURGE_INTERVAL_MS},
    message::{MessageState, Payload, QueuedMessage, Receives, Seq},
    names::{QueueId, QueueName},
    queue::{Queue, ReceivedMessage},
    settings::Settings,
};
use crate::arn_scope::ArnScope;

#[derive(Clone, Debug)]
pub(crate) struct NewMessage {
    pub(crate) payload: Arc<Payload>,
    /// Defaults to the queue's delay.
    pub(crate) delay_s: Option<u32>,
}

#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) scope: ArnScope,
    queues: HashMap<QueueId, Queue>,
    names: BTreeMap<QueueName, QueueId>,
    /// Dead-letter queue → queues that name it.
    sources: HashMap<QueueName, BTreeSet<QueueName>>,
    next_queue: u64,
    next_seq: u64,
    /// Message keys up to this one are reserved in the store.
    reserved_seq: u64,
    effects: Effects,
}

/// Message keys per reservation: one small write per this many messages, at most this many unused keys per restart.
const SEQ_BLOCK: u64 = 1 << 20;

impl Core {
    pub(crate) fn new(scope: ArnScope) -> Self {
        Self {
            scope,
            queues: HashMap::new(),
            names: BTreeMap::new(),
            sources: HashMap::new(),
            next_queue: 1,
            next_seq: 1,
            reserved_seq: 0,
            effects: Effects::default(),
        }
    }

    /// Returns the effects of all operations since the last call.
    pub(crate) fn take_effects(&mut self) -> Effects {
        std::mem::take(&mut self.effects)
    }

    pub(crate) fn find(&self, name: &QueueName) -> SqsResult<QueueId> {
        self.names
            .get(name)
            .copied()
            .ok_or(SqsError::QueueDoesNotExist)
    }

    pub(crate) fn queue(&self, id: QueueId) -> Option<&Queue> {
        self.queues.get(&id)
    }

    /// Finds a queue and advances it; see [`Queue::advance`].
    ///
    /// # Errors
    /// `QueueDoesNotExist`.
    pub(crate) fn find_advanced(&mut self, name: &QueueName, now_ms: u64) -> SqsResult<&mut Queue> {
        let id = self.find(name)?;
        Ok(self.advance_queue(id, now_ms).0)
    }

    /// Advances a queue if it exists; see [`Queue::advance`].
    pub(crate) fn advance(&mut self, id: QueueId, now_ms: u64) {
        if self.queues.contains_key(&id) {
            self.advance_queue(id, now_ms);
            self.effects.touched.push(id);
        }
    }

    fn advance_queue(&mut self, id: QueueId, now_ms: u64) -> (&mut Queue, &mut Effects) {
        let queue = self.queues.get_mut(&id).expect("a named queue exists");
        queue.advance(now_ms, &mut self.effects);
        (queue, &mut self.effects)
    }

    /// Creates a queue, or returns the existing one if it has the same attributes.
    ///
    /// # Errors
    /// `QueueNameExists` if an attribute differs; the errors of [`Settings::with`].
    pub(crate) fn create(
        &mut self,
        name: &QueueName,
        attributes: &BTreeMap<String, String>,
        tags: BTreeMap<String, String>,
        now_ms: u64,
    ) -> SqsResult<QueueId> {
        if let Some(&id) = self.names.get(name) {
            let difference = self.queues[&id]
                .settings
                .first_difference(attributes, &self.scope)?;
            return difference.map_or(Ok(id), |attribute| {
                Err(SqsError::QueueNameExists(attribute))
            });
        }
        let settings = Settings::default().with(attributes, &self.scope)?;
        self.check_redrive(name, &settings)?;
        let id = QueueId(self.next_queue);
        let queue = Queue::new(id, name.clone(), settings, tags, now_ms);
        self.effects.changes.push(queue.as_change());
        self.load_queue(queue);
        Ok(id)
    }

    /// Adds a queue that is in the store.
    pub(crate) fn load_queue(&mut self, queue: Queue) {
        self.next_queue = self.next_queue.max(queue.id.0 + 1);
        self.link(&queue.name, queue.settings.redrive.as_ref());
        self.names.insert(queue.name.clone(), queue.id);
        self.queues.insert(queue.id, queue);
    }

    /// Adds a message that is in the store. A message of an unknown queue is deleted.
    pub(crate) fn load_message(
        &mut self,
        queue: QueueId,
        seq: Seq,
        mut message: QueuedMessage,
        ready_at_ms: u64,
        now_ms: u64,
    ) {
        let Some(queue) = self.queues.get_mut(&queue) else {
            self.effects.changes.push(QueueChange::DeleteMessage(seq));
            return;
        };
        let is_in_flight = message.receives.count > 0 && ready_at_ms > now_ms;
        message.state = MessageState::Ready { position: 0 };
        if is_in_flight {
            queue.put_in_flight(seq, message, ready_at_ms);
        } else {
            queue.put(seq, message, ready_at_ms, now_ms);
        }
    }

    /// Continues after the keys that were used or reserved before the endpoint stopped.
    pub(crate) fn resume_keys(&mut self, last_queue: u64, reserved_seq: u64) {
        self.next_queue = self.next_queue.max(last_queue + 1);
        self.next_seq = self.next_seq.max(reserved_seq + 1);
        self.reserved_seq = self.reserved_seq.max(reserved_seq);
    }

    fn new_seq(&mut self) -> Seq {
        let seq = Seq(self.next_seq);
        self.next_seq += 1;
        if seq.0 > self.reserved_seq {
            self.reserved_seq = seq.0 + SEQ_BLOCK;
            self.effects
                .changes
                .push(QueueChange::ReserveSeqs(self.reserved_seq));
        }
        seq
    }

    pub(crate) fn ids(&self) -> Vec<QueueId> {
        self.names.values().copied().collect()
    }

    /// Returns up to `max` names with this prefix, in order, after the name `after`.
    pub(crate) fn list<'a>(
        &'a self,
        prefix: &'a str,
        after: Option<&'a QueueName>,
        max: usize,
    ) -> impl Iterator<Item = &'a QueueName> {
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        let start = match (start, QueueName::parse(prefix)) {
            (Bound::Unbounded, Ok(first)) => Bound::Included(first),
            (Bound::Excluded(after), _) => Bound::Excluded(after.clone()),
            _ => Bound::Unbounded,
        };
        let names = self
            .names
            .range((start, Bound::Unbounded))
            .map(|(name, _)| name);
        names
            .take_while(move |name| name.as_str().starts_with(prefix))
            .take(max)
    }

    /// Deletes a queue with its messages.
    ///
    /// # Errors
    /// `QueueDoesNotExist`.
    pub(crate) fn delete(&mut self, name: &QueueName) -> SqsResult<()> {
        let id = self.names.remove(name).ok_or(SqsError::QueueDoesNotExist)?;
        let mut queue = self.queues.remove(&id).expect("a named queue exists");
        self.unlink(name, queue.settings.redrive.as_ref());
        self.effects
            .changes
            .push(QueueChange::DeleteMessages(queue.purge()));
        self.effects.changes.push(QueueChange::DeleteQueue(id));
        self.effects.deleted.push(id);
        Ok(())
    }

    /// Deletes every message of a queue.
    ///
    /// # Errors
    /// `QueueDoesNotExist`, `PurgeQueueInProgress` within a minute of the last purge.
    pub(crate) fn purge(&mut self, name: &QueueName, now_ms: u64) -> SqsResult<()> {
        let queue = self.find_advanced(name, now_ms)?;
        if queue
            .purged_ms
            .is_some_and(|last_ms| now_ms < last_ms + PURGE_INTERVAL_MS)
        {
            return Err(SqsError::PurgeQueueInProgress(name.to_string()));
        }
        queue.purged_ms = Some(now_ms);
        let seqs = queue.purge();
        self.effects.changes.push(QueueChange::DeleteMessages(seqs));
        Ok(())
    }

    /// Sets attributes of a queue: all of them, or none.
    ///
    /// # Errors
    /// `QueueDoesNotExist`; the errors of [`Settings::with`].
    pub(crate) fn set_attributes(
        &mut self,
        name: &QueueName,
        attributes: &BTreeMap<String, String>,
        now_ms: u64,
    ) -> SqsResult<()> {
        let id = self.find(name)?;
        let settings = self.queues[&id].settings.with(attributes, &self.scope)?;
        self.check_redrive(name, &settings)?;
        let queue = self.queues.get_mut(&id).expect("a named queue exists");
        queue.modified_ms = now_ms;
        let before = std::mem::replace(&mut queue.settings, settings);
        let after = queue.settings.redrive.clone();
        self.effects.changes.push(queue.as_change());
        self.effects.touched.push(id);
        self.unlink(name, before.redrive.as_ref());
        self.link(name, after.as_ref());
        Ok(())
    }

    /// Changes the tags of a queue.
    ///
    /// # Errors
    /// `QueueDoesNotExist`; the errors of `change`.
    pub(crate) fn change_tags(
        &mut self,
        name: &QueueName,
        change: impl FnOnce(&mut BTreeMap<String, String>) -> SqsResult<()>,
    ) -> SqsResult<()> {
        let id = self.find(name)?;
        let queue = self.queues.get_mut(&id).expect("a named queue exists");
        let mut tags = queue.tags.clone();
        change(&mut tags)?;
        queue.tags = tags;
        self.effects.changes.push(queue.as_change());
        Ok(())
    }

    pub(crate) fn send(&mut self, id: QueueId, new_messages: Vec<NewMessage>, now_ms: u64) {
        let seqs: Vec<_> = new_messages.iter().map(|_| self.new_seq()).collect();
        let Some(queue) = self.queues.get_mut(&id) else {
            return;
        };
        queue.advance(now_ms, &mut self.effects);
        for (seq, new) in seqs.into_iter().zip(new_messages) {
            let delay_s = new.delay_s.unwrap_or(queue.settings.delay_s);
            let ready_at_ms = now_ms + u64::from(delay_s) * MS_PER_S;
            self.effects.changes.push(QueueChange::Insert {
                seq,
                queue: id,
                payload: Arc::clone(&new.payload),
                ready_at_ms,
            });
            let message = QueuedMessage {
                payload: new.payload,
                redriven_from: None,
                receives: Receives::default(),
                state: MessageState::Ready { position: 0 },
            };
            queue.put(seq, message, ready_at_ms, now_ms);
        }
        self.effects.touched.push(id);
    }

    /// Receives up to `max` messages, which are then in flight for `visibility_s` seconds, by default the queue's
    /// visibility timeout. Messages over `maxReceiveCount` move to the dead-letter queue, if it exists.
    pub(crate) fn receive(
        &mut self,
        id: QueueId,
        max: usize,
        visibility_s: Option<u32>,
        now_ms: u64,
    ) -> SqsResult<Vec<ReceivedMessage>> {
        let queue = self
            .queues
            .get_mut(&id)
            .ok_or(SqsError::QueueDoesNotExist)?;
        queue.advance(now_ms, &mut self.effects);
        // For a queue that is its own dead-letter queue, a move would be endless: it delivers without one.
        let target = queue
            .settings
            .redrive
            .as_ref()
            .and_then(|policy| self.names.get(&policy.target))
            .copied();
        let target = target.filter(|target| *target != id);
        let visibility_ms =
            u64::from(visibility_s.unwrap_or(queue.settings.visibility_s)) * MS_PER_S;
        let received = queue.receive(
            max,
            visibility_ms,
            target.is_some(),
            now_ms,
            &mut self.effects,
        );
        if let Some(target) = target
            && !received.dead_letters.is_empty()
        {
            let arn: Arc<str> = self.scope.queue_arn(&queue.name).into();
            self.move_to(target, received.dead_letters, Some(&arn), now_ms);
        }
        self.effects.touched.push(id);
        Ok(received.messages)
    }

    /// See [`Queue::acknowledge`].
    pub(crate) fn acknowledge(&mut self, id: QueueId, seq: Seq, receive: u32, now_ms: u64) {
        let (queue, effects) = self.advance_queue(id, now_ms);
        let was_at_limit = queue.is_at_in_flight_limit();
        queue.acknowledge(seq, receive, effects);
        if was_at_limit {
            effects.touched.push(id);
        }
    }

    /// See [`Queue::change_visibility`].
    pub(crate) fn change_visibility(
        &mut self,
        id: QueueId,
        seq: Seq,
        receive: u32,
        timeout_s: u32,
        now_ms: u64,
    ) -> SqsResult<()> {
        let (queue, effects) = self.advance_queue(id, now_ms);
        queue.change_visibility(seq, receive, timeout_s, now_ms, effects)?;
        effects.touched.push(id);
        Ok(())
    }
}
