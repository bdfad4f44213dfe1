//! The producer's process.

use std::process::ExitCode;

fn main() -> ExitCode {
    tenantry_process::run::main(producer::NAME, producer::run)
}
