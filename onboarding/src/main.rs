//! The control plane's process.

use std::process::ExitCode;

fn main() -> ExitCode {
    // Git has started this program as its askpass.
    if let Some(answered) = tenantctl::git::answer_askpass() {
        return answered;
    }
    tenantry_process::run::main(onboarding::NAME, onboarding::service::run)
}
