//! Holding of work while a dependency is down: the work is tried again, with growing pauses, up to a bound.
//!
//! Owns the pauses and the bound, never the work. Shutdown ends a pause at once.

use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::retry::backoff_from_half;

/// Limits of a [`Hold`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HoldLimits {
    /// Longest pause after the first attempt. Doubles with each further attempt.
    pub base: Duration,
    /// Longest pause between two attempts.
    pub max: Duration,
    /// Time since the start after which no further attempt is made.
    pub total: Duration,
}

/// Pauses between the attempts at one piece of work.
pub struct Hold<'a> {
    limits: HoldLimits,
    shutdown: &'a CancellationToken,
    started: Instant,
    pauses: u32,
}

impl<'a> Hold<'a> {
    /// Starts a hold, just before the first attempt.
    pub fn new(limits: HoldLimits, shutdown: &'a CancellationToken) -> Self {
        Self {
            limits,
            shutdown,
            started: Instant::now(),
            pauses: 0,
        }
    }

    /// Time since the start.
    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// Pauses before the next attempt. Returns false where there must be none: the total time is over, or the process
    /// shuts down.
    pub async fn pause(&mut self) -> bool {
        let HoldLimits { base, max, total } = self.limits;
        if self.elapsed() >= total {
            return false;
        }
        let pause = backoff_from_half(self.pauses, base, max, fastrand::f64());
        self.pauses += 1;
        let pause = tokio::time::sleep(pause);
        self.shutdown.run_until_cancelled(pause).await.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: HoldLimits = HoldLimits {
        base: Duration::from_millis(100),
        max: Duration::from_secs(5),
        total: Duration::from_secs(60),
    };

    #[tokio::test(start_paused = true)]
    async fn pauses_grow_and_end_after_the_total_time() {
        let shutdown = CancellationToken::new();
        let mut hold = Hold::new(LIMITS, &shutdown);
        assert!(hold.pause().await);
        assert!(hold.elapsed() <= Duration::from_millis(150));
        while hold.pause().await {
            assert!(hold.elapsed() < LIMITS.total + LIMITS.max + Duration::from_millis(5));
        }
        assert!(hold.elapsed() >= LIMITS.total);
        // Six pauses below 3.2 s each, then pauses of 2.5 s to 5 s.
        assert!((15..=30).contains(&hold.pauses), "{}", hold.pauses);
    }

    #[tokio::test(start_paused = true)]
    async fn shutdown_ends_a_pause_at_once() {
        let shutdown = CancellationToken::new();
        let mut hold = Hold::new(LIMITS, &shutdown);
        shutdown.cancel();
        assert!(!hold.pause().await);
        assert_eq!(hold.elapsed(), Duration::ZERO);
    }
}
