//! `tenantctl`'s worker in this process: it turns messages of the lifecycle queues into commits.

use clap::Parser;
use tenantctl::git::Repository;
use tenantctl::worker::{WorkerConfig, worker};
use tenantry_process::admin::Admin;
use tenantry_process::aws::AwsSettings;
use tenantry_process::config::{ConfigError, parse_from};
use tenantry_process::run::{Worker, upkeep};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::provision::LIFECYCLE_QUEUES;

/// First segment of the worker's admin paths, in place of an environment.
pub(crate) const CONTROL_PLANE: &str = "control-plane";

pub(crate) struct LifecycleWorker {
    /// Probes and metrics, below `/control-plane/tenantctl`.
    pub(crate) admin: Admin,
    tasks: TaskTracker,
}

#[derive(Debug, Parser)]
#[command(name = "worker")]
struct Arguments {
    #[command(flatten)]
    worker: WorkerConfig,
}

impl LifecycleWorker {
    /// Starts the worker, which commits to this repository until the token is canceled.
    ///
    /// # Errors
    /// An invalid environment variable of the worker.
    pub(crate) fn start(
        repository: Repository,
        aws: &AwsSettings,
        shutdown: &CancellationToken,
    ) -> Result<Self, ConfigError> {
        let [onboarding, offboarding, deployment] = LIFECYCLE_QUEUES;
        let Arguments { worker: config } = parse_from([
            "worker".to_owned(),
            format!("--onboarding-queue={onboarding}"),
            format!("--offboarding-queue={offboarding}"),
            format!("--deployment-queue={deployment}"),
            "--admin-port=0".to_owned(),
        ])?;
        let Worker {
            readiness,
            metrics,
            background,
            ..
        } = worker(&config, repository, aws);
        let tasks = TaskTracker::new();
        tasks.spawn(background(shutdown.clone()));
        tasks.spawn(upkeep(metrics.clone(), shutdown.clone()));
        let admin = Admin::new(readiness, metrics);
        Ok(Self { admin, tasks })
    }

    /// Waits until the messages in hand are committed.
    pub(crate) async fn drain(self) {
        self.tasks.close();
        self.tasks.wait().await;
    }
}
