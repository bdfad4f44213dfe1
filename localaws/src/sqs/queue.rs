//! One queue as a state machine. Pure: time and keys come in as arguments, changes to store go out.
//!
//! A message is *ready*, *delayed* or *leased*. [`Queue::advance`] moves along what time has moved: it ends
//! delays and leases that are over and drops what retention has. Every public operation expects the caller
//! to have advanced the queue to the present. No operation looks at more messages than it changes.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use super::{
    core::{Effects, QueueId},
    error::{SqsError, SqsResult},
    fair::FairIndex,
    limits::{IN_FLIGHT_MAX, MS_PER_S, REDRIVES_PER_RECEIVE_MAX, VISIBILITY_S},
    message::{Entry, Payload, Place, Receipt, Seq},
    names::QueueName,
    persist::Change,
    settings::Settings,
};

/// A queue, its messages and the indexes that find the next one.
#[derive(Debug)]
pub(crate) struct Queue {
    /// Row key; a queue created again under the same name has another.
    pub(crate) id: QueueId,
    /// Its name.
    pub(crate) name: QueueName,
    /// Its attributes.
    pub(crate) settings: Settings,
    /// Its tags.
    pub(crate) tags: BTreeMap<String, String>,
    /// Creation, in milliseconds since 1970.
    pub(crate) created_ms: u64,
    /// Last change of an attribute, in milliseconds since 1970.
    pub(crate) modified_ms: u64,
    /// Last purge since the start, in milliseconds since 1970.
    pub(crate) purged_ms: Option<u64>,
    entries: HashMap<Seq, Entry>,
    fair: FairIndex,
    /// Ends of delays and leases.
    timers: BTreeSet<(u64, Seq)>,
    /// Messages by age, for retention.
    by_age: BTreeSet<(u64, Seq)>,
    delayed: usize,
    leased: usize,
}

/// A message handed to a consumer.
#[derive(Debug)]
pub(crate) struct Lease {
    /// Its key, for the receipt handle.
    pub(crate) seq: Seq,
    /// What the sender said.
    pub(crate) payload: Arc<Payload>,
    /// ARN of the queue a redrive took it from.
    pub(crate) redriven_from: Option<Arc<str>>,
    /// How often it was received, this time included.
    pub(crate) receipt: Receipt,
}

/// What a receive yields.
#[derive(Debug, Default)]
pub(crate) struct Received {
    /// Messages for the consumer.
    pub(crate) leases: Vec<Lease>,
    /// Messages received too often, on their way to the dead-letter queue.
    pub(crate) set_aside: Vec<(Seq, Entry)>,
}

/// `ApproximateNumberOfMessages…`, exact here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Can be received now.
    pub(crate) ready: usize,
    /// Leased.
    pub(crate) leased: usize,
    /// Delayed.
    pub(crate) delayed: usize,
}

impl Queue {
    /// An empty queue.
    pub(crate) fn new(
        id: QueueId,
        name: QueueName,
        settings: Settings,
        tags: BTreeMap<String, String>,
        now_ms: u64,
    ) -> Self {
        Self {
            id,
            name,
            settings,
            tags,
            created_ms: now_ms,
            modified_ms: now_ms,
            purged_ms: None,
            entries: HashMap::new(),
            fair: FairIndex::default(),
            timers: BTreeSet::new(),
            by_age: BTreeSet::new(),
            delayed: 0,
            leased: 0,
        }
    }

    /// Brings the queue to the present.
    pub(crate) fn advance(&mut self, now_ms: u64, effects: &mut Effects) {
        while let Some(&(until_ms, seq)) = self.timers.first() {
            if until_ms > now_ms {
                break;
            }
            self.make_ready(seq);
        }
        let retention_ms = u64::from(self.settings.retention_s) * MS_PER_S;
        while let Some(&(sent_ms, seq)) = self.by_age.first() {
            if sent_ms + retention_ms > now_ms {
                break;
            }
            self.take(seq);
            effects.changes.push(Change::DeleteMessage(seq));
        }
    }

    /// Puts a message in: ready at once, or after its delay.
    pub(crate) fn put(&mut self, seq: Seq, mut entry: Entry, ready_at_ms: u64, now_ms: u64) {
        let group = &entry.payload.group;
        self.fair.join(group);
        self.by_age.insert((entry.payload.sent_ms, seq));
        entry.place = if ready_at_ms > now_ms {
            self.delayed += 1;
            self.timers.insert((ready_at_ms, seq));
            Place::Delayed {
                until_ms: ready_at_ms,
            }
        } else {
            Place::Ready {
                turn: self.fair.line_up(group, seq),
            }
        };
        self.entries.insert(seq, entry);
    }

    /// Puts a message in that was leased when the endpoint stopped.
    pub(crate) fn put_leased(&mut self, seq: Seq, mut entry: Entry, until_ms: u64) {
        self.fair.join(&entry.payload.group);
        self.fair.resume(&entry.payload.group);
        self.by_age.insert((entry.payload.sent_ms, seq));
        self.timers.insert((until_ms, seq));
        self.leased += 1;
        entry.place = Place::Leased { until_ms };
        self.entries.insert(seq, entry);
    }

    /// Leases up to `max` messages for `visibility_ms`. With `redrive`, messages already received as often
    /// as the policy allows are taken out instead.
    pub(crate) fn receive(
        &mut self,
        max: usize,
        visibility_ms: u64,
        redrive: bool,
        now_ms: u64,
        effects: &mut Effects,
    ) -> Received {
        let mut received = Received::default();
        let max_receives = self
            .settings
            .redrive
            .as_ref()
            .filter(|_| redrive)
            .map(|r| r.max_receives);
        while received.leases.len() < max
            && self.leased < IN_FLIGHT_MAX
            && received.set_aside.len() < REDRIVES_PER_RECEIVE_MAX
        {
            let Some(seq) = self.fair.first() else { break };
            let entry = self
                .entries
                .get_mut(&seq)
                .expect("only messages of the queue are in line");
            if max_receives.is_some_and(|max| entry.receipt.receives >= max) {
                let entry = self.take(seq).expect("it was found a line above");
                received.set_aside.push((seq, entry));
                continue;
            }
            let Place::Ready { turn } = entry.place else {
                unreachable!("only ready messages are in line")
            };
            entry.receipt.receives += 1;
            entry.receipt.latest_ms = now_ms;
            if entry.receipt.receives == 1 {
                entry.receipt.first_ms = now_ms;
            }
            let until_ms = now_ms + visibility_ms;
            entry.place = Place::Leased { until_ms };
            self.fair.serve(&entry.payload.group, turn);
            self.timers.insert((until_ms, seq));
            self.leased += 1;
            effects.changes.push(Change::Lease {
                seq,
                receipt: entry.receipt,
                until_ms,
            });
            received.leases.push(Lease {
                seq,
                payload: Arc::clone(&entry.payload),
                redriven_from: entry.redriven_from.clone(),
                receipt: entry.receipt,
            });
        }
        if visibility_ms == 0 {
            for lease in &received.leases {
                self.make_ready(lease.seq);
            }
        }
        received
    }

    /// Deletes the message a handle stands for. As on AWS's standard queues this succeeds, without effect,
    /// when the message is gone or was received again since.
    pub(crate) fn acknowledge(&mut self, seq: Seq, receive: u32, effects: &mut Effects) {
        if self
            .entries
            .get(&seq)
            .is_some_and(|entry| entry.receipt.receives == receive)
        {
            self.take(seq);
            effects.changes.push(Change::DeleteMessage(seq));
        }
    }

    /// Lets the lease of a message end `timeout_s` seconds from now.
    ///
    /// # Errors
    /// `MessageNotInflight` when the message has no lease, `InvalidParameterValue` when it is gone or the
    /// lease would last longer than 12 hours in total.
    pub(crate) fn change_visibility(
        &mut self,
        seq: Seq,
        receive: u32,
        timeout_s: u32,
        now_ms: u64,
        effects: &mut Effects,
    ) -> SqsResult<()> {
        let Some(entry) = self.entries.get_mut(&seq) else {
            return Err(SqsError::InvalidParameterValue(
                "Value for parameter ReceiptHandle is invalid. Reason: Message does not exist or is not available \
                 for visibility timeout change."
                    .into(),
            ));
        };
        let Place::Leased {
            until_ms: before_ms,
        } = entry.place
        else {
            return Err(SqsError::MessageNotInflight);
        };
        if entry.receipt.receives != receive {
            return Err(SqsError::MessageNotInflight);
        }
        let until_ms = now_ms + u64::from(timeout_s) * MS_PER_S;
        let longest_ms = VISIBILITY_S.end().unsigned_abs() * MS_PER_S;
        // A whole extension asked for right after the receive is within the limit, a millisecond or two late.
        if until_ms > entry.receipt.latest_ms + longest_ms + MS_PER_S {
            return Err(SqsError::parameter(
                timeout_s,
                "VisibilityTimeout",
                "Total VisibilityTimeout for the message is beyond the limit [43200 seconds]",
            ));
        }
        entry.place = Place::Leased { until_ms };
        effects.changes.push(Change::Lease {
            seq,
            receipt: entry.receipt,
            until_ms,
        });
        self.timers.remove(&(before_ms, seq));
        self.timers.insert((until_ms, seq));
        if timeout_s == 0 {
            self.make_ready(seq);
        }
        Ok(())
    }

    /// Takes every message out.
    pub(crate) fn purge(&mut self) -> Vec<Seq> {
        let seqs = self.entries.keys().copied().collect();
        self.entries = HashMap::new();
        self.fair = FairIndex::default();
        self.timers.clear();
        self.by_age.clear();
        (self.delayed, self.leased) = (0, 0);
        seqs
    }

    /// Takes up to `max` ready messages out, in the order they would be received.
    pub(crate) fn drain_ready(&mut self, max: usize) -> Vec<(Seq, Entry)> {
        let mut taken = Vec::new();
        while taken.len() < max {
            let Some(seq) = self.fair.first() else { break };
            let entry = self
                .take(seq)
                .expect("only messages of the queue are in line");
            taken.push((seq, entry));
        }
        taken
    }

    /// How many messages there are of each kind.
    pub(crate) fn counts(&self) -> Counts {
        Counts {
            ready: self.entries.len() - self.delayed - self.leased,
            leased: self.leased,
            delayed: self.delayed,
        }
    }

    /// Whether a receive now would find something.
    pub(crate) fn is_deliverable(&self) -> bool {
        self.leased < IN_FLIGHT_MAX && self.fair.first().is_some()
    }

    /// Whether the in-flight limit is reached.
    pub(crate) fn is_at_in_flight_limit(&self) -> bool {
        self.leased >= IN_FLIGHT_MAX
    }

    /// When a delay or lease ends next, in milliseconds since 1970.
    pub(crate) fn next_ready_ms(&self) -> Option<u64> {
        self.timers.first().map(|&(until_ms, _)| until_ms)
    }

    /// When retention drops a message next, in milliseconds since 1970.
    pub(crate) fn next_expiry_ms(&self) -> Option<u64> {
        let &(sent_ms, _) = self.by_age.first()?;
        Some(sent_ms + u64::from(self.settings.retention_s) * MS_PER_S)
    }

    /// Ends the delay or lease of a message.
    fn make_ready(&mut self, seq: Seq) {
        let entry = self
            .entries
            .get_mut(&seq)
            .expect("only messages of the queue have a timer");
        let group = &entry.payload.group;
        match entry.place {
            Place::Ready { .. } => return,
            Place::Delayed { until_ms } => {
                self.timers.remove(&(until_ms, seq));
                self.delayed -= 1;
            }
            Place::Leased { until_ms } => {
                self.timers.remove(&(until_ms, seq));
                self.leased -= 1;
                self.fair.land(group);
            }
        }
        entry.place = Place::Ready {
            turn: self.fair.line_up(group, seq),
        };
    }

    /// Takes a message out of every index.
    fn take(&mut self, seq: Seq) -> Option<Entry> {
        let entry = self.entries.remove(&seq)?;
        let group = &entry.payload.group;
        match entry.place {
            Place::Ready { turn } => self.fair.step_out(group, turn),
            Place::Delayed { until_ms } => {
                self.timers.remove(&(until_ms, seq));
                self.delayed -= 1;
            }
            Place::Leased { until_ms } => {
                self.timers.remove(&(until_ms, seq));
                self.leased -= 1;
                self.fair.land(group);
            }
        }
        self.fair.leave(group);
        self.by_age.remove(&(entry.payload.sent_ms, seq));
        Some(entry)
    }
}
