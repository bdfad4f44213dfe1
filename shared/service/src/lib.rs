//! The common part of the tenant services: their HTTP side, their assembly and their run. The crate names no service.
//!
//! A service assembles [`Parts`], gives its routes to [`Http::finish`] and its background work to [`Service`].
//! [`stack`] lists everything around a request, in order.

pub mod admission;
pub mod auth;
pub mod body;
pub mod config;
pub mod cursor;
pub mod error;
mod http;
pub mod idempotency;
pub mod openapi;
pub mod overload;
pub mod page;
mod request_metrics;
pub mod source;
pub mod stack;
pub mod telemetry;

use std::sync::Arc;

use axum::Router;
use futures_util::future::BoxFuture;
use hyper_util::service::TowerToHyperService;
use tenantry_process::aws::AwsSettings;
use tenantry_process::health::Readiness;
use tenantry_process::metrics::Metrics;
use tenantry_process::run::{self, RunError, Worker, retry_forever};
use tenantry_process::server;
use tenantry_registry::{
    LookupError, ParameterSource, RegistryLimits, TenantRegistry, environment_resources,
};
use tenantry_tenancy::environment::Environment;
use tokio_util::sync::CancellationToken;

use self::admission::Admission;
use self::auth::{Auth, Authenticator};
use self::config::ServiceConfig;
pub use self::http::Http;

/// One service, assembled and not yet running.
pub struct Service {
    pub router: Router,
    /// Its probes, metrics and background work.
    pub worker: Worker,
}

/// The common parts of every service.
pub struct Parts {
    pub http: Http,
    pub registry: TenantRegistry,
    /// Has the condition `registry` already.
    pub readiness: Readiness,
    pub metrics: Metrics,
    /// The source of parameters: Parameter Store, or a test's.
    pub parameters: Arc<dyn ParameterSource>,
}

impl Parts {
    /// The parts of a service of this name and version. `table` is the parameter of each tenant that names its table, for
    /// a service that has to know it.
    pub fn new(
        (name, version): (&'static str, &'static str),
        config: &ServiceConfig,
        aws: &AwsSettings,
        table: Option<&'static str>,
    ) -> Self {
        let parameters = Arc::new(aws_sdk_ssm::Client::new(&aws.with_retries()));
        let metrics = Metrics::new(name, config.environment.as_str());
        let readiness = Readiness::default();
        let limits = RegistryLimits {
            refresh_after: config.registry_refresh_seconds,
            unknown_for: config.registry_unknown_seconds,
            // Only the owner's id reaches a silo's registry.
            reads_index: matches!(config.environment, Environment::Pool(_)),
            ..RegistryLimits::default()
        };
        let registry = TenantRegistry::new(parameters.clone(), limits, &metrics, table);
        let authenticator = Authenticator::new(&config.auth, &readiness, &metrics);
        let admission = Admission::new(
            config.environment.clone(),
            registry.clone(),
            config.tenant_rate_per_second,
        )
        .with_proved_ids(config.auth != Auth::None);
        let http = Http::new(
            (name, version),
            authenticator,
            admission,
            readiness.clone(),
            metrics.clone(),
            config.proxies.clone(),
        );
        Self {
            http,
            registry,
            readiness,
            metrics,
            parameters,
        }
    }

    /// Background work of every service: ready once Parameter Store has answered for the first time; from then on
    /// registrations and keys stay fresh.
    pub fn upkeep(&self) -> BoxFuture<'static, ()> {
        let (registry, parameters) = (self.registry.clone(), Arc::clone(&self.parameters));
        let (http, reached) = (self.http.clone(), self.readiness.condition("registry"));
        Box::pin(async move {
            let first_answer = || async {
                match environment_resources(&*parameters, http.environment()).await {
                    Err(LookupError::Unavailable(reason)) => Err(reason),
                    _ => Ok(()),
                }
            };
            let keep_registrations = async {
                retry_forever("Parameter Store", first_answer).await;
                registry.read_index().await;
                reached.set(true);
                registry.keep_fresh().await;
            };
            let keep_keys = http.authenticator().keep_keys();
            tokio::join!(keep_registrations, keep_keys);
        })
    }
}

impl Service {
    /// Listens and serves until the token is canceled, then drains.
    ///
    /// # Errors
    /// [`RunError`] where a port is taken, or the drain does not end within the grace period.
    pub async fn serve(
        self,
        config: &ServiceConfig,
        shutdown: CancellationToken,
    ) -> Result<(), RunError> {
        let process = &config.process;
        let listener = run::listen("PORT", process.bind_address, config.port)?;
        let admin = run::listen("ADMIN_PORT", process.bind_address, process.admin_port)?;
        tracing::info!(service = self.worker.name, environment = %config.environment,
            address = %run::address(&listener), admin = %run::address(&admin), "listening");
        if config.auth == Auth::None {
            tracing::warn!(
                "AUTH=none: the tenantID header of every request is believed; let only the load balancer reach this port, \
                 or set AUTH=jwt"
            );
        }
        let requests = server::serve(
            listener,
            TowerToHyperService::new(self.router),
            config.max_connections,
            shutdown.clone(),
        );
        self.worker
            .serve_with(admin, requests, process, shutdown)
            .await
    }
}

#[cfg(test)]
mod fuzz_targets;
