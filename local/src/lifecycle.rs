//! The control plane in one process: `tenantctl`'s worker makes commits of what comes by the lifecycle queues.

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

/// The first segment of its admin surface's paths: it serves no environment.
pub(crate) const CONTROL_PLANE: &str = "control-plane";

/// The worker, running.
pub(crate) struct Lifecycle {
    /// Its probes and metrics, below `/control-plane/tenantctl`.
    pub(crate) admin: Admin,
    tasks: TaskTracker,
}

/// The worker's own flags as a command line.
#[derive(Debug, Parser)]
#[command(name = "worker")]
struct Arguments {
    #[command(flatten)]
    worker: WorkerConfig,
}

impl Lifecycle {
    /// Starts to work the queues off into this repository, until the token is cancelled.
    ///
    /// # Errors
    /// A variable of the user's that the worker reads is wrong.
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

    /// Waits until what was in hand at the end is committed.
    pub(crate) async fn ended(self) {
        self.tasks.close();
        self.tasks.wait().await;
    }
}
