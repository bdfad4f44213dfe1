//! Readiness from cached state.
//!
//! Background work sets conditions; probes only read them. A probe therefore makes no call, has no side effect and never
//! waits for a dependency.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;

/// Conditions that must hold before the process receives traffic. Clones share the same flags.
#[derive(Clone, Default)]
pub struct Readiness {
    conditions: Arc<Mutex<Vec<Condition>>>,
    draining: Arc<AtomicBool>,
}

/// One named condition of a [`Readiness`].
#[derive(Clone)]
pub struct Condition {
    name: &'static str,
    met: Arc<AtomicBool>,
}

impl Readiness {
    /// Adds a condition that is unmet until [`Condition::set`] is called.
    pub fn condition(&self, name: &'static str) -> Condition {
        let condition = Condition {
            name,
            met: Arc::new(AtomicBool::new(false)),
        };
        self.conditions.lock().push(condition.clone());
        condition
    }

    /// Makes the process unready for good, because it is shutting down.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// Returns true if every condition is met and the process is not draining.
    pub fn is_ready(&self) -> bool {
        self.unmet().is_empty()
    }

    /// Names of the unmet conditions, and `draining` after [`Self::drain`].
    pub fn unmet(&self) -> Vec<&'static str> {
        let mut names: Vec<_> = self
            .conditions
            .lock()
            .iter()
            .filter(|condition| !condition.is_met())
            .map(|condition| condition.name)
            .collect();
        if self.draining.load(Ordering::Relaxed) {
            names.push("draining");
        }
        names
    }
}

impl Condition {
    /// Sets whether the condition is met; returns true if the value changed.
    pub fn set(&self, met: bool) -> bool {
        self.met.swap(met, Ordering::Relaxed) != met
    }

    fn is_met(&self) -> bool {
        self.met.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_means_every_condition_met_and_not_draining() {
        let readiness = Readiness::default();
        assert!(readiness.is_ready(), "without conditions");
        let (queue, table) = (readiness.condition("queue"), readiness.condition("table"));
        assert_eq!(readiness.unmet(), ["queue", "table"]);
        assert!(
            queue.set(true) && table.set(true) && !table.set(true),
            "a change is reported once"
        );
        assert!(readiness.is_ready());
        readiness.drain();
        assert_eq!(readiness.unmet(), ["draining"]);
    }
}
