//! The only writer to standard output and standard error.

use std::io::{self, Write};
use std::process::ExitCode;

use serde_json::{Value, json};

use super::arguments::Output;
use super::exit::{CliError, Exit};

/// Writes to standard output. A closed pipe (`tenantctl list
///  head`) is not an error.
pub(super) fn print(bytes: &[u8]) -> Result<(), CliError> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(CliError::unexpected(
            format!("standard output cannot be written: {error}"),
        )),
        _ => Ok(()),
    }
}

pub(super) fn print_json(value: &Value) -> Result<(), CliError> {
    print(format!("{value}\n").as_bytes())
}

/// Prints an error and returns its exit code.
pub(super) fn print_error(output: Output, error: &CliError) -> ExitCode {
    let written = match output {
        Output::Text => {
            io::stderr().write_all(format!("tenantctl: {}\n", error.message).as_bytes())
        }
        Output::Json => {
            let object =
                json!({ "outcome": "failed", "code": error.code, "message": error.message });
            return print_json(&object)
                .map_or_else(|_| Exit::Unexpected.into(), |()| error.exit.into());
        }
    };
    // A failure of this write cannot be reported anywhere.
    let _ = written;
    error.exit.into()
}
