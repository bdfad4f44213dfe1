//! `chaos`: faults, kills and overload against the real processes.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail};
use chaos::connections::{Outcome, connections};
use chaos::fleet::Role;
use chaos::overload::overload;
use chaos::plan::Plan;
use chaos::report::progress;
use chaos::side::{Acknowledge, Side};
use clap::Parser as _;
use tokio::signal::unix::{SignalKind, signal};

/// Time limit of every command.
const RUN_TIMEOUT: Duration = Duration::from_secs(3600);

/// Runs faults, kills and overload against the real processes
#[derive(Debug, clap::Parser)]
#[command(name = "chaos", version)]
struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Faults and kills while clients post; then every item is compared with the answer to its client
    Run {
        #[command(flatten)]
        plan: Plan,
        /// Seed of every random choice; random if none is given
        #[arg(long)]
        seed: Option<u64>,
        /// Runs against a reference with one call per message and no id of its own, which acknowledges before or after it
        /// stores: the judge must notice
        #[arg(long, value_enum, num_args = 0..=1, default_missing_value = "after")]
        reference: Option<Acknowledge>,
    },
    /// Loads on a producer with shipped defaults, and what each must keep
    Overload(chaos::overload::Options),
    /// Clients that hold connections instead of using them
    Connections(chaos::connections::Options),
    /// A process that spins, which `overload` starts
    #[command(hide = true)]
    Busy {
        #[arg(long)]
        seconds: u64,
    },
    /// The service that `run --reference` starts
    #[command(hide = true)]
    Reference {
        #[arg(value_enum)]
        role: Role,
        #[arg(long, value_enum)]
        acknowledge: Acknowledge,
    },
}

#[expect(clippy::print_stderr, reason = "the one line that names the error")]
fn main() -> ExitCode {
    match run(Arguments::parse().what) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("chaos: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn run(what: What) -> anyhow::Result<ExitCode> {
    match what {
        What::Run {
            plan,
            seed,
            reference,
        } => {
            let side = reference.map_or(Side::Ours, Side::Reference);
            let seed = seed.unwrap_or_else(|| fastrand::u64(..));
            let report = one_thread()?.block_on(bounded(chaos::run::run(plan, side, seed)))?;
            print(&report);
            Ok(code(report.is_clean()))
        }
        What::Overload(options) => {
            let table = one_thread()?.block_on(bounded(async { Ok(overload(&options).await) }))?;
            print(&table);
            if let Some(file) = options.json {
                std::fs::write(&file, format!("{:#}\n", table.json()))
                    .with_context(|| format!("{} cannot be written", file.display()))?;
            }
            Ok(code(table.is_kept()))
        }
        What::Connections(options) => {
            let outcomes =
                one_thread()?.block_on(bounded(async { Ok(connections(options).await) }))?;
            let lines: Vec<_> = outcomes.iter().map(ToString::to_string).collect();
            print(&lines.join("\n"));
            Ok(code(outcomes.iter().all(Outcome::is_kept)))
        }
        What::Busy { seconds } => {
            chaos::busy::spin(Duration::from_secs(seconds));
            Ok(ExitCode::SUCCESS)
        }
        What::Reference { role, acknowledge } => {
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .enable_all()
                .build()?;
            runtime.block_on(chaos::reference::run(role, acknowledge))?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// Exit code 1 if a promise was not kept.
fn code(is_kept: bool) -> ExitCode {
    if is_kept {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// One thread: the driver shares the machine's cores with the services.
fn one_thread() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
}

/// Ends with the work, with a signal or at the time limit; child processes end with it.
async fn bounded<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let (mut interrupt, mut terminate) = (
        signal(SignalKind::interrupt())?,
        signal(SignalKind::terminate())?,
    );
    tokio::select! {
        done = tokio::time::timeout(RUN_TIMEOUT, work) => done.context("it took too long")?,
        _ = interrupt.recv() => bail!("interrupted"),
        _ = terminate.recv() => bail!("asked to end"),
    }
}

#[expect(clippy::print_stdout, reason = "the table is the program's output")]
fn print(table: &dyn std::fmt::Display) {
    progress("done");
    println!("{table}");
}
