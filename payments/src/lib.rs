//! The payments service: identity, readiness and metrics. It owns no state and keeps no message.

use std::sync::Arc;

use axum::Router;
use shared::aws::AwsClients;
use shared::config::ServiceConfig;
use shared::service::{Configured, Parts, RunError, Service};
use tokio_util::sync::CancellationToken;

/// The service's name: its path prefix and the `microservice` of its answers.
pub const NAME: &str = "payments";

/// The tenant's payments
#[derive(Debug, Clone, clap::Parser)]
#[command(name = NAME, version)]
pub struct Config {
    /// What every service is configured by.
    #[command(flatten)]
    pub service: ServiceConfig,
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
    let parts = Parts::new(NAME, env!("CARGO_PKG_VERSION"), &config.service, Arc::new(aws.ssm.clone()));
    let keep_registry = parts.keep_registry();
    Service {
        name: NAME,
        router: parts.http.finish(Router::new()),
        readiness: parts.readiness,
        metrics: parts.metrics,
        background: Box::new(|shutdown| {
            Box::pin(async move {
                shutdown.run_until_cancelled(keep_registry).await;
            })
        }),
    }
}
