//! Makes what runs what the GitOps repository says: provisions, starts, routes, and then ends what is no longer wanted.
//!
//! A tenant gets its queue, tables and parameters before its apps start, its routes when they are ready, and loses its
//! routes before its apps end. What fails halfway is done again, whole: every step is idempotent.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use tokio_util::sync::CancellationToken;

use crate::environments::Environments;
use crate::gateway::Gateway;
use crate::provision::{ProvisionError, Provisioner};
use crate::source::{Desired, Source, Stamp};
use crate::topology::{Life, TenantSpec, Topology};

/// Longest the environments may take to become ready.
const READY_WITHIN: Duration = Duration::from_secs(30);
/// Tenants provisioned at once.
const AT_ONCE: usize = 16;
/// Wait before what failed is tried again.
const RETRY_AFTER: Duration = Duration::from_secs(2);

/// What runs, and what it should be.
pub(crate) struct Reconciler {
    pub(crate) provisioner: Provisioner,
    pub(crate) environments: Arc<Environments>,
    pub(crate) gateway: Gateway,
    /// What was carried out last.
    pub(crate) applied: Topology,
}

/// Why a topology was not carried out, or not wholly.
#[derive(Debug, thiserror::Error)]
pub enum ReconcileError {
    /// A queue, table or parameter could not be created.
    #[error("a tenant could not be set up: {0}")]
    Provision(#[from] ProvisionError),
    /// An environment did not start.
    #[error("{0}")]
    Environment(String),
}

impl Reconciler {
    /// Carries a topology out; gives the tenants it changed.
    ///
    /// # Errors
    /// [`ReconcileError`]: what runs already goes on, and the next call begins anew.
    pub(crate) async fn carry_out(&mut self, wanted: Topology) -> Result<usize, ReconcileError> {
        let (provisioner, applied) = (&self.provisioner, &self.applied);
        for (pool, apps) in wanted
            .pools
            .iter()
            .filter(|(pool, apps)| applied.pools.get(*pool) != Some(*apps))
        {
            provisioner.provision_pool(pool, apps).await?;
        }
        let changed: Vec<&TenantSpec> = wanted
            .tenants
            .values()
            .filter(|tenant| applied.tenants.get(&tenant.id) != Some(*tenant))
            .collect();
        let each: Vec<_> = changed
            .iter()
            .map(|tenant| provisioner.provision_tenant(tenant).boxed())
            .collect();
        stream::iter(each)
            .buffer_unordered(AT_ONCE)
            .try_collect::<()>()
            .await?;

        // Whoever vanished without a tombstone keeps its data and is served no more.
        let vanished = applied
            .tenants
            .keys()
            .filter(|id| !wanted.tenants.contains_key(*id));
        let vanished: Vec<_> = vanished.collect();
        for tenant in &vanished {
            provisioner.suspend(tenant).await?;
        }

        let targets = wanted.targets();
        self.environments
            .start(&targets, READY_WITHIN)
            .await
            .map_err(ReconcileError::Environment)?;
        self.gateway.set_rules(&wanted, &self.environments);
        let ending: Vec<_> = self
            .environments
            .targets()
            .difference(&targets)
            .map(|target| (target.0.clone(), self.environments.stop(target)))
            .collect();

        let deleted = |tenant: &TenantSpec| tenant.life == Life::Offboarded { delete_data: true };
        let deletions: Vec<_> = changed
            .iter()
            .filter(|tenant| deleted(tenant))
            .map(|tenant| (*tenant).clone())
            .collect();
        if !deletions.is_empty() {
            // Nothing must be written into what is deleted; the others' apps end in their own time.
            for (environment, ended) in ending {
                if deletions.iter().any(|tenant| tenant.silo() == environment) {
                    ended.await;
                }
            }
            let each: Vec<_> = deletions
                .iter()
                .map(|tenant| provisioner.delete_data(tenant).boxed())
                .collect();
            stream::iter(each)
                .buffer_unordered(AT_ONCE)
                .try_collect::<()>()
                .await?;
        }
        let changed = changed.len() + vanished.len();
        self.applied = wanted;
        Ok(changed)
    }

    /// Follows the repository until the token is cancelled, from what it looked like before it was read for the first
    /// time: what was pushed while that was carried out must not wait for the next push.
    pub(crate) async fn follow(
        mut self,
        source: Source,
        mut seen: Stamp,
        shutdown: CancellationToken,
    ) {
        let mut last = None;
        while shutdown
            .run_until_cancelled(source.changed_since(&seen))
            .await
            .is_some()
        {
            let stamp = source.stamp();
            let begun = Instant::now();
            let reading = source.clone();
            let head = tokio::task::spawn_blocking(move || reading.head()).await;
            let Desired { commit, topology } = match head
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))
            {
                Ok(desired) => desired,
                Err(error) => {
                    tracing::error!(%error, "the GitOps repository cannot be read; what runs stays as it is");
                    shutdown
                        .run_until_cancelled(tokio::time::sleep(RETRY_AFTER))
                        .await;
                    continue;
                }
            };
            seen = stamp;
            if last.as_ref() == Some(&commit) {
                continue;
            }
            let short = commit.short().to_owned();
            let wanted = match topology {
                Ok(wanted) => wanted,
                Err(broken) => {
                    tracing::error!(
                        commit = short,
                        "this commit is broken; what runs stays as it is:\n{broken}"
                    );
                    last = Some(commit);
                    continue;
                }
            };
            loop {
                match self.carry_out(wanted.clone()).await {
                    Ok(tenants) => {
                        let milliseconds = begun.elapsed().as_millis();
                        tracing::info!(commit = short, tenants, milliseconds, "carried out");
                        source.remember(&commit);
                        break;
                    }
                    Err(error) => {
                        tracing::error!(commit = short, %error, "not carried out; trying again");
                        let pause = tokio::time::sleep(RETRY_AFTER);
                        if shutdown.run_until_cancelled(pause).await.is_none()
                            || source.stamp() != seen
                        {
                            break;
                        }
                    }
                }
            }
            last = Some(commit);
        }
    }
}
