//! The consumer as a process.

use std::process::ExitCode;

fn main() -> ExitCode {
    shared::service::main(consumer::NAME, consumer::run)
}
