//! The counts of the stub.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::backlog::Backlog;

/// Calls and messages since the counts were last set to zero.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Counts {
    /// Calls by action, such as `AmazonSQS.SendMessage`.
    pub(crate) calls: BTreeMap<String, u64>,
    /// Receives that returned no message or still wait: the cost of an idle queue.
    pub(crate) empty_receives: u64,
    /// Messages sent to the queue.
    pub(crate) sent: u64,
    pub(crate) received: u64,
    /// Messages deleted, each once.
    pub(crate) deleted: u64,
    pub(crate) stored: u64,
    /// Time from the fill to the last delete, once the backlog is empty.
    pub(crate) drained_after_us: Option<u64>,
}

impl Counts {
    pub(crate) fn all(&self) -> u64 {
        self.calls.values().sum()
    }

    /// Calls of one action of any service.
    pub(crate) fn of(&self, action: &str) -> u64 {
        let is_action = |(name, _): &(&String, &u64)| name.rsplit('.').next() == Some(action);
        self.calls
            .iter()
            .filter(is_action)
            .map(|(_, count)| count)
            .sum()
    }

    /// Calls of one service, by the prefix of its actions.
    pub(crate) fn of_service(&self, prefix: &str) -> u64 {
        self.calls
            .iter()
            .filter(|(name, _)| name.starts_with(prefix))
            .map(|(_, count)| count)
            .sum()
    }
}

/// The counts and the backlog of the stub.
#[derive(Default)]
pub(super) struct Ledger {
    calls: BTreeMap<String, u64>,
    full_receives: u64,
    sent: u64,
    stored: u64,
    backlog: Backlog,
}

impl Ledger {
    pub(super) fn count_call(&mut self, action: &str) {
        match self.calls.get_mut(action) {
            Some(count) => *count += 1,
            None => drop(self.calls.insert(action.to_owned(), 1)),
        }
    }

    pub(super) const fn count_sent(&mut self, messages: u64) {
        self.sent += messages;
    }

    pub(super) const fn count_stored(&mut self, items: u64) {
        self.stored += items;
    }

    pub(super) fn take(&mut self, max: u64) -> Range<u64> {
        let taken = self.backlog.take(max);
        self.full_receives += u64::from(!taken.is_empty());
        taken
    }

    pub(super) fn delete(&mut self, number: u64) {
        self.backlog.delete(number, Instant::now());
    }

    /// Sets the counts to zero and the backlog to this many messages.
    pub(super) fn restart(&mut self, backlog: u64) {
        self.calls.clear();
        (self.full_receives, self.sent, self.stored) = (0, 0, 0);
        self.backlog.fill(backlog, Instant::now());
    }

    pub(super) fn counts(&self) -> Counts {
        let receives = self
            .calls
            .get("AmazonSQS.ReceiveMessage")
            .copied()
            .unwrap_or(0);
        Counts {
            calls: self.calls.clone(),
            // A receive that waited while the counts were set to zero is answered but not counted.
            empty_receives: receives.saturating_sub(self.full_receives),
            sent: self.sent,
            received: self.backlog.received(),
            deleted: self.backlog.deleted(),
            stored: self.stored,
            drained_after_us: self.backlog.drained_after_us(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_receives_are_counted_apart() {
        let mut ledger = Ledger::default();
        ledger.restart(15);
        for _ in 0..3 {
            ledger.count_call("AmazonSQS.ReceiveMessage");
            ledger.take(10);
        }
        assert_eq!(ledger.counts().empty_receives, 1);
    }

    #[test]
    fn calls_are_found_by_action_and_by_service() {
        let mut ledger = Ledger::default();
        for action in [
            "AmazonSQS.SendMessage",
            "AmazonSQS.SendMessage",
            "DynamoDB_20120810.PutItem",
        ] {
            ledger.count_call(action);
        }
        let counts = ledger.counts();
        assert_eq!(
            (counts.all(), counts.of("SendMessage"), counts.of("Send")),
            (3, 2, 0)
        );
        assert_eq!(counts.of_service("AmazonSQS."), 2);
    }
}
