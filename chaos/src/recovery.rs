//! How long it takes from the end of a fault until a service does its work again.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use crate::clients::Clients;
use crate::fleet::{Role, Slot};

/// Pause between two looks: the figures are no finer.
const PAUSE: Duration = Duration::from_millis(25);

/// What was measured, and what it takes to measure it.
pub struct Recovery {
    /// When the last outage ended; none while one lasts.
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
    /// An outage of something that every service needs begins.
    pub fn outage_begins(&self) {
        self.calm_since.set(None);
    }

    /// It is over.
    pub fn outage_ends(&self) {
        self.calm_since.set(Some(Instant::now()));
    }

    /// Watches a service, of which this much was done when the fault ended, until it does more.
    pub async fn watch(&self, fault: &'static str, slot: &Slot, before: u64, clients: &Clients) {
        let ended = Instant::now();
        while slot.done().await.is_none_or(|done| done <= before) {
            if clients.is_over() {
                return;
            }
            tokio::time::sleep(PAUSE).await;
        }
        // A service that was killed during an outage may have had to wait for its end.
        let took = self
            .calm_since
            .get()
            .map_or(ended, |calm_since| ended.max(calm_since))
            .elapsed();
        let mut longest = self.longest.borrow_mut();
        let entry = longest.entry(fault).or_default();
        *entry = took.max(*entry);
    }

    /// What a service had done by now, for [`Self::watch`]; a consumer that was started again counts from zero.
    pub async fn done(slot: &Slot, is_new: bool) -> u64 {
        match (slot.role, is_new) {
            (Role::Consumer, true) => 0,
            _ => slot.done().await.unwrap_or_default(),
        }
    }

    /// The longest by fault.
    pub fn longest(&self) -> BTreeMap<&'static str, Duration> {
        self.longest.borrow().clone()
    }
}
