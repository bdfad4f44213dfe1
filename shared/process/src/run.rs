//! The life of a process: sockets, signals, drain, exit code.
//!
//! On SIGTERM or SIGINT the process becomes unready, finishes its work in progress and exits with 0. If the drain takes
//! longer than the grace period, the process logs an error and exits with 1. Both signals have handlers, so PID 1 behaves
//! the same. If background work ends before shutdown, the process ends: a consumer that answers probes and consumes
//! nothing would seem healthy.

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
/// First pause of [`retry_forever`].
const START_RETRY_BASE: Duration = Duration::from_millis(200);
/// Longest pause of [`retry_forever`].
const START_RETRY_MAX: Duration = Duration::from_secs(10);
/// A worker thread takes every second task from the queue that all threads share. A thread's own queue holds 256 tasks,
/// so under load half of all tasks are in the shared queue. With tokio's default of up to 127 they wait there for seconds.
const SHARED_QUEUE_INTERVAL: u32 = 2;
/// Connections that the kernel keeps until they are accepted. With fewer, a burst of new clients has refused handshakes,
/// and each client waits one second before its next attempt.
const ACCEPT_QUEUE: u32 = 4096;

/// A process that is assembled but not running.
pub struct Worker {
    pub name: &'static str,
    pub readiness: Readiness,
    pub metrics: Metrics,
    /// Runs until its token is canceled, then finishes its work in progress.
    pub background: Background,
}

/// Work that a process does besides serving requests.
pub type Background = Box<dyn FnOnce(CancellationToken) -> BoxFuture<'static, ()> + Send>;

/// Why a process did not start or did not end cleanly.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error(transparent)]
    Aws(#[from] AwsSettingsError),
    /// Settings that cannot work together, or a file that they name; one line that names the variable.
    #[error("{0}")]
    Settings(String),
    #[error(
        "{variable}: cannot listen on {address}: {reason}; choose another, or stop the process that uses it"
    )]
    Listen {
        /// The variable to change.
        variable: &'static str,
        address: SocketAddr,
        reason: std::io::Error,
    },
    #[error("background work ended before shutdown: {0}; see the log for the cause")]
    Background(String),
    #[error(
        "work was in progress at the end of the grace period of {0:?} (SHUTDOWN_GRACE_SECONDS)"
    )]
    Undrained(Duration),
}

impl RunError {
    fn exit_code(&self) -> ExitCode {
        match self {
            Self::Aws(_) | Self::Settings(_) => EXIT_CONFIG.into(),
            Self::Listen { .. } | Self::Background(_) | Self::Undrained(_) => ExitCode::FAILURE,
        }
    }
}

/// A configuration that contains the common settings.
pub trait Configured: clap::Parser + Send + 'static {
    fn process(&self) -> &ProcessConfig;
}

/// Runs a whole process: reads the configuration, starts telemetry and the runtime, returns the exit code.
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
        Err(ConfigError::Wrong(line)) => return print_error(name, &line, EXIT_CONFIG.into()),
    };
    let process = config.process();
    let telemetry = match telemetry::start(
        name,
        process.log_format,
        &process.log_level,
        process.trace_ratio,
    ) {
        Ok(telemetry) => telemetry,
        Err(error @ TelemetryError::Started) => {
            return print_error(name, &error, ExitCode::FAILURE);
        }
        Err(error) => return print_error(name, &error, EXIT_CONFIG.into()),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .global_queue_interval(SHARED_QUEUE_INTERVAL)
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return print_error(name, &error, ExitCode::FAILURE),
    };
    let outcome = runtime.block_on(async { run(config, shutdown_signal()).await });
    runtime.shutdown_background();
    telemetry.end();
    outcome.map_or_else(
        |error| print_error(name, &error, error.exit_code()),
        |()| ExitCode::SUCCESS,
    )
}

impl Worker {
    /// Serves probes and runs the background work until the token is canceled, then drains.
    ///
    /// # Errors
    /// [`RunError`] if the port is in use, or as [`Self::serve_with`].
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

    /// As [`Self::serve`], and also runs `requests`, which ends on the same token.
    ///
    /// # Errors
    /// [`RunError`] if the drain outlasts the grace period, or the background work ends before shutdown.
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
            // Shutdown first: it also ends the background work, which is then no failure.
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
        // Both end on the token; aborting them drops probes that are still open.
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

/// Runs [`Metrics::upkeep`] periodically until the token is canceled.
pub async fn upkeep(metrics: Metrics, stop: CancellationToken) {
    let work = async {
        loop {
            tokio::time::sleep(UPKEEP_INTERVAL).await;
            metrics.upkeep();
        }
    };
    stop.run_until_cancelled(work).await;
}

/// Repeats an attempt until it succeeds, with growing pauses; logs each failure. `what` names the result in the log.
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

/// Returns a token that SIGTERM or SIGINT cancels. Call it within a runtime.
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

/// Listens on a port; the error names the variable that sets the port.
///
/// # Errors
/// [`RunError::Listen`] if the port is in use or the address is not this machine's.
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
    // After a restart, connections of the previous process may still hold the port.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(ACCEPT_QUEUE)
}

/// The listener's local address as text.
pub fn address(listener: &TcpListener) -> String {
    listener
        .local_addr()
        .map_or_else(|error| error.to_string(), |address| address.to_string())
}

/// Writes one line to standard error: logging may not have started.
fn print_error(name: &str, error: &dyn std::fmt::Display, code: ExitCode) -> ExitCode {
    print(&mut std::io::stderr(), &format!("{name}: {error}\n"), code)
}

fn print(to: &mut dyn std::io::Write, text: &str, code: ExitCode) -> ExitCode {
    // A failed write cannot be reported anywhere else.
    let _ = to.write_all(text.as_bytes());
    code
}

#[cfg(test)]
mod tests;
