//! Whose message is next: fair delivery among the message groups of one queue.
//!
//! The group with the fewest messages in flight goes first; among equals, the one served least recently.
//! A group that had nothing in the queue joins behind those already waiting, so a stream of short-lived
//! groups cannot starve a long one. Inside a group messages go out in the order they became ready.
//! Every step costs O(log groups + log group size). Only messages that are ready are in line; the
//! [`Queue`](super::queue::Queue) tells this index of each change of place.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::message::{GroupKey, Seq};

/// The line of each group and the order of the groups.
#[derive(Debug, Default)]
pub(crate) struct FairIndex {
    groups: HashMap<GroupKey, Group>,
    /// Groups with a message ready: (in flight, last served, group).
    order: BTreeSet<(u32, u64, GroupKey)>,
    /// Ticks once for every service, arrival of a group, and place in a line.
    clock: u64,
}

#[derive(Debug)]
struct Group {
    /// Ready messages, by turn.
    ready: BTreeMap<u64, Seq>,
    in_flight: u32,
    last_served: u64,
    /// Messages of the group in the queue, in whatever place.
    members: usize,
}

impl FairIndex {
    /// A message of the group entered the queue.
    pub(crate) fn join(&mut self, key: &GroupKey) {
        if let Some(group) = self.groups.get_mut(key) {
            group.members += 1;
            return;
        }
        self.clock += 1;
        let group = Group {
            ready: BTreeMap::new(),
            in_flight: 0,
            last_served: self.clock,
            members: 1,
        };
        self.groups.insert(key.clone(), group);
    }

    /// A message of the group left the queue; it must be neither ready nor in flight any more.
    pub(crate) fn leave(&mut self, key: &GroupKey) {
        let Some(group) = self.groups.get_mut(key) else {
            return;
        };
        group.members -= 1;
        if group.members == 0 {
            debug_assert!(
                group.ready.is_empty() && group.in_flight == 0,
                "a group leaves only when empty"
            );
            self.groups.remove(key);
        }
    }

    /// A message became ready. Returns its turn.
    pub(crate) fn line_up(&mut self, key: &GroupKey, seq: Seq) -> u64 {
        self.clock += 1;
        let turn = self.clock;
        let group = self
            .groups
            .get_mut(key)
            .expect("a message joins before it lines up");
        if group.ready.is_empty() {
            self.order
                .insert((group.in_flight, group.last_served, key.clone()));
        }
        group.ready.insert(turn, seq);
        turn
    }

    /// A ready message stops being so without being served (deleted, expired, set aside).
    pub(crate) fn step_out(&mut self, key: &GroupKey, turn: u64) {
        let Some(group) = self.groups.get_mut(key) else {
            return;
        };
        group.ready.remove(&turn);
        if group.ready.is_empty() {
            self.order
                .remove(&(group.in_flight, group.last_served, key.clone()));
        }
    }

    /// The message whose turn it is.
    pub(crate) fn first(&self) -> Option<Seq> {
        let (_, _, key) = self.order.first()?;
        self.groups
            .get(key)?
            .ready
            .first_key_value()
            .map(|(_, seq)| *seq)
    }

    /// The ready message with this turn is served: it counts as in flight from now on.
    pub(crate) fn serve(&mut self, key: &GroupKey, turn: u64) {
        self.clock += 1;
        let now = self.clock;
        self.reorder(key, |group| {
            group.ready.remove(&turn);
            group.in_flight += 1;
            group.last_served = now;
        });
    }

    /// A message in flight is so no more.
    pub(crate) fn land(&mut self, key: &GroupKey) {
        self.reorder(key, |group| group.in_flight -= 1);
    }

    /// A message comes back from the store already in flight.
    pub(crate) fn resume(&mut self, key: &GroupKey) {
        self.reorder(key, |group| group.in_flight += 1);
    }

    fn reorder(&mut self, key: &GroupKey, change: impl FnOnce(&mut Group)) {
        let group = self
            .groups
            .get_mut(key)
            .expect("the group of a message in the queue exists");
        let was_in_line = !group.ready.is_empty();
        let before = (group.in_flight, group.last_served);
        change(group);
        let after = (group.in_flight, group.last_served);
        let is_in_line = !group.ready.is_empty();
        if was_in_line {
            self.order.remove(&(before.0, before.1, key.clone()));
        }
        if is_in_line {
            self.order.insert((after.0, after.1, key.clone()));
        }
    }

    /// Number of groups with a message in the queue.
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

    /// Adds `count` ready messages; returns their turns by seq.
    fn fill(
        index: &mut FairIndex,
        turns: &mut HashMap<Seq, (GroupKey, u64)>,
        name: &str,
        seqs: std::ops::Range<u64>,
    ) {
        for seq in seqs.map(Seq) {
            index.join(&key(name));
            let turn = index.line_up(&key(name), seq);
            turns.insert(seq, (key(name), turn));
        }
    }

    fn serve(index: &mut FairIndex, turns: &HashMap<Seq, (GroupKey, u64)>) -> u64 {
        let seq = index.first().unwrap();
        let (group, turn) = &turns[&seq];
        index.serve(group, *turn);
        seq.0
    }

    #[test]
    fn a_noisy_group_does_not_starve_a_quiet_one() {
        let (mut index, mut turns) = (FairIndex::default(), HashMap::new());
        fill(&mut index, &mut turns, "noisy", 0..1_000);
        fill(&mut index, &mut turns, "quiet", 1_000..1_002);
        let served: Vec<_> = (0..4).map(|_| serve(&mut index, &turns)).collect();
        assert_eq!(served, [0, 1_000, 1, 1_001]);
    }

    #[test]
    fn the_group_with_fewest_in_flight_goes_first() {
        let (mut index, mut turns) = (FairIndex::default(), HashMap::new());
        fill(&mut index, &mut turns, "busy", 0..10);
        for _ in 0..5 {
            serve(&mut index, &turns);
        }
        fill(&mut index, &mut turns, "idle", 100..110);
        let served: Vec<_> = (0..5).map(|_| serve(&mut index, &turns)).collect();
        assert_eq!(
            served,
            [100, 101, 102, 103, 104],
            "until both have five in flight"
        );
        for _ in 0..5 {
            index.land(&key("busy"));
        }
        assert_eq!(
            serve(&mut index, &turns),
            5,
            "busy has landed all and goes first again"
        );
    }

    #[test]
    fn short_lived_groups_do_not_starve_a_long_one() {
        let (mut index, mut turns) = (FairIndex::default(), HashMap::new());
        fill(&mut index, &mut turns, "long", 0..100);
        let mut long_served = 0;
        for round in 0..100_u64 {
            let name = format!("short-{round}");
            fill(&mut index, &mut turns, &name, 1_000 + round..1_001 + round);
            let seq = serve(&mut index, &turns);
            long_served += u64::from(seq < 100);
            let group = turns[&Seq(seq)].0.clone();
            index.land(&group);
            index.leave(&group);
        }
        assert!(
            long_served >= 1,
            "the long group was served {long_served} times"
        );
    }

    #[test]
    fn groups_without_messages_are_forgotten() {
        let (mut index, mut turns) = (FairIndex::default(), HashMap::new());
        for n in 0..100 {
            fill(&mut index, &mut turns, &format!("g{n}"), n..n + 1);
        }
        while index.first().is_some() {
            let seq = serve(&mut index, &turns);
            let group = turns[&Seq(seq)].0.clone();
            index.land(&group);
            index.leave(&group);
        }
        assert_eq!(index.groups(), 0);
    }
}
