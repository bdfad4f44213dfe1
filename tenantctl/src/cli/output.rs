//! Standard output and standard error, written to in one place.

use std::io::{self, Write};
use std::process::ExitCode;

use serde_json::{Value, json};

use super::arguments::Output;
use super::exit::{CliError, Exit};

/// Writes to standard output. A reader that has gone away (`tenantctl list | head`) is no error.
pub(super) fn say(bytes: &[u8]) -> Result<(), CliError> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(CliError::unexpected(
            format!("standard output cannot be written: {error}"),
        )),
        _ => Ok(()),
    }
}

/// Writes a JSON object to standard output.
pub(super) fn say_json(value: &Value) -> Result<(), CliError> {
    say(format!("{value}\n").as_bytes())
}

/// Tells an error, and gives the exit code that goes with it.
pub(super) fn fail(output: Output, error: &CliError) -> ExitCode {
    let told = match output {
        Output::Text => {
            io::stderr().write_all(format!("tenantctl: {}\n", error.message).as_bytes())
        }
        Output::Json => {
            let object =
                json!({ "outcome": "failed", "code": error.code, "message": error.message });
            return say_json(&object)
                .map_or_else(|_| Exit::Unexpected.into(), |()| error.exit.into());
        }
    };
    // Nobody is left to tell if this fails, too.
    let _ = told;
    error.exit.into()
}
