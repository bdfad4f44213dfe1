//! The life of a service: configuration, sockets, signals, drain, exit code.
//!
//! A [`Service`] is its router and the work in its background. [`Service::serve`] gives it sockets; whoever runs several
//! in one process calls the router and the background itself. On SIGTERM or SIGINT readiness is lowered, requests and
//! messages in hand are finished, and the process ends with 0; where that takes longer than the grace period it ends
//! with 1 and says what was left. Handlers are installed for both signals, so all of this holds for PID 1, too.

use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use futures_util::future::BoxFuture;
use tokio::net::{TcpListener, TcpSocket};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::auth::{Auth, Authenticator};
use crate::aws::{AwsClients, AwsSettingsError};
use crate::config::{self, ConfigError, ProcessConfig, ServiceConfig};
use crate::health::Readiness;
use crate::http::Http;
use crate::http::caller::Access;
use crate::http::server::{self, Answers};
use crate::http::shedder::Shedder;
use crate::metrics::{Metrics, UPKEEP_INTERVAL};
use crate::queue::retry::backoff_from_half;
use crate::registry::{
    LookupError, ParameterSource, RegistryLimits, TenantRegistry, environment_resources,
};
use crate::telemetry::{self, TelemetryError};

/// Exit code of a configuration that cannot be used.
const EXIT_CONFIG: u8 = 2;
/// First wait before something needed at start is tried again.
const START_RETRY_BASE: Duration = Duration::from_millis(200);
/// Longest such wait.
const START_RETRY_MAX: Duration = Duration::from_secs(10);
/// How often a worker thread takes a task from the queue that all share. What does not fit into its own (256 tasks) goes
/// there, so under load half of everything is in it; by default it would be one task in up to 127, and whoever is in it
/// would wait for seconds.
const SHARED_QUEUE_INTERVAL: u32 = 2;
/// Connections that the kernel keeps until they are accepted. With fewer, a burst of new clients meets refused handshakes,
/// and each waits for a second before its next one.
const ACCEPT_QUEUE: u32 = 4096;
/// Connections of the admin port: probes and scrapers.
const MAX_ADMIN_CONNECTIONS: usize = 64;

/// One service, assembled and not yet running.
pub struct Service {
    /// Its name.
    pub name: &'static str,
    /// What answers its requests.
    pub answers: Answers,
    /// Whether it is ready.
    pub readiness: Readiness,
    /// Its metrics.
    pub metrics: Metrics,
    /// Its work beside requests: runs until its token is cancelled, then finishes what is in hand.
    pub background: Background,
}

/// A process that answers no requests but those of its admin port.
pub struct Worker {
    /// Its name.
    pub name: &'static str,
    /// Whether it is ready.
    pub readiness: Readiness,
    /// Its metrics.
    pub metrics: Metrics,
    /// Its work: runs until its token is cancelled, then finishes what is in hand.
    pub background: Background,
}

/// Work beside requests.
pub type Background = Box<dyn FnOnce(CancellationToken) -> BoxFuture<'static, ()> + Send>;

/// Why a service ended otherwise than asked to.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The AWS settings cannot work.
    #[error(transparent)]
    Aws(#[from] AwsSettingsError),
    /// An address or port cannot be listened on.
    #[error(
        "{variable}: cannot listen on {address}: {reason}; choose another, or end what uses it"
    )]
    Listen {
        /// The variable that sets what is wrong.
        variable: &'static str,
        /// The address tried.
        address: SocketAddr,
        /// Why not.
        reason: std::io::Error,
    },
    /// The work beside requests ended without being asked to: a defect, and nothing a running process could mend.
    #[error("the service's work in the background ended: {0}; the log has the cause")]
    Background(String),
    /// The grace period ended before the work in hand.
    #[error("the grace period of {0:?} (SHUTDOWN_GRACE_SECONDS) ended before the work in hand did")]
    Undrained(Duration),
}

impl RunError {
    fn exit_code(&self) -> ExitCode {
        match self {
            Self::Aws(_) => EXIT_CONFIG.into(),
            Self::Listen { .. } | Self::Background(_) | Self::Undrained(_) => ExitCode::FAILURE,
        }
    }
}

/// What every service is assembled from: tenancy, the common routes, readiness, metrics.
pub struct Parts {
    /// The common HTTP surface.
    pub http: Http,
    /// The tenant registry.
    pub registry: TenantRegistry,
    /// Readiness; a condition that the registry can be read is already in it.
    pub readiness: Readiness,
    /// Metrics.
    pub metrics: Metrics,
    /// Where parameters are read from.
    pub parameters: Arc<dyn ParameterSource>,
}

impl Parts {
    /// The parts of a service of this name and version.
    pub fn new(
        name: &'static str,
        version: &'static str,
        config: &ServiceConfig,
        parameters: Arc<dyn ParameterSource>,
    ) -> Self {
        Self::of(name, version, config, parameters, None)
    }

    /// The parts of a service that has to know the table in this parameter of each tenant.
    pub fn with_table(
        name: &'static str,
        version: &'static str,
        config: &ServiceConfig,
        parameters: Arc<dyn ParameterSource>,
        parameter: &'static str,
    ) -> Self {
        Self::of(name, version, config, parameters, Some(parameter))
    }

    fn of(
        name: &'static str,
        version: &'static str,
        config: &ServiceConfig,
        parameters: Arc<dyn ParameterSource>,
        table: Option<&'static str>,
    ) -> Self {
        let metrics = Metrics::new(name, config.environment.as_str());
        let readiness = Readiness::default();
        let limits = RegistryLimits {
            refresh_after: config.registry_refresh_seconds,
            unknown_for: config.registry_unknown_seconds,
            ..RegistryLimits::default()
        };
        let source = Arc::clone(&parameters);
        let registry = match table {
            Some(table) => TenantRegistry::with_table(source, limits, &metrics, table),
            None => TenantRegistry::new(source, limits, &metrics),
        };
        let tokens = Authenticator::new(&config.auth, &readiness, &metrics);
        let (environment, rate) = (config.environment.clone(), config.tenant_rate_per_second);
        let access = Access::new(
            environment,
            registry.clone(),
            rate,
            Shedder::new(config.shed_late_millis, &metrics),
        )
        .with_tokens(tokens);
        let http = Http::new(name, version, access, readiness.clone(), metrics.clone());
        Self {
            http,
            registry,
            readiness,
            metrics,
            parameters,
        }
    }

    /// Ready once Parameter Store has answered for the first time; from then on what is known is kept fresh, and too many
    /// requests are refused.
    pub fn keep_registry(&self) -> BoxFuture<'static, ()> {
        let (registry, parameters) = (self.registry.clone(), Arc::clone(&self.parameters));
        let (tokens, shedder) = (
            self.http.access().tokens().clone(),
            self.http.access().shedder().clone(),
        );
        let (environment, reached) = (
            self.http.environment().clone(),
            self.readiness.condition("registry"),
        );
        Box::pin(async move {
            let first_answer = || {
                let (parameters, environment) = (Arc::clone(&parameters), environment.clone());
                async move {
                    match environment_resources(&*parameters, &environment).await {
                        Err(LookupError::Unavailable(reason)) => Err(reason),
                        _ => Ok(()),
                    }
                }
            };
            let keep_tenants = async {
                retry_forever("Parameter Store", first_answer).await;
                reached.set(true);
                registry.refresh_forever().await;
            };
            tokio::join!(keep_tenants, tokens.keep_keys(), shedder.watch());
        })
    }
}

/// Tries something needed at start until it succeeds, at growing distance, and says in the log what it waits for.
pub async fn retry_forever<T, F>(what: &'static str, attempt: impl Fn() -> F) -> T
where
    F: Future<Output = Result<T, String>>,
{
    let mut times = 0;
    loop {
        match attempt().await {
            Ok(found) => return found,
            Err(reason) => tracing::warn!(reason, "waiting for {what}"),
        }
        tokio::time::sleep(backoff_from_half(
            times,
            START_RETRY_BASE,
            START_RETRY_MAX,
            fastrand::f64(),
        ))
        .await;
        times += 1;
    }
}

/// A configuration that contains the common part.
pub trait Configured: clap::Parser + Send + 'static {
    /// The common part.
    fn service(&self) -> &ServiceConfig;
}

/// The whole of a service's `main`: configuration, telemetry, run, exit code.
pub fn main<C, F>(name: &'static str, run: impl FnOnce(C, CancellationToken) -> F) -> ExitCode
where
    C: Configured,
    F: Future<Output = Result<(), RunError>>,
{
    let config: C = match config::parse() {
        Ok(config) => config,
        Err(ConfigError::Asked(text)) => {
            return say(&mut std::io::stdout(), &text, ExitCode::SUCCESS);
        }
        Err(ConfigError::Wrong(line)) => return complain(name, &line, EXIT_CONFIG.into()),
    };
    let process = &config.service().process;
    let telemetry = match telemetry::start(name, process.log_format, &process.log_level) {
        Ok(telemetry) => telemetry,
        Err(error @ TelemetryError::Started) => return complain(name, &error, ExitCode::FAILURE),
        Err(error) => return complain(name, &error, EXIT_CONFIG.into()),
    };
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = match runtime
        .enable_all()
        .global_queue_interval(SHARED_QUEUE_INTERVAL)
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => return complain(name, &error, ExitCode::FAILURE),
    };
    let outcome = runtime.block_on(async { run(config, shutdown_signal()).await });
    runtime.shutdown_background();
    telemetry.end();
    outcome.map_or_else(
        |error| complain(name, &error, error.exit_code()),
        |()| ExitCode::SUCCESS,
    )
}

/// Assembles a service over the clients the environment describes, and serves until the token is cancelled.
///
/// # Errors
/// [`RunError`]: AWS settings that cannot work, a port taken, or a drain that did not end in time.
pub async fn run<C: Configured>(
    config: C,
    assemble: impl FnOnce(&C, &AwsClients) -> Service,
    shutdown: CancellationToken,
) -> Result<(), RunError> {
    let aws = AwsClients::from_env().await?;
    assemble(&config, &aws)
        .serve(config.service(), shutdown)
        .await
}

impl Service {
    /// Listens and serves until the token is cancelled, then drains.
    ///
    /// # Errors
    /// [`RunError`] where a port is taken, or the drain does not end within the grace period.
    pub async fn serve(
        self,
        config: &ServiceConfig,
        shutdown: CancellationToken,
    ) -> Result<(), RunError> {
        let process = &config.process;
        let listener = listen("PORT", process.bind_address, config.port)?;
        let admin = listen("ADMIN_PORT", process.bind_address, process.admin_port)?;
        tracing::info!(service = self.name, environment = %config.environment, address = %address(&listener),
            admin = %address(&admin), "listening");
        if config.auth == Auth::None {
            tracing::warn!(
                "AUTH=none: the tenantID header of every request is believed. Let nothing but the load balancer reach \
                 this port, or set AUTH=jwt"
            );
        }
        let requests = server::serve(
            listener,
            self.answers,
            config.max_connections,
            shutdown.clone(),
        );
        let Self {
            name,
            readiness,
            metrics,
            background,
            ..
        } = self;
        let worker = Worker {
            name,
            readiness,
            metrics,
            background,
        };
        worker
            .attend(admin, requests, process.shutdown_grace_seconds, shutdown)
            .await
    }
}

impl Worker {
    /// Listens for probes and works until the token is cancelled, then drains.
    ///
    /// # Errors
    /// [`RunError`] where the port is taken, or the drain does not end within the grace period.
    pub async fn serve(
        self,
        config: &ProcessConfig,
        shutdown: CancellationToken,
    ) -> Result<(), RunError> {
        let admin = listen("ADMIN_PORT", config.bind_address, config.admin_port)?;
        tracing::info!(service = self.name, admin = %address(&admin), "listening");
        self.attend(
            admin,
            std::future::ready(()),
            config.shutdown_grace_seconds,
            shutdown,
        )
        .await
    }

    /// Everything between listening and the end.
    async fn attend(
        self,
        admin: TcpListener,
        requests: impl Future<Output = ()> + Send + 'static,
        grace: Duration,
        shutdown: CancellationToken,
    ) -> Result<(), RunError> {
        let admin_stop = CancellationToken::new();
        let admin_router = admin_routes(self.readiness.clone(), self.metrics.clone());
        let admin_server = tokio::spawn(server::serve(
            admin,
            admin_router,
            MAX_ADMIN_CONNECTIONS,
            admin_stop.clone(),
        ));
        let upkeep = tokio::spawn(upkeep(self.metrics.clone(), admin_stop.clone()));

        let mut background = tokio::spawn((self.background)(shutdown.clone()));
        let requests = tokio::spawn(requests);
        // A service that answers and does not work would fool every probe: better to end and be started again.
        let died = tokio::select! {
            // First: asked to, the background ends at once.
            biased;
            () = shutdown.cancelled() => None,
            ended = &mut background => Some(ended.map_or_else(|error| error.to_string(), |()| "early".to_owned())),
        };
        self.readiness.drain();
        tracing::info!(service = self.name, "draining");
        shutdown.cancel();
        let is_background_open = died.is_none();
        let drained = tokio::time::timeout(grace, async {
            let background = async {
                if is_background_open {
                    background.await
                } else {
                    Ok(())
                }
            };
            let (background, requests) = tokio::join!(background, requests);
            background.and(requests)
        })
        .await;
        admin_stop.cancel();
        // Both ended on the token; what is left of the admin port is a probe that does not matter any more.
        admin_server.abort();
        upkeep.abort();
        match (died, drained) {
            (Some(reason), _) => Err(RunError::Background(reason)),
            (None, Err(_)) => Err(RunError::Undrained(grace)),
            (None, Ok(Err(error))) => Err(RunError::Background(error.to_string())),
            (None, Ok(Ok(()))) => {
                tracing::info!(service = self.name, "drained");
                Ok(())
            }
        }
    }
}

/// The admin port: liveness, readiness with what is missing, metrics. Never routed from outside.
pub fn admin_routes(readiness: Readiness, metrics: Metrics) -> Router {
    let ready = async |State(readiness): State<Readiness>| {
        let unmet = readiness.unmet();
        let status = if unmet.is_empty() {
            StatusCode::OK
        } else {
            StatusCode::SERVICE_UNAVAILABLE
        };
        (
            status,
            axum::Json(serde_json::json!({ "ready": unmet.is_empty(), "waiting_for": unmet })),
        )
    };
    let scrape = async |State(metrics): State<Metrics>| {
        (
            [(header::CONTENT_TYPE, "text/plain; version=0.0.4")],
            metrics.render(),
        )
            .into_response()
    };
    Router::new()
        .route("/livez", get(async || "ok\n"))
        .merge(
            Router::new()
                .route("/readyz", get(ready))
                .with_state(readiness),
        )
        .merge(
            Router::new()
                .route("/metrics", get(scrape))
                .with_state(metrics),
        )
}

/// Folds metric samples in until the token is cancelled.
pub async fn upkeep(metrics: Metrics, stop: CancellationToken) {
    let work = async {
        loop {
            tokio::time::sleep(UPKEEP_INTERVAL).await;
            metrics.upkeep();
        }
    };
    stop.run_until_cancelled(work).await;
}

/// A token that is cancelled by SIGTERM or SIGINT. Call it within a runtime.
pub fn shutdown_signal() -> CancellationToken {
    let token = CancellationToken::new();
    let mut terminate = signal(SignalKind::terminate()).expect("SIGTERM can be handled");
    let mut interrupt = signal(SignalKind::interrupt()).expect("SIGINT can be handled");
    tokio::spawn({
        let token = token.clone();
        async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            token.cancel();
        }
    });
    token
}

/// As `TcpListener::bind`, with room for more than 128 clients at once.
fn bind(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()?
    } else {
        TcpSocket::new_v6()?
    };
    // A restart finds connections of the process before.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(ACCEPT_QUEUE)
}

fn listen(
    variable: &'static str,
    bind_address: IpAddr,
    port: u16,
) -> Result<TcpListener, RunError> {
    let address = SocketAddr::new(bind_address, port);
    bind(address).map_err(|reason| {
        let is_foreign = reason.kind() == std::io::ErrorKind::AddrNotAvailable;
        RunError::Listen {
            variable: if is_foreign { "BIND_ADDRESS" } else { variable },
            address,
            reason,
        }
    })
}

fn address(listener: &TcpListener) -> String {
    listener
        .local_addr()
        .map_or_else(|error| error.to_string(), |address| address.to_string())
}

/// One line on standard error: log lines may not be set up yet.
fn complain(name: &str, error: &dyn std::fmt::Display, code: ExitCode) -> ExitCode {
    say(&mut std::io::stderr(), &format!("{name}: {error}\n"), code)
}

fn say(to: &mut dyn std::io::Write, text: &str, code: ExitCode) -> ExitCode {
    // Nobody is left to tell if this fails, too.
    let _ = to.write_all(text.as_bytes());
    code
}

#[cfg(test)]
mod tests;
