//! Fair delivery among the message groups of one queue.
//!
//! The group with the fewest messages in flight goes first; among equals, the one served least recently. A new group
//! joins behind the waiting groups, so a stream of short-lived groups cannot starve a long one. Within a group, messages
//! go out in the order in which they became ready.
//!
//! Every step costs O(log groups + log group size). The index knows the ready messages only; the
//! [`Queue`](super::queue::Queue) reports each change of state.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::message::{GroupKey, Seq};

#[derive(Debug, Default)]
pub(crate) struct FairIndex {
    groups: HashMap<GroupKey, Group>,
    /// Groups with a ready message: (in flight, last served, group).
    order: BTreeSet<(u32, u64, GroupKey)>,
    /// Counts new groups, ready messages and served messages.
    clock: u64,
}

#[derive(Debug)]
struct Group {
    /// Ready messages, by position.
    ready: BTreeMap<u64, Seq>,
    in_flight: u32,
    last_served: u64,
    /// Messages of the group in the queue, in any state.
    messages: usize,
}

impl FairIndex {
    /// Adds a message of the group to the queue.
    pub(crate) fn add_message(&mut self, key: &GroupKey) {
        if let Some(group) = self.groups.get_mut(key) {
            group.messages += 1;
            return;
        }
        self.clock += 1;
        let group = Group {
            ready: BTreeMap::new(),
            in_flight: 0,
            last_served: self.clock,
            messages: 1,
        };
        self.groups.insert(key.clone(), group);
    }

    /// Removes a message of the group from the queue. It must be neither ready nor in flight.
    pub(crate) fn remove_message(&mut self, key: &GroupKey) {
        let Some(group) = self.groups.get_mut(key) else {
            return;
        };
        group.messages -= 1;
        if group.messages == 0 {
            debug_assert!(
                group.ready.is_empty() && group.in_flight == 0,
                "a group is removed only when empty"
            );
            self.groups.remove(key);
        }
    }

    /// Adds a ready message and returns its position in the group.
    pub(crate) fn push_ready(&mut self, key: &GroupKey, seq: Seq) -> u64 {
        self.clock += 1;
        let position = self.clock;
        let group = self
            .groups
            .get_mut(key)
            .expect("a message is added before it becomes ready");
        if group.ready.is_empty() {
            self.order
                .insert((group.in_flight, group.last_served, key.clone()));
        }
        group.ready.insert(position, seq);
        position
    }

    /// Removes a ready message that is not served: deleted, expired or dead-lettered.
    pub(crate) fn remove_ready(&mut self, key: &GroupKey, position: u64) {
        let Some(group) = self.groups.get_mut(key) else {
            return;
        };
        group.ready.remove(&position);
        if group.ready.is_empty() {
            self.order
                .remove(&(group.in_flight, group.last_served, key.clone()));
        }
    }

    /// Returns the message to deliver next.
    pub(crate) fn next(&self) -> Option<Seq> {
        let (_, _, key) = self.order.first()?;
        self.groups
            .get(key)?
            .ready
            .first_key_value()
            .map(|(_, seq)| *seq)
    }

    /// Marks a ready message as in flight.
    pub(crate) fn start_flight(&mut self, key: &GroupKey, position: u64) {
        self.clock += 1;
        let now = self.clock;
        self.reorder(key, |group| {
            group.ready.remove(&position);
            group.in_flight += 1;
            group.last_served = now;
        });
    }

    /// Ends the flight of a message.
    pub(crate) fn end_flight(&mut self, key: &GroupKey) {
        self.reorder(key, |group| group.in_flight -= 1);
    }

    /// Counts a message that was in flight when the endpoint stopped.
    pub(crate) fn restore_flight(&mut self, key: &GroupKey) {
        self.reorder(key, |group| group.in_flight += 1);
    }

    fn reorder(&mut self, key: &GroupKey, change: impl FnOnce(&mut Group)) {
        let group = self
            .groups
            .get_mut(key)
            .expect("the group of a message in the queue exists");
        let was_ready = !group.ready.is_empty();
        let before = (group.in_flight, group.last_served);
        change(group);
        let after = (group.in_flight, group.last_served);
        let is_ready = !group.ready.is_empty();
        if was_ready {
            self.order.remove(&(before.0, before.1, key.clone()));
        }
        if is_ready {
            self.order.insert((after.0, after.1, key.clone()));
        }
    }

    #[cfg(test)]
    pub(crate) fn groups(&self) -> usize {
        self.groups.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> GroupKey {
        Some(name.into())
    }

    /// Adds ready messages and records their positions.
    fn fill(
        index: &mut FairIndex,
        positions: &mut HashMap<Seq, (GroupKey, u64)>,
        name: &str,
        seqs: std::ops::Range<u64>,
    ) {
        for seq in seqs.map(Seq) {
            index.add_message(&key(name));
            let position = index.push_ready(&key(name), seq);
            positions.insert(seq, (key(name), position));
        }
    }

    fn serve(index: &mut FairIndex, positions: &HashMap<Seq, (GroupKey, u64)>) -> u64 {
        let seq = index.next().unwrap();
        let (group, position) = &positions[&seq];
        index.start_flight(group, *position);
        seq.0
    }

    #[test]
    fn a_noisy_group_does_not_starve_a_quiet_one() {
        let (mut index, mut positions) = (FairIndex::default(), HashMap::new());
        fill(&mut index, &mut positions, "noisy", 0..1_000);
        fill(&mut index, &mut positions, "quiet", 1_000..1_002);
        let served: Vec<_> = (0..4).map(|_| serve(&mut index, &positions)).collect();
        assert_eq!(served, [0, 1_000, 1, 1_001]);
    }

    #[test]
    fn the_group_with_fewest_in_flight_goes_first() {
        let (mut index, mut positions) = (FairIndex::default(), HashMap::new());
        fill(&mut index, &mut positions, "busy", 0..10);
        for _ in 0..5 {
            serve(&mut index, &positions);
        }
        fill(&mut index, &mut positions, "idle", 100..110);
        let served: Vec<_> = (0..5).map(|_| serve(&mut index, &positions)).collect();
        assert_eq!(
            served,
            [100, 101, 102, 103, 104],
            "until both have five in flight"
        );
        for _ in 0..5 {
            index.end_flight(&key("busy"));
        }
        assert_eq!(
            serve(&mut index, &positions),
            5,
            "busy has nothing in flight and goes first again"
        );
    }

    #[test]
    fn short_lived_groups_do_not_starve_a_long_one() {
        let (mut index, mut positions) = (FairIndex::default(), HashMap::new());
        fill(&mut index, &mut positions, "long", 0..100);
        let mut long_served = 0;
        for round in 0..100_u64 {
            let name = format!("short-{round}");
            fill(
                &mut index,
                &mut positions,
                &name,
                1_000 + round..1_001 + round,
            );
            let seq = serve(&mut index, &positions);
            long_served += u64::from(seq < 100);
            let group = positions[&Seq(seq)].0.clone();
            index.end_flight(&group);
            index.remove_message(&group);
        }
        assert!(
            long_served >= 1,
            "the long group was served {long_served} times"
        );
    }

    #[test]
    fn groups_without_messages_are_removed() {
        let (mut index, mut positions) = (FairIndex::default(), HashMap::new());
        for n in 0..100 {
            fill(&mut index, &mut positions, &format!("g{n}"), n..n + 1);
        }
        while index.next().is_some() {
            let seq = serve(&mut index, &positions);
            let group = positions[&Seq(seq)].0.clone();
            index.end_flight(&group);
            index.remove_message(&group);
        }
        assert_eq!(index.groups(), 0);
    }
}
