//! Waiting receives, and the one task that wakes them when time alone makes a message receivable.
//!
//! A receive that finds nothing registers here. A send wakes one of the queue's waiters, who takes what it
//! wants and, if more is left, is followed by the next. For delays, leases and retention there is one alarm
//! per queue, kept in order of time; one task sleeps until the earliest. Nothing polls.

use std::{
    collections::{BTreeSet, HashMap},
    pin::Pin,
    sync::Arc,
    time::Duration,
};

use tokio::sync::{Notify, futures::OwnedNotified};

use super::{
    Shared, State,
    core::{Effects, QueueId},
};
use crate::protocol::now_ms;

/// Who waits on which queue, and when each queue wants to be looked at.
#[derive(Debug, Default)]
pub(crate) struct Waits {
    waiting: HashMap<QueueId, Waiters>,
    /// Alarms in order of time, in milliseconds since 1970.
    alarms: BTreeSet<(u64, QueueId)>,
    alarm_of: HashMap<QueueId, u64>,
}

#[derive(Debug)]
struct Waiters {
    count: usize,
    notify: Arc<Notify>,
}

impl Waits {
    /// Lets the queue's alarm ring at `at_ms`, or earlier if it was to ring earlier anyway: an alarm that
    /// rings for nothing costs less than one that is moved on every call.
    fn set_alarm(&mut self, id: QueueId, at_ms: u64) -> bool {
        if self
            .alarm_of
            .get(&id)
            .is_some_and(|&earlier| earlier <= at_ms)
        {
            return false;
        }
        self.clear_alarm(id);
        self.alarms.insert((at_ms, id));
        self.alarm_of.insert(id, at_ms);
        self.alarms.first() == Some(&(at_ms, id))
    }

    fn clear_alarm(&mut self, id: QueueId) {
        if let Some(at_ms) = self.alarm_of.remove(&id) {
            self.alarms.remove(&(at_ms, id));
        }
    }
}

/// A place among a queue's waiters; given up on drop, so also when the client goes away.
#[derive(Debug)]
pub(crate) struct Waiting {
    shared: Arc<Shared>,
    id: QueueId,
    /// Completes when it is this waiter's turn to look.
    pub(crate) turn: Pin<Box<OwnedNotified>>,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let mut state = self.shared.state();
        if let Some(waiters) = state.waits.waiting.get_mut(&self.id) {
            waiters.count -= 1;
            if waiters.count == 0 {
                state.waits.waiting.remove(&self.id);
            }
        }
    }
}

impl Shared {
    /// Registers a waiter; under the lock, in the same breath as the look that found nothing.
    pub(crate) fn wait_on(self: &Arc<Self>, state: &mut State, id: QueueId) -> Waiting {
        let waiters = state.waits.waiting.entry(id).or_insert_with(|| Waiters {
            count: 0,
            notify: Arc::new(Notify::new()),
        });
        waiters.count += 1;
        let turn = Box::pin(Arc::clone(&waiters.notify).notified_owned());
        self.look_after(state, id);
        Waiting {
            shared: Arc::clone(self),
            id,
            turn,
        }
    }

    /// Wakes whom the effects concern.
    pub(crate) fn wake(&self, state: &mut State, effects: &Effects) {
        for id in &effects.gone {
            state.waits.clear_alarm(*id);
            if let Some(waiters) = state.waits.waiting.get(id) {
                waiters.notify.notify_waiters();
            }
        }
        for id in &effects.touched {
            self.look_after(state, *id);
        }
    }

    fn look_after(&self, state: &mut State, id: QueueId) {
        let Some(queue) = state.core.queue(id) else {
            return;
        };
        let mut at_ms = queue.next_expiry_ms();
        if let Some(waiters) = state.waits.waiting.get(&id) {
            if queue.is_deliverable() {
                waiters.notify.notify_one();
            }
            at_ms = [at_ms, queue.next_ready_ms()].into_iter().flatten().min();
        }
        if let Some(at_ms) = at_ms
            && state.waits.set_alarm(id, at_ms)
        {
            self.alarm_moved.notify_one();
        }
    }
}

/// Brings each queue to the present when its alarm rings. Runs until the service ends.
pub(crate) async fn ring_alarms(shared: Arc<Shared>) {
    loop {
        let room = shared.store.room().await;
        let (next_ms, pending) = {
            let mut state = shared.state();
            let now_ms = now_ms();
            while let Some(&(at_ms, id)) = state.waits.alarms.first() {
                if at_ms > now_ms {
                    break;
                }
                state.waits.clear_alarm(id);
                state.core.advance(id, now_ms);
            }
            let effects = state.core.take_effects();
            shared.wake(&mut state, &effects);
            let next_ms = state.waits.alarms.first().map(|&(at_ms, _)| at_ms);
            (next_ms, shared.store.submit(room, effects.changes))
        };
        // Expired messages that could not be deleted are deleted again after a restart.
        let _ = pending.committed().await;
        tokio::select! {
            () = shared.ending.cancelled() => return,
            () = shared.alarm_moved.notified() => {}
            () = sleep_until(next_ms) => {}
        }
    }
}

async fn sleep_until(at_ms: Option<u64>) {
    match at_ms {
        Some(at_ms) => {
            tokio::time::sleep(Duration::from_millis(at_ms.saturating_sub(now_ms()))).await
        }
        None => std::future::pending().await,
    }
}
