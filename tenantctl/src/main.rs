//! The tenant lifecycle as a program.

use std::process::ExitCode;

fn main() -> ExitCode {
    tenantctl::cli::main()
}
