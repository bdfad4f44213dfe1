//! The life of a process: sockets, signals, drain, exit code.
//!
//! On SIGTERM or SIGINT readiness is lowered, requests and messages in hand are finished, and the process ends with 0;
//! where that takes longer than the grace period it ends with 1 and says so. Handlers are installed for both signals, so
//! all of this holds for PID 1, too. Background work that ends unasked ends the process: a consumer that answers probes
//! and consumes nothing would look healthy.

use std::net::{IpAddr, SocketAddr};
use std::process::ExitCode;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::net::{TcpListener, TcpSocket};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::admin::Admin;
use crate::aws::AwsSettingsError;
use crate::config::{self, ConfigError, ProcessConfig};
use crate::health::Readiness;
use crate::metrics::{Metrics, UPKEEP_INTERVAL};
use crate::retry::backoff_from_half;
use crate::telemetry::{self, TelemetryError};

/// Exit code of a configuration that cannot be used.
const EXIT_CONFIG: u8 = 2;
/// First wait before something needed at start is tried again.
const START_RETRY_BASE: Duration = Duration::from_millis(200);
/// Longest such wait.
const START_RETRY_MAX: Duration = Duration::from_secs(10);
/// A worker thread takes every second task from the queue that all threads share. A thread's own queue holds 256 tasks;
/// under load half of all tasks are in the shared one, where they would wait for seconds at tokio's default of up to 127.
const SHARED_QUEUE_INTERVAL: u32 = 2;
/// Connections that the kernel keeps until they are accepted. With fewer, a burst of new clients meets refused
/// handshakes, and each waits for a second before its next one.
const ACCEPT_QUEUE: u32 = 4096;

/// A process assembled and not yet running.
pub struct Worker {
    pub name: &'static str,
    pub readiness: Readiness,
    pub metrics: Metrics,
    /// Runs until its token is cancelled, then finishes what is in hand.
    pub background: Background,
}

/// Work beside requests.
pub type Background = Box<dyn FnOnce(CancellationToken) -> BoxFuture<'static, ()> + Send>;

/// Why a process did not start, or did not end as it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error(transparent)]
    Aws(#[from] AwsSettingsError),
    #[error(
        "{variable}: cannot listen on {address}: {reason}; choose another, or end what uses it"
    )]
    Listen {
        /// The variable that sets the wrong part of the address.
        variable: &'static str,
        address: SocketAddr,
        reason: std::io::Error,
    },
    #[error("background work ended: {0}; the log has the cause")]
    Background(String),
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

/// A configuration that contains the common part.
pub trait Configured: clap::Parser + Send + 'static {
    fn process(&self) -> &ProcessConfig;
}

/// The whole of a process's `main`: configuration, telemetry, runtime, run, exit code.
pub fn main<C, F>(name: &'static str, run: impl FnOnce(C, CancellationToken) -> F) -> ExitCode
where
    C: Configured,
    F: Future<Output = Result<(), RunError>>,
{
    let config: C = match config::parse() {
        Ok(config) => config,
        Err(ConfigError::Asked(text)) => {
            return print(&mut std::io::stdout(), &text, ExitCode::SUCCESS);
        }
        Err(ConfigError::Wrong(line)) => return complain(name, &line, EXIT_CONFIG.into()),
    };
    let process = config.process();
    let telemetry = match telemetry::start(name, process.log_format, &process.log_level) {
        Ok(telemetry) => telemetry,
        Err(error @ TelemetryError::Started) => return complain(name, &error, ExitCode::FAILURE),
        Err(error) => return complain(name, &error, EXIT_CONFIG.into()),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .global_queue_interval(SHARED_QUEUE_INTERVAL)
        .build();
    let runtime = match runtime {
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
        self.serve_with(admin, std::future::ready(()), config, shutdown)
            .await
    }

    /// As [`Self::serve`], with `requests` served beside: they end on the same token.
    ///
    /// # Errors
    /// [`RunError`] where the drain does not end within the grace period, or the background work ends unasked.
    pub async fn serve_with(
        self,
        admin: TcpListener,
        requests: impl Future<Output = ()> + Send + 'static,
        config: &ProcessConfig,
        shutdown: CancellationToken,
    ) -> Result<(), RunError> {
        let admin_stop = CancellationToken::new();
        let probes = Admin::new(self.readiness.clone(), self.metrics.clone());
        let admin_server = tokio::spawn(probes.serve(admin, admin_stop.clone()));
        let upkeep = tokio::spawn(upkeep(self.metrics.clone(), admin_stop.clone()));

        let mut background = tokio::spawn((self.background)(shutdown.clone()));
        let requests = tokio::spawn(requests);
        let died = tokio::select! {
            // First: at shutdown, the background ends at once.
            biased;
            () = shutdown.cancelled() => None,
            ended = &mut background => Some(ended.map_or_else(|error| error.to_string(), |()| "early".to_owned())),
        };
        self.readiness.drain();
        tracing::info!(service = self.name, "draining");
        shutdown.cancel();
        let is_background_open = died.is_none();
        let grace = config.shutdown_grace_seconds;
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
        // Both end on the token; a probe that is still open does not matter any more.
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

/// Folds buffered metric samples in until the token is cancelled.
pub async fn upkeep(metrics: Metrics, stop: CancellationToken) {
    let work = async {
        loop {
            tokio::time::sleep(UPKEEP_INTERVAL).await;
            metrics.upkeep();
        }
    };
    stop.run_until_cancelled(work).await;
}

/// Tries something needed at start until it succeeds, with growing pauses, and logs what the process waits for.
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
        let random = fastrand::f64();
        tokio::time::sleep(backoff_from_half(
            times,
            START_RETRY_BASE,
            START_RETRY_MAX,
            random,
        ))
        .await;
        times += 1;
    }
}

/// A token that SIGTERM or SIGINT cancels. Call it within a runtime.
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

/// Listens on a port; the error names the variable that sets it.
///
/// # Errors
/// [`RunError::Listen`] where the port is taken or the address is not this machine's.
pub fn listen(
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

/// As `TcpListener::bind`, with a longer accept queue.
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

/// The listener's own address as text.
pub fn address(listener: &TcpListener) -> String {
    listener
        .local_addr()
        .map_or_else(|error| error.to_string(), |address| address.to_string())
}

/// Writes one line to standard error: logging may not have started.
fn complain(name: &str, error: &dyn std::fmt::Display, code: ExitCode) -> ExitCode {
    print(&mut std::io::stderr(), &format!("{name}: {error}\n"), code)
}

fn print(to: &mut dyn std::io::Write, text: &str, code: ExitCode) -> ExitCode {
    // Nothing is left to report a failure to.
    let _ = to.write_all(text.as_bytes());
    code
}

#[cfg(test)]
mod tests;
