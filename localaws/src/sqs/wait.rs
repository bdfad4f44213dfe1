//! Waiting receives by queue, and one timer per queue for delays, visibility timeouts and retention.
//!
//! A receive that finds no message registers here. A send wakes one waiting receive of its queue; if messages are left
//! after that receive, the next one is woken. Nothing polls.

use std::{
    collections::{BTreeSet, HashMap},
    pin::Pin,
    sync::{Arc, Weak},
};

use tokio::sync::{Notify, futures::OwnedNotified};

use super::{
    core::{Core, effects::Effects},
    names::QueueId,
};

#[derive(Debug, Default)]
pub(crate) struct WaitIndex {
    /// Owned by the waiting receives: without one, the pointer is dead.
    waiting: HashMap<QueueId, Weak<Notify>>,
    /// Timers in order of time, in milliseconds since 1970.
    timers: BTreeSet<(u64, QueueId)>,
    timer_of: HashMap<QueueId, u64>,
    timer_changed: Arc<Notify>,
}

/// Completes when a waiting receive should try again. Dropping it hands its notification to the next one.
pub(crate) type Waiter = Pin<Box<OwnedNotified>>;

impl WaitIndex {
    /// Notified when the earliest timer changes.
    pub(crate) fn timer_changed(&self) -> Arc<Notify> {
        Arc::clone(&self.timer_changed)
    }

    /// Registers a waiting receive. Call it under the lock under which the receive found no message.
    pub(crate) fn register(&mut self, core: &Core, id: QueueId) -> Waiter {
        let notify = self.notify_of(id).unwrap_or_default();
        self.waiting.insert(id, Arc::downgrade(&notify));
        let waiter = Box::pin(notify.notified_owned());
        self.update(core, id);
        waiter
    }

    /// Wakes receives of the queues that changed, and moves their timers.
    pub(crate) fn wake(&mut self, core: &Core, effects: &Effects) {
        for id in &effects.deleted {
            self.clear_timer(*id);
            if let Some(notify) = self.notify_of(*id) {
                notify.notify_waiters();
            }
        }
        for id in &effects.touched {
            self.update(core, *id);
        }
    }

    /// Removes and returns a queue whose timer is due.
    pub(crate) fn pop_due(&mut self, now_ms: u64) -> Option<QueueId> {
        let &(_, id) = self
            .timers
            .first()
            .filter(|(due_ms, _)| *due_ms <= now_ms)?;
        self.clear_timer(id);
        Some(id)
    }

    /// The earliest timer, in milliseconds since 1970.
    pub(crate) fn next_due_ms(&self) -> Option<u64> {
        self.timers.first().map(|&(due_ms, _)| due_ms)
    }

    fn notify_of(&mut self, id: QueueId) -> Option<Arc<Notify>> {
        let notify = self.waiting.get(&id)?.upgrade();
        if notify.is_none() {
            self.waiting.remove(&id);
        }
        notify
    }

    fn update(&mut self, core: &Core, id: QueueId) {
        let Some(queue) = core.queue(id) else { return };
        let mut due_ms = queue.next_expiry_ms();
        if let Some(notify) = self.notify_of(id) {
            if queue.is_deliverable() {
                notify.notify_one();
            }
            due_ms = [due_ms, queue.next_ready_ms()].into_iter().flatten().min();
        }
        if let Some(due_ms) = due_ms {
            self.set_timer(id, due_ms);
        }
    }

    /// Sets the queue's timer, unless an earlier one is set: a timer that fires too early costs less than a timer that
    /// every call resets.
    fn set_timer(&mut self, id: QueueId, due_ms: u64) {
        if self
            .timer_of
            .get(&id)
            .is_some_and(|&earlier| earlier <= due_ms)
        {
            return;
        }
        self.clear_timer(id);
        self.timers.insert((due_ms, id));
        self.timer_of.insert(id, due_ms);
        if self.timers.first() == Some(&(due_ms, id)) {
            self.timer_changed.notify_one();
        }
    }

    fn clear_timer(&mut self, id: QueueId) {
        if let Some(due_ms) = self.timer_of.remove(&id) {
            self.timers.remove(&(due_ms, id));
        }
    }
}
