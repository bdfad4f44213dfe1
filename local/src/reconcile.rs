//! Reconciler: makes the running state equal the desired state of the GitOps repository. It provisions, starts, routes, and
//! then stops the apps that are no longer desired.
//!
//! A tenant gets its queue, tables and parameters before its apps start, and its routes once the apps are ready. It loses
//! its routes before its apps stop. Every step is idempotent: after a failure, all of them are repeated.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use tenantctl::git::Oid;
use tenantry_tenancy::generation::Generation;
use tenantry_tenancy::tenant::TenantId;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::environments::Environments;
use crate::gateway::Gateway;
use crate::provision::{ProvisionError, Provisioner, Purge};
use crate::repository::{BranchStamp, DesiredState, GitopsRepository};
use crate::topology::{TenantSpec, TenantState, Topology};

/// Time limit for the apps to become ready.
const READY_WITHIN: Duration = Duration::from_secs(30);
/// Tenants provisioned concurrently.
const AT_ONCE: usize = 16;
/// Time until no service uses a registration any more that was changed or deleted: its refresh age, and one call.
const REGISTRATION_IN_USE: Duration = Duration::from_secs(11);
/// Tries to delete a tenant's items from the pools' tables.
const MAX_PURGES: u32 = 10;
/// Pause before a retry.
const RETRY_AFTER: Duration = Duration::from_secs(2);

pub(crate) struct Reconciler {
    pub(crate) provisioner: Provisioner,
    pub(crate) environments: Arc<Environments>,
    pub(crate) gateway: Gateway,
    /// The topology applied last.
    pub(crate) applied: Topology,
    /// Former owners of ids.
    pub(crate) retired: HashMap<TenantId, Retired>,
}

/// A former owner of an id. The id is free for another owner once the task has ended: until then, services may use the
/// owner's registration, and its items may be in the pools' tables.
pub(crate) struct Retired {
    generation: Generation,
    until_free: AbortOnDropHandle<()>,
}

/// A topology was not applied, or only in part.
#[derive(Debug, thiserror::Error)]
pub enum ReconcileError {
    #[error("provisioning failed: {0}")]
    Provision(#[from] ProvisionError),
    #[error("{0}")]
    Environment(String),
}

impl Reconciler {
    /// Applies a topology and returns the number of tenants changed.
    ///
    /// # Errors
    /// [`ReconcileError`]: running apps keep running, and the next call starts over.
    pub(crate) async fn apply(&mut self, desired: Topology) -> Result<usize, ReconcileError> {
        let (provisioner, applied) = (&self.provisioner, &self.applied);
        for (pool, apps) in &desired.pools {
            if applied.pools.get(pool) != Some(apps) {
                provisioner.provision_pool(pool, apps).await?;
            }
        }
        let changed: Vec<&TenantSpec> = desired
            .tenants
            .values()
            .filter(|tenant| applied.tenants.get(&tenant.id) != Some(*tenant))
            .collect();
        for tenant in &changed {
            let before = applied.tenants.get(&tenant.id);
            if let Some(before) = before.filter(|before| before.generation != tenant.generation) {
                if !self.retired.contains_key(&before.id) {
                    provisioner.suspend(&before.id).await?;
                }
                retire(&mut self.retired, before, None);
            }
            wait_for_id(&mut self.retired, tenant).await;
        }
        let provisioned = changed
            .iter()
            .map(|tenant| provisioner.provision_tenant(tenant).boxed());
        concurrently(provisioned.collect()).await?;

        // A tenant whose release was removed without offboarding keeps its data, but is suspended.
        let removed: Vec<_> = applied
            .tenants
            .keys()
            .filter(|id| !desired.tenants.contains_key(*id))
            .collect();
        for tenant in &removed {
            if let TenantState::Onboarded { .. } = applied.tenants[*tenant].state {
                provisioner.suspend(tenant).await?;
            }
            retire(&mut self.retired, &applied.tenants[*tenant], None);
        }

        let targets = desired.targets();
        self.environments
            .start(&targets, READY_WITHIN)
            .await
            .map_err(ReconcileError::Environment)?;
        self.gateway.set_rules(&desired, &self.environments);
        let stopping: Vec<_> = self
            .environments
            .targets()
            .difference(&targets)
            .map(|target| (target.0.clone(), self.environments.stop(target)))
            .collect();

        let deleted: Vec<_> = changed
            .iter()
            .filter(|tenant| tenant.state == TenantState::Offboarded { delete_data: true })
            .collect();
        // An app must not write to deleted resources. Apps of other tenants may stop later.
        for (environment, stopped) in stopping {
            if deleted.iter().any(|tenant| tenant.silo() == environment) {
                stopped.await;
            }
        }
        let deletions = deleted
            .iter()
            .map(|tenant| provisioner.delete_data(tenant).boxed());
        concurrently(deletions.collect()).await?;
        for tenant in deleted {
            let purge = provisioner.purge(tenant.id.clone(), desired.pools.keys());
            retire(&mut self.retired, tenant, Some(purge));
        }
        let changed = changed.len() + removed.len();
        self.applied = desired;
        Ok(changed)
    }

    /// Applies each new commit of the repository until the token is cancelled. `seen` is the stamp of the branch before its
    /// first read, so that a push since then is applied, too.
    pub(crate) async fn follow(
        mut self,
        repository: GitopsRepository,
        mut seen: BranchStamp,
        shutdown: CancellationToken,
    ) {
        let mut last = None;
        while shutdown
            .run_until_cancelled(repository.changed_since(&seen))
            .await
            .is_some()
        {
            let stamp = repository.stamp();
            let started = Instant::now();
            let reader = repository.clone();
            let head = tokio::task::spawn_blocking(move || reader.head())
                .await
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()));
            let DesiredState { commit, topology } = match head {
                Ok(desired) => desired,
                Err(error) => {
                    tracing::error!(%error, "read of the GitOps repository failed, will retry");
                    let pause = tokio::time::sleep(RETRY_AFTER);
                    shutdown.run_until_cancelled(pause).await;
                    continue;
                }
            };
            seen = stamp;
            if last.as_ref() == Some(&commit) {
                continue;
            }
            match topology {
                Ok(desired) => {
                    let unchanged = || repository.stamp() == seen;
                    let tenants = self
                        .apply_with_retries(&desired, &commit, unchanged, &shutdown)
                        .await;
                    if let Some(tenants) = tenants {
                        let milliseconds = started.elapsed().as_millis();
                        tracing::info!(
                            commit = commit.short(),
                            tenants,
                            milliseconds,
                            "commit applied"
                        );
                        repository.save_applied(&commit);
                    }
                }
                Err(invalid) => tracing::error!(
                    commit = commit.short(),
                    "commit not valid, last applied commit stays in force:\n{invalid}"
                ),
            }
            last = Some(commit);
        }
    }

    /// Applies a topology until that succeeds, the branch changes or the token is cancelled. Returns the number of tenants
    /// changed.
    async fn apply_with_retries(
        &mut self,
        desired: &Topology,
        commit: &Oid,
        unchanged: impl Fn() -> bool,
        shutdown: &CancellationToken,
    ) -> Option<usize> {
        loop {
            match self.apply(desired.clone()).await {
                Ok(tenants) => return Some(tenants),
                Err(error) => {
                    tracing::error!(commit = commit.short(), %error, "apply failed, will retry");
                }
            }
            let pause = tokio::time::sleep(RETRY_AFTER);
            shutdown.run_until_cancelled(pause).await?;
            if !unchanged() {
                return None;
            }
        }
    }
}

/// Keeps the id from another owner until no service uses this owner's registration, and its items are purged.
fn retire(retired: &mut HashMap<TenantId, Retired>, owner: &TenantSpec, purge: Option<Purge>) {
    if purge.is_none() && retired.contains_key(&owner.id) {
        return;
    }
    let id = owner.id.clone();
    let task = async move {
        tokio::time::sleep(REGISTRATION_IN_USE).await;
        let Some(purge) = purge else { return };
        for _ in 0..MAX_PURGES {
            match purge.run().await {
                Ok(items) => {
                    tracing::info!(tenant_id = %id, items, "items in the pools' tables deleted: none is left");
                    return;
                }
                Err(error) => {
                    tracing::error!(tenant_id = %id, %error, "items in the pools' tables not deleted, will retry");
                    tokio::time::sleep(RETRY_AFTER).await;
                }
            }
        }
    };
    let until_free = AbortOnDropHandle::new(tokio::spawn(task));
    let generation = owner.generation;
    retired.insert(
        owner.id.clone(),
        Retired {
            generation,
            until_free,
        },
    );
}

/// Waits until the id is free for this owner, if the id had another one.
async fn wait_for_id(retired: &mut HashMap<TenantId, Retired>, owner: &TenantSpec) {
    let TenantState::Onboarded { .. } = owner.state else {
        return;
    };
    let Some(before) = retired.remove(&owner.id) else {
        return;
    };
    if before.generation != owner.generation {
        tracing::info!(tenant_id = %owner.id, "id had another owner: waiting until no service uses that registration");
        // A panic of the task was logged when it happened.
        let _ = before.until_free.await;
    }
}

/// Awaits at most [`AT_ONCE`] futures at a time.
async fn concurrently(
    futures: Vec<BoxFuture<'_, Result<(), ProvisionError>>>,
) -> Result<(), ProvisionError> {
    stream::iter(futures)
        .buffer_unordered(AT_ONCE)
        .try_collect()
        .await
}
