//! What goes wrong, and how often: a seed's weather, and the fate it deals each call. Pure.

use std::time::Duration;

use crate::trace::Failure;

/// Shares are of calls unless they say otherwise; times are one way.
#[derive(Debug, Clone, Default)]
pub(crate) struct Weather {
    /// Usual time from the socket to the queue, and as much back, at most.
    pub(crate) latency_ms: u64,
    /// Share of ways that take up to `slow_ms` instead.
    pub(crate) slow: f64,
    pub(crate) slow_ms: u64,
    /// Throttled or failed by the service, without effect.
    pub(crate) refused: f64,
    /// Refused as forbidden.
    pub(crate) forbidden: f64,
    /// Connection broken before the call had its effect.
    pub(crate) reset: f64,
    /// Answer lost, or nonsense, after the call had its effect.
    pub(crate) lost: f64,
    /// Neither effect nor answer, ever.
    pub(crate) hung: f64,
    /// Share of batch entries that fail for a passing reason.
    pub(crate) entry_failed: f64,
    /// Share of batch entries the answer says nothing of, effect or not.
    pub(crate) entry_missing: f64,
    /// Receives that hand over a message somebody else holds.
    pub(crate) twice: f64,
    /// Receives that find nothing where there is something.
    pub(crate) blind: f64,
    /// Share of confirmed deletes without effect.
    pub(crate) undeleted: f64,
}

/// What happens to one call.
#[derive(Debug, Clone)]
pub(crate) struct Fate {
    /// Until the queue sees it.
    pub(crate) before: Duration,
    /// From there to its answer.
    pub(crate) after: Duration,
    pub(crate) course: Course,
}

/// Whether a call has its effect and its answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Course {
    /// Both.
    Answered,
    /// No effect, and a failure.
    Without(Failure),
    /// Its effect, and a failure.
    After(Failure),
    /// Neither.
    Hung,
}

impl Weather {
    /// A service that does what it is asked, within this time each way.
    pub(crate) fn calm(latency_ms: u64) -> Self {
        Self {
            latency_ms,
            ..Self::default()
        }
    }

    /// Passing failures, none of which a patient caller should notice.
    pub(crate) fn mild(latency_ms: u64) -> Self {
        Self {
            latency_ms,
            refused: 0.1,
            reset: 0.1,
            lost: 0.05,
            entry_failed: 0.15,
            entry_missing: 0.05,
            ..Self::default()
        }
    }

    /// Anything, in a mixture of its own.
    pub(crate) fn stormy(dice: &mut fastrand::Rng) -> Self {
        // Most kinds are absent, so that each is also met alone; those present are anything up to frequent.
        let mut share = |max: f64| {
            if dice.u8(..3) == 0 {
                max * dice.f64()
            } else {
                0.0
            }
        };
        Self {
            slow: share(0.4),
            refused: share(0.5),
            forbidden: share(0.1),
            reset: share(0.4),
            lost: share(0.4),
            hung: share(0.2),
            entry_failed: share(0.5),
            entry_missing: share(0.3),
            twice: share(0.3),
            blind: share(0.3),
            undeleted: share(0.1),
            latency_ms: [0, 1, 5, 50, 400][dice.usize(..5)],
            slow_ms: [500, 2_500, 4_000, 9_000][dice.usize(..4)],
        }
    }

    /// Deals one call its fate.
    pub(crate) fn fate(&self, dice: &mut fastrand::Rng) -> Fate {
        let way = |dice: &mut fastrand::Rng| {
            let most = if dice.f64() < self.slow {
                self.slow_ms
            } else {
                self.latency_ms
            };
            Duration::from_millis(dice.u64(0..=most))
        };
        let (before, after, mut left) = (way(dice), way(dice), dice.f64());
        let mut hit = |share: f64| {
            left -= share;
            left < 0.0
        };
        let course = if hit(self.refused) {
            let refusals = [
                (400, "ThrottlingException"),
                (500, "InternalError"),
                (503, "ServiceUnavailable"),
            ];
            let (status, code) = refusals[dice.usize(..refusals.len())];
            Course::Without(Failure::Refused { status, code })
        } else if hit(self.forbidden) {
            Course::Without(Failure::Refused {
                status: 403,
                code: "AccessDenied",
            })
        } else if hit(self.reset) {
            Course::Without(Failure::Reset)
        } else if hit(self.lost) {
            let losses = [
                Failure::Reset,
                Failure::Garbled,
                Failure::Refused {
                    status: 500,
                    code: "InternalError",
                },
            ];
            Course::After(losses[dice.usize(..losses.len())].clone())
        } else if hit(self.hung) {
            Course::Hung
        } else {
            Course::Answered
        };
        Fate {
            before,
            after,
            course,
        }
    }
}
