//! The time from the end of a fault until a service works again.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use crate::clients::Clients;
use crate::fleet::{Role, Slot};

/// Pause between two polls, which limits the precision of the figures.
const PAUSE: Duration = Duration::from_millis(25);

pub struct Recovery {
    /// End of the last outage; none during an outage.
    calm_since: Cell<Option<Instant>>,
    longest: RefCell<BTreeMap<&'static str, Duration>>,
}

impl Default for Recovery {
    fn default() -> Self {
        Self {
            calm_since: Cell::new(Some(Instant::now())),
            longest: RefCell::default(),
        }
    }
}

impl Recovery {
    /// Records that an outage of the endpoint begins.
    pub fn outage_begins(&self) {
        self.calm_since.set(None);
    }

    /// Records that the outage ends.
    pub fn outage_ends(&self) {
        self.calm_since.set(Some(Instant::now()));
    }

    /// Waits until the service has done more than `before`, the count at the end of the fault, and records the duration.
    pub async fn watch(&self, fault: &'static str, slot: &Slot, before: u64, clients: &Clients) {
        let ended = Instant::now();
        while slot.done().await.is_none_or(|done| done <= before) {
            if clients.is_over() {
                return;
            }
            tokio::time::sleep(PAUSE).await;
        }
        // A service that was killed during an outage cannot work before the outage ends.
        let took = self
            .calm_since
            .get()
            .map_or(ended, |calm_since| ended.max(calm_since))
            .elapsed();
        let mut longest = self.longest.borrow_mut();
        let entry = longest.entry(fault).or_default();
        *entry = took.max(*entry);
    }

    /// Returns the count of events or items that [`Self::watch`] starts from; a restarted consumer counts from zero.
    pub async fn done(slot: &Slot, is_new: bool) -> u64 {
        match (slot.role, is_new) {
            (Role::Consumer, true) => 0,
            _ => slot.done().await.unwrap_or_default(),
        }
    }

    pub fn longest(&self) -> BTreeMap<&'static str, Duration> {
        self.longest.borrow().clone()
    }
}
