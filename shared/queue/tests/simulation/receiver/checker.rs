//! Checks the promises of a receiver against a trace.
//!
//! - A message is deleted only once its handler has stored it, or once it is in the dead-letter queue.
//! - Each delivery goes to the handler once and at once, or is released.
//! - Limits hold: polls, unsettled messages in total and per group, sizes of calls.
//! - A lease does not lapse in the handler, unless an extension failed or the lease has reached its maximum.
//! - After a stop no receive begins, arriving messages are released, and `run` ends.
//! - An idle queue costs one long poll at a time.
//! - In the end every good message is stored and deleted, and every poison message is dead-lettered.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tenantry_queue::receiver::MAX_RECEIVE;

use super::handler::Kind;
use super::{DEAD, IDLE_POLLS, SOURCE, Terms};
use crate::trace::{CallId, Decision, Event, Failure, Trace};
use crate::world::protocol::{Answer, Request, Target};
use crate::world::queue::Lease;

/// Resolution of timers.
const TICK: Duration = Duration::from_millis(1);
/// Longest duration of any call except a long poll.
const CALL: Duration = Duration::from_secs(3);
/// Longest duration of a long poll beyond its wait.
const POLL_MARGIN: Duration = Duration::from_secs(5);
/// Attempts of a delete, and the longest wait between two.
const DELETE_ATTEMPTS: u32 = 12;
const DELETE_WAIT: Duration = Duration::from_secs(3);
/// Shortest wait after a failed receive.
const PAUSE: Duration = Duration::from_millis(100);
/// Most deliveries of a message that are postponed for its group's share.
const MAX_POSTPONED: u32 = 2;
/// Attributes with the reason of a dead letter.
const REASONS: [&str; 2] = ["dead_letter_reason", "set_aside_reason"];

/// Returns the violations in the trace.
pub(super) fn check(trace: &Trace, terms: &Terms) -> Vec<String> {
    let mut checker = Checker {
        terms: *terms,
        now: Duration::ZERO,
        violations: Vec::new(),
        deliveries: BTreeMap::new(),
        messages: BTreeMap::new(),
        latest: BTreeMap::new(),
        calls: BTreeMap::new(),
        troubles: Vec::new(),
        stopping_since: None,
        is_running: false,
        failed_at: None,
        idle_polls: None,
    };
    for (now, event) in &trace.0 {
        checker.now = *now;
        checker.record(event);
    }
    checker.end();
    checker.violations
}

struct Checker {
    terms: Terms,
    now: Duration,
    violations: Vec<String>,
    /// By receipt handle.
    deliveries: BTreeMap<String, Delivery>,
    /// By body.
    messages: BTreeMap<String, Message>,
    /// The latest handle of each message in the source.
    latest: BTreeMap<u64, String>,
    calls: BTreeMap<CallId, Call>,
    /// Periods in which extensions failed or were slow.
    troubles: Vec<(Duration, Duration)>,
    stopping_since: Option<Duration>,
    is_running: bool,
    failed_at: Option<Duration>,
    idle_polls: Option<u32>,
}

/// State of one delivery.
struct Delivery {
    body: String,
    number: u64,
    group: Option<String>,
    receive_count: u32,
    leased_at: Duration,
    /// Time at which the message becomes visible again.
    until: Duration,
    answered_at: Option<Duration>,
    came_after_stop: bool,
    handled: u32,
    is_in_handler: bool,
    decided: Option<Decision>,
    deletes: u32,
    deleted: Option<Deleted>,
    /// Calls that postponed the message.
    postponed: u32,
    released: u32,
    /// True once the message was postponed after its handler, and the call was confirmed.
    is_left: bool,
}

/// Result of the last delete.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Deleted {
    Confirmed,
    Refused,
    Failed,
}

/// State of one message of the source.
#[derive(Default)]
struct Message {
    puts: u32,
    is_stored: bool,
    dead: u32,
    gone: u32,
    done: u32,
}

struct Call {
    request: Request,
    since: Duration,
}

impl Checker {
    fn record(&mut self, event: &Event) {
        match event {
            Event::Called { call, request } => self.called(*call, request),
            Event::Answered { call, answer } => self.answered(*call, answer),
            Event::Failed { call, how } => self.failed(*call, Some(how)),
            Event::Abandoned { call } => self.failed(*call, None),
            Event::Put { queue, entry } => {
                let message = self.messages.entry(entry.body.clone()).or_default();
                let count = if queue == DEAD {
                    &mut message.dead
                } else {
                    &mut message.puts
                };
                *count += 1;
            }
            Event::Leased { lease, .. } => self.leased(lease),
            Event::Visible { message, at, .. } => {
                let latest = self.latest.get(message);
                if let Some(delivery) = latest.and_then(|handle| self.deliveries.get_mut(handle)) {
                    delivery.until = *at;
                }
            }
            Event::Deleted { message, .. } => self.deleted(*message),
            Event::Handling { handles } => self.handling(handles),
            Event::Stored { body } => {
                self.messages.entry(body.clone()).or_default().is_stored = true;
            }
            Event::Decided { verdicts } => {
                for (handle, decision) in verdicts {
                    self.worked(handle, Some(*decision));
                }
            }
            Event::Panicked { handles } => {
                handles.iter().for_each(|handle| self.worked(handle, None));
            }
            Event::Started => {
                self.is_running = true;
                self.failed_at = None;
            }
            Event::Stopping => self.stopping_since = Some(self.now),
            Event::Stopped => self.stopped(),
            Event::Idle => self.idle_polls = Some(0),
            Event::Busy => self.idled(),
            Event::Stuck { why } => self.violations.push(format!("stuck: {why}")),
            _ => {}
        }
    }

    fn called(&mut self, call: CallId, request: &Request) {
        match request {
            Request::Receive {
                queue,
                asked,
                wait,
                visibility,
            } => {
                self.receiving(call, queue, (*asked, *wait, *visibility));
            }
            Request::DeleteBatch { entries, .. } => {
                self.check_batch(call, entries);
                entries
                    .iter()
                    .for_each(|target| self.deleting(call, &target.handle));
            }
            Request::ChangeBatch { entries, .. } => {
                self.check_batch(call, entries);
                entries
                    .iter()
                    .for_each(|target| self.changing(call, target));
            }
            Request::Send { queue, entry } => {
                let mut of_it = self
                    .deliveries
                    .values()
                    .filter(|delivery| delivery.body == entry.body);
                let is_poison =
                    of_it.any(|delivery| delivery.decided == Some(Decision::DeadLetter));
                let has_reasons = REASONS
                    .iter()
                    .all(|name| entry.attributes.contains_key(*name));
                if queue != DEAD || !is_poison || !has_reasons {
                    self.violations
                        .push(format!("call {call}: dead-lettered without a reason"));
                }
            }
            Request::FindQueue { .. } | Request::ReadPolicy { .. } => {}
            other => self
                .violations
                .push(format!("call {call} is none of a receiver's: {other:?}")),
        }
        let is_look_up = matches!(
            request,
            Request::FindQueue { .. } | Request::ReadPolicy { .. }
        );
        if !self.is_running && !is_look_up {
            self.violations
                .push(format!("call {call}: made by a receiver that has ended"));
        }
        self.calls.insert(
            call,
            Call {
                request: request.clone(),
                since: self.now,
            },
        );
    }

    fn receiving(
        &mut self,
        call: CallId,
        queue: &str,
        (asked, wait, visibility): (usize, Duration, Duration),
    ) {
        let limits = self.terms.limits;
        let open: Vec<usize> = self
            .calls
            .values()
            .filter_map(|call| call.request.asked())
            .collect();
        let unsettled = self.in_handlers().count() + open.iter().sum::<usize>() + asked;
        let is_idle = self.idle_polls.is_some();
        for (is_kept, what) in [
            (queue == SOURCE, "from another queue"),
            (self.stopping_since.is_none(), "after the stop"),
            (
                (1..=MAX_RECEIVE).contains(&asked),
                "for a number SQS does not take",
            ),
            (open.len() < limits.max_polls, "beside as many as may be"),
            (
                unsettled <= limits.max_in_hand,
                "for more messages than may be unsettled",
            ),
            (wait <= limits.poll_wait, "longer than allowed"),
            (visibility == limits.visibility, "with another lease"),
            (
                self.failed_at
                    .is_none_or(|at| self.now + TICK >= at + PAUSE),
                "right after a failure",
            ),
            (
                !is_idle || open.is_empty(),
                "beside another though the queue is idle",
            ),
            (
                !is_idle || wait == limits.poll_wait,
                "short though the queue is idle",
            ),
        ] {
            if !is_kept {
                self.violations
                    .push(format!("call {call}: a receive {what}"));
            }
        }
        if let Some(polls) = &mut self.idle_polls {
            *polls += 1;
        }
    }

    fn check_batch(&mut self, call: CallId, entries: &[Target]) {
        let ids: BTreeSet<_> = entries.iter().map(|target| &target.id).collect();
        if !(1..=MAX_RECEIVE).contains(&entries.len()) || ids.len() != entries.len() {
            self.violations
                .push(format!("call {call}: a batch SQS does not take"));
        }
    }

    fn deleting(&mut self, call: CallId, handle: &str) {
        let Some(delivery) = self.deliveries.get_mut(handle) else {
            return self
                .violations
                .push(format!("call {call}: {handle} was never delivered"));
        };
        let message = self.messages.entry(delivery.body.clone()).or_default();
        let may = match delivery.decided {
            Some(Decision::Done) => message.is_stored,
            Some(Decision::DeadLetter) => message.dead > 0,
            Some(Decision::Retry) | None => false,
        };
        let mut complain = |what: &str| {
            self.violations
                .push(format!("call {call}: {handle} {what}"));
        };
        if !may {
            complain("is deleted before it was stored or dead-lettered");
        }
        if matches!(
            delivery.deleted,
            Some(Deleted::Confirmed | Deleted::Refused)
        ) {
            complain("is deleted again");
        }
        delivery.deletes += 1;
        delivery.deleted = None;
    }

    fn changing(&mut self, call: CallId, target: &Target) {
        let Some(delivery) = self.deliveries.get_mut(&target.handle) else {
            return self.violations.push(format!(
                "call {call}: {} was never delivered",
                target.handle
            ));
        };
        let mut complain = |what: &str| {
            self.violations
                .push(format!("call {call}: {} {what}", target.handle));
        };
        if delivery.is_left {
            complain("was left to a later delivery, and is changed again");
        }
        if delivery.handled == 0 {
            match target.after.is_zero() {
                true if self.stopping_since.is_some() => delivery.released += 1,
                true => complain("is released without a stop"),
                false if delivery.receive_count > MAX_POSTPONED => {
                    complain("is postponed too often");
                }
                false => delivery.postponed += 1,
            }
        } else if delivery.is_in_handler {
            if target.after != self.terms.limits.visibility {
                complain("is in its handler and not extended by a whole lease");
            }
        } else if target.after.is_zero() {
            complain("is visible again at once");
        } else if matches!(
            delivery.decided,
            Some(Decision::Retry | Decision::DeadLetter)
        ) {
            delivery.postponed += 1;
        }
    }

    fn leased(&mut self, lease: &Lease) {
        let delivery = Delivery {
            body: lease.entry.body.clone(),
            number: lease.message,
            group: lease.entry.group.clone(),
            receive_count: lease.receive_count,
            leased_at: self.now,
            until: lease.until,
            answered_at: None,
            came_after_stop: false,
            handled: 0,
            is_in_handler: false,
            decided: None,
            deletes: 0,
            deleted: None,
            postponed: 0,
            released: 0,
            is_left: false,
        };
        self.latest.insert(lease.message, lease.handle.clone());
        self.deliveries.insert(lease.handle.clone(), delivery);
    }

    fn deleted(&mut self, number: u64) {
        let Some(delivery) = self
            .latest
            .get(&number)
            .and_then(|handle| self.deliveries.get(handle))
        else {
            return self
                .violations
                .push(format!("message {number} is gone and was never delivered"));
        };
        let message = self.messages.entry(delivery.body.clone()).or_default();
        message.gone += 1;
        if !message.is_stored && message.dead == 0 {
            self.violations.push(format!(
                "{:?} is gone, neither stored nor dead-lettered",
                delivery.body
            ));
        }
    }

    fn answered(&mut self, call: CallId, answer: &Answer) {
        let Some(call) = self.calls.remove(&call) else {
            return;
        };
        match (&call.request, answer) {
            (Request::Receive { .. }, Answer::Received(leases)) => {
                self.failed_at = None;
                for lease in leases {
                    if let Some(delivery) = self.deliveries.get_mut(&lease.handle) {
                        delivery.answered_at = Some(self.now);
                        delivery.came_after_stop = self.stopping_since.is_some();
                    }
                }
            }
            (Request::DeleteBatch { entries, .. }, Answer::Batch(results)) => {
                for target in entries {
                    let Some(delivery) = self.deliveries.get_mut(&target.handle) else {
                        continue;
                    };
                    let result = results
                        .iter()
                        .find(|(id, _)| *id == target.id)
                        .map(|(_, result)| result);
                    delivery.deleted = Some(match result {
                        Some(Ok(())) => Deleted::Confirmed,
                        Some(Err(error)) if error.sender_fault => Deleted::Refused,
                        Some(Err(_)) | None => Deleted::Failed,
                    });
                }
            }
            (Request::ChangeBatch { entries, .. }, Answer::Batch(results)) => {
                for target in entries {
                    let is_set = results
                        .iter()
                        .any(|(id, result)| *id == target.id && result.is_ok());
                    if let Some(delivery) = self.deliveries.get_mut(&target.handle) {
                        delivery.is_left |= is_set
                            && !delivery.is_in_handler
                            && target.after != self.terms.limits.visibility
                            && delivery.decided == Some(Decision::Retry);
                    }
                }
                let all_went_well =
                    results.len() == entries.len() && results.iter().all(|(_, r)| r.is_ok());
                if !all_went_well || self.now - call.since > self.quick_extension() {
                    self.troubles.push((call.since, self.now));
                }
            }
            _ => {}
        }
    }

    fn failed(&mut self, call: CallId, how: Option<&Failure>) {
        let Some(call) = self.calls.remove(&call) else {
            return;
        };
        match &call.request {
            Request::Receive { .. } => self.failed_at = Some(self.now),
            Request::DeleteBatch { entries, .. } => {
                for target in entries {
                    if let Some(delivery) = self.deliveries.get_mut(&target.handle) {
                        let is_transient = how.is_none_or(Failure::is_transient);
                        delivery.deleted = Some(if is_transient {
                            Deleted::Failed
                        } else {
                            Deleted::Refused
                        });
                    }
                }
            }
            Request::ChangeBatch { .. } => self.troubles.push((call.since, self.now)),
            _ => {}
        }
    }

    fn handling(&mut self, handles: &[String]) {
        if !(1..=MAX_RECEIVE).contains(&handles.len()) {
            self.violations
                .push(format!("a handler got a batch of {}", handles.len()));
        }
        let waits = self.waits_for_a_share();
        for handle in handles {
            let Some(delivery) = self.deliveries.get_mut(handle) else {
                self.violations
                    .push(format!("{handle} was handled, but never delivered"));
                continue;
            };
            delivery.handled += 1;
            delivery.is_in_handler = true;
            for (is_kept, what) in [
                (delivery.handled == 1, "was handled twice"),
                (
                    delivery
                        .answered_at
                        .is_some_and(|at| self.now <= at + waits),
                    "was handled late",
                ),
                (
                    !delivery.came_after_stop,
                    "came after the stop and was handled",
                ),
            ] {
                if !is_kept {
                    self.violations.push(format!("{handle} {what}"));
                }
            }
        }
        let limits = self.terms.limits;
        let mut groups: BTreeMap<_, usize> = BTreeMap::new();
        for delivery in self
            .in_handlers()
            .filter(|delivery| delivery.receive_count <= MAX_POSTPONED)
        {
            *groups.entry(delivery.group.clone()).or_default() += 1;
        }
        let (all, most) = (
            self.in_handlers().count(),
            groups.into_values().max().unwrap_or(0),
        );
        if all > limits.max_in_hand || most > limits.max_of_one_group {
            self.violations.push(format!(
                "{:?}: {all} unsettled, {most} of one group",
                self.now
            ));
        }
    }

    fn worked(&mut self, handle: &str, decision: Option<Decision>) {
        let limits = self.terms.limits;
        let Some(delivery) = self.deliveries.get_mut(handle) else {
            return;
        };
        delivery.is_in_handler = false;
        delivery.decided = decision;
        let (until, began) = (
            delivery.until,
            delivery.answered_at.unwrap_or(delivery.leased_at),
        );
        // SQS has delivered the message again meanwhile, so this lease cannot be extended.
        let is_taken_away = self
            .latest
            .get(&delivery.number)
            .is_none_or(|latest| latest != handle);
        if decision == Some(Decision::Done) {
            self.messages.entry(delivery.body.clone()).or_default().done += 1;
        }
        let came_late = began - delivery.leased_at > limits.visibility / 8;
        let lasted = until + limits.visibility / 2 + TICK >= began + limits.max_lease;
        let leased_at = delivery.leased_at;
        if until < self.now
            && !is_taken_away
            && !came_late
            && !lasted
            && !self.is_troubled(leased_at, until)
        {
            self.violations.push(format!(
                "{handle}: its lease lapsed at {until:?} while it was in its handler"
            ));
        }
    }

    /// Returns true if extensions failed or were slow at some time in the lease.
    fn is_troubled(&self, from: Duration, to: Duration) -> bool {
        let open = self
            .calls
            .values()
            .filter(|call| matches!(call.request, Request::ChangeBatch { .. }));
        let slow = open.filter(|call| self.now - call.since > self.quick_extension());
        self.troubles
            .iter()
            .copied()
            .chain(slow.map(|call| (call.since, self.now)))
            .any(|(since, until)| since <= to && until + CALL >= from)
    }

    /// Longest duration of an extension so that all leases are kept if they are due at once, ten per call. Of each lease, an
    /// eighth passes in flight, a quarter in the wait for a share, and half until the extension is due.
    fn quick_extension(&self) -> Duration {
        let calls = self.terms.limits.max_in_hand.div_ceil(MAX_RECEIVE);
        self.terms.limits.visibility / 10 / u32::try_from(calls).unwrap_or(u32::MAX)
    }

    /// Longest wait of a delivery for its group's share, if groups matter.
    fn waits_for_a_share(&self) -> Duration {
        let limits = self.terms.limits;
        if limits.max_of_one_group < limits.max_in_hand {
            limits.visibility / 4 + TICK
        } else {
            Duration::ZERO
        }
    }

    fn in_handlers(&self) -> impl Iterator<Item = &Delivery> {
        self.deliveries
            .values()
            .filter(|delivery| delivery.is_in_handler)
    }

    fn stopped(&mut self) {
        let took = self.now - self.stopping_since.take().unwrap_or_default();
        if took > self.longest_drain() {
            self.violations
                .push(format!("the receiver took {took:?} to stop"));
        }
        if self.in_handlers().next().is_some() {
            self.violations
                .push("the receiver stopped with messages in their handlers".to_owned());
        }
        self.is_running = false;
        for (handle, delivery) in &self.deliveries {
            let is_settled = delivery.handled + delivery.postponed + delivery.released > 0;
            if delivery.answered_at.is_some() && !is_settled {
                self.violations
                    .push(format!("{handle} was neither handled nor released"));
            }
        }
        self.check_deletes();
    }

    /// Longest drain: one whole poll, one handler, and settling its messages.
    fn longest_drain(&self) -> Duration {
        let work = self.terms.limits.poll_wait + self.terms.handler_takes;
        if self.terms.is_faultless {
            return work + POLL_MARGIN;
        }
        let dead_letter = CALL * 10;
        let delete = (CALL + DELETE_WAIT) * DELETE_ATTEMPTS;
        work + POLL_MARGIN + dead_letter + delete + CALL + CALL
    }

    /// Checks that every delivery with the verdict Done was deleted, or all attempts were made.
    fn check_deletes(&mut self) {
        for (handle, delivery) in &self.deliveries {
            let is_enough = match delivery.deleted {
                Some(Deleted::Confirmed | Deleted::Refused) => true,
                Some(Deleted::Failed) => delivery.deletes >= DELETE_ATTEMPTS,
                None => false,
            };
            if delivery.decided == Some(Decision::Done) && !is_enough {
                self.violations.push(format!(
                    "{handle} was done, and {} deletes failed",
                    delivery.deletes
                ));
            }
        }
    }

    fn idled(&mut self) {
        let polls = self.idle_polls.take().unwrap_or_default();
        if !(IDLE_POLLS - 1..=IDLE_POLLS + 1).contains(&polls) {
            self.violations.push(format!(
                "{polls} polls while the queue was idle, not {IDLE_POLLS}"
            ));
        }
    }

    fn end(&mut self) {
        for (body, message) in &self.messages {
            let is_poison = body.ends_with(Kind::Poison.name());
            let stays = is_poison && !self.terms.has_dead_letters;
            for (is_kept, what) in [
                (
                    message.gone == u32::from(!stays),
                    "is still in the queue, or left it though it could not",
                ),
                (
                    message.is_stored != is_poison,
                    "is stored though it is poison, or is not",
                ),
                (
                    (message.dead > 0) == (is_poison && !stays),
                    "is in the dead-letter queue, or is not",
                ),
                (
                    !self.terms.is_faultless || message.done <= 1 || self.may_come_twice(),
                    "was handled twice",
                ),
            ] {
                if !is_kept {
                    self.violations.push(format!("{body:?} {what}"));
                }
            }
        }
    }

    /// Returns true if a lease may end before its handler.
    fn may_come_twice(&self) -> bool {
        self.terms.limits.max_lease < self.terms.handler_takes + self.terms.limits.visibility * 2
    }
}

impl Request {
    /// Number of messages that a receive asks for.
    fn asked(&self) -> Option<usize> {
        match self {
            Self::Receive { asked, .. } => Some(*asked),
            _ => None,
        }
    }
}
