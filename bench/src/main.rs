//! `bench`: measures our services beside simple references and prints one table.
//!
//! `cargo run --release -p bench -- <scenario|all> [--quick] [--rounds N]`. Everything runs on this machine, on the
//! loopback address, bounded in number and time. Child processes are ended by their ids, also after Ctrl-C or a panic.

mod candidate;
mod cost;
mod endpoint;
mod load;
mod machine;
mod measure;
mod peers;
mod plan;
mod process;
mod reference;
mod report;
mod scenario;
mod side;
mod stub;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::Parser as _;
use tokio::signal::unix::{SignalKind, signal};

use self::candidate::Binaries;
use self::plan::{DEFAULT_ROUNDS, MAX_ROUNDS, Plan};
use self::reference::Reference;
use self::report::{Report, progress};
use self::scenario::Scenario;

/// Time limit of a run.
const RUN_TIMEOUT: Duration = Duration::from_secs(3600);

/// Measures the services beside their references
#[derive(Debug, clap::Parser)]
#[command(name = "bench", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
    /// Short windows: about four minutes for all, for development
    #[arg(long, global = true)]
    quick: bool,
    /// Rounds of candidate and reference, interleaved
    #[arg(long, global = true, default_value_t = DEFAULT_ROUNDS, value_parser = rounds)]
    rounds: usize,
    /// Folder of our release binaries; by default the folder of this program
    #[arg(long, global = true)]
    binaries: Option<PathBuf>,
    /// Skip the peers in other languages even if they are installed
    #[arg(long, global = true)]
    no_peers: bool,
}

#[derive(Debug, Clone, Copy, clap::Subcommand)]
enum Command {
    /// Every scenario
    All,
    #[command(flatten)]
    One(Scenario),
    /// Install the peers in other languages
    Peers,
    /// The neutral endpoint
    #[command(hide = true)]
    Stub(stub::Options),
    /// The embedded endpoint
    #[command(hide = true)]
    Endpoint(endpoint::Options),
    /// A reference
    #[command(hide = true, subcommand)]
    Reference(Reference),
}

#[expect(clippy::print_stderr, reason = "the one line that names the error")]
fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> anyhow::Result<()> {
    // Load generator and stub have one thread each; a service has as many as it has by default.
    let one_thread = || {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
    };
    match arguments.command {
        Command::All => one_thread()?.block_on(measure(arguments, "all", &Scenario::ALL)),
        Command::One(scenario) => {
            one_thread()?.block_on(measure(arguments, scenario.name(), &[scenario]))
        }
        Command::Peers => peers::install(),
        Command::Stub(options) => {
            end_with_parent();
            one_thread()?.block_on(stub::run(options))
        }
        Command::Endpoint(options) => {
            end_with_parent();
            tokio::runtime::Runtime::new()?.block_on(endpoint::run(options))
        }
        Command::Reference(reference) => {
            end_with_parent();
            tokio::runtime::Runtime::new()?.block_on(reference::run(reference))
        }
    }
}

/// Measures the scenarios until all are done or a signal arrives; no child process outlives this function.
async fn measure(arguments: &Arguments, name: &str, scenarios: &[Scenario]) -> anyhow::Result<()> {
    let plan = Plan {
        binaries: Binaries::find(arguments.binaries.clone())?,
        quick: arguments.quick,
        rounds: arguments.rounds,
        peers: if arguments.no_peers {
            Vec::new()
        } else {
            peers::installed()
        },
    };
    let mut report = Report::default();
    let (mut interrupt, mut terminate) = (
        signal(SignalKind::interrupt())?,
        signal(SignalKind::terminate())?,
    );
    let work = tokio::time::timeout(RUN_TIMEOUT, all(&plan, scenarios, &mut report));
    // Child processes end with the futures that own them.
    let failed = tokio::select! {
        ended = work => ended.context("the run exceeded one hour; choose fewer rounds or one scenario")?,
        _ = interrupt.recv() => bail!("interrupted by SIGINT"),
        _ = terminate.recv() => bail!("terminated by SIGTERM"),
    };
    let date = chrono::Utc::now().format("%Y-%m-%d");
    let stem = match (plan.quick, name) {
        (true, _) => format!("quick-{name}"),
        (false, "all") => date.to_string(),
        (false, _) => format!("{date}-{name}"),
    };
    report.publish(&stem, if plan.quick { "quick-" } else { "" })?;
    if failed > 0 {
        bail!("{failed} of {} scenarios failed", scenarios.len())
    } else {
        Ok(())
    }
}

/// Runs the scenarios one after the other; a scenario that fails is reported and does not stop the others.
async fn all(plan: &Plan, scenarios: &[Scenario], report: &mut Report) -> usize {
    let mut failed = 0;
    for scenario in scenarios {
        if let Err(error) = scenario.run(plan, report).await {
            failed += 1;
            report
                .notes
                .push(format!("FAILED: {}: {error:#}", scenario.name()));
            progress(&format!("{} failed: {error:#}", scenario.name()));
        }
    }
    failed
}

/// Ends this helper when its standard input ends, which is when the run that started it has ended.
fn end_with_parent() {
    std::thread::spawn(|| {
        // The parent never sends input, so the copy returns at the end of input or with an error.
        let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        std::process::exit(0);
    });
}

fn rounds(text: &str) -> Result<usize, String> {
    let wrong = || format!("rounds must be a whole number from 1 to {MAX_ROUNDS}");
    text.parse()
        .ok()
        .filter(|count| (1..=MAX_ROUNDS).contains(count))
        .ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent_and_rounds_are_bounded() {
        Arguments::command().debug_assert();
        assert!(rounds("3") == Ok(3) && rounds("0").is_err() && rounds("21").is_err());
    }
}
