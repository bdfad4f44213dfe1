//! The producer: `POST /producer` puts an event onto the tenant's queue, and answers once the queue has confirmed it.
//!
//! Where the event goes is the registry's word alone: no header can move it. An application team replaces what becomes
//! of the body; everything around it stays.

mod accept;
mod idempotency;
mod openapi;

use std::sync::Arc;

use axum::Router;
use axum::routing::post;
use shared::aws::AwsClients;
use shared::config::{ServiceConfig, number};
use shared::event::MAX_PAYLOAD_BYTES;
use shared::queue::sender::{MAX_BATCH_BYTES, Sender, SenderLimits};
use shared::service::{Configured, Parts, RunError, Service};
use tokio_util::sync::CancellationToken;

use self::accept::Producer;

/// The service's name: its path prefix and the `microservice` of its answers.
pub const NAME: &str = "producer";
/// Smallest batch that still takes the largest payload with its attributes.
const MIN_BATCH_BYTES: usize = 256 * 1024;

/// Puts events onto the tenant's queue
#[derive(Debug, Clone, clap::Parser)]
#[command(name = NAME, version)]
pub struct Config {
    /// What every service is configured by.
    #[command(flatten)]
    pub service: ServiceConfig,

    /// Largest request body in bytes; at most what fits a table's item
    #[arg(long, env, value_name = "MAX_BODY_BYTES", default_value_t = 256 * 1024,
          value_parser = number(1, MAX_PAYLOAD_BYTES))]
    pub max_body_bytes: usize,

    /// Largest batch sent to a queue in bytes; 262144 for emulators with SQS's former limit
    #[arg(long, env, value_name = "MAX_BATCH_BYTES", default_value_t = MAX_BATCH_BYTES,
          value_parser = number(MIN_BATCH_BYTES, MAX_BATCH_BYTES))]
    pub max_batch_bytes: usize,
}

impl Configured for Config {
    fn service(&self) -> &ServiceConfig {
        &self.service
    }
}

/// Runs the service until the token is cancelled and everything in hand is finished.
///
/// # Errors
/// [`RunError`]: AWS settings that cannot work, a port taken, or a drain that did not end in time.
pub async fn run(config: Config, shutdown: CancellationToken) -> Result<(), RunError> {
    shared::service::run(config, service, shutdown).await
}

/// Assembles the service over these clients.
pub fn service(config: &Config, aws: &AwsClients) -> Service {
    let parts = Parts::new(
        NAME,
        env!("CARGO_PKG_VERSION"),
        &config.service,
        Arc::new(aws.ssm.clone()),
    );
    let keep_registry = parts.keep_registry();
    let limits = SenderLimits {
        max_batch_bytes: config.max_batch_bytes,
        ..SenderLimits::default()
    };
    let sender = Sender::new(aws.sqs.clone(), limits, &parts.metrics);
    let producer = Producer::new(parts.http.clone(), sender.clone(), config.max_body_bytes);
    let own = Router::new()
        .route("/producer", post(accept::accept))
        .with_state(producer);
    Service {
        name: NAME,
        answers: parts.http.finish(own, openapi::document()),
        readiness: parts.readiness,
        metrics: parts.metrics,
        background: Box::new(|shutdown| {
            Box::pin(async move {
                shutdown.run_until_cancelled(keep_registry).await;
                sender.drain().await;
            })
        }),
    }
}
