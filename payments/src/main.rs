//! The payments as a process.

use std::process::ExitCode;

fn main() -> ExitCode {
    shared::service::main(payments::NAME, payments::run)
}
