//! The whole SaaS on one machine, as a program.

use std::io::Write;
use std::process::ExitCode;

use tenantry_process::config::{self, ConfigError};
use tenantry_process::{run, telemetry};

/// Exit code for invalid flags.
const EXIT_CONFIG: u8 = 2;

fn main() -> ExitCode {
    match start() {
        Ok(()) => ExitCode::SUCCESS,
        Err((line, code)) => {
            // Without standard error, the exit code must suffice.
            let _ = writeln!(std::io::stderr(), "local: {line}");
            code
        }
    }
}

fn start() -> Result<(), (String, ExitCode)> {
    // Files of this program and of its git are readable by their owner alone.
    rustix::process::umask(rustix::fs::Mode::RWXG | rustix::fs::Mode::RWXO);
    let config: local::Config = match config::parse() {
        Ok(config) => config,
        Err(ConfigError::Asked(text)) => {
            return std::io::stdout()
                .write_all(text.as_bytes())
                .map_err(failure);
        }
        Err(ConfigError::Wrong(line)) => return Err((line, EXIT_CONFIG.into())),
    };
    let telemetry =
        telemetry::start("local", config.log_format, &config.log_level, 1.0).map_err(failure)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(failure)?;
    let outcome = runtime.block_on(async { local::run(config, run::shutdown_signal()).await });
    runtime.shutdown_background();
    telemetry.end();
    outcome.map_err(failure)
}

fn failure(error: impl std::fmt::Display) -> (String, ExitCode) {
    (error.to_string(), ExitCode::FAILURE)
}
