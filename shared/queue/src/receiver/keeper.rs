//! The one task that keeps every lease in hand, most urgent first, ten to a call.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio::time::Instant;

use super::leases::{LeaseId, Leases};
use super::{Handler, MAX_RECEIVE, Receiver, ReceiverLimits};
use crate::message::Received;

/// The leases in hand, shared between the keeper and those who hold them.
pub(super) struct Keeper {
    leases: Mutex<Leases>,
    changed: Notify,
}

/// The leases of one batch; released when it is dropped.
pub(super) struct Holding<'a> {
    keeper: &'a Keeper,
    ids: Vec<LeaseId>,
}

impl Keeper {
    pub(super) fn new(limits: &ReceiverLimits) -> Self {
        Self {
            leases: Mutex::new(Leases::new(limits.visibility, limits.max_lease)),
            changed: Notify::new(),
        }
    }

    /// Keeps the leases of a batch from now on.
    pub(super) fn hold(&self, batch: &[Received]) -> Holding<'_> {
        let now = Instant::now();
        let mut leases = self.lock();
        let ids = batch
            .iter()
            .map(|message| leases.hold(message.receipt_handle.clone(), now))
            .collect();
        drop(leases);
        self.changed.notify_one();
        Holding { keeper: self, ids }
    }

    /// Up to ten leases that are due, as soon as there are any.
    async fn due(&self) -> Vec<(LeaseId, String)> {
        loop {
            let next = {
                let mut leases = self.lock();
                let due = leases.take_due(Instant::now(), MAX_RECEIVE);
                if !due.is_empty() {
                    return due;
                }
                leases.next_due()
            };
            // New leases are due last, so only a keeper that waits for none has to hear of them.
            match next {
                Some(at) => tokio::time::sleep_until(at).await,
                None => self.changed.notified().await,
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Leases> {
        self.leases.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Holding<'_> {
    fn drop(&mut self) {
        let mut leases = self.keeper.lock();
        self.ids.iter().for_each(|id| leases.release(*id));
    }
}

impl<H: Handler> Receiver<H> {
    /// Extends leases as they become due; never ends.
    pub(super) async fn keep_leases(&self) {
        loop {
            let due = self.keeper.due().await;
            let entries: Vec<_> = due
                .iter()
                .map(|(_, receipt_handle)| (receipt_handle.as_str(), self.limits.visibility))
                .collect();
            let lost = self.change_visibility(&entries).await;
            let mut leases = self.keeper.lock();
            for place in lost {
                tracing::warn!(
                    queue = self.source.arn.name(),
                    "a lease was lost: its message may be handled twice"
                );
                leases.release(due[place].0);
            }
        }
    }
}
