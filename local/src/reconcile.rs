//! Reconciler: makes the running state equal the desired state of the GitOps repository. It provisions, starts, routes, and
//! then stops the apps that are no longer desired.
//!
//! A tenant gets its queue, tables and parameters before its apps start, and its routes once the apps are ready. It loses
//! its routes before its apps stop. A tenant whose data has to move, or that leaves, changes in a transition of its own,
//! which the reconciler does not wait for. Every step is idempotent: after a failure, all of them are repeated.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use tenantctl::apply::generation_now;
use tenantctl::git::Oid;
use tenantry_tenancy::environment::Environment;
use tenantry_tenancy::generation::Generation;
use tenantry_tenancy::tenant::TenantId;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::MOVE_TIMING;
use crate::plane::{Plane, ReconcileError};
use crate::provision::{ProvisionError, Provisioner, Purge, Registered};
use crate::repository::{BranchStamp, DesiredState, GitopsRepository};
use crate::topology::{App, TenantSpec, TenantState, Topology};
use crate::transition::{Owners, RETRY_AFTER, Transitions, Work, changes};

/// Tenants provisioned concurrently.
const AT_ONCE: usize = 16;
/// Time until no service uses a registration any more that was changed or deleted.
const REGISTRATION_IN_USE: Duration = MOVE_TIMING.refresh.saturating_add(MOVE_TIMING.request);
/// Tries to delete a tenant's items from the pools' tables.
const MAX_PURGES: u32 = 10;

pub(crate) struct Reconciler {
    plane: Plane,
    transitions: Transitions,
    /// The topology applied last.
    pub(crate) applied: Topology,
    /// The tenants of the last run, until the first apply.
    before: BTreeMap<TenantId, TenantState>,
    /// Tenants that an apply has begun to change and not finished. A later commit may ask for their applied state again.
    unfinished: BTreeSet<TenantId>,
    /// Former owners of ids.
    retired: HashMap<TenantId, Retired>,
}

/// A former owner of an id. The id is free for another owner once the task has ended: until then, services may use the
/// owner's registration, and its items may be in the pools' tables.
struct Retired {
    generation: Option<Generation>,
    until_free: AbortOnDropHandle<()>,
}

/// What has to be done for the tenants that a commit changes.
#[derive(Default)]
struct Changed<'a> {
    /// Their data is where it has to be, or they are new.
    settled: Vec<&'a TenantSpec>,
    /// Each in a transition of its own.
    transitions: Vec<Work>,
    /// Their resources are deleted.
    deleted: Vec<&'a TenantSpec>,
}

impl Reconciler {
    pub(crate) fn new(
        plane: Plane,
        before: BTreeMap<TenantId, TenantState>,
        shutdown: CancellationToken,
    ) -> Self {
        Self {
            plane,
            transitions: Transitions::new(shutdown),
            applied: Topology::default(),
            before,
            unfinished: BTreeSet::new(),
            retired: HashMap::new(),
        }
    }

    /// Applies a topology and returns the number of tenants changed.
    ///
    /// # Errors
    /// [`ReconcileError`]: running apps keep running, and the next call starts over.
    pub(crate) async fn apply(&mut self, mut desired: Topology) -> Result<usize, ReconcileError> {
        self.suspend_removed_before(&desired).await?;
        for tenant in desired.tenants.values_mut() {
            if tenant.generation.is_none() {
                tenant.generation = Some(self.generation_of(tenant).await?);
            }
        }
        let provisioner = self.plane.provisioner();
        for (pool, apps) in &desired.pools {
            if self.applied.pools.get(pool) != Some(apps) {
                provisioner.provision_pool(pool, apps).await?;
            }
        }
        let changed: Vec<&TenantSpec> = desired
            .tenants
            .values()
            .filter(|tenant| {
                self.applied.tenants.get(&tenant.id) != Some(*tenant)
                    || self.unfinished.contains(&tenant.id)
            })
            .collect();
        // A tenant whose release was removed without offboarding keeps its data, but is suspended.
        let removed: Vec<TenantId> = self
            .applied
            .tenants
            .keys()
            .filter(|id| !desired.tenants.contains_key(*id))
            .cloned()
            .collect();
        let count = changed.len() + removed.len();
        for id in changed.iter().map(|tenant| &tenant.id).chain(&removed) {
            self.unfinished.insert(id.clone());
            self.transitions.end(&Environment::Silo(id.clone())).await;
        }

        for tenant in &changed {
            let before = self.applied.tenants.get(&tenant.id);
            if let Some(before) = before.filter(|before| before.generation != tenant.generation) {
                if !self.retired.contains_key(&before.id) {
                    self.plane.provisioner().suspend(&before.id).await?;
                }
                retire(&mut self.retired, before, None);
            }
            wait_for_id(&mut self.retired, tenant).await;
        }
        let owners: Owners = [&desired, &self.applied]
            .into_iter()
            .flat_map(|topology| topology.pools.keys().cloned())
            .collect();
        let Changed {
            settled,
            transitions,
            deleted,
        } = self.sort(changed, &removed, &owners).await?;
        let provisioner = self.plane.provisioner();
        let provisioned = settled
            .iter()
            .map(|tenant| provision(provisioner, tenant).boxed());
        concurrently(provisioned.collect()).await?;

        let in_transition: BTreeSet<Environment> =
            transitions.iter().map(Work::environment).collect();
        let mut targets = desired.targets();
        targets.retain(|(environment, _)| {
            !in_transition.contains(environment) && !self.transitions.owns(environment)
        });
        self.plane.start(&targets).await?;
        self.plane.route(|routed| {
            routed.extend(
                settled
                    .iter()
                    .map(|tenant| (tenant.id.clone(), (*tenant).clone())),
            );
            for gone in transitions
                .iter()
                .filter_map(Work::unrouted)
                .chain(deleted.iter().map(|tenant| &tenant.id))
            {
                routed.remove(gone);
            }
        });

        let deleted_silos: BTreeSet<_> = deleted.iter().map(|tenant| tenant.silo()).collect();
        let (mut stopping, mut draining) = (Vec::new(), BTreeSet::new());
        for target in self.plane.environments().targets() {
            let (environment, app) = &target;
            if targets.contains(&target)
                || in_transition.contains(environment)
                || self.transitions.owns(environment)
            {
                continue;
            }
            if *app == App::Consumer && !deleted_silos.contains(environment) {
                draining.insert(environment.clone());
            } else {
                stopping.push((environment.clone(), self.plane.environments().stop(&target)));
            }
        }
        // An app must not write to deleted resources. Apps of other tenants may stop later.
        for (environment, stopped) in stopping {
            if deleted_silos.contains(&environment) {
                stopped.await;
            }
        }
        let deletions = deleted
            .iter()
            .map(|tenant| self.plane.provisioner().delete_data(tenant).boxed());
        concurrently(deletions.collect()).await?;
        for id in &removed {
            retire(&mut self.retired, &self.applied.tenants[id], None);
        }
        for tenant in deleted {
            let provisioner = self.plane.provisioner();
            let purge = provisioner.purge(tenant.id.clone(), desired.pools.keys());
            retire(&mut self.retired, tenant, Some(purge));
        }
        let draining = draining.into_iter().map(Work::EndConsumer);
        for work in transitions.into_iter().chain(draining) {
            self.transitions.begin(&self.plane, &owners, work);
        }
        self.unfinished.clear();
        self.before.clear();
        self.applied = desired;
        Ok(count)
    }

    /// Suspends the tenants whose release was removed while this process did not run.
    async fn suspend_removed_before(&self, desired: &Topology) -> Result<(), ProvisionError> {
        for (id, state) in &self.before {
            if matches!(state, TenantState::Onboarded { .. }) && !desired.tenants.contains_key(id) {
                self.plane.provisioner().suspend(id).await?;
            }
        }
        Ok(())
    }

    /// Decides which owner of its id a tenant is whose file does not say. A tenant that is there already stays the owner that
    /// it is. A tenant that comes is a new owner, also if a removed file comes back: the id may be another customer's now.
    async fn generation_of(&self, tenant: &TenantSpec) -> Result<Generation, ProvisionError> {
        if let Some(applied) = self.applied.tenants.get(&tenant.id) {
            return Ok(applied.generation.unwrap_or_default());
        }
        let registered = self
            .plane
            .provisioner()
            .registered_owner(&tenant.id)
            .await?;
        // An owner that is served and not applied is one whose apply did not end.
        let is_there = self.before.contains_key(&tenant.id) || registered.is_active;
        if is_there || matches!(tenant.state, TenantState::Offboarded { .. }) {
            return Ok(registered.generation);
        }
        let generation = generation_now();
        tracing::info!(tenant_id = %tenant.id, %generation, before = %registered.generation,
            "new owner of the id: its file names no generation");
        Ok(generation)
    }

    /// Decides what each changed tenant needs.
    async fn sort<'a>(
        &self,
        changed: Vec<&'a TenantSpec>,
        removed: &[TenantId],
        pools: &Owners,
    ) -> Result<Changed<'a>, ReconcileError> {
        let mut lookups: Vec<BoxFuture<'_, Result<_, ProvisionError>>> = Vec::new();
        for tenant in changed {
            lookups.push(Box::pin(async move {
                let owners = owners_of(&tenant.id, pools);
                let provisioner = self.plane.provisioner();
                Ok((tenant, provisioner.registered(&tenant.id, &owners).await?))
            }));
        }
        let registered: Vec<(&TenantSpec, Registered)> = stream::iter(lookups)
            .buffer_unordered(AT_ONCE)
            .try_collect()
            .await?;
        let mut sorted = Changed::default();
        for (tenant, registered) in registered {
            match tenant.state {
                TenantState::Onboarded { tier, status } => {
                    if registered.unfinished.is_none() && changes(tenant, &registered).is_empty() {
                        sorted.settled.push(tenant);
                    } else {
                        let tenant = tenant.clone();
                        sorted.transitions.push(Work::Move {
                            tenant,
                            tier,
                            status,
                        });
                    }
                }
                TenantState::Offboarded { delete_data } => {
                    self.plane.provisioner().suspend(&tenant.id).await?;
                    if delete_data {
                        sorted.deleted.push(tenant);
                    } else {
                        sorted.transitions.push(Work::Leave(tenant.id.clone()));
                    }
                }
            }
        }
        for tenant in removed {
            if let TenantState::Onboarded { .. } = self.applied.tenants[tenant].state {
                self.plane.provisioner().suspend(tenant).await?;
                sorted.transitions.push(Work::Leave(tenant.clone()));
            }
        }
        Ok(sorted)
    }

    /// Applies each new commit of the repository until the token is canceled. `seen` is the stamp of the branch before its
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
                        self.plane.board().applied(Some(&commit), &desired);
                    }
                }
                Err(invalid) => {
                    tracing::error!(
                        commit = commit.short(),
                        "commit not valid, last applied commit stays in force:\n{invalid}"
                    );
                    self.plane.board().invalid(&commit, &invalid);
                }
            }
            last = Some(commit);
        }
        self.transitions.end_all().await;
    }

    /// Applies a topology until that succeeds, the branch changes or the token is canceled. Returns the number of tenants
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
                    self.plane.board().failed(commit, &error);
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

/// The environments that a tenant's data may be in.
fn owners_of(tenant: &TenantId, pools: &Owners) -> Owners {
    let mut owners = pools.clone();
    owners.insert(Environment::Silo(tenant.clone()));
    owners
}

/// Creates the resources of the tenant's own apps, and its registration.
async fn provision(provisioner: &Provisioner, tenant: &TenantSpec) -> Result<(), ProvisionError> {
    let TenantState::Onboarded { tier, status } = tenant.state else {
        return Ok(());
    };
    provisioner.create_silo(tenant).await?;
    provisioner.register(tenant, tier).await?;
    provisioner.put_status(&tenant.id, status).await
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
