//! All queues together: names, dead-letter moves, and what each operation changes. Pure, like
//! [`queue`](super::queue): time, ids and keys come in, [`Effects`] go out.
//!
//! It promises that [`Effects::changes`], applied in order, bring the store to the state in memory.
//! It never waits, never does input or output, and never looks at a clock.

mod dead_letters;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    ops::Bound,
    sync::Arc,
};

use super::{
    error::{SqsError, SqsResult},
    limits::{MS_PER_S, PURGE_INTERVAL_MS},
    message::{Entry, Payload, Place, Receipt, Seq},
    names::QueueName,
    persist::Change,
    queue::{Lease, Queue},
    settings::Settings,
};
use crate::realm::Realm;

/// Row key of a queue; never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct QueueId(pub(crate) u64);

/// What an operation did beyond its answer.
#[derive(Debug, Default)]
pub(crate) struct Effects {
    /// For the store, in order.
    pub(crate) changes: Vec<Change>,
    /// Queues in which something may have become receivable, or whose next timer may have moved.
    pub(crate) touched: Vec<QueueId>,
    /// Queues that are gone.
    pub(crate) gone: Vec<QueueId>,
}

/// A message about to be sent.
#[derive(Clone, Debug)]
pub(crate) struct Draft {
    /// What the sender says.
    pub(crate) payload: Arc<Payload>,
    /// Delay in seconds; the queue's default when absent.
    pub(crate) delay_s: Option<u32>,
}

/// Every queue of the endpoint.
#[derive(Debug)]
pub(crate) struct Core {
    /// Where this endpoint pretends to be.
    pub(crate) realm: Realm,
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

/// Message keys reserved at a time: one small write per this many messages, at most this many unused keys
/// per restart.
const SEQ_BLOCK: u64 = 1 << 20;

impl Core {
    /// No queues yet.
    pub(crate) fn new(realm: Realm) -> Self {
        Self {
            realm,
            queues: HashMap::new(),
            names: BTreeMap::new(),
            sources: HashMap::new(),
            next_queue: 1,
            next_seq: 1,
            reserved_seq: 0,
            effects: Effects::default(),
        }
    }

    /// Takes what the operations since the last call did.
    pub(crate) fn take_effects(&mut self) -> Effects {
        std::mem::take(&mut self.effects)
    }

    /// Id of a queue by name.
    ///
    /// # Errors
    /// `QueueDoesNotExist`.
    pub(crate) fn find(&self, name: &QueueName) -> SqsResult<QueueId> {
        self.names
            .get(name)
            .copied()
            .ok_or(SqsError::QueueDoesNotExist)
    }

    /// A queue by id, if it still exists.
    pub(crate) fn queue(&self, id: QueueId) -> Option<&Queue> {
        self.queues.get(&id)
    }

    /// A queue by name, brought to the present.
    ///
    /// # Errors
    /// `QueueDoesNotExist`.
    pub(crate) fn present(&mut self, name: &QueueName, now_ms: u64) -> SqsResult<&mut Queue> {
        let id = self.find(name)?;
        Ok(self.advanced(id, now_ms).0)
    }

    /// Brings a queue to the present, if it still exists.
    pub(crate) fn advance(&mut self, id: QueueId, now_ms: u64) {
        if self.queues.contains_key(&id) {
            self.advanced(id, now_ms);
            self.effects.touched.push(id);
        }
    }

    fn advanced(&mut self, id: QueueId, now_ms: u64) -> (&mut Queue, &mut Effects) {
        let queue = self.queues.get_mut(&id).expect("a named queue exists");
        queue.advance(now_ms, &mut self.effects);
        (queue, &mut self.effects)
    }

    /// Creates a queue, or finds it when it exists with the same attributes.
    ///
    /// # Errors
    /// `QueueNameExists` when an attribute differs; what [`Settings::with`] answers.
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
                .first_difference(attributes, &self.realm)?;
            return difference.map_or(Ok(id), |attribute| {
                Err(SqsError::QueueNameExists(attribute))
            });
        }
        let settings = Settings::default().with(attributes, &self.realm)?;
        self.check_redrive(name, &settings)?;
        let id = QueueId(self.next_queue);
        let queue = Queue::new(id, name.clone(), settings, tags, now_ms);
        self.effects.changes.push(Change::put_queue(&queue));
        self.adopt(queue);
        Ok(id)
    }

    /// Takes a queue in that is in the store already.
    pub(crate) fn adopt(&mut self, queue: Queue) {
        self.next_queue = self.next_queue.max(queue.id.0 + 1);
        self.link(&queue.name, queue.settings.redrive.as_ref());
        self.names.insert(queue.name.clone(), queue.id);
        self.queues.insert(queue.id, queue);
    }

    /// Takes a message in that is in the store already. Messages of unknown queues are dropped.
    pub(crate) fn adopt_message(
        &mut self,
        queue: QueueId,
        seq: Seq,
        mut entry: Entry,
        ready_at_ms: u64,
        now_ms: u64,
    ) {
        let Some(queue) = self.queues.get_mut(&queue) else {
            self.effects.changes.push(Change::DeleteMessage(seq));
            return;
        };
        let is_leased = entry.receipt.receives > 0 && ready_at_ms > now_ms;
        entry.place = Place::Ready { turn: 0 };
        if is_leased {
            queue.put_leased(seq, entry, ready_at_ms);
        } else {
            queue.put(seq, entry, ready_at_ms, now_ms);
        }
    }

    /// Goes on after the keys that were given out, or reserved, before the endpoint stopped.
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
                .push(Change::ReserveSeqs(self.reserved_seq));
        }
        seq
    }

    /// Ids of all queues.
    pub(crate) fn ids(&self) -> Vec<QueueId> {
        self.names.values().copied().collect()
    }

    /// Up to `max` names that start with `prefix`, in order, from just after `after` on.
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
            .push(Change::DeleteMessages(queue.purge()));
        self.effects.changes.push(Change::DeleteQueue(id));
        self.effects.gone.push(id);
        Ok(())
    }

    /// Deletes every message of a queue.
    ///
    /// # Errors
    /// `QueueDoesNotExist`, `PurgeQueueInProgress` within a minute of the last purge.
    pub(crate) fn purge(&mut self, name: &QueueName, now_ms: u64) -> SqsResult<()> {
        let queue = self.present(name, now_ms)?;
        if queue
            .purged_ms
            .is_some_and(|last_ms| now_ms < last_ms + PURGE_INTERVAL_MS)
        {
            return Err(SqsError::PurgeQueueInProgress(name.to_string()));
        }
        queue.purged_ms = Some(now_ms);
        let seqs = queue.purge();
        self.effects.changes.push(Change::DeleteMessages(seqs));
        Ok(())
    }

    /// Sets attributes of a queue: all of them, or none.
    ///
    /// # Errors
    /// `QueueDoesNotExist`; what [`Settings::with`] answers.
    pub(crate) fn set_attributes(
        &mut self,
        name: &QueueName,
        attributes: &BTreeMap<String, String>,
        now_ms: u64,
    ) -> SqsResult<()> {
        let id = self.find(name)?;
        let settings = self.queues[&id].settings.with(attributes, &self.realm)?;
        self.check_redrive(name, &settings)?;
        let queue = self.queues.get_mut(&id).expect("a named queue exists");
        queue.modified_ms = now_ms;
        let before = std::mem::replace(&mut queue.settings, settings);
        let after = queue.settings.redrive.clone();
        self.effects.changes.push(Change::put_queue(queue));
        self.effects.touched.push(id);
        self.unlink(name, before.redrive.as_ref());
        self.link(name, after.as_ref());
        Ok(())
    }

    /// Changes the tags of a queue.
    ///
    /// # Errors
    /// `QueueDoesNotExist`, or what `change` answers.
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
        self.effects.changes.push(Change::put_queue(queue));
        Ok(())
    }

    /// Puts messages into a queue.
    pub(crate) fn send(&mut self, id: QueueId, drafts: Vec<Draft>, now_ms: u64) {
        let seqs: Vec<_> = drafts.iter().map(|_| self.new_seq()).collect();
        let Some(queue) = self.queues.get_mut(&id) else {
            return;
        };
        queue.advance(now_ms, &mut self.effects);
        for (seq, draft) in seqs.into_iter().zip(drafts) {
            let delay_s = draft.delay_s.unwrap_or(queue.settings.delay_s);
            let ready_at_ms = now_ms + u64::from(delay_s) * MS_PER_S;
            self.effects.changes.push(Change::Insert {
                seq,
                queue: id,
                payload: Arc::clone(&draft.payload),
                ready_at_ms,
            });
            let entry = Entry {
                payload: draft.payload,
                redriven_from: None,
                receipt: Receipt::default(),
                place: Place::Ready { turn: 0 },
            };
            queue.put(seq, entry, ready_at_ms, now_ms);
        }
        self.effects.touched.push(id);
    }

    /// Leases up to `max` messages for `visibility_s` seconds (the queue's default when absent). Messages
    /// received too often go to the dead-letter queue, if there is one; else they are delivered as before.
    pub(crate) fn receive(
        &mut self,
        id: QueueId,
        max: usize,
        visibility_s: Option<u32>,
        now_ms: u64,
    ) -> SqsResult<Vec<Lease>> {
        let queue = self
            .queues
            .get_mut(&id)
            .ok_or(SqsError::QueueDoesNotExist)?;
        queue.advance(now_ms, &mut self.effects);
        // A queue that is its own dead-letter queue has none: its messages would only go round in circles.
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
            && !received.set_aside.is_empty()
        {
            let arn: Arc<str> = self.realm.queue_arn(&queue.name).into();
            self.move_to(target, received.set_aside, Some(&arn), now_ms);
        }
        self.effects.touched.push(id);
        Ok(received.leases)
    }

    /// Deletes the message a receipt handle stands for; see [`Queue::acknowledge`].
    pub(crate) fn acknowledge(&mut self, id: QueueId, seq: Seq, receive: u32, now_ms: u64) {
        let (queue, effects) = self.advanced(id, now_ms);
        let was_at_limit = queue.is_at_in_flight_limit();
        queue.acknowledge(seq, receive, effects);
        if was_at_limit {
            effects.touched.push(id);
        }
    }

    /// Lets the lease of a message end later or sooner; see [`Queue::change_visibility`].
    ///
    /// # Errors
    /// As [`Queue::change_visibility`].
    pub(crate) fn change_visibility(
        &mut self,
        id: QueueId,
        seq: Seq,
        receive: u32,
        timeout_s: u32,
        now_ms: u64,
    ) -> SqsResult<()> {
        let (queue, effects) = self.advanced(id, now_ms);
        queue.change_visibility(seq, receive, timeout_s, now_ms, effects)?;
        effects.touched.push(id);
        Ok(())
    }
}
