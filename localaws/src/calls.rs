//! Counts calls per action, for tests that assert how many an operation costs.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// Distinct actions counted by name (ours); AWS has fewer on these services. A client that makes names up
/// cannot make us grow: what comes after is counted together.
const ACTIONS_MAX: usize = 500;
/// What actions beyond [`ACTIONS_MAX`] are counted as.
const OTHER: &str = "(other)";

/// Number of calls per action since the start or the last reset, failed and faulted calls included.
#[derive(Debug, Default)]
pub(crate) struct Calls {
    counts: Mutex<BTreeMap<String, u64>>,
}

impl Calls {
    /// Counts one call of `action`, e.g. `SQS.SendMessageBatch`.
    pub(crate) fn record(&self, action: &str) {
        let mut counts = self.counts();
        if let Some(count) = counts.get_mut(action) {
            *count += 1;
            return;
        }
        let name = if counts.len() < ACTIONS_MAX {
            action
        } else {
            OTHER
        };
        *counts.entry(name.to_owned()).or_default() += 1;
    }

    /// The counts, by action.
    pub(crate) fn snapshot(&self) -> BTreeMap<String, u64> {
        self.counts().clone()
    }

    /// Forgets all counts.
    pub(crate) fn reset(&self) {
        self.counts().clear();
    }

    fn counts(&self) -> MutexGuard<'_, BTreeMap<String, u64>> {
        // Counts stay whole whoever panics.
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invented_actions_are_counted_together() {
        let calls = Calls::default();
        for n in 0..ACTIONS_MAX + 10 {
            calls.record(&format!("SQS.Invented{n}"));
        }
        calls.record("SQS.Invented0");
        let counts = calls.snapshot();
        assert_eq!(counts.len(), ACTIONS_MAX + 1);
        assert_eq!((counts["SQS.Invented0"], counts[OTHER]), (2, 10));
        calls.reset();
        assert!(calls.snapshot().is_empty());
    }
}
