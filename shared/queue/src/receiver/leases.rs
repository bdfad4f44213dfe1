//! Who holds which lease until when: pure, ordered by deadline.
//!
//! A lease is due for extension at half its time. It is given up when it was extended for as long as is allowed, or
//! when SQS no longer knows it: the message then belongs to somebody else, or to nobody.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use tokio::time::Instant;

/// Names one held lease within its book.
pub(super) type LeaseId = u64;

/// The leases in hand.
pub(super) struct Leases {
    time: Duration,
    max: Duration,
    next_id: LeaseId,
    held: HashMap<LeaseId, Lease>,
    due: BTreeSet<(Instant, LeaseId)>,
}

struct Lease {
    receipt_handle: String,
    due_at: Instant,
    ends_at: Instant,
}

impl Leases {
    /// No leases; each lasts `time` and is extended to `max` in total at most.
    pub(super) fn new(time: Duration, max: Duration) -> Self {
        Self {
            time,
            max,
            next_id: 0,
            held: HashMap::new(),
            due: BTreeSet::new(),
        }
    }

    /// Notes a lease that begins now.
    pub(super) fn hold(&mut self, receipt_handle: String, now: Instant) -> LeaseId {
        let id = self.next_id;
        self.next_id += 1;
        let due_at = now + self.time / 2;
        self.held.insert(
            id,
            Lease {
                receipt_handle,
                due_at,
                ends_at: now + self.max,
            },
        );
        self.due.insert((due_at, id));
        id
    }

    /// Forgets a lease: its message is settled, or lost.
    pub(super) fn release(&mut self, id: LeaseId) {
        if let Some(lease) = self.held.remove(&id) {
            self.due.remove(&(lease.due_at, id));
        }
    }

    /// When the next lease is due.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.due.first().map(|(at, _)| *at)
    }

    /// Up to `max` leases to extend now, the most urgent first; each is due again at half its new time. Leases that may
    /// not last any longer are given up.
    pub(super) fn take_due(&mut self, now: Instant, max: usize) -> Vec<(LeaseId, String)> {
        let mut taken = Vec::new();
        while taken.len() < max {
            let Some((at, id)) = self.due.first().copied().filter(|(at, _)| *at <= now) else {
                break;
            };
            self.due.remove(&(at, id));
            let Some(lease) = self.held.get_mut(&id) else {
                continue;
            };
            if now + self.time > lease.ends_at {
                self.held.remove(&id);
                continue;
            }
            lease.due_at = now + self.time / 2;
            self.due.insert((lease.due_at, id));
            taken.push((id, lease.receipt_handle.clone()));
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TIME: Duration = Duration::from_secs(60);

    #[tokio::test(start_paused = true)]
    async fn a_lease_is_due_at_half_its_time_until_it_may_not_last_longer() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut leases = Leases::new(TIME, Duration::from_secs(150));
        let id = leases.hold("handle".to_owned(), start);
        assert_eq!(leases.next_due(), Some(at(30)));
        assert!(leases.take_due(at(29), 10).is_empty());
        for seconds in [30, 60, 90] {
            assert_eq!(
                leases.take_due(at(seconds), 10),
                [(id, "handle".to_owned())]
            );
            assert!(leases.take_due(at(seconds), 10).is_empty(), "once");
        }
        assert!(
            leases.take_due(at(120), 10).is_empty(),
            "it would end after 180 s"
        );
        assert_eq!(leases.next_due(), None, "given up");
        leases.release(id);
    }

    proptest! {
        #[test]
        fn every_lease_in_hand_is_extended_in_time_and_no_other(
            steps in proptest::collection::vec((0_u64..20, prop::option::of(0_usize..30), any::<bool>()), 0..120)
        ) {
            let mut now = Instant::now();
            let mut leases = Leases::new(TIME, Duration::from_secs(1_000_000));
            // What is in hand, and since when its current lease runs.
            let mut hands: Vec<(LeaseId, Instant)> = Vec::new();
            for (seconds, released, takes) in steps {
                now += Duration::from_secs(seconds);
                if takes {
                    hands.push((leases.hold(String::new(), now), now));
                }
                if let Some(place) = released.filter(|place| *place < hands.len()) {
                    leases.release(hands.remove(place).0);
                }
                let due = leases.take_due(now, usize::MAX);
                for (id, _) in due {
                    let hand = hands.iter_mut().find(|hand| hand.0 == id);
                    prop_assert!(hand.is_some(), "released leases are not extended");
                    hand.expect("checked").1 = now;
                }
                prop_assert!(hands.iter().all(|(_, since)| now - *since < TIME / 2 || *since == now));
                prop_assert_eq!(leases.held.len(), hands.len());
                prop_assert_eq!(leases.due.len(), hands.len());
            }
        }
    }
}
