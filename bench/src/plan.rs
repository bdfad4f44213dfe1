//! Durations and rounds of a run.

use std::time::Duration;

use crate::candidate::{Binaries, Side};

pub(crate) const DEFAULT_ROUNDS: usize = 3;
pub(crate) const MAX_ROUNDS: usize = 20;

pub(crate) struct Plan {
    pub(crate) binaries: Binaries,
    /// Short windows, for development.
    pub(crate) quick: bool,
    /// Number of interleaved rounds.
    pub(crate) rounds: usize,
    /// Peers in other languages that are installed.
    pub(crate) peers: Vec<Side>,
}

impl Plan {
    /// Returns `full`, or `quick` in a quick run.
    pub(crate) const fn pick<T: Copy>(&self, full: T, quick: T) -> T {
        if self.quick { quick } else { full }
    }

    /// Length of a measured window of HTTP load.
    pub(crate) const fn window(&self) -> Duration {
        self.pick(Duration::from_millis(4000), Duration::from_millis(1200))
    }

    /// Length of the load before the window, which is not counted.
    pub(crate) const fn warm_up(&self) -> Duration {
        self.pick(Duration::from_millis(1000), Duration::from_millis(300))
    }

    /// Whether a side is measured in this round, counted from 1. In a quick run, peers are measured once.
    pub(crate) fn takes_part(&self, side: Side, round: usize) -> bool {
        !(self.quick && round > 1 && self.peers.contains(&side))
    }

    /// Returns our side, the reference and the installed peers.
    pub(crate) fn with_peers(&self, reference: Side) -> Vec<Side> {
        [Side::Ours, reference]
            .into_iter()
            .chain(self.peers.iter().copied())
            .collect()
    }
}
