//! The payments process.

use std::process::ExitCode;

fn main() -> ExitCode {
    tenantry_process::run::main(payments::NAME, payments::run)
}
