//! The core against a simple model: random calls and passing time, compared after every step.
//!
//! The model has only the promise of SQS: until its retention ends, an accepted message that is not deleted is either
//! delayed, in flight or ready.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

use proptest::prelude::*;

use super::{
    core::{
        Core, NewMessage,
        dead_letters::{MoveFailure, Redriven},
        effects::QueueChange,
    },
    error::SqsError,
    limits::{IN_FLIGHT_MAX, MS_PER_S},
    md5::Digest,
    message::{Payload, Seq},
    names::{QueueId, QueueName},
    queue::{Counts, ReceivedMessage},
};
use crate::arn_scope::ArnScope;

/// Retention of the queue under test, in milliseconds: the shortest there is.
const RETENTION_MS: u64 = 60 * MS_PER_S;

fn name(text: &str) -> QueueName {
    QueueName::parse(text).unwrap()
}

fn core_with(queues: &[(&str, &[(&str, &str)])]) -> Core {
    let mut core = Core::new(ArnScope::sample());
    for (queue, attributes) in queues {
        let attributes = attributes
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect();
        core.create(&name(queue), &attributes, BTreeMap::new(), 0)
            .unwrap();
    }
    core
}

fn new_message(number: u128, group: Option<&str>, delay_s: Option<u32>, now_ms: u64) -> NewMessage {
    let payload = Payload {
        id: uuid::Uuid::from_u128(number),
        body: number.to_string(),
        body_md5: Digest::of_body("x"),
        attributes: BTreeMap::new(),
        attributes_md5: None,
        group: group.map(Arc::from),
        trace_header: None,
        sender_id: "me".into(),
        sent_ms: now_ms,
    };
    NewMessage {
        payload: Arc::new(payload),
        delay_s,
    }
}

fn number(received: &ReceivedMessage) -> u128 {
    received.payload.id.as_u128()
}

#[derive(Clone, Debug)]
enum Step {
    Send {
        group: u8,
        delay_s: u32,
        count: usize,
    },
    Receive {
        max: usize,
        visibility_s: u32,
    },
    /// Deletes with the n-th handle ever returned, stale ones included.
    Delete {
        handle: usize,
    },
    ChangeVisibility {
        handle: usize,
        timeout_s: u32,
    },
    Pass {
        ms: u64,
    },
    Purge,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..4_u8, prop_oneof![3 => Just(0), 1 => 1..20_u32], 1..=10_usize)
            .prop_map(|(group, delay_s, count)| Step::Send { group, delay_s, count }),
        6 => (1..=10_usize, prop_oneof![1 => Just(0), 4 => 1..30_u32])
            .prop_map(|(max, visibility_s)| Step::Receive { max, visibility_s }),
        4 => any::<usize>().prop_map(|handle| Step::Delete { handle }),
        2 => (any::<usize>(), 0..40_u32).prop_map(|(handle, timeout_s)| Step::ChangeVisibility { handle, timeout_s }),
        3 => prop_oneof![4 => 0..15_000_u64, 1 => 0..70_000_u64].prop_map(|ms| Step::Pass { ms }),
        1 => prop::bool::weighted(0.1).prop_map(|yes| if yes { Step::Purge } else { Step::Pass { ms: 1 } }),
    ]
}

/// State of one message.
#[derive(Clone, Debug)]
struct Known {
    group: u8,
    sent_ms: u64,
    /// End of the delay or visibility timeout.
    ready_at_ms: u64,
    receives: u32,
}

/// A receipt handle of the consumer.
#[derive(Clone, Copy, Debug)]
struct Held {
    number: u128,
    seq: Seq,
    receive: u32,
}

#[derive(Default)]
struct Model {
    now_ms: u64,
    messages: HashMap<u128, Known>,
    held: Vec<Held>,
    sent: u128,
}

impl Model {
    fn expire(&mut self) {
        let now_ms = self.now_ms;
        self.messages
            .retain(|_, m| m.sent_ms + RETENTION_MS > now_ms);
    }

    fn counts(&self) -> Counts {
        let (mut ready, mut in_flight, mut delayed) = (0, 0, 0);
        for message in self.messages.values() {
            match (message.ready_at_ms > self.now_ms, message.receives) {
                (false, _) => ready += 1,
                (true, 0) => delayed += 1,
                (true, _) => in_flight += 1,
            }
        }
        Counts {
            ready,
            in_flight,
            delayed,
        }
    }

    fn in_flight_by_group(&self) -> HashMap<u8, usize> {
        let mut counts = HashMap::new();
        for m in self
            .messages
            .values()
            .filter(|m| m.receives > 0 && m.ready_at_ms > self.now_ms)
        {
            *counts.entry(m.group).or_default() += 1;
        }
        counts
    }

    fn ready_by_group(&self) -> HashMap<u8, usize> {
        let mut counts = HashMap::new();
        for m in self
            .messages
            .values()
            .filter(|m| m.ready_at_ms <= self.now_ms)
        {
            *counts.entry(m.group).or_default() += 1;
        }
        counts
    }

    fn pick(&self, index: usize) -> Option<Held> {
        (!self.held.is_empty()).then(|| self.held[index % self.held.len()])
    }

    fn run(&mut self, core: &mut Core, id: QueueId, step: &Step) -> Result<(), TestCaseError> {
        self.expire();
        let now_ms = self.now_ms;
        match *step {
            Step::Send {
                group,
                delay_s,
                count,
            } => {
                let text = format!("g{group}");
                let new_messages = (0..count)
                    .map(|_| {
                        self.sent += 1;
                        let ready_at_ms = now_ms + u64::from(delay_s) * MS_PER_S;
                        let known = Known {
                            group,
                            sent_ms: now_ms,
                            ready_at_ms,
                            receives: 0,
                        };
                        self.messages.insert(self.sent, known);
                        new_message(
                            self.sent,
                            (group > 0).then_some(&*text),
                            Some(delay_s),
                            now_ms,
                        )
                    })
                    .collect();
                core.send(id, new_messages, now_ms);
            }
            Step::Receive { max, visibility_s } => self.receive(core, id, max, visibility_s)?,
            Step::Delete { handle } => {
                let Some(held) = self.pick(handle) else {
                    return Ok(());
                };
                core.acknowledge(id, held.seq, held.receive, now_ms);
                if self
                    .messages
                    .get(&held.number)
                    .is_some_and(|m| m.receives == held.receive)
                {
                    self.messages.remove(&held.number);
                }
            }
            Step::ChangeVisibility { handle, timeout_s } => {
                let Some(held) = self.pick(handle) else {
                    return Ok(());
                };
                let outcome = core.change_visibility(id, held.seq, held.receive, timeout_s, now_ms);
                match self.messages.get_mut(&held.number) {
                    Some(m) if m.receives == held.receive && m.ready_at_ms > now_ms => {
                        prop_assert_eq!(outcome, Ok(()));
                        m.ready_at_ms = now_ms + u64::from(timeout_s) * MS_PER_S;
                    }
                    Some(_) => prop_assert_eq!(outcome, Err(SqsError::MessageNotInflight)),
                    None => {
                        prop_assert!(matches!(outcome, Err(SqsError::InvalidParameterValue(_))));
                    }
                }
            }
            Step::Pass { ms } => self.now_ms += ms,
            Step::Purge => {
                if core.purge(&name("q"), now_ms).is_ok() {
                    self.messages.clear();
                }
            }
        }
        Ok(())
    }

    fn receive(
        &mut self,
        core: &mut Core,
        id: QueueId,
        max: usize,
        visibility_s: u32,
    ) -> Result<(), TestCaseError> {
        let (now_ms, before) = (self.now_ms, self.counts());
        let (in_flight, ready) = (self.in_flight_by_group(), self.ready_by_group());
        let batch = core.receive(id, max, Some(visibility_s), now_ms).unwrap();
        prop_assert_eq!(
            batch.len(),
            max.min(before.ready),
            "a receive takes all it may and finds"
        );
        let mut served: HashMap<u8, usize> = HashMap::new();
        let mut seen = HashSet::new();
        for received in &batch {
            prop_assert!(
                seen.insert(number(received)),
                "a message comes once per receive"
            );
            let m = self.messages.get_mut(&number(received));
            let Some(m) = m else {
                return Err(TestCaseError::fail(
                    "a deleted or expired message was received",
                ));
            };
            prop_assert!(
                m.ready_at_ms <= now_ms,
                "a delayed message or one in flight was received"
            );
            m.receives += 1;
            prop_assert_eq!(received.receives.count, m.receives);
            m.ready_at_ms = now_ms + u64::from(visibility_s) * MS_PER_S;
            *served.entry(m.group).or_default() += 1;
            self.held.push(Held {
                number: number(received),
                seq: received.seq,
                receive: m.receives,
            });
        }
        // Fairness: a group that could have been served one more is never two behind in flight.
        let load =
            |group: &u8| in_flight.get(group).unwrap_or(&0) + served.get(group).unwrap_or(&0);
        for (waiting, count) in &ready {
            if served.get(waiting).unwrap_or(&0) < count {
                for group in served.keys() {
                    prop_assert!(
                        load(group) <= load(waiting) + 1,
                        "group {} overtook group {}",
                        group,
                        waiting
                    );
                }
            }
        }
        Ok(())
    }
}

/// Applies changes to a map, as the store does to its file.
#[derive(Default)]
struct Disk(HashMap<Seq, (u128, Option<QueueId>, u32)>);

impl Disk {
    fn apply(&mut self, changes: Vec<QueueChange>) {
        for change in changes {
            match change {
                QueueChange::Insert {
                    seq,
                    queue,
                    payload,
                    ..
                } => {
                    self.0.insert(seq, (payload.id.as_u128(), Some(queue), 0));
                }
                QueueChange::Receive { seq, receives, .. } => {
                    self.0
                        .get_mut(&seq)
                        .expect("only stored messages are received")
                        .2 = receives.count;
                }
                QueueChange::Move {
                    seq,
                    queue,
                    receives,
                    ..
                } => {
                    let row = self.0.get_mut(&seq).expect("only stored messages move");
                    (row.1, row.2) = (Some(queue), receives.count);
                }
                QueueChange::DeleteMessage(seq) => {
                    assert!(self.0.remove(&seq).is_some(), "deleted twice");
                }
                QueueChange::DeleteMessages(seqs) => {
                    for seq in seqs {
                        assert!(self.0.remove(&seq).is_some(), "deleted twice");
                    }
                }
                QueueChange::PutQueue { .. }
                | QueueChange::DeleteQueue(_)
                | QueueChange::ReserveSeqs(_) => {}
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_message_is_lost_or_delivered_against_the_rules(steps in prop::collection::vec(step(), 1..120)) {
        let mut core = core_with(&[("q", &[("MessageRetentionPeriod", "60")])]);
        let id = core.find(&name("q")).unwrap();
        let (mut model, mut disk) = (Model::default(), Disk::default());
        for step in &steps {
            model.run(&mut core, id, step)?;
            model.expire();
            core.advance(id, model.now_ms);
            prop_assert_eq!(core.queue(id).unwrap().counts(), model.counts());
            disk.apply(core.take_effects().changes);
            let mut stored: Vec<_> = disk.0.values().map(|row| (row.0, row.2)).collect();
            let mut known: Vec<_> = model.messages.iter().map(|(n, m)| (*n, m.receives)).collect();
            stored.sort_unstable();
            known.sort_unstable();
            prop_assert_eq!(stored, known, "the disk has the state of the memory");
        }
    }

    #[test]
    fn every_message_is_received_once_when_all_are_acknowledged(groups in prop::collection::vec(0..8_u8, 1..200)) {
        let mut core = core_with(&[("q", &[])]);
        let id = core.find(&name("q")).unwrap();
        for (n, group) in groups.iter().enumerate() {
            core.send(id, vec![new_message(n as u128, Some(&format!("g{group}")), None, 0)], 0);
        }
        let mut last_of_group: HashMap<Option<Arc<str>>, u128> = HashMap::new();
        let mut received = HashSet::new();
        loop {
            let batch = core.receive(id, 10, None, 1).unwrap();
            if batch.is_empty() {
                break;
            }
            for message in batch {
                prop_assert!(received.insert(number(&message)));
                if let Some(before) = last_of_group.insert(message.payload.group.clone(), number(&message)) {
                    prop_assert!(before < number(&message), "a group's messages come in order");
                }
                core.acknowledge(id, message.seq, message.receives.count, 2);
            }
        }
        prop_assert_eq!(received.len(), groups.len());
    }
}

fn dead_letter_core() -> (Core, QueueId, QueueId) {
    let policy =
        r#"{"deadLetterTargetArn":"arn:aws:sqs:us-east-1:000000000000:dlq","maxReceiveCount":2}"#;
    let core = core_with(&[("dlq", &[]), ("q", &[("RedrivePolicy", policy)])]);
    let (q, dlq) = (
        core.find(&name("q")).unwrap(),
        core.find(&name("dlq")).unwrap(),
    );
    (core, q, dlq)
}

#[test]
fn a_message_received_too_often_moves_with_its_id_and_group() {
    let (mut core, q, dlq) = dead_letter_core();
    core.send(q, vec![new_message(7, Some("g"), None, 5)], 5);
    for time in [10, 20] {
        assert_eq!(core.receive(q, 10, Some(0), time).unwrap().len(), 1);
    }
    assert!(
        core.receive(q, 10, Some(0), 30).unwrap().is_empty(),
        "the third receive moves it to the dead-letter queue"
    );
    assert_eq!(
        core.queue(q).unwrap().counts(),
        Counts {
            ready: 0,
            in_flight: 0,
            delayed: 0
        }
    );
    let dead_letters = core.receive(dlq, 10, None, 40).unwrap();
    assert_eq!(number(&dead_letters[0]), 7);
    assert_eq!(dead_letters[0].payload.sent_ms, 5);
    assert_eq!(dead_letters[0].payload.group.as_deref(), Some("g"));
    assert_eq!(
        dead_letters[0].redriven_from.as_deref(),
        Some("arn:aws:sqs:us-east-1:000000000000:q")
    );
}

#[test]
fn a_redrive_returns_messages_to_their_source_queue() {
    let (mut core, q, dlq) = dead_letter_core();
    core.send(
        q,
        (0..5).map(|n| new_message(n, None, None, 0)).collect(),
        0,
    );
    for time in [10, 20, 30] {
        core.receive(q, 10, Some(0), time).unwrap();
    }
    assert_eq!(core.queue(dlq).unwrap().counts().ready, 5);
    let ready = core.queue(dlq).unwrap().ready();
    assert_eq!(core.redrive(dlq, None, &ready[..3], 40), all_moved(3));
    assert_eq!(core.redrive(dlq, None, &ready, 50), all_moved(2));
    let back = core.receive(q, 10, None, 60).unwrap();
    assert_eq!(back.len(), 5);
    assert!(
        back.iter()
            .all(|received| received.receives.count == 1 && received.redriven_from.is_none())
    );
}

fn all_moved(moved: usize) -> Redriven {
    Redriven {
        moved,
        failure: None,
    }
}

#[test]
fn a_redrive_leaves_the_messages_that_have_nowhere_to_go_and_moves_the_others() {
    let (mut core, q, dlq) = dead_letter_core();
    let group = |n: u128| new_message(n, Some("g"), None, 0);
    core.send(dlq, (0..3).map(group).collect(), 0);
    core.send(q, (3..6).map(group).collect(), 0);
    for time in [10, 20, 30] {
        core.receive(q, 10, Some(0), time).unwrap();
    }
    core.send(dlq, (6..9).map(group).collect(), 0);
    let ready = core.queue(dlq).unwrap().ready();
    let some = |moved, failure| Redriven {
        moved,
        failure: Some(failure),
    };
    assert_eq!(
        core.redrive(dlq, None, &ready, 40),
        some(3, MoveFailure::NoSource)
    );
    assert_eq!(core.queue(dlq).unwrap().counts().ready, 6);
    let back = core.receive(q, 10, Some(0), 50).unwrap();
    assert_eq!(back.iter().map(number).collect::<Vec<_>>(), [3, 4, 5]);

    core.receive(q, 10, Some(0), 60).unwrap();
    core.receive(q, 10, Some(0), 70).unwrap();
    core.delete(&name("q")).unwrap();
    let ready = core.queue(dlq).unwrap().ready();
    assert_eq!(ready.len(), 9);
    assert_eq!(
        core.redrive(dlq, None, &ready[ready.len() - 1..], 80).moved,
        0
    );
    assert_eq!(
        core.redrive(dlq, Some(q), &ready, 80),
        some(0, MoveFailure::NoQueue),
        "a named destination that was deleted is no reason to use the source"
    );
}

#[test]
fn without_its_dead_letter_queue_a_queue_still_delivers() {
    let (mut core, q, _) = dead_letter_core();
    core.delete(&name("dlq")).unwrap();
    core.send(q, vec![new_message(1, None, None, 0)], 0);
    for time in 1..10 {
        assert_eq!(core.receive(q, 1, Some(0), time).unwrap().len(), 1);
    }
}

#[test]
fn a_queue_that_is_its_own_dead_letter_queue_still_delivers() {
    let policy =
        r#"{"deadLetterTargetArn":"arn:aws:sqs:us-east-1:000000000000:q","maxReceiveCount":1}"#;
    let mut core = core_with(&[("q", &[])]);
    let attributes = [("RedrivePolicy".to_owned(), policy.to_owned())].into();
    core.set_attributes(&name("q"), &attributes, 0).unwrap();
    let id = core.find(&name("q")).unwrap();
    core.send(id, vec![new_message(1, None, None, 0)], 0);
    for time in 1..5 {
        assert_eq!(core.receive(id, 1, Some(0), time).unwrap().len(), 1);
    }
}

#[test]
fn no_more_than_the_limit_is_in_flight() {
    let mut core = core_with(&[("q", &[])]);
    let id = core.find(&name("q")).unwrap();
    let total = IN_FLIGHT_MAX + 5;
    core.send(
        id,
        (0..total as u128)
            .map(|n| new_message(n, None, None, 0))
            .collect(),
        0,
    );
    let mut first = None;
    let mut in_flight = 0;
    loop {
        let batch = core.receive(id, 10, None, 1).unwrap();
        if batch.is_empty() {
            break;
        }
        in_flight += batch.len();
        first.get_or_insert((batch[0].seq, batch[0].receives.count));
        core.take_effects();
    }
    assert_eq!(in_flight, IN_FLIGHT_MAX);
    assert!(core.queue(id).unwrap().is_at_in_flight_limit());
    let (seq, receive) = first.unwrap();
    core.take_effects();
    core.acknowledge(id, seq, receive, 2);
    assert_eq!(
        core.take_effects().touched,
        [id],
        "a free place in flight wakes a waiting receive"
    );
    assert_eq!(core.receive(id, 10, None, 3).unwrap().len(), 1);
}

#[test]
fn a_visibility_timeout_totals_twelve_hours_at_most() {
    let mut core = core_with(&[("q", &[("MessageRetentionPeriod", "1209600")])]);
    let id = core.find(&name("q")).unwrap();
    core.send(id, vec![new_message(1, None, None, 0)], 0);
    let received = core.receive(id, 1, None, 0).unwrap().remove(0);
    let hour_ms = 3_600 * MS_PER_S;
    assert_eq!(
        core.change_visibility(id, received.seq, 1, 43_200, 0),
        Ok(())
    );
    assert_eq!(
        core.change_visibility(id, received.seq, 1, 39_600, hour_ms),
        Ok(())
    );
    let beyond = core.change_visibility(id, received.seq, 1, 43_200, hour_ms);
    assert!(
        matches!(beyond, Err(SqsError::InvalidParameterValue(_))),
        "{beyond:?}"
    );
}

#[test]
fn a_queue_created_again_has_no_messages_of_the_old_one() {
    let mut core = core_with(&[("q", &[])]);
    let old = core.find(&name("q")).unwrap();
    core.send(old, vec![new_message(1, None, None, 0)], 0);
    core.delete(&name("q")).unwrap();
    core.create(&name("q"), &BTreeMap::new(), BTreeMap::new(), 1)
        .unwrap();
    let new = core.find(&name("q")).unwrap();
    assert_ne!(old, new);
    assert!(core.receive(new, 10, None, 2).unwrap().is_empty());
}

#[test]
fn costs_do_not_grow_with_queues_groups_or_messages() {
    let mut core = core_with(&[]);
    for n in 0..10_000 {
        core.create(
            &name(&format!("q{n}")),
            &BTreeMap::new(),
            BTreeMap::new(),
            0,
        )
        .unwrap();
    }
    let id = core.find(&name("q77")).unwrap();
    let messages: u128 = 100_000;
    for n in 0..messages {
        core.send(
            id,
            vec![new_message(n, Some(&format!("g{}", n % 10_000)), None, 0)],
            0,
        );
    }
    core.take_effects();
    let started = std::time::Instant::now();
    let mut received = HashSet::new();
    for _ in 0..messages / 10 {
        for message in core.receive(id, 10, None, 1).unwrap() {
            received.insert(number(&message));
            core.acknowledge(id, message.seq, 1, 2);
        }
        core.take_effects();
    }
    assert_eq!(received.len() as u128, messages);
    // Linear scans would take minutes here; this takes about a second without optimization.
    assert!(
        started.elapsed().as_secs() < 60,
        "took {:?}",
        started.elapsed()
    );
}
