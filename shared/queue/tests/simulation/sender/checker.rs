//! Checks the promises of a sender against a trace.
//!
//! - Every send returns once, within its deadline.
//! - After Ok the message is in its queue; after any other outcome but TimedOut it is not, unless an answer was lost.
//! - Batches keep the limits of SQS, and the sender its own.
//! - A confirmed or refused message is not sent again, nor a message without a caller.
//! - A lone message leaves at once.
//! - Full is returned only at a limit.
//! - A drain ends after every send has returned.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tenantry_queue::sender::{MAX_BATCH_ENTRIES, SenderLimits};

use super::{ATTRIBUTE, GROUP, bytes};
use crate::trace::{CallId, Event, Failure, Outcome, Trace};
use crate::world::protocol::{Answer, Request};
use crate::world::queue::Entry;
use crate::world::{GROUPS_REFUSED, REFUSED_CONTENT};

/// Longest id of a batch's entry (SQS: 80).
const MAX_ID_LENGTH: usize = 80;
/// Resolution of timers.
const TICK: Duration = Duration::from_millis(1);
/// Longest time by which the last attempt exceeds the deadline: look-up and send, 3 s each, and a retry wait of 1 s.
const LAST_ATTEMPT: Duration = Duration::from_secs(8);
/// Longest time for which an entry without a caller counts toward the limits.
const ORPHAN: Duration = Duration::from_secs(15);

/// Returns the violations in the trace.
pub(super) fn check(trace: &Trace, limits: &SenderLimits) -> Vec<String> {
    let mut checker = Checker {
        limits: *limits,
        ..Checker::default()
    };
    for (now, event) in &trace.0 {
        checker.now = *now;
        checker.record(event);
    }
    checker.end();
    checker.violations
}

#[derive(Default)]
struct Checker {
    limits: SenderLimits,
    now: Duration,
    violations: Vec<String>,
    sends: BTreeMap<usize, Send>,
    calls: BTreeMap<CallId, Call>,
    queues: BTreeMap<String, QueueState>,
    draining_since: Option<Duration>,
    drained_at: Option<Duration>,
    orphaned_at: Option<Duration>,
}

/// State of one send.
struct Send {
    queue: String,
    body: String,
    bytes: usize,
    offered_at: Duration,
    deadline: Duration,
    must_arrive: bool,
    /// Time at which the send returned or its caller gave up.
    over_at: Option<Duration>,
    outcome: Option<Outcome>,
    /// Calls in flight that contain the message.
    in_flight: usize,
    attempts: usize,
    puts: usize,
    /// Attempts whose effect the sender cannot know.
    ambiguous: usize,
    confirmed: bool,
    refused: bool,
}

struct Call {
    queue: String,
    /// Sends by entry id; empty for a look-up.
    sends: BTreeMap<String, usize>,
}

/// State of one queue.
#[derive(Default)]
struct QueueState {
    open_calls: usize,
    looked_up_at: Option<Duration>,
    /// Time of a send with nothing to wait for, until its call.
    lone_since: Option<Duration>,
    used_at: Option<Duration>,
}

impl Checker {
    fn record(&mut self, event: &Event) {
        if !matches!(event, Event::Returned { .. }) {
            self.check_bounds();
        }
        match event {
            Event::Offered {
                send,
                queue,
                body,
                within,
                must_arrive,
            } => {
                self.offered(*send, queue, body, *within, *must_arrive);
            }
            Event::Returned { send, outcome } => self.returned(*send, *outcome),
            Event::Left { send } => {
                self.orphaned_at = Some(self.now);
                let now = self.now;
                if let Some(send) = self.sends.get_mut(send) {
                    send.over_at = Some(now);
                }
            }
            Event::Called { call, request } => self.called(*call, request),
            Event::Answered { call, answer } => self.answered(*call, answer),
            Event::Failed { call, how } => {
                let is_certain = matches!(
                    how,
                    Failure::Refused {
                        status: 400..500,
                        ..
                    }
                );
                self.ended(*call, is_certain);
            }
            Event::Abandoned { call } => self.ended(*call, false),
            Event::Put { entry, .. } => {
                if let Some(send) =
                    number(&entry.body).and_then(|number| self.sends.get_mut(&number))
                {
                    send.puts += 1;
                }
            }
            Event::Draining => self.draining_since = Some(self.now),
            Event::Drained => self.drained_at = Some(self.now),
            Event::Stuck { why } => self.violations.push(format!("stuck: {why}")),
            _ => {}
        }
    }

    fn offered(
        &mut self,
        number: usize,
        queue: &str,
        body: &str,
        within: Duration,
        must_arrive: bool,
    ) {
        let is_waiting =
            |send: &Send| send.queue == queue && send.over_at.is_none() && send.in_flight == 0;
        let others_wait = self.sends.values().any(is_waiting);
        let state = self.queues.entry(queue.to_owned()).or_default();
        if state.open_calls == 0 && !others_wait {
            state.lone_since = Some(self.now);
        }
        let send = Send {
            queue: queue.to_owned(),
            body: body.to_owned(),
            bytes: bytes(body),
            offered_at: self.now,
            deadline: self.now + within.min(self.limits.deadline),
            must_arrive,
            over_at: None,
            outcome: None,
            in_flight: 0,
            attempts: 0,
            puts: 0,
            ambiguous: 0,
            confirmed: false,
            refused: false,
        };
        if self.sends.insert(number, send).is_some() {
            self.violations.push(format!(
                "send {number} was offered twice: the scenario is wrong"
            ));
        }
    }

    fn returned(&mut self, number: usize, outcome: Outcome) {
        let full_is_right = outcome != Outcome::Full || self.is_a_bound_reached(number);
        let Some(send) = self.sends.get_mut(&number) else {
            return;
        };
        let mut complain = |what: &str| self.violations.push(format!("send {number}: {what}"));
        if send.over_at.is_some() {
            complain("answered twice");
        }
        send.over_at = Some(self.now);
        send.outcome = Some(outcome);
        if self.now > send.deadline + TICK {
            complain("answered after its deadline");
        }
        match outcome {
            Outcome::Ok if send.puts == 0 => complain("Ok, but it is not in the queue"),
            Outcome::Full if send.attempts > 0 || self.now > send.offered_at => {
                complain("Full, but it had been accepted");
            }
            Outcome::Rejected
                if send.bytes <= self.limits.max_batch_bytes
                    && !send.body.contains(REFUSED_CONTENT) =>
            {
                complain("Rejected, but nothing is wrong with it");
            }
            _ => {}
        }
        if !full_is_right {
            complain("Full, but no bound is reached");
        }
        if send.must_arrive && !matches!(outcome, Outcome::Ok | Outcome::Full) {
            complain(&format!("{outcome:?} though every failure was transient"));
        }
        let state = self.queues.entry(send.queue.clone()).or_default();
        match outcome {
            Outcome::TimedOut => self.orphaned_at = Some(self.now),
            Outcome::Full | Outcome::Rejected if send.attempts == 0 => state.lone_since = None,
            _ => state.used_at = Some(self.now),
        }
    }

    fn called(&mut self, call: CallId, request: &Request) {
        let (queue, entries) = match request {
            Request::FindQueue { queue } => (queue, &[][..]),
            Request::SendBatch { queue, entries } => (queue, entries.as_slice()),
            other => {
                return self
                    .violations
                    .push(format!("call {call} is none of a sender's: {other:?}"));
            }
        };
        let state = self.queues.entry(queue.clone()).or_default();
        state.open_calls += 1;
        state.used_at = Some(self.now);
        if state
            .lone_since
            .take()
            .is_some_and(|since| since < self.now)
        {
            self.violations
                .push(format!("call {call}: a lone message waited"));
        }
        if state.open_calls > self.limits.max_in_flight {
            self.violations.push(format!(
                "call {call}: {} calls in flight to {queue}",
                state.open_calls
            ));
        }
        let is_first = state.looked_up_at == Some(self.now);
        let mut sends = BTreeMap::new();
        for entry in entries {
            let Some(number) = number(&entry.body) else {
                continue;
            };
            self.sent(call, number, entry, is_first);
            sends.insert(entry.id.clone(), number);
        }
        if !matches!(request, Request::FindQueue { .. }) {
            self.check_batch(call, entries);
        }
        self.calls.insert(
            call,
            Call {
                queue: queue.clone(),
                sends,
            },
        );
    }

    /// Records that a call contains a message.
    fn sent(&mut self, call: CallId, number: usize, entry: &Entry, after_look_up: bool) {
        let Some(send) = self.sends.get_mut(&number) else {
            return;
        };
        let mut complain = |what: &str| {
            self.violations
                .push(format!("call {call}: send {number} {what}"));
        };
        if entry.body != send.body
            || entry.attributes.get(ATTRIBUTE).map(String::as_str) != Some(GROUP)
        {
            complain("differs from the offered message");
        }
        if send.confirmed {
            complain("is sent again though it was confirmed");
        }
        if send.refused {
            complain("is sent again though it was refused");
        }
        // A batch that waited for the queue's URL was formed earlier.
        if send.over_at.is_some_and(|over_at| over_at < self.now) && !after_look_up {
            complain("is sent without a caller");
        }
        if send.in_flight > 0 {
            complain("is in flight twice");
        }
        send.in_flight += 1;
        send.attempts += 1;
    }

    fn check_batch(&mut self, call: CallId, entries: &[Entry]) {
        let ids: BTreeSet<_> = entries.iter().map(|entry| &entry.id).collect();
        let well_formed = |id: &str| {
            (1..=MAX_ID_LENGTH).contains(&id.len())
                && id
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
        };
        let bytes: usize = entries.iter().map(Entry::bytes).sum();
        for (is_kept, what) in [
            ((1..=MAX_BATCH_ENTRIES).contains(&entries.len()), "entries"),
            (bytes <= self.limits.max_batch_bytes, "bytes"),
            (ids.len() == entries.len(), "equal ids"),
            (ids.iter().all(|id| well_formed(id)), "a malformed id"),
        ] {
            if !is_kept {
                self.violations.push(format!(
                    "call {call}: a batch with {what} SQS does not take"
                ));
            }
        }
    }

    fn answered(&mut self, call: CallId, answer: &Answer) {
        if matches!(answer, Answer::Url(_))
            && let Some(call) = self.calls.get(&call)
        {
            self.queues
                .entry(call.queue.clone())
                .or_default()
                .looked_up_at = Some(self.now);
        }
        if let (Answer::Batch(results), Some(call)) = (answer, self.calls.get_mut(&call)) {
            for (id, result) in results {
                let Some(send) = call
                    .sends
                    .remove(id)
                    .and_then(|number| self.sends.get_mut(&number))
                else {
                    continue;
                };
                send.in_flight -= 1;
                match result {
                    Ok(()) => send.confirmed = true,
                    Err(error) => send.refused = error.sender_fault && error.code != GROUPS_REFUSED,
                }
            }
        }
        self.ended(call, false);
    }

    /// Records the end of a call. Its remaining sends were not answered; `is_certain` means that they had no effect.
    fn ended(&mut self, call: CallId, is_certain: bool) {
        let Some(call) = self.calls.remove(&call) else {
            return;
        };
        let state = self.queues.entry(call.queue).or_default();
        state.open_calls -= 1;
        state.used_at = Some(self.now);
        for number in call.sends.values() {
            if let Some(send) = self.sends.get_mut(number) {
                send.in_flight -= 1;
                send.ambiguous += usize::from(!is_certain);
            }
        }
    }

    fn live(&self) -> impl Iterator<Item = &Send> {
        self.sends.values().filter(|send| send.over_at.is_none())
    }

    /// Checks the limits, except between an offer and its refusal.
    fn check_bounds(&mut self) {
        let bytes: usize = self.live().map(|send| send.bytes).sum();
        let queues: BTreeSet<_> = self.live().map(|send| &send.queue).collect();
        let most = queues
            .iter()
            .map(|queue| self.accepted(queue))
            .max()
            .unwrap_or(0);
        let found = [
            (bytes, self.limits.max_bytes, "bytes accepted"),
            (queues.len(), self.limits.max_queues, "queues open"),
            (
                most,
                self.limits.max_entries,
                "entries accepted for one queue",
            ),
        ];
        for (count, bound, what) in found {
            if count > bound {
                self.violations.push(format!(
                    "{:?}: {count} {what}, the bound is {bound}",
                    self.now
                ));
            }
        }
    }

    /// Number of unanswered sends to a queue.
    fn accepted(&self, queue: &str) -> usize {
        self.live().filter(|send| send.queue == queue).count()
    }

    /// Returns true if the sender may refuse this send because of a limit.
    fn is_a_bound_reached(&self, number: usize) -> bool {
        let Some(offer) = self.sends.get(&number) else {
            return false;
        };
        let is_recent = |at: Option<Duration>, within| at.is_some_and(|at| self.now <= at + within);
        // The send itself is among the live ones.
        let bytes: usize = self.live().map(|send| send.bytes).sum();
        let is_open = |(name, state): &(&String, &QueueState)| {
            is_recent(state.used_at, self.limits.close_after + TICK)
                || self.live().any(|send| send.queue == **name)
        };
        let others = self
            .queues
            .iter()
            .filter(|(name, _)| **name != offer.queue)
            .filter(is_open)
            .count();
        bytes > self.limits.max_bytes
            || self.accepted(&offer.queue) > self.limits.max_entries
            || others >= self.limits.max_queues
            || is_recent(self.orphaned_at, ORPHAN)
    }

    fn end(&mut self) {
        for (number, send) in &self.sends {
            let mut complain =
                |what: String| self.violations.push(format!("send {number}: {what}"));
            match send.over_at {
                None => complain("never answered".to_owned()),
                Some(over_at) => {
                    if self
                        .drained_at
                        .is_some_and(|drained_at| over_at > drained_at)
                    {
                        complain("answered after the drain".to_owned());
                    }
                }
            }
            if let Some(outcome @ (Outcome::Full | Outcome::Rejected | Outcome::Unavailable)) =
                send.outcome
                && send.puts > 0
            {
                complain(format!("{outcome:?}, but it is in the queue"));
            }
            if send.puts > 1 + send.ambiguous {
                complain(format!(
                    "{} times in the queue, {} answers lost",
                    send.puts, send.ambiguous
                ));
            }
        }
        for (queue, state) in &self.queues {
            if state.lone_since.is_some() {
                self.violations
                    .push(format!("a lone message for {queue} was never sent"));
            }
        }
        self.check_drain();
    }

    fn check_drain(&mut self) {
        let Some(since) = self.draining_since else {
            return;
        };
        // Without unanswered sends, a drain has nothing to wait for.
        let is_busy = |send: &Send| {
            let over_at = send.over_at.unwrap_or(Duration::MAX);
            send.offered_at <= since
                && (over_at >= since || self.orphaned_at.is_some_and(|at| at + ORPHAN > since))
        };
        let bound = match self.sends.values().any(is_busy) {
            true => self.limits.deadline + LAST_ATTEMPT,
            false => Duration::ZERO,
        };
        match self.drained_at {
            None => self.violations.push("the drain never ended".to_owned()),
            Some(at) if at > since + bound => {
                self.violations
                    .push(format!("the drain took {:?}, not {bound:?}", at - since));
            }
            Some(_) => {}
        }
    }
}

/// Number of the send in a body.
fn number(body: &str) -> Option<usize> {
    body.split([':', REFUSED_CONTENT]).next()?.parse().ok()
}
