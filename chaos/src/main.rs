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
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Injects faults and kills services while clients post, then compares every item with the answer to its client
    Run {
        #[command(flatten)]
        plan: Plan,
        /// Seed of every random choice; random if none is given
        #[arg(long)]
        seed: Option<u64>,
        /// Runs a reference that makes one call per message, sends no id and acknowledges before or after it stores: the
        /// checker must notice its losses and duplicates
        #[arg(long, value_enum, num_args = 0..=1, default_missing_value = "after")]
        reference: Option<Acknowledge>,
    },
    /// Loads a producer that has the shipped defaults, and checks a promise under each load
    Overload(chaos::overload::Options),
    /// Holds connections open without using them, and checks that another client is served
    Connections(chaos::connections::Options),
    /// Spins; `overload` starts such processes
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
    match run(Arguments::parse().command) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("chaos: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Run {
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
        Command::Overload(options) => {
            let table = one_thread()?.block_on(bounded(async { Ok(overload(&options).await) }))?;
            print(&table);
            if let Some(file) = options.json {
                std::fs::write(&file, format!("{:#}\n", table.json()))
                    .with_context(|| format!("{} cannot be written", file.display()))?;
            }
            Ok(code(table.is_kept()))
        }
        Command::Connections(options) => {
            let outcomes =
                one_thread()?.block_on(bounded(async { Ok(connections(options).await) }))?;
            let lines: Vec<_> = outcomes.iter().map(ToString::to_string).collect();
            print(&lines.join("\n"));
            Ok(code(outcomes.iter().all(Outcome::is_kept)))
        }
        Command::Busy { seconds } => {
            chaos::busy::spin(Duration::from_secs(seconds));
            Ok(ExitCode::SUCCESS)
        }
        Command::Reference { role, acknowledge } => {
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

/// Runs the work until it is done, a signal arrives or the time limit is over; child processes end with it.
async fn bounded<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let (mut interrupt, mut terminate) = (
        signal(SignalKind::interrupt())?,
        signal(SignalKind::terminate())?,
    );
    tokio::select! {
        done = tokio::time::timeout(RUN_TIMEOUT, work) => done.context("the run exceeded its time limit of an hour; choose a smaller run")?,
        _ = interrupt.recv() => bail!("interrupted by SIGINT"),
        _ = terminate.recv() => bail!("terminated by SIGTERM"),
    }
}

#[expect(clippy::print_stdout, reason = "the table is the program's output")]
fn print(table: &dyn std::fmt::Display) {
    progress("done");
    println!("{table}");
}
