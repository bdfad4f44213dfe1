//! The held leases, ordered by the time of their next extension. Pure: time is an argument.
//!
//! A lease is due for extension at half its duration. A lease that has reached its maximum is extended no more.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use tokio::time::Instant;

/// Id of a lease within one [`Leases`].
pub(super) type LeaseId = u64;

/// Leases of the unsettled messages.
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
    /// Each lease has the duration `time`; extensions end at `max` in total.
    pub(super) fn new(time: Duration, max: Duration) -> Self {
        Self {
            time,
            max,
            next_id: 0,
            held: HashMap::new(),
            due: BTreeSet::new(),
        }
    }

    /// Adds a lease that begins now.
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

    /// Removes a lease: its message is settled, or the lease is lost.
    pub(super) fn release(&mut self, id: LeaseId) {
        if let Some(lease) = self.held.remove(&id) {
            self.due.remove(&(lease.due_at, id));
        }
    }

    /// Returns the time at which the next lease is due.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.due.first().map(|(at, _)| *at)
    }

    /// Returns up to `max` leases to extend now, the most urgent first. Each is due again at half its new duration; leases
    /// at their maximum are removed.
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
    async fn a_lease_is_due_at_half_its_duration_until_it_reaches_its_maximum() {
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
        assert_eq!(leases.next_due(), None, "removed");
        leases.release(id);
    }

    proptest! {
        #[test]
        fn every_held_lease_is_extended_in_time_and_no_other(
            steps in proptest::collection::vec((0_u64..20, prop::option::of(0_usize..30), any::<bool>()), 0..120)
        ) {
            let mut now = Instant::now();
            let mut leases = Leases::new(TIME, Duration::from_secs(1_000_000));
            // Held leases, and the start of their current duration.
            let mut held: Vec<(LeaseId, Instant)> = Vec::new();
            for (seconds, released, takes) in steps {
                now += Duration::from_secs(seconds);
                if takes {
                    held.push((leases.hold(String::new(), now), now));
                }
                if let Some(at) = released.filter(|at| *at < held.len()) {
                    leases.release(held.remove(at).0);
                }
                let due = leases.take_due(now, usize::MAX);
                for (id, _) in due {
                    let lease = held.iter_mut().find(|lease| lease.0 == id);
                    prop_assert!(lease.is_some(), "released leases are not extended");
                    lease.expect("checked").1 = now;
                }
                prop_assert!(held.iter().all(|(_, since)| now - *since < TIME / 2 || *since == now));
                prop_assert_eq!(leases.held.len(), held.len());
                prop_assert_eq!(leases.due.len(), held.len());
            }
        }
    }
}
