//! Call counts per action, for tests that assert how many calls an operation costs.

use std::collections::BTreeMap;

use parking_lot::Mutex;

/// Distinct actions counted by name (ours). AWS has fewer on these services, so a client that invents action names
/// cannot grow the map: further actions are counted together.
const ACTIONS_MAX: usize = 500;
/// Name under which actions beyond [`ACTIONS_MAX`] are counted.
const OTHER: &str = "(other)";

/// Calls per action since the start or the last reset, including failed ones.
#[derive(Debug, Default)]
pub(crate) struct Calls {
    counts: Mutex<BTreeMap<String, u64>>,
}

impl Calls {
    /// Counts one call of `action`, e.g. `SQS.SendMessageBatch`.
    pub(crate) fn record(&self, action: &str) {
        let mut counts = self.counts.lock();
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

    pub(crate) fn snapshot(&self) -> BTreeMap<String, u64> {
        self.counts.lock().clone()
    }

    pub(crate) fn reset(&self) {
        self.counts.lock().clear();
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
