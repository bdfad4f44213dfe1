//! Request coalescing: callers that need the same tenant share one load, and several tenants share one call.
//!
//! A caller joins the lane of its id, and the caller that gets the next permit loads the ids at the front for all their
//! waiters. Ids that may be made up wait in a lane of their own, so they never delay the others.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use parking_lot::Mutex;
use tenantry_tenancy::tenant::TenantId;
use tokio::sync::oneshot;

use crate::LookupError;
use crate::cached::CachedTenant;

/// Outcome of loading one tenant.
pub(super) type Loaded = Result<Arc<CachedTenant>, LookupError>;
type Waiters = HashMap<TenantId, Vec<oneshot::Sender<Loaded>>>;

/// Ids to be loaded, in order of arrival.
pub(super) struct Lane {
    queues: Mutex<Queues>,
    max_ids: usize,
}

#[derive(Default)]
struct Queues {
    /// Each id of `queued` once.
    order: VecDeque<TenantId>,
    queued: Waiters,
    in_flight: Waiters,
}

/// Which load a caller accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Join {
    /// A load in progress, too.
    Any,
    /// Only a load that starts later.
    Later,
}

/// Ids in one call. Their waiters that are not answered when it is dropped have to join again.
pub(super) struct Batch<'a> {
    lane: &'a Lane,
    pub(super) ids: Vec<TenantId>,
}

impl Lane {
    pub(super) fn new(max_ids: usize) -> Self {
        Self {
            queues: Mutex::default(),
            max_ids,
        }
    }

    /// Adds a waiter for a tenant.
    ///
    /// # Errors
    /// [`LookupError::Busy`] while too many other ids wait.
    pub(super) fn join(
        &self,
        id: &TenantId,
        join: Join,
    ) -> Result<oneshot::Receiver<Loaded>, LookupError> {
        let (reply, loaded) = oneshot::channel();
        let queues = &mut *self.queues.lock();
        if join == Join::Any
            && let Some(waiters) = queues.in_flight.get_mut(id)
        {
            waiters.push(reply);
        } else if let Some(waiters) = queues.queued.get_mut(id) {
            waiters.push(reply);
        } else if queues.order.len() >= self.max_ids {
            return Err(LookupError::Busy);
        } else {
            queues.order.push_back(id.clone());
            queues.queued.insert(id.clone(), vec![reply]);
        }
        Ok(loaded)
    }

    /// Takes up to `max` ids that have a waiter left, and that no other call is loading.
    pub(super) fn take(&self, max: usize) -> Batch<'_> {
        let queues = &mut *self.queues.lock();
        let mut ids = Vec::with_capacity(max);
        let mut being_loaded = Vec::new();
        while ids.len() < max
            && let Some(id) = queues.order.pop_front()
        {
            if queues.in_flight.contains_key(&id) {
                being_loaded.push(id);
                continue;
            }
            let mut waiters = queues.queued.remove(&id).unwrap_or_default();
            waiters.retain(|waiter| !waiter.is_closed());
            if !waiters.is_empty() {
                queues.in_flight.insert(id.clone(), waiters);
                ids.push(id);
            }
        }
        for id in being_loaded.into_iter().rev() {
            queues.order.push_front(id);
        }
        Batch { lane: self, ids }
    }
}

impl Batch<'_> {
    /// Answers the waiters of the last of `ids`, and removes it.
    pub(super) fn answer_last(&mut self, loaded: &Loaded) {
        let waiters = self
            .ids
            .pop()
            .and_then(|id| self.lane.queues.lock().in_flight.remove(&id));
        for waiter in waiters.unwrap_or_default() {
            // A waiter that has given up was answered by its deadline.
            let _ = waiter.send(loaded.clone());
        }
    }
}

impl Drop for Batch<'_> {
    fn drop(&mut self) {
        let queues = &mut *self.lane.queues.lock();
        for id in &self.ids {
            queues.in_flight.remove(id);
        }
    }
}
