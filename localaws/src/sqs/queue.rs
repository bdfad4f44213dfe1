//! One queue as a state machine. Pure: times and keys are arguments, changes for the store are results.
//!
//! A message is *ready*, *delayed* or *in flight*. [`Queue::advance`] ends delays and visibility timeouts and deletes
//! expired messages. Every other operation expects a queue advanced to the current time. No operation visits more
//! messages than it changes.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use super::{
    core::effects::{Effects, QueueChange},
    error::{SqsError, SqsResult},
    fair::FairIndex,
    limits::{IN_FLIGHT_MAX, MS_PER_S, REDRIVES_PER_RECEIVE_MAX, VISIBILITY_S},
    message::{MessageState, Payload, QueuedMessage, Receives, Seq},
    names::{QueueId, QueueName},
    settings::Settings,
};

#[derive(Debug)]
pub(crate) struct Queue {
    pub(crate) id: QueueId,
    pub(crate) name: QueueName,
    pub(crate) settings: Settings,
    pub(crate) tags: BTreeMap<String, String>,
    pub(crate) created_ms: u64,
    /// Last change of an attribute.
    pub(crate) modified_ms: u64,
    /// Last purge since the start of the endpoint.
    pub(crate) purged_ms: Option<u64>,
    messages: HashMap<Seq, QueuedMessage>,
    fair: FairIndex,
    /// Ends of delays and visibility timeouts.
    timers: BTreeSet<(u64, Seq)>,
    /// Messages by age, for retention.
    by_age: BTreeSet<(u64, Seq)>,
    delayed: usize,
    in_flight: usize,
}

/// A message as a receive returns it.
#[derive(Debug)]
pub(crate) struct ReceivedMessage {
    pub(crate) seq: Seq,
    pub(crate) payload: Arc<Payload>,
    /// ARN of the queue from which the message was dead-lettered.
    pub(crate) redriven_from: Option<Arc<str>>,
    /// Includes this receive.
    pub(crate) receives: Receives,
}

#[derive(Debug, Default)]
pub(crate) struct ReceiveResult {
    pub(crate) messages: Vec<ReceivedMessage>,
    /// Messages over `maxReceiveCount`, removed from the queue.
    pub(crate) dead_letters: Vec<(Seq, QueuedMessage)>,
}

/// `ApproximateNumberOfMessages…`, exact here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) ready: usize,
    pub(crate) in_flight: usize,
    pub(crate) delayed: usize,
}

impl Queue {
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
            messages: HashMap::new(),
            fair: FairIndex::default(),
            timers: BTreeSet::new(),
            by_age: BTreeSet::new(),
            delayed: 0,
            in_flight: 0,
        }
    }

    /// The messages by age, oldest first.
    pub(crate) fn oldest(&self) -> impl Iterator<Item = &QueuedMessage> {
        self.by_age
            .iter()
            .filter_map(|(_, seq)| self.messages.get(seq))
    }

    /// Returns the change that stores the queue's attributes and tags.
    pub(crate) fn as_change(&self) -> QueueChange {
        QueueChange::PutQueue {
            id: self.id,
            name: self.name.clone(),
            created_ms: self.created_ms,
            modified_ms: self.modified_ms,
            attributes: self.settings.render(),
            tags: self.tags.clone(),
        }
    }

    /// Ends delays and visibility timeouts, and deletes expired messages.
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
            self.remove(seq);
            effects.changes.push(QueueChange::DeleteMessage(seq));
        }
    }

    /// Adds a message: ready at once, or after its delay.
    pub(crate) fn put(
        &mut self,
        seq: Seq,
        mut message: QueuedMessage,
        ready_at_ms: u64,
        now_ms: u64,
    ) {
        let group = &message.payload.group;
        self.fair.add_message(group);
        self.by_age.insert((message.payload.sent_ms, seq));
        message.state = if ready_at_ms > now_ms {
            self.delayed += 1;
            self.timers.insert((ready_at_ms, seq));
            MessageState::Delayed {
                until_ms: ready_at_ms,
            }
        } else {
            MessageState::Ready {
                position: self.fair.push_ready(group, seq),
            }
        };
        self.messages.insert(seq, message);
    }

    /// Adds a message that was in flight when the endpoint stopped.
    pub(crate) fn put_in_flight(&mut self, seq: Seq, mut message: QueuedMessage, until_ms: u64) {
        self.fair.add_message(&message.payload.group);
        self.fair.restore_flight(&message.payload.group);
        self.by_age.insert((message.payload.sent_ms, seq));
        self.timers.insert((until_ms, seq));
        self.in_flight += 1;
        message.state = MessageState::InFlight { until_ms };
        self.messages.insert(seq, message);
    }

    /// Receives up to `max` messages, which are then in flight for `visibility_ms`. With `redrive`, messages over
    /// `maxReceiveCount` are removed instead.
    pub(crate) fn receive(
        &mut self,
        max: usize,
        visibility_ms: u64,
        redrive: bool,
        now_ms: u64,
        effects: &mut Effects,
    ) -> ReceiveResult {
        let mut received = ReceiveResult::default();
        let max_receives = self
            .settings
            .redrive
            .as_ref()
            .filter(|_| redrive)
            .map(|r| r.max_receives);
        while received.messages.len() < max
            && self.in_flight < IN_FLIGHT_MAX
            && received.dead_letters.len() < REDRIVES_PER_RECEIVE_MAX
        {
            let Some(seq) = self.fair.next() else { break };
            let message = self
                .messages
                .get_mut(&seq)
                .expect("only messages of the queue are ready");
            if max_receives.is_some_and(|max| message.receives.count >= max) {
                let message = self.remove(seq).expect("it was found above");
                received.dead_letters.push((seq, message));
                continue;
            }
            let MessageState::Ready { position } = message.state else {
                unreachable!("only ready messages are indexed")
            };
            message.receives.count += 1;
            message.receives.latest_ms = now_ms;
            if message.receives.count == 1 {
                message.receives.first_ms = now_ms;
            }
            let until_ms = now_ms + visibility_ms;
            message.state = MessageState::InFlight { until_ms };
            self.fair.start_flight(&message.payload.group, position);
            self.timers.insert((until_ms, seq));
            self.in_flight += 1;
            effects.changes.push(QueueChange::Receive {
                seq,
                receives: message.receives,
                until_ms,
            });
            received.messages.push(ReceivedMessage {
                seq,
                payload: Arc::clone(&message.payload),
                redriven_from: message.redriven_from.clone(),
                receives: message.receives,
            });
        }
        if visibility_ms == 0 {
            for message in &received.messages {
                self.make_ready(message.seq);
            }
        }
        received
    }

    /// Deletes the message of a receipt handle. As on AWS's standard queues, a stale handle succeeds without effect:
    /// the message was deleted, or received again.
    pub(crate) fn acknowledge(&mut self, seq: Seq, receive: u32, effects: &mut Effects) {
        if self
            .messages
            .get(&seq)
            .is_some_and(|message| message.receives.count == receive)
        {
            self.remove(seq);
            effects.changes.push(QueueChange::DeleteMessage(seq));
        }
    }

    /// Sets the end of a message's visibility timeout to `timeout_s` seconds from now.
    ///
    /// # Errors
    /// `MessageNotInflight`; `InvalidParameterValue` if the message is deleted, or if the timeout would exceed 12 hours
    /// since the receive.
    pub(crate) fn change_visibility(
        &mut self,
        seq: Seq,
        receive: u32,
        timeout_s: u32,
        now_ms: u64,
        effects: &mut Effects,
    ) -> SqsResult<()> {
        let Some(message) = self.messages.get_mut(&seq) else {
            return Err(SqsError::InvalidParameterValue(
                "Value for parameter ReceiptHandle is invalid. Reason: Message does not exist or is not available \
                 for visibility timeout change."
                    .into(),
            ));
        };
        let MessageState::InFlight {
            until_ms: before_ms,
        } = message.state
        else {
            return Err(SqsError::MessageNotInflight);
        };
        if message.receives.count != receive {
            return Err(SqsError::MessageNotInflight);
        }
        let until_ms = now_ms + u64::from(timeout_s) * MS_PER_S;
        let longest_ms = VISIBILITY_S.end().unsigned_abs() * MS_PER_S;
        // The slack admits a full extension that arrives some milliseconds after the receive.
        if until_ms > message.receives.latest_ms + longest_ms + MS_PER_S {
            return Err(SqsError::parameter(
                timeout_s,
                "VisibilityTimeout",
                "Total VisibilityTimeout for the message is beyond the limit [43200 seconds]",
            ));
        }
        message.state = MessageState::InFlight { until_ms };
        effects.changes.push(QueueChange::Receive {
            seq,
            receives: message.receives,
            until_ms,
        });
        self.timers.remove(&(before_ms, seq));
        self.timers.insert((until_ms, seq));
        if timeout_s == 0 {
            self.make_ready(seq);
        }
        Ok(())
    }

    /// Removes every message.
    pub(crate) fn purge(&mut self) -> Vec<Seq> {
        let seqs = self.messages.keys().copied().collect();
        self.messages = HashMap::new();
        self.fair = FairIndex::default();
        self.timers.clear();
        self.by_age.clear();
        (self.delayed, self.in_flight) = (0, 0);
        seqs
    }

    /// Returns the ready messages, in the order in which they were accepted.
    pub(crate) fn ready(&self) -> Vec<Seq> {
        let mut seqs: Vec<_> = self
            .messages
            .keys()
            .copied()
            .filter(|seq| self.ready_message(*seq).is_some())
            .collect();
        seqs.sort_unstable();
        seqs
    }

    pub(crate) fn ready_message(&self, seq: Seq) -> Option<&QueuedMessage> {
        self.messages
            .get(&seq)
            .filter(|message| matches!(message.state, MessageState::Ready { .. }))
    }

    pub(crate) fn counts(&self) -> Counts {
        Counts {
            ready: self.messages.len() - self.delayed - self.in_flight,
            in_flight: self.in_flight,
            delayed: self.delayed,
        }
    }

    /// Whether a receive would return a message now.
    pub(crate) fn is_deliverable(&self) -> bool {
        self.in_flight < IN_FLIGHT_MAX && self.fair.next().is_some()
    }

    pub(crate) fn is_at_in_flight_limit(&self) -> bool {
        self.in_flight >= IN_FLIGHT_MAX
    }

    /// Next end of a delay or visibility timeout, in milliseconds since 1970.
    pub(crate) fn next_ready_ms(&self) -> Option<u64> {
        self.timers.first().map(|&(until_ms, _)| until_ms)
    }

    /// Next expiry of a message, in milliseconds since 1970.
    pub(crate) fn next_expiry_ms(&self) -> Option<u64> {
        let &(sent_ms, _) = self.by_age.first()?;
        Some(sent_ms + u64::from(self.settings.retention_s) * MS_PER_S)
    }

    /// Ends the delay or visibility timeout of a message.
    fn make_ready(&mut self, seq: Seq) {
        let message = self
            .messages
            .get_mut(&seq)
            .expect("only messages of the queue have a timer");
        let group = &message.payload.group;
        match message.state {
            MessageState::Ready { .. } => return,
            MessageState::Delayed { until_ms } => {
                self.timers.remove(&(until_ms, seq));
                self.delayed -= 1;
            }
            MessageState::InFlight { until_ms } => {
                self.timers.remove(&(until_ms, seq));
                self.in_flight -= 1;
                self.fair.end_flight(group);
            }
        }
        message.state = MessageState::Ready {
            position: self.fair.push_ready(group, seq),
        };
    }

    /// Removes a message from every index.
    pub(crate) fn remove(&mut self, seq: Seq) -> Option<QueuedMessage> {
        let message = self.messages.remove(&seq)?;
        let group = &message.payload.group;
        match message.state {
            MessageState::Ready { position } => self.fair.remove_ready(group, position),
            MessageState::Delayed { until_ms } => {
                self.timers.remove(&(until_ms, seq));
                self.delayed -= 1;
            }
            MessageState::InFlight { until_ms } => {
                self.timers.remove(&(until_ms, seq));
                self.in_flight -= 1;
                self.fair.end_flight(group);
            }
        }
        self.fair.remove_message(group);
        self.by_age.remove(&(message.payload.sent_ms, seq));
        Some(message)
    }
}
