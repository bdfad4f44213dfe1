//! The worker: it turns lifecycle messages into commits, and acknowledges a message only after its push.
//!
//! One service polls three queues for one repository. Messages of one batch are planned together, with one commit each and one
//! push for all. A malformed or conflicting message goes to the dead-letter queue with the reason. A message applied before is
//! acknowledged. While the repository is unreachable, messages are held and not redelivered: the delivery count is for crashes
//! and poison.

mod handler;
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

use self::handler::{LifecycleHandler, SharedRepository};
use self::queues::{QueueName, find_queue};
use crate::git::Repository;
use crate::message::MessageKind;

pub const NAME: &str = "tenantctl";

/// Configuration of the worker, beside the repository.
#[derive(Debug, Clone, Args)]
pub struct WorkerConfig {
    /// The queue of onboarding messages
    #[arg(
        long,
        env,
        value_name = "ONBOARDING_QUEUE",
        default_value = "argoworkflows-onboarding-queue"
    )]
    pub onboarding_queue: QueueName,

    /// The queue of offboarding messages
    #[arg(
        long,
        env,
        value_name = "OFFBOARDING_QUEUE",
        default_value = "argoworkflows-offboarding-queue"
    )]
    pub offboarding_queue: QueueName,

    /// The queue of deployment messages
    #[arg(
        long,
        env,
        value_name = "DEPLOYMENT_QUEUE",
        default_value = "argoworkflows-deployment-queue"
    )]
    pub deployment_queue: QueueName,

    #[command(flatten)]
    pub process: ProcessConfig,

    /// Seconds that an idle poll waits for messages; shutdown may take as long. 20 makes nine calls per minute
    #[arg(long, env, value_name = "RECEIVE_WAIT_SECONDS", default_value = "20", value_parser = seconds(1, 20))]
    pub receive_wait_seconds: Duration,

    /// Messages of one queue received and not yet settled; up to ten share a push
    #[arg(long, env, value_name = "MAX_IN_HAND", default_value_t = 20, value_parser = number(1, 1000))]
    pub max_in_hand: usize,

    /// Seconds that a received message is hidden from other workers; extended until the message is settled
    #[arg(long, env, value_name = "VISIBILITY_SECONDS", default_value = "60", value_parser = seconds(2, 43_200))]
    pub visibility_seconds: Duration,

    /// Seconds of failures of the repository before the worker is not ready
    #[arg(long, env, value_name = "UNREADY_AFTER_SECONDS", default_value = "15", value_parser = seconds(0, 3600))]
    pub unready_after_seconds: Duration,
}

impl WorkerConfig {
    fn queue(&self, kind: MessageKind) -> &QueueName {
        match kind {
            MessageKind::Onboarding => &self.onboarding_queue,
            MessageKind::Offboarding => &self.offboarding_queue,
            MessageKind::Deployment => &self.deployment_queue,
        }
    }

    fn limits(&self) -> ReceiverLimits {
        ReceiverLimits {
            poll_wait: self.receive_wait_seconds,
            // Commits are sequential, so more polls would only hold more messages.
            max_polls: 1,
            max_in_hand: self.max_in_hand,
            // All lifecycle messages have one sender: no group has to leave room for another.
            max_of_one_group: self.max_in_hand,
            visibility: self.visibility_seconds,
            ..ReceiverLimits::default()
        }
    }
}

/// Runs the worker until the token is canceled and the received messages are settled.
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

pub fn worker(config: &WorkerConfig, repository: Repository, aws: &AwsSettings) -> Worker {
    let (metrics, readiness) = (Metrics::new(NAME, "control-plane"), Readiness::default());
    handler::describe_metrics(&metrics);
    let reached = readiness.condition("repository");
    let queues = MessageKind::ALL.map(|kind| Queue {
        kind,
        name: config.queue(kind).clone(),
        receiving: readiness.condition(kind.as_str()),
        limits: config.limits(),
    });
    let repository = SharedRepository::new(repository, reached, config.unready_after_seconds);
    let sqs = aws_sdk_sqs::Client::new(&aws.without_retries());
    let background_metrics = metrics.clone();
    Worker {
        name: NAME,
        readiness,
        metrics,
        background: Box::new(move |shutdown| {
            Box::pin(async move {
                // Readiness requires a reachable repository, before the first message.
                let reach = shutdown.run_until_cancelled(repository.fetch_until_reached());
                let queues = queues.into_iter().map(|queue| {
                    queue.drain(
                        sqs.clone(),
                        repository.clone(),
                        &background_metrics,
                        shutdown.clone(),
                    )
                });
                tokio::join!(reach, join_all(queues));
            })
        }),
    }
}

/// One of the three queues.
struct Queue {
    kind: MessageKind,
    name: QueueName,
    receiving: Condition,
    limits: ReceiverLimits,
}

impl Queue {
    /// Waits until the queue exists, then drains it until shutdown.
    async fn drain(
        self,
        sqs: aws_sdk_sqs::Client,
        repository: SharedRepository,
        metrics: &Metrics,
        shutdown: CancellationToken,
    ) {
        let find = || find_queue(&sqs, &self.name);
        let Some(source) = shutdown
            .run_until_cancelled(retry_forever("a lifecycle queue", find))
            .await
        else {
            return;
        };
        if source.dead_letter_url.is_none() {
            tracing::warn!(
                queue = source.arn.name(),
                "queue has no dead-letter queue: refused messages are redelivered until they expire"
            );
        }
        tracing::info!(
            queue = source.arn.name(),
            kind = self.kind.as_str(),
            "worker started: polling the queue"
        );
        let handler = LifecycleHandler::new(self.kind, repository, metrics, shutdown.clone());
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
