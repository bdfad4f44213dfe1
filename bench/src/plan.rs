//! How long and how often a run measures.

use std::time::Duration;

use crate::candidate::{Binaries, Side};

/// Rounds of a run that is not asked for another number.
pub(crate) const DEFAULT_ROUNDS: usize = 3;
/// Most rounds.
pub(crate) const MAX_ROUNDS: usize = 20;

/// What every scenario measures by.
pub(crate) struct Plan {
    /// Our binaries.
    pub(crate) binaries: Binaries,
    /// Short windows, for development.
    pub(crate) quick: bool,
    /// Rounds, interleaved.
    pub(crate) rounds: usize,
    /// Peers in other languages that are installed.
    pub(crate) peers: Vec<Side>,
}

impl Plan {
    /// The first value, or the second where the run is to be quick.
    pub(crate) const fn pick<T: Copy>(&self, full: T, quick: T) -> T {
        if self.quick { quick } else { full }
    }

    /// A measured window of HTTP load.
    pub(crate) const fn window(&self) -> Duration {
        self.pick(Duration::from_millis(4000), Duration::from_millis(1200))
    }

    /// What runs before it and is not counted.
    pub(crate) const fn warm_up(&self) -> Duration {
        self.pick(Duration::from_millis(1000), Duration::from_millis(300))
    }

    /// Whether a side is measured in this round, counted from 1: peers once where the run is to be quick.
    pub(crate) fn takes_part(&self, side: Side, round: usize) -> bool {
        !(self.quick && round > 1 && self.peers.contains(&side))
    }

    /// Ours, the reference and the peers there are.
    pub(crate) fn with_peers(&self, reference: Side) -> Vec<Side> {
        [Side::Ours, reference]
            .into_iter()
            .chain(self.peers.iter().copied())
            .collect()
    }
}
