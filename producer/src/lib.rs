//! The producer: `POST /producer` sends an event to the tenant's queue, and answers once the queue has confirmed it.
//!
//! Only the registry decides the queue: no header can change it. An application team replaces the use of the body in
//! `accept`; the rest stays.

mod accept;
mod idempotency;
mod openapi;

use axum::http::Method;
use tenantry_process::aws::AwsSettings;
use tenantry_process::config::{ProcessConfig, number};
use tenantry_process::run::{Configured, RunError, Worker};
use tenantry_queue::sender::{MAX_BATCH_BYTES, Sender, SenderLimits};
use tenantry_service::config::ServiceConfig;
use tenantry_service::stack::Routes;
use tenantry_service::{Parts, Service};
use tenantry_tenancy::event::MAX_PAYLOAD_BYTES;
use tokio_util::sync::CancellationToken;

use self::accept::Producer;

/// Name of the service: its path prefix, and `microservice` in its answers.
pub const NAME: &str = "producer";
/// Smallest batch limit that fits the largest payload with its attributes.
const MIN_BATCH_BYTES: usize = 256 * 1024;

/// Sends events to the tenant's queue
#[derive(Debug, Clone, clap::Parser)]
#[command(name = NAME, version)]
pub struct Config {
    /// Settings of every service.
    #[command(flatten)]
    pub service: ServiceConfig,

    /// Largest request body in bytes; at most the largest payload of a table's item
    #[arg(long, env, value_name = "MAX_BODY_BYTES", default_value_t = 256 * 1024,
          value_parser = number(1, MAX_PAYLOAD_BYTES))]
    pub max_body_bytes: usize,

    /// Largest batch sent to a queue, in bytes; 262144 for emulators with SQS's former limit
    #[arg(long, env, value_name = "MAX_BATCH_BYTES", default_value_t = MAX_BATCH_BYTES,
          value_parser = number(MIN_BATCH_BYTES, MAX_BATCH_BYTES))]
    pub max_batch_bytes: usize,
}

impl Configured for Config {
    fn process(&self) -> &ProcessConfig {
        &self.service.process
    }
}

/// Runs the service until the token is canceled and all work is finished.
///
/// # Errors
/// [`RunError`]: invalid AWS settings, a port in use, or a drain that exceeds the grace period.
pub async fn run(config: Config, shutdown: CancellationToken) -> Result<(), RunError> {
    let aws = AwsSettings::from_env().await?;
    service(&config, &aws)
        .serve(&config.service, shutdown)
        .await
}

/// Assembles the service.
pub fn service(config: &Config, aws: &AwsSettings) -> Service {
    let parts = Parts::new(
        (NAME, env!("CARGO_PKG_VERSION")),
        &config.service,
        aws,
        None,
    );
    let upkeep = parts.upkeep();
    let limits = SenderLimits {
        max_batch_bytes: config.max_batch_bytes,
        ..SenderLimits::default()
    };
    let sqs = aws_sdk_sqs::Client::new(&aws.without_retries());
    let sender = Sender::new(sqs, limits, &parts.metrics);
    let producer = Producer::new(parts.http.clone(), sender.clone(), config.max_body_bytes);
    let routes = Routes::new().tenant(Method::POST, "/producer", accept::accept);
    Service {
        router: parts.http.finish(routes, producer, openapi::document()),
        worker: Worker {
            name: NAME,
            readiness: parts.readiness,
            metrics: parts.metrics,
            background: Box::new(|shutdown| {
                Box::pin(async move {
                    shutdown.run_until_cancelled(upkeep).await;
                    sender.drain().await;
                })
            }),
        },
    }
}
