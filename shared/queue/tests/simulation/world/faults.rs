//! Rates of faults, and the faults of each call. Pure: random numbers are an argument.

use std::time::Duration;

use crate::trace::Failure;

/// Rates are shares of calls unless stated otherwise; times are one way.
#[derive(Debug, Clone, Default)]
pub(crate) struct FaultRates {
    /// Longest usual latency each way.
    pub(crate) latency_ms: u64,
    /// Share of ways with a latency of up to `slow_ms` instead.
    pub(crate) slow: f64,
    pub(crate) slow_ms: u64,
    /// Throttled or failed, without effect.
    pub(crate) refused: f64,
    /// Refused as forbidden.
    pub(crate) forbidden: f64,
    /// Connection broken before the call had its effect.
    pub(crate) reset: f64,
    /// Answer lost or unreadable after the call had its effect.
    pub(crate) lost: f64,
    /// Neither effect nor answer, ever.
    pub(crate) hung: f64,
    /// Share of batch entries that fail for a transient reason.
    pub(crate) entry_failed: f64,
    /// Share of batch entries that the answer omits, with or without effect.
    pub(crate) entry_missing: f64,
    /// Receives that deliver a message that is already leased.
    pub(crate) twice: f64,
    /// Receives that find no message though there are some.
    pub(crate) blind: f64,
    /// Share of confirmed deletes without effect.
    pub(crate) undeleted: f64,
}

/// Latencies and fault of one call.
#[derive(Debug, Clone)]
pub(crate) struct CallFault {
    /// Latency to the queue.
    pub(crate) before: Duration,
    /// Latency of the answer.
    pub(crate) after: Duration,
    pub(crate) kind: FaultKind,
}

/// Whether a call has an effect and an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum FaultKind {
    /// Effect and answer.
    Answered,
    /// No effect, and a failure.
    Without(Failure),
    /// Effect, and a failure.
    After(Failure),
    /// Neither effect nor answer.
    Hung,
}

impl FaultRates {
    /// No faults; this latency each way.
    pub(crate) fn none(latency_ms: u64) -> Self {
        Self {
            latency_ms,
            ..Self::default()
        }
    }

    /// Transient faults only; a caller with a long deadline gets no error.
    pub(crate) fn transient(latency_ms: u64) -> Self {
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

    /// Any faults, in random proportions.
    pub(crate) fn any(rng: &mut fastrand::Rng) -> Self {
        // Most kinds are absent, so that each also occurs alone.
        let mut share = |max: f64| {
            if rng.u8(..3) == 0 {
                max * rng.f64()
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
            latency_ms: [0, 1, 5, 50, 400][rng.usize(..5)],
            slow_ms: [500, 2_500, 4_000, 9_000][rng.usize(..4)],
        }
    }

    /// Draws the faults of one call.
    pub(crate) fn draw(&self, rng: &mut fastrand::Rng) -> CallFault {
        let way = |rng: &mut fastrand::Rng| {
            let most = if rng.f64() < self.slow {
                self.slow_ms
            } else {
                self.latency_ms
            };
            Duration::from_millis(rng.u64(0..=most))
        };
        let (before, after, mut left) = (way(rng), way(rng), rng.f64());
        let mut hit = |share: f64| {
            left -= share;
            left < 0.0
        };
        let kind = if hit(self.refused) {
            let refusals = [
                (400, "ThrottlingException"),
                (500, "InternalError"),
                (503, "ServiceUnavailable"),
            ];
            let (status, code) = refusals[rng.usize(..refusals.len())];
            FaultKind::Without(Failure::Refused { status, code })
        } else if hit(self.forbidden) {
            FaultKind::Without(Failure::Refused {
                status: 403,
                code: "AccessDenied",
            })
        } else if hit(self.reset) {
            FaultKind::Without(Failure::Reset)
        } else if hit(self.lost) {
            let losses = [
                Failure::Reset,
                Failure::Garbled,
                Failure::Refused {
                    status: 500,
                    code: "InternalError",
                },
            ];
            FaultKind::After(losses[rng.usize(..losses.len())].clone())
        } else if hit(self.hung) {
            FaultKind::Hung
        } else {
            FaultKind::Answered
        };
        CallFault {
            before,
            after,
            kind,
        }
    }
}
