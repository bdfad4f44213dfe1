//! The consumer's process.

use std::process::ExitCode;

fn main() -> ExitCode {
    tenantry_process::run::main(consumer::NAME, consumer::run)
}
