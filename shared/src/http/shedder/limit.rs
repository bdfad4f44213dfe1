//! How many requests are under way at most, by how late the runtime is: pure.
//!
//! Late now and then is no overload: a neighbour on the processor, a throttled container. Late at most looks is: work
//! piles up. Then the number goes down, by as much as it is late; on time, it goes up, slowly near the edge, until nobody
//! is refused any more. Requests that wait to be read count, too: longer than new ones do is late.

use std::time::Duration;

use super::FREE;

/// Looks of which the middle one counts.
const LOOKS: usize = 5;
/// How long a request may wait before it is read and still count as new, in so many times what may be late.
const NEW_FOR: u32 = 5;
/// How long the middle one must be late before there is a limit.
const LIMIT_AFTER: Duration = Duration::from_millis(20);
/// How fast it falls at most, as a part of the limit a second: at twice as late as may be. Those that are under way need
/// about ten milliseconds to end, so what a step does is seen after several looks; faster, and each burst would lead down to
/// the least.
const FALL_PER_SECOND: f64 = 10.0;
/// How fast it rises at most, as a part of the limit a second: when nothing is late at all.
const RISE_PER_SECOND: f64 = 5.0;
/// Largest step, as a part of the limit, however long ago the last look was.
const STEP_MAX: f64 = 0.3;
/// Part of the limit that must be under way for it to rise: room that nobody needs is where a burst piles up.
const USED_MIN: f64 = 0.8;
/// Time with less than that under way after which there is no limit.
const LIFT_AFTER: Duration = Duration::from_secs(1);

/// What was seen at one look.
#[derive(Debug, Clone, Copy)]
pub(super) struct Look {
    /// How long a task waited for its turn.
    pub(super) late: Duration,
    /// How long a request waited before it was read.
    pub(super) waited: Duration,
    /// Requests under way.
    pub(super) under_way: usize,
    /// Time since the last look.
    pub(super) since: Duration,
}

/// The limit, and what it depends on.
#[derive(Debug)]
pub(super) struct Limit {
    /// How long a task may wait for its turn. An answer takes about six turns, so this is what an overload adds to one, six
    /// times. Much less, and a process that is busy and answers soon enough would refuse.
    may_be: Duration,
    /// None is no limit.
    most: Option<f64>,
    late: [Duration; LOOKS],
    next: usize,
    /// How long it has been late without a limit.
    late_for: Duration,
    /// How long a part of the limit has not been used.
    spare: Duration,
}

impl Limit {
    /// None yet.
    pub(super) fn new(may_be: Duration) -> Self {
        Self {
            may_be,
            most: None,
            late: Default::default(),
            next: 0,
            late_for: Duration::ZERO,
            spare: Duration::ZERO,
        }
    }

    /// One of so many.
    #[cfg(test)]
    pub(super) fn of(most: usize) -> Self {
        Self {
            most: Some(most as f64),
            ..Self::new(Duration::from_millis(2))
        }
    }

    /// Requests under way at most; none is no limit.
    pub(super) fn most(&self) -> Option<usize> {
        self.most.map(|most| most as usize)
    }

    /// The same for a request that has waited for so long: half as many where that is long. It is late already; whoever asks
    /// now need not be.
    pub(super) fn most_after(&self, waited: Duration) -> Option<usize> {
        let is_new = waited <= self.may_be * NEW_FOR;
        self.most().map(|most| if is_new { most } else { most / 2 })
    }

    /// Takes one look into account.
    pub(super) fn adapt(&mut self, look: Look) {
        self.late[self.next % LOOKS] = look.late.max(look.waited / NEW_FOR);
        self.next += 1;
        let lateness = self.middle().as_secs_f64() / self.may_be.as_secs_f64();
        let under_way = look.under_way as f64;
        let Some(most) = self.most else {
            self.late_for = if lateness > 1.0 {
                self.late_for + look.since
            } else {
                Duration::ZERO
            };
            self.most = (self.late_for >= LIMIT_AFTER).then_some(under_way.max(FREE as f64));
            return;
        };
        let is_used = under_way >= most * USED_MIN;
        self.spare = if is_used {
            Duration::ZERO
        } else {
            self.spare + look.since
        };
        if self.spare >= LIFT_AFTER {
            *self = Self::new(self.may_be);
            return;
        }
        let seconds = look.since.as_secs_f64();
        let step = if lateness > 1.0 {
            -FALL_PER_SECOND * seconds * (lateness - 1.0).min(1.0)
        } else if is_used {
            RISE_PER_SECOND * seconds * (1.0 - lateness)
        } else {
            0.0
        };
        self.most = Some((most * (1.0 + step.clamp(-STEP_MAX, STEP_MAX))).max(FREE as f64));
    }

    fn middle(&self) -> Duration {
        let mut late = self.late;
        late.sort_unstable();
        late[LOOKS / 2]
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LATE: Duration = Duration::from_millis(2);
    const ON_TIME: Duration = Duration::from_micros(100);
    const SINCE: Duration = Duration::from_millis(2);
    /// Looks until a late runtime has a limit.
    const TO_LIMIT: usize = LOOKS / 2 + 10;

    fn look(limit: &mut Limit, looks: usize, late: Duration, under_way: usize) {
        (0..looks).for_each(|_| {
            limit.adapt(Look {
                late,
                waited: Duration::ZERO,
                under_way,
                since: SINCE,
            })
        });
    }

    #[test]
    fn late_now_and_then_is_no_overload() {
        let mut limit = Limit::new(LATE);
        for _ in 0..100 {
            look(&mut limit, LOOKS / 2, Duration::from_millis(90), 500);
            look(&mut limit, LOOKS - LOOKS / 2, ON_TIME, 500);
        }
        assert_eq!(limit.most(), None);
    }

    #[test]
    fn the_later_the_fewer_and_never_fewer_than_are_free() {
        let (mut little, mut much) = (Limit::new(LATE), Limit::new(LATE));
        look(&mut little, TO_LIMIT + 1, LATE * 3 / 2, 1000);
        look(&mut much, TO_LIMIT + 1, LATE * 100, 1000);
        assert!(
            much.most() < little.most() && little.most() < Some(1000),
            "{much:?} {little:?}"
        );
        assert!(
            much.most() > Some(300),
            "not to nothing in one step: {much:?}"
        );
        look(&mut much, 300, LATE * 100, 1000);
        assert_eq!(much.most(), Some(FREE));
    }

    #[test]
    fn once_it_is_on_time_the_limit_rises_to_what_is_needed_and_goes() {
        let mut limit = Limit::of(FREE);
        look(&mut limit, 100, ON_TIME, FREE);
        assert!(limit.most() > Some(FREE), "{limit:?}");
        look(&mut limit, 1000, ON_TIME, 60);
        assert_eq!(limit.most(), None, "more is not needed");
        let mut limit = Limit::of(FREE);
        look(&mut limit, 400, ON_TIME, 1000);
        assert!(limit.most() > Some(1000), "{limit:?}");
    }

    #[test]
    fn for_a_request_that_has_waited_long_there_is_half_the_room() {
        let limit = Limit::of(100);
        assert_eq!(limit.most_after(LATE * NEW_FOR), Some(100));
        assert_eq!(limit.most_after(LATE * NEW_FOR * 2), Some(50));
        assert_eq!(Limit::new(LATE).most_after(LATE * 1000), None);
    }

    #[test]
    fn requests_that_wait_to_be_read_are_late_too() {
        let mut limit = Limit::of(1000);
        for waited in [LATE * NEW_FOR, LATE * NEW_FOR * 2] {
            let before = limit.most();
            for _ in 0..LOOKS {
                limit.adapt(Look {
                    late: ON_TIME,
                    waited,
                    under_way: 1000,
                    since: SINCE,
                });
            }
            assert_eq!(limit.most() < before, waited > LATE * NEW_FOR, "{limit:?}");
        }
    }

    proptest! {
        #[test]
        fn fewer_than_are_free_are_never_refused(
            looks in proptest::collection::vec((0_u64..200_000, 0_u64..200_000, 0_usize..10_000), 0..300)
        ) {
            let mut limit = Limit::new(LATE);
            for (late_us, waited_us, under_way) in looks {
                let (late, waited) = (Duration::from_micros(late_us), Duration::from_micros(waited_us));
                limit.adapt(Look { late, waited, under_way, since: late + SINCE });
                prop_assert!(limit.most().is_none_or(|most| most >= FREE));
            }
        }
    }
}
