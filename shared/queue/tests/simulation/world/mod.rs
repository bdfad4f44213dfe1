//! The simulated SQS: queues that a replaced socket serves, with faults that the seed decides, and a trace of all events.
//!
//! As in a real service, a received call is applied even if its caller has stopped waiting. All times are virtual, since the
//! start of the run.

pub(crate) mod connector;
pub(crate) mod faults;
pub(crate) mod protocol;
pub(crate) mod queue;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use tenantry_process::arn::QueueArn;
use tokio::sync::Notify;
use tokio::time::Instant;

use self::faults::{CallFault, FaultKind, FaultRates};
use self::protocol::{Answer, Request, Target};
use self::queue::{Entry, EntryError, Lease, Queue};
use crate::trace::{CallId, Event, Trace};

/// Error code of an entry refused for its group.
pub(crate) const GROUPS_REFUSED: &str = "UnsupportedOperation";
/// The queue refuses a body that contains this character.
pub(crate) const REFUSED_CONTENT: char = '!';
/// Calls after which a run is stuck in an endless loop.
const MAX_CALLS: u64 = 20_000;
/// Longest latency each way once the faults have ended.
const CLEAR_LATENCY_MS: u64 = 3;

/// One simulated service. Clones share it.
#[derive(Clone)]
pub(crate) struct World(Arc<Inner>);

struct Inner {
    start: Instant,
    state: Mutex<State>,
    /// Something may have become visible.
    changed: Notify,
}

struct State {
    rng: fastrand::Rng,
    faults: FaultRates,
    queues: BTreeMap<String, Queue>,
    trace: Trace,
    calls: u64,
    /// Milliseconds that already have an event; `None` if events may share a millisecond.
    taken: Option<BTreeSet<u128>>,
}

impl World {
    /// Creates a service without queues. In an orderly one, no two of its own events share a millisecond, so that only the
    /// seed decides the order of events.
    pub(crate) fn new(rng: fastrand::Rng, faults: FaultRates, is_orderly: bool) -> Self {
        let state = State {
            rng,
            faults,
            queues: BTreeMap::new(),
            trace: Trace::default(),
            calls: 0,
            taken: is_orderly.then(BTreeSet::new),
        };
        Self(Arc::new(Inner {
            start: Instant::now(),
            state: Mutex::new(state),
            changed: Notify::new(),
        }))
    }

    /// Creates a queue and returns its ARN.
    pub(crate) fn create(&self, name: &str, queue: Queue) -> QueueArn {
        self.lock().queues.insert(name.to_owned(), queue);
        arn(name)
    }

    /// Virtual time since the start.
    pub(crate) fn now(&self) -> Duration {
        self.0.start.elapsed()
    }

    /// Adds an event to the trace.
    pub(crate) fn note(&self, event: Event) {
        let now = self.now();
        self.lock().trace.0.push((now, event));
    }

    /// Takes the trace so far.
    pub(crate) fn take_trace(&self) -> Trace {
        std::mem::take(&mut self.lock().trace)
    }

    /// Ends all faults.
    pub(crate) fn end_faults(&self) {
        self.lock().faults = FaultRates::none(CLEAR_LATENCY_MS);
        self.note(Event::FaultsEnded);
    }

    /// Sleeps; in an orderly world, until a millisecond without another event.
    pub(crate) async fn sleep(&self, duration: Duration) {
        let until = self.now() + duration;
        let wake = match &mut self.lock().taken {
            None => until,
            Some(taken) => {
                let mut ms = until.as_millis();
                while !taken.insert(ms) {
                    ms += 1;
                }
                Duration::from_millis(ms.try_into().expect("a run is shorter than that"))
            }
        };
        if wake > self.now() {
            tokio::time::sleep_until(self.0.start + wake).await;
        }
    }

    /// Adds a message to a queue without a call.
    pub(crate) fn put(&self, queue: &str, entry: Entry) {
        let now = self.now();
        let mut state = self.lock();
        if let Some(found) = state.queues.get_mut(queue) {
            found.put(now, entry.clone());
            state.trace.0.push((
                now,
                Event::Put {
                    queue: queue.to_owned(),
                    entry,
                },
            ));
        }
        drop(state);
        self.0.changed.notify_waiters();
    }

    /// Bodies of all messages in a queue.
    pub(crate) fn bodies(&self, queue: &str) -> Vec<String> {
        self.lock()
            .queues
            .get(queue)
            .map_or_else(Vec::new, |queue| {
                queue.bodies().map(str::to_owned).collect()
            })
    }

    /// Returns true if the queue exists.
    pub(crate) fn has(&self, queue: &str) -> bool {
        self.lock().queues.contains_key(queue)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock()
    }

    /// Records a call; returns its id and its faults.
    fn begin(&self, request: &Request) -> (CallId, CallFault) {
        let now = self.now();
        let mut state = self.lock();
        let State {
            rng,
            faults,
            trace,
            calls,
            ..
        } = &mut *state;
        *calls += 1;
        trace.0.push((
            now,
            Event::Called {
                call: *calls,
                request: request.clone(),
            },
        ));
        let mut fault = faults.draw(rng);
        if *calls >= MAX_CALLS {
            if *calls == MAX_CALLS {
                trace.0.push((
                    now,
                    Event::Stuck {
                        why: format!("{MAX_CALLS} calls"),
                    },
                ));
            }
            fault.kind = FaultKind::Hung;
        }
        (*calls, fault)
    }

    /// Applies a call and returns its answer.
    async fn apply(&self, call: CallId, request: Request, has_caller: impl Fn() -> bool) -> Answer {
        match request {
            Request::FindQueue { queue } => {
                if self.lock().queues.contains_key(&queue) {
                    Answer::Url(queue)
                } else {
                    Answer::NoQueue
                }
            }
            Request::ReadPolicy { queue } => self
                .lock()
                .queues
                .get(&queue)
                .map_or(Answer::NoQueue, |queue| {
                    Answer::Policy(queue.dead_letter_arn.clone())
                }),
            Request::Send { queue, entry } => {
                self.put(&queue, entry);
                Answer::Sent
            }
            Request::SendBatch { queue, entries } => self.each(
                entries,
                |entry: &Entry| entry.id.clone(),
                |entry| self.send(&queue, entry),
            ),
            Request::DeleteBatch { queue, entries } => {
                self.each(entries, target_id, |target| self.delete(&queue, &target))
            }
            Request::ChangeBatch { queue, entries } => {
                let answer = self.each(entries, target_id, |target| self.change(&queue, &target));
                self.0.changed.notify_waiters();
                answer
            }
            Request::Receive {
                queue,
                asked,
                wait,
                visibility,
            } => {
                self.receive(call, &queue, (asked, wait, visibility), has_caller)
                    .await
            }
            Request::Unknown { .. } => Answer::NoQueue,
        }
    }

    /// Applies the entries of a batch in any order; some fail, and the answer omits some.
    fn each<T>(
        &self,
        mut entries: Vec<T>,
        id: impl Fn(&T) -> String,
        act: impl Fn(T) -> Result<(), EntryError>,
    ) -> Answer {
        let mut results = Vec::new();
        self.lock().rng.shuffle(&mut entries);
        for entry in entries {
            let (fails, missing, has_effect) = {
                let State { rng, faults, .. } = &mut *self.lock();
                (
                    rng.f64() < faults.entry_failed,
                    rng.f64() < faults.entry_missing,
                    rng.bool(),
                )
            };
            let id = id(&entry);
            let result = match (fails, missing && !has_effect) {
                (true, _) => Err(EntryError {
                    code: "InternalError",
                    sender_fault: false,
                }),
                (false, true) => Ok(()),
                (false, false) => act(entry),
            };
            if !missing {
                results.push((id, result));
            }
        }
        Answer::Batch(results)
    }

    fn send(&self, queue: &str, entry: Entry) -> Result<(), EntryError> {
        if entry.body.contains(REFUSED_CONTENT) {
            return Err(EntryError {
                code: "InvalidMessageContents",
                sender_fault: true,
            });
        }
        if entry.group.is_some()
            && self
                .lock()
                .queues
                .get(queue)
                .is_some_and(|queue| queue.refuses_groups)
        {
            return Err(EntryError {
                code: GROUPS_REFUSED,
                sender_fault: true,
            });
        }
        self.put(queue, entry);
        Ok(())
    }

    fn delete(&self, queue: &str, target: &Target) -> Result<(), EntryError> {
        let now = self.now();
        let State {
            rng,
            faults,
            queues,
            trace,
            ..
        } = &mut *self.lock();
        let (is_lost, forgiving) = (rng.f64() < faults.undeleted, rng.bool());
        let found = queues.get_mut(queue).filter(|_| !is_lost);
        if let Some(message) =
            found.map_or(Ok(None), |queue| queue.delete(&target.handle, forgiving))?
        {
            trace.0.push((
                now,
                Event::Deleted {
                    queue: queue.to_owned(),
                    message,
                },
            ));
        }
        Ok(())
    }

    fn change(&self, queue: &str, target: &Target) -> Result<(), EntryError> {
        let now = self.now();
        let State { queues, trace, .. } = &mut *self.lock();
        let Some(found) = queues.get_mut(queue) else {
            return Ok(());
        };
        let message = found.change_visibility(now, &target.handle, target.after)?;
        trace.0.push((
            now,
            Event::Visible {
                queue: queue.to_owned(),
                message,
                at: now + target.after,
            },
        ));
        Ok(())
    }

    /// Long poll: returns the first messages, or none at the deadline or if the caller has stopped waiting.
    async fn receive(
        &self,
        call: CallId,
        queue: &str,
        (asked, wait, visibility): (usize, Duration, Duration),
        has_caller: impl Fn() -> bool,
    ) -> Answer {
        let deadline = self.now() + wait;
        let is_blind = {
            let State { rng, faults, .. } = &mut *self.lock();
            rng.f64() < faults.blind
        };
        let seen = if is_blind { 0 } else { asked };
        loop {
            let changed = self.0.changed.notified();
            let Some((leases, next)) = self.lease(call, queue, seen, visibility) else {
                return Answer::NoQueue;
            };
            if !leases.is_empty() || self.now() >= deadline || !has_caller() {
                return Answer::Received(leases);
            }
            let until = self.0.start + next.map_or(deadline, |next| next.min(deadline));
            // After a change or a time-out, the queue is checked again.
            let _ = tokio::time::timeout_at(until, changed).await;
        }
    }

    /// Leases visible messages; also returns when the next message becomes visible. `None` if there is no such queue.
    fn lease(
        &self,
        call: CallId,
        queue: &str,
        asked: usize,
        visibility: Duration,
    ) -> Option<(Vec<Lease>, Option<Duration>)> {
        let now = self.now();
        let State {
            rng,
            faults,
            queues,
            trace,
            ..
        } = &mut *self.lock();
        let twice = rng.f64() < faults.twice;
        let found = queues.get_mut(queue)?;
        let leases = found.receive(now, asked, visibility, twice, rng);
        let next = found.next_visible(now);
        for lease in &leases {
            trace.0.push((
                now,
                Event::Leased {
                    call,
                    queue: queue.to_owned(),
                    lease: lease.clone(),
                },
            ));
        }
        Some((leases, next))
    }
}

/// The ARN of a queue of this service.
pub(crate) fn arn(name: &str) -> QueueArn {
    format!("arn:aws:sqs:us-east-1:000000000000:{name}")
        .parse()
        .expect("well formed")
}

fn target_id(target: &Target) -> String {
    target.id.clone()
}
