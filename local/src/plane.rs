//! Resources, apps and routes, which the reconciler and the transitions of tenants change.
//!
//! A tenant's routes change as one. Its former apps end only after no route leads to them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tenantctl::data::moves::Mover;
use tenantctl::data::{DataError, drain};
use tenantry_tenancy::environment::Environment;
use tenantry_tenancy::tenant::TenantId;

use crate::board::Board;
use crate::environments::Environments;
use crate::gateway::Gateway;
use crate::names::consumer_home;
use crate::provision::{ProvisionError, Provisioner};
use crate::topology::{App, Target, TenantSpec};

/// Time limit for the apps to become ready.
const READY_WITHIN: Duration = Duration::from_secs(30);

/// Handles of everything that runs. Clones share it.
#[derive(Clone)]
pub(crate) struct Plane(Arc<Inner>);

struct Inner {
    provisioner: Provisioner,
    environments: Arc<Environments>,
    gateway: Gateway,
    mover: Mover,
    board: Board,
    /// The tenants as they are routed.
    routed: Mutex<BTreeMap<TenantId, TenantSpec>>,
}

/// A change was not applied, or only in part.
#[derive(Debug, thiserror::Error)]
pub enum ReconcileError {
    #[error("provisioning failed: {0}")]
    Provision(#[from] ProvisionError),
    #[error("{0}")]
    Environment(String),
    #[error("data of a tenant: {0}")]
    Data(#[from] DataError),
}

impl Plane {
    pub(crate) fn new(
        provisioner: Provisioner,
        environments: Arc<Environments>,
        gateway: Gateway,
        mover: Mover,
        board: Board,
    ) -> Self {
        Self(Arc::new(Inner {
            provisioner,
            environments,
            gateway,
            mover,
            board,
            routed: Mutex::default(),
        }))
    }

    pub(crate) fn provisioner(&self) -> &Provisioner {
        &self.0.provisioner
    }

    pub(crate) fn environments(&self) -> &Environments {
        &self.0.environments
    }

    pub(crate) fn board(&self) -> &Board {
        &self.0.board
    }

    pub(crate) fn mover(&self) -> &Mover {
        &self.0.mover
    }

    /// Starts apps and waits until they are ready.
    pub(crate) async fn start(&self, targets: &BTreeSet<Target>) -> Result<(), ReconcileError> {
        let started = self.environments().start(targets, READY_WITHIN).await;
        started.map_err(ReconcileError::Environment)
    }

    /// Changes the routes of tenants.
    pub(crate) fn route(&self, change: impl FnOnce(&mut BTreeMap<TenantId, TenantSpec>)) {
        let mut routed = self.0.routed.lock();
        change(&mut routed);
        self.0.gateway.set_rules(&routed, &self.0.environments);
    }

    /// The apps of this environment that run.
    pub(crate) fn running_in(&self, environment: &Environment) -> Vec<Target> {
        let mut targets = self.environments().targets();
        targets.retain(|(of, _)| of == environment);
        targets.into_iter().collect()
    }

    /// Starts the tenant's own apps, routes the tenant to its apps, then ends its other apps after their last response.
    pub(crate) async fn serve(&self, tenant: &TenantSpec) -> Result<(), ReconcileError> {
        let wanted: BTreeSet<Target> = tenant.targets().collect();
        self.start(&wanted).await?;
        self.route(|routed| drop(routed.insert(tenant.id.clone(), tenant.clone())));
        for target in self.running_in(&tenant.silo()) {
            if !wanted.contains(&target) {
                self.environments().stop(&target).await;
            }
        }
        Ok(())
    }

    /// Ends an environment's consumer once every message in its queue is stored. Nothing may send to the queue any more.
    pub(crate) async fn end_consumer(
        &self,
        environment: &Environment,
    ) -> Result<(), ReconcileError> {
        let Mover { clients, timing } = self.mover();
        let consumer = (environment.clone(), App::Consumer);
        let home = consumer_home(environment);
        while let Some(urls) = drain::find(clients, &home.queue).await? {
            let is_empty = drain::depth(clients, &urls.queue).await? == drain::Depth::EMPTY;
            let is_running = self.environments().targets().contains(&consumer);
            if is_empty && !is_running {
                return Ok(());
            }
            self.start(&[consumer.clone()].into()).await?;
            drain::until_empty(clients, &urls.queue, timing.count).await?;
            self.environments().stop(&consumer).await;
        }
        self.environments().stop(&consumer).await;
        Ok(())
    }
}
