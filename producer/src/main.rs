//! The producer as a process.

use std::process::ExitCode;

fn main() -> ExitCode {
    shared::service::main(producer::NAME, producer::run)
}
