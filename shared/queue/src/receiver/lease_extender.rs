//! The single task that extends the leases of all unsettled messages, the most urgent first, ten per call.

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::leases::{LeaseId, Leases};
use super::{Handler, MAX_RECEIVE, Receiver, ReceiverLimits};
use crate::message::Received;

/// Leases of the unsettled messages, shared by the handlers and the task that extends leases.
pub(super) struct LeaseExtender {
    leases: Mutex<Leases>,
    changed: Notify,
}

/// The leases of one batch, released on drop.
pub(super) struct HeldLeases<'a> {
    extender: &'a LeaseExtender,
    ids: Vec<LeaseId>,
}

impl LeaseExtender {
    pub(super) fn new(limits: &ReceiverLimits) -> Self {
        Self {
            leases: Mutex::new(Leases::new(limits.visibility, limits.max_lease)),
            changed: Notify::new(),
        }
    }

    /// Extends the leases of a batch until the returned value is dropped.
    pub(super) fn hold(&self, batch: &[Received]) -> HeldLeases<'_> {
        let now = Instant::now();
        let mut leases = self.leases.lock();
        let ids = batch
            .iter()
            .map(|message| leases.hold(message.receipt_handle.clone(), now))
            .collect();
        drop(leases);
        self.changed.notify_one();
        HeldLeases {
            extender: self,
            ids,
        }
    }

    /// Waits until leases are due; returns up to ten.
    async fn due(&self) -> Vec<(LeaseId, String)> {
        loop {
            let next = {
                let mut leases = self.leases.lock();
                let due = leases.take_due(Instant::now(), MAX_RECEIVE);
                if !due.is_empty() {
                    return due;
                }
                leases.next_due()
            };
            // A new lease is due last, so it needs a wake-up only if no lease is held.
            match next {
                Some(at) => tokio::time::sleep_until(at).await,
                None => self.changed.notified().await,
            }
        }
    }
}

impl Drop for HeldLeases<'_> {
    fn drop(&mut self) {
        let mut leases = self.extender.leases.lock();
        self.ids.iter().for_each(|id| leases.release(*id));
    }
}

impl<H: Handler> Receiver<H> {
    /// Extends leases as they become due; never returns.
    pub(super) async fn extend_leases(&self) {
        loop {
            let due = self.lease_extender.due().await;
            let entries: Vec<_> = due
                .iter()
                .map(|(_, receipt_handle)| (receipt_handle.as_str(), self.limits.visibility))
                .collect();
            let lost = self.change_visibility(&entries).await;
            let mut leases = self.lease_extender.leases.lock();
            for at in lost {
                tracing::warn!(
                    queue = self.source.arn.name(),
                    "lease is lost: its message may be handled twice"
                );
                leases.release(due[at].0);
            }
        }
    }
}
