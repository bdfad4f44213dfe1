//! The simulated SQS: queues behind a socket that misbehaves as one seed decides, and a trace of what happened.
//!
//! A call that was received is carried out to its end even if the caller has long stopped waiting, as a real service
//! would. All times are virtual, since the start of the run.

pub(crate) mod connector;
pub(crate) mod faults;
pub(crate) mod queue;
pub(crate) mod wire;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tenantry_process::arn::QueueArn;
use tokio::sync::Notify;
use tokio::time::Instant;

use self::faults::{Course, Fate, Weather};
use self::queue::{Entry, EntryError, Lease, Queue};
use self::wire::{Answer, Request, Target};
use crate::trace::{CallId, Event, Trace};

/// Code of an entry refused for its group.
pub(crate) const GROUPS_REFUSED: &str = "UnsupportedOperation";
/// A body with this in it is refused for good.
pub(crate) const REFUSED_CONTENT: char = '!';
/// Calls after which a run is given up: something goes round in circles.
const MAX_CALLS: u64 = 20_000;
/// Time each way once the weather has cleared.
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
    dice: fastrand::Rng,
    weather: Weather,
    queues: BTreeMap<String, Queue>,
    trace: Trace,
    calls: u64,
    /// Milliseconds at which something of the world happens; `None` where any number may happen at once.
    taken: Option<BTreeSet<u128>>,
}

impl World {
    /// A service without queues. In an orderly one no two things of its own happen in the same millisecond, so that the
    /// order of events hangs on nothing but the seed.
    pub(crate) fn new(dice: fastrand::Rng, weather: Weather, is_orderly: bool) -> Self {
        let state = State {
            dice,
            weather,
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

    /// Creates a queue; its ARN.
    pub(crate) fn create(&self, name: &str, queue: Queue) -> QueueArn {
        self.lock().queues.insert(name.to_owned(), queue);
        arn(name)
    }

    /// Virtual time since the start.
    pub(crate) fn now(&self) -> Duration {
        self.0.start.elapsed()
    }

    /// Writes down what happened.
    pub(crate) fn note(&self, event: Event) {
        let now = self.now();
        self.lock().trace.0.push((now, event));
    }

    /// What happened so far; the world begins a new page.
    pub(crate) fn take_trace(&self) -> Trace {
        std::mem::take(&mut self.lock().trace)
    }

    /// From here on everything works.
    pub(crate) fn clear(&self) {
        self.lock().weather = Weather::calm(CLEAR_LATENCY_MS);
        self.note(Event::Cleared);
    }

    /// Sleeps, in an orderly world to a millisecond of its own.
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

    /// Puts a message into a queue from elsewhere.
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

    /// Whether there is such a queue.
    pub(crate) fn has(&self, queue: &str) -> bool {
        self.lock().queues.contains_key(queue)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a call in: its number and what is to become of it.
    fn begin(&self, request: &Request) -> (CallId, Fate) {
        let now = self.now();
        let mut state = self.lock();
        let State {
            dice,
            weather,
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
        let mut fate = weather.fate(dice);
        if *calls >= MAX_CALLS {
            if *calls == MAX_CALLS {
                trace.0.push((
                    now,
                    Event::Stuck {
                        why: format!("{MAX_CALLS} calls"),
                    },
                ));
            }
            fate.course = Course::Hung;
        }
        (*calls, fate)
    }

    /// Carries a call out.
    async fn carry_out(
        &self,
        call: CallId,
        request: Request,
        is_wanted: impl Fn() -> bool,
    ) -> Answer {
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
                self.receive(call, &queue, (asked, wait, visibility), is_wanted)
                    .await
            }
            Request::Unknown { .. } => Answer::NoQueue,
        }
    }

    /// Carries out a batch entry by entry, in any order; some fail, some are not mentioned in the answer.
    fn each<T>(
        &self,
        mut entries: Vec<T>,
        id: impl Fn(&T) -> String,
        act: impl Fn(T) -> Result<(), EntryError>,
    ) -> Answer {
        let mut results = Vec::new();
        self.lock().dice.shuffle(&mut entries);
        for entry in entries {
            let (fails, missing, has_effect) = {
                let State { dice, weather, .. } = &mut *self.lock();
                (
                    dice.f64() < weather.entry_failed,
                    dice.f64() < weather.entry_missing,
                    dice.bool(),
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
            dice,
            weather,
            queues,
            trace,
            ..
        } = &mut *self.lock();
        let (is_lost, forgiving) = (dice.f64() < weather.undeleted, dice.bool());
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

    /// A long poll: ends with the first messages, or empty when its time is up, or when nobody listens any more.
    async fn receive(
        &self,
        call: CallId,
        queue: &str,
        (asked, wait, visibility): (usize, Duration, Duration),
        is_wanted: impl Fn() -> bool,
    ) -> Answer {
        let deadline = self.now() + wait;
        let is_blind = {
            let State { dice, weather, .. } = &mut *self.lock();
            dice.f64() < weather.blind
        };
        let seen = if is_blind { 0 } else { asked };
        loop {
            let changed = self.0.changed.notified();
            let Some((leases, next)) = self.lease(call, queue, seen, visibility) else {
                return Answer::NoQueue;
            };
            if !leases.is_empty() || self.now() >= deadline || !is_wanted() {
                return Answer::Received(leases);
            }
            let until = self.0.start + next.map_or(deadline, |next| next.min(deadline));
            // Either way it looks again.
            let _ = tokio::time::timeout_at(until, changed).await;
        }
    }

    /// Leases what is visible; else when to look again. `None` where there is no such queue.
    fn lease(
        &self,
        call: CallId,
        queue: &str,
        asked: usize,
        visibility: Duration,
    ) -> Option<(Vec<Lease>, Option<Duration>)> {
        let now = self.now();
        let State {
            dice,
            weather,
            queues,
            trace,
            ..
        } = &mut *self.lock();
        let twice = dice.f64() < weather.twice;
        let found = queues.get_mut(queue)?;
        let leases = found.receive(now, asked, visibility, twice, dice);
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
