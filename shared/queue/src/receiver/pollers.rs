//! The number of concurrent polls. Pure.

use super::MAX_RECEIVE;

/// One poll while the queue is idle; one more after each full response, one fewer after each other response.
pub(super) struct Pollers {
    wanted: usize,
    max: usize,
}

impl Pollers {
    pub(super) fn new(max: usize) -> Self {
        Self {
            wanted: 1,
            max: max.max(1),
        }
    }

    pub(super) const fn wanted(&self) -> usize {
        self.wanted
    }

    /// Adjusts the number after a poll for `asked` messages returned `received`. A full response to a poll for fewer than ten,
    /// for want of permits, says nothing about the queue.
    pub(super) fn answered(&mut self, asked: usize, received: usize) {
        if received < asked {
            self.wanted = (self.wanted - 1).max(1);
        } else if asked == MAX_RECEIVE {
            self.wanted = (self.wanted + 1).min(self.max);
        }
    }

    pub(super) const fn failed(&mut self) {
        self.wanted = 1;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn polls_increase_only_while_responses_are_full() {
        let mut pollers = Pollers::new(3);
        assert_eq!(pollers.wanted(), 1);
        for wanted in [2, 3, 3] {
            pollers.answered(10, 10);
            assert_eq!(pollers.wanted(), wanted);
        }
        for wanted in [2, 1, 1] {
            pollers.answered(10, 4);
            assert_eq!(pollers.wanted(), wanted);
        }
        pollers.answered(3, 3);
        assert_eq!(pollers.wanted(), 1, "full only for want of permits");
    }

    proptest! {
        #[test]
        fn there_is_always_one_poll_and_never_more_than_the_limit(
            max in 0_usize..20, answers in proptest::collection::vec((1_usize..=10, 0_usize..=10, any::<bool>()), 0..100)
        ) {
            let mut pollers = Pollers::new(max);
            for (asked, received, failed) in answers {
                if failed { pollers.failed() } else { pollers.answered(asked, received.min(asked)) }
                prop_assert!((1..=max.max(1)).contains(&pollers.wanted()));
            }
        }
    }
}
