//! `worker`: runs the worker as a service.

use tenantry_process::run::{self, RunError};
use tenantry_process::telemetry;

use super::arguments::Global;
use super::exit::{CliError, Exit};
use super::repository;
use crate::worker::{self, WorkerConfig};

/// Runs the worker until SIGTERM or SIGINT.
pub(super) fn run(global: &Global, config: WorkerConfig) -> Result<Exit, CliError> {
    let repository = repository::open(global)?;
    let process = &config.process;
    let telemetry = telemetry::start(
        worker::NAME,
        process.log_format,
        &process.log_level,
        process.trace_ratio,
    );
    let telemetry = telemetry.map_err(CliError::usage)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    let runtime = runtime.map_err(CliError::unexpected)?;
    let outcome =
        runtime.block_on(async { worker::run(config, repository, run::shutdown_signal()).await });
    runtime.shutdown_background();
    telemetry.end();
    outcome.map(|()| Exit::Done).map_err(|error| {
        let exit = if matches!(error, RunError::Aws(_)) {
            Exit::Usage
        } else {
            Exit::Unexpected
        };
        CliError::new("worker", exit, error)
    })
}
