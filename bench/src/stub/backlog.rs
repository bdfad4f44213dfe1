//! Messages to be received: numbers only, each delivered once.

use std::collections::HashSet;
use std::time::Instant;

/// A preloaded queue. No message is redelivered: a measurement is shorter than any lease.
#[derive(Default)]
pub(super) struct Backlog {
    next: u64,
    end: u64,
    outstanding: HashSet<u64>,
    received: u64,
    deleted: u64,
    filled_at: Option<Instant>,
    drained_after_us: Option<u64>,
}

impl Backlog {
    /// Resets the counts and adds this many messages; no number is used twice.
    pub(super) fn fill(&mut self, count: u64, now: Instant) {
        *self = Self {
            next: self.end,
            end: self.end + count,
            filled_at: Some(now),
            ..Self::default()
        };
    }

    /// Delivers up to `max` messages.
    pub(super) fn take(&mut self, max: u64) -> std::ops::Range<u64> {
        let taken = self.next..self.end.min(self.next + max);
        self.next = taken.end;
        self.received += taken.end - taken.start;
        self.outstanding.extend(taken.clone());
        taken
    }

    /// Deletes one message; a number that was not delivered is ignored, as in SQS.
    pub(super) fn delete(&mut self, number: u64, now: Instant) {
        if !self.outstanding.remove(&number) {
            return;
        }
        self.deleted += 1;
        if self.next == self.end && self.outstanding.is_empty() {
            self.drained_after_us = self.filled_at.map(|start| micros(now - start));
        }
    }

    pub(super) const fn received(&self) -> u64 {
        self.received
    }

    pub(super) const fn deleted(&self) -> u64 {
        self.deleted
    }

    /// Time from the fill to the last delete, once the backlog is empty.
    pub(super) const fn drained_after_us(&self) -> Option<u64> {
        self.drained_after_us
    }
}

fn micros(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_message_is_delivered_once_and_the_drain_ends_with_the_last_delete() {
        let (mut backlog, now) = (Backlog::default(), Instant::now());
        backlog.fill(12, now);
        assert_eq!(
            (backlog.take(10), backlog.take(10), backlog.take(10)),
            (0..10, 10..12, 12..12)
        );
        (0..11).for_each(|number| backlog.delete(number, now));
        backlog.delete(0, now);
        assert_eq!((backlog.deleted(), backlog.drained_after_us()), (11, None));
        backlog.delete(11, now + std::time::Duration::from_millis(3));
        assert_eq!((backlog.received(), backlog.deleted()), (12, 12));
        assert_eq!(backlog.drained_after_us(), Some(3000));
    }

    #[test]
    fn a_new_backlog_counts_from_zero_and_ignores_old_messages() {
        let (mut backlog, now) = (Backlog::default(), Instant::now());
        backlog.fill(5, now);
        backlog.take(5);
        backlog.fill(2, now);
        backlog.delete(3, now);
        assert_eq!((backlog.deleted(), backlog.received()), (0, 0));
        assert_eq!(backlog.take(10), 5..7);
    }
}
