//! [`ControlPlane`]: the present state of all tenants, and their changes.
//!
//! Reads come from memory: a background task keeps the state equal to the branch's head, to the platform and to the probe.
//! A change is committed and pushed before it is answered. So an accepted change survives a crash: it is in Git.

use std::sync::Arc;

use tenantry_service::error::ApiError;
use tokio::sync::broadcast;

use crate::access::Actor;
use crate::model::{
    ActivityPage, Change, DeploymentView, Event, Health, Operation, PeekedMessage, PoolView,
    Preview, QueueView, TenantPage, TenantQuery, TenantView,
};

/// The control plane. Clones share the state.
#[derive(Clone)]
pub struct ControlPlane(Arc<Inner>);

struct Inner {
    events: broadcast::Sender<Event>,
}

impl ControlPlane {
    /// Tenants by id, from memory.
    pub fn tenants(&self, query: &TenantQuery) -> TenantPage {
        let _ = query;
        unimplemented!()
    }

    pub fn tenant(&self, id: &str) -> Option<TenantView> {
        let _ = id;
        unimplemented!()
    }

    pub fn pools(&self) -> Vec<PoolView> {
        unimplemented!()
    }

    /// Newest first.
    pub fn deployments(&self) -> Vec<DeploymentView> {
        unimplemented!()
    }

    /// Operations that this process knows, newest first.
    pub fn operations(&self, tenant: Option<&str>, limit: usize) -> Vec<Operation> {
        let _ = (tenant, limit);
        unimplemented!()
    }

    /// # Errors
    /// 404; 503 if the repository cannot be read.
    pub async fn operation(&self, id: &str) -> Result<Operation, ApiError> {
        let _ = id;
        unimplemented!()
    }

    /// Commits, newest first, after a commit.
    ///
    /// # Errors
    /// 400 for an unknown cursor; 503 if the repository cannot be read.
    pub async fn activity(
        &self,
        tenant: Option<&str>,
        limit: usize,
        after: Option<&str>,
    ) -> Result<ActivityPage, ApiError> {
        let _ = (tenant, limit, after);
        unimplemented!()
    }

    /// The commit that a change would make; nothing is changed.
    ///
    /// # Errors
    /// As [`Self::submit`].
    pub async fn preview(&self, actor: &Actor, change: &Change) -> Result<Preview, ApiError> {
        let _ = (actor, change);
        unimplemented!()
    }

    /// Commits and pushes a change. A repeat under the same key is the same operation.
    ///
    /// # Errors
    /// 403 without the role; 404, 409 or 422 for a change that is refused; 503 if the repository cannot be reached.
    pub async fn submit(
        &self,
        actor: &Actor,
        change: Change,
        key: Option<&str>,
    ) -> Result<Operation, ApiError> {
        let _ = (actor, change, key);
        unimplemented!()
    }

    /// Changes of operations, tenants and deployments from now on. A receiver that lags gets `Lagged`, and reads anew.
    pub fn subscribe(&self) -> broadcast::Receiver<Event> {
        self.0.events.subscribe()
    }

    /// The queue of a tenant or a pool.
    ///
    /// # Errors
    /// 404; 503 if SQS cannot be reached.
    pub async fn queue(&self, release: &str) -> Result<QueueView, ApiError> {
        let _ = release;
        unimplemented!()
    }

    /// Messages of a queue without receiving them; of its dead-letter queue with `dead`.
    ///
    /// # Errors
    /// 404; 501 where the endpoint has no way to do that, as on AWS.
    pub async fn peek(
        &self,
        actor: &Actor,
        release: &str,
        dead: bool,
        limit: usize,
    ) -> Result<Vec<PeekedMessage>, ApiError> {
        let _ = (actor, release, dead, limit);
        unimplemented!()
    }

    /// Moves the dead-letter queue's messages back to the queue.
    ///
    /// # Errors
    /// 403 without the role; 404; 409 while a move runs.
    pub async fn redrive(&self, actor: &Actor, release: &str) -> Result<(), ApiError> {
        let _ = (actor, release);
        unimplemented!()
    }

    pub fn health(&self) -> Health {
        unimplemented!()
    }
}
