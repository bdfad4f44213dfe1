//! Liveness and readiness from cached state.
//!
//! Whoever does the work reports here; a probe only reads, so it costs nothing, has no side effect and answers at
//! once whatever the dependencies do.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// What must be true before traffic should come: one flag a condition. Clones share the same flags.
#[derive(Clone, Default)]
pub struct Readiness {
    conditions: Arc<std::sync::Mutex<Vec<Condition>>>,
    draining: Arc<AtomicBool>,
}

/// One named condition of a [`Readiness`]; starts out unmet.
#[derive(Clone)]
pub struct Condition {
    name: &'static str,
    met: Arc<AtomicBool>,
}

impl Readiness {
    /// Adds a condition, unmet until somebody says otherwise.
    pub fn condition(&self, name: &'static str) -> Condition {
        let condition = Condition {
            name,
            met: Arc::new(AtomicBool::new(false)),
        };
        self.lock().push(condition.clone());
        condition
    }

    /// Stops being ready for good: the service is going away.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// Whether every condition is met and the service is not draining.
    pub fn is_ready(&self) -> bool {
        self.unmet().is_empty()
    }

    /// The names of what keeps the service from being ready.
    pub fn unmet(&self) -> Vec<&'static str> {
        let mut names: Vec<_> = self
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

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Condition>> {
        self.conditions
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Condition {
    /// Says whether the condition is met; true where that changed something.
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
        assert!(readiness.is_ready(), "nothing to wait for");
        let (queue, table) = (readiness.condition("queue"), readiness.condition("table"));
        assert_eq!(readiness.unmet(), ["queue", "table"]);
        assert!(
            queue.set(true) && table.set(true) && !table.set(true),
            "a change is told once"
        );
        assert!(readiness.is_ready());
        readiness.drain();
        assert_eq!(readiness.unmet(), ["draining"]);
    }
}
