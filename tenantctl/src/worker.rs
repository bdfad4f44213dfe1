//! The lifecycle queues worked off: a message becomes a commit, and is acknowledged only once that is pushed.
//!
//! One service, three queues, one repository. Messages that came together are planned together, a commit each and one push
//! for all. What can never be carried out (a malformed message, a conflict) goes to the dead-letter queue with the reason;
//! what was carried out before is acknowledged. While the repository cannot be reached, messages are held, not delivered
//! over and over: deliveries are for crashes and for what may be poison.

mod carry_out;
mod queues;

use std::time::Duration;

use clap::Args;
use futures_util::future::join_all;
use tenantry_process::aws::AwsSettings;
use tenantry_process::config::{ProcessConfig, number, seconds};
use tenantry_process::health::{Condition, Readiness};
use tenantry_process::metrics::Metrics;
use tenantry_process::run::{RunError, Worker, retry_forever};
use tenantry_queue::receiver::{Receiver, ReceiverLimits};
use tokio_util::sync::CancellationToken;

use self::carry_out::{CarryOut, Repositories};
use self::queues::{QueueName, find_source};
use crate::git::Repository;
use crate::message::Kind;

/// The service's name.
pub const NAME: &str = "tenantctl";

/// What the worker is configured by, beside the repository.
#[derive(Debug, Clone, Args)]
pub struct WorkerConfig {
    /// The queue of new tenants
    #[arg(
        long,
        env,
        value_name = "ONBOARDING_QUEUE",
        default_value = "argoworkflows-onboarding-queue"
    )]
    pub onboarding_queue: QueueName,

    /// The queue of tenants that leave
    #[arg(
        long,
        env,
        value_name = "OFFBOARDING_QUEUE",
        default_value = "argoworkflows-offboarding-queue"
    )]
    pub offboarding_queue: QueueName,

    /// The queue of releases
    #[arg(
        long,
        env,
        value_name = "DEPLOYMENT_QUEUE",
        default_value = "argoworkflows-deployment-queue"
    )]
    pub deployment_queue: QueueName,

    /// What every process is configured by.
    #[command(flatten)]
    pub process: ProcessConfig,

    /// Seconds an idle poll waits for messages; a drain may take as long. 20 costs nine calls a minute
    #[arg(long, env, value_name = "RECEIVE_WAIT_SECONDS", default_value = "20", value_parser = seconds(1, 20))]
    pub receive_wait_seconds: Duration,

    /// Messages of one queue received and not yet committed; up to ten of them share a push
    #[arg(long, env, value_name = "MAX_IN_HAND", default_value_t = 20, value_parser = number(1, 1000))]
    pub max_in_hand: usize,

    /// Seconds a received message is hidden from other workers; extended while it is worked on
    #[arg(long, env, value_name = "VISIBILITY_SECONDS", default_value = "60", value_parser = seconds(2, 43_200))]
    pub visibility_seconds: Duration,

    /// Seconds the repository may fail before the worker is not ready
    #[arg(long, env, value_name = "UNREADY_AFTER_SECONDS", default_value = "15", value_parser = seconds(0, 3600))]
    pub unready_after_seconds: Duration,
}

impl WorkerConfig {
    fn queue(&self, kind: Kind) -> &QueueName {
        match kind {
            Kind::Onboarding => &self.onboarding_queue,
            Kind::Offboarding => &self.offboarding_queue,
            Kind::Deployment => &self.deployment_queue,
        }
    }

    fn limits(&self) -> ReceiverLimits {
        ReceiverLimits {
            poll_wait: self.receive_wait_seconds,
            // Commits come one after the other, so more polls would only hold more messages.
            max_polls: 1,
            max_in_hand: self.max_in_hand,
            // Whoever operates tenants is one sender: no group is to leave room for another.
            max_of_one_group: self.max_in_hand,
            visibility: self.visibility_seconds,
            ..ReceiverLimits::default()
        }
    }
}

/// Runs the worker until the token is cancelled and what is in hand is finished.
///
/// # Errors
/// [`RunError`]: AWS settings that cannot work, a port taken, or a drain that did not end in time.
pub async fn run(
    config: WorkerConfig,
    repository: Repository,
    shutdown: CancellationToken,
) -> Result<(), RunError> {
    let aws = AwsSettings::from_env().await?;
    worker(&config, repository, &aws)
        .serve(&config.process, shutdown)
        .await
}

/// Assembles the worker over these clients.
pub fn worker(config: &WorkerConfig, repository: Repository, aws: &AwsSettings) -> Worker {
    let (metrics, readiness) = (Metrics::new(NAME, "control-plane"), Readiness::default());
    carry_out::describe(&metrics);
    let reached = readiness.condition("repository");
    let queues = Kind::ALL.map(|kind| Queue {
        kind,
        name: config.queue(kind).clone(),
        receiving: readiness.condition(kind.as_str()),
        limits: config.limits(),
    });
    let repositories = Repositories::new(repository, reached, config.unready_after_seconds);
    let sqs = aws_sdk_sqs::Client::new(&aws.without_retries());
    let background_metrics = metrics.clone();
    Worker {
        name: NAME,
        readiness,
        metrics,
        background: Box::new(move |shutdown| {
            Box::pin(async move {
                // Ready means that the repository can be reached, before any message comes.
                let reach = shutdown.run_until_cancelled(repositories.reach());
                let queues = queues.into_iter().map(|queue| {
                    queue.drain(
                        sqs.clone(),
                        repositories.clone(),
                        &background_metrics,
                        shutdown.clone(),
                    )
                });
                tokio::join!(reach, join_all(queues));
            })
        }),
    }
}

/// One of the three queues, and what it is drained with.
struct Queue {
    kind: Kind,
    name: QueueName,
    receiving: Condition,
    limits: ReceiverLimits,
}

impl Queue {
    /// Finds the queue, waiting for it as long as it takes, then works it off.
    async fn drain(
        self,
        sqs: aws_sdk_sqs::Client,
        repositories: Repositories,
        metrics: &Metrics,
        shutdown: CancellationToken,
    ) {
        let find = || find_source(&sqs, &self.name);
        let Some(source) = shutdown
            .run_until_cancelled(retry_forever("a lifecycle queue", find))
            .await
        else {
            return;
        };
        if source.dead_letter_url.is_none() {
            tracing::warn!(
                queue = source.arn.name(),
                "no dead-letter queue: bad messages are left to redelivery until they expire"
            );
        }
        tracing::info!(
            queue = source.arn.name(),
            kind = self.kind.as_str(),
            "working"
        );
        let handler = CarryOut::new(self.kind, repositories, metrics, shutdown.clone());
        let receiver = Receiver::new(
            sqs.clone(),
            source,
            handler,
            self.limits,
            metrics,
            self.receiving,
        );
        receiver.run(shutdown).await;
    }
}
