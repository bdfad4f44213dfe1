//! `chaos`: what breaks under faults, kills and overload, and whether anybody would notice.

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

/// Longest anything may take, whatever is asked for.
const RUN_TIMEOUT: Duration = Duration::from_secs(3600);

/// Plays faults, kills and overload against the real processes
#[derive(Debug, clap::Parser)]
#[command(name = "chaos", version)]
struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Faults and kills while clients post; then every item is held against what its client was told
    Run {
        #[command(flatten)]
        plan: Plan,
        /// What decides; a random one where it is not given
        #[arg(long)]
        seed: Option<u64>,
        /// Plays against one call a message without an id of its own, acknowledged before or after it is stored: the
        /// driver must notice
        #[arg(long, value_enum, num_args = 0..=1, default_missing_value = "after")]
        reference: Option<Acknowledge>,
    },
    /// Twice what a producer can do, for two minutes
    Overload(chaos::overload::Options),
    /// Clients that hold connections instead of using them
    Connections(chaos::connections::Options),
    /// What `run --reference` starts
    #[command(hide = true)]
    Reference {
        #[arg(value_enum)]
        role: Role,
        #[arg(long, value_enum)]
        acknowledge: Acknowledge,
    },
}

#[expect(
    clippy::print_stderr,
    reason = "the one line that says what went wrong"
)]
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
            let measured =
                one_thread()?.block_on(bounded(async { Ok(overload(options).await) }))?;
            print(&measured);
            Ok(code(
                measured.promises().iter().all(|(_, _, is_kept)| *is_kept),
            ))
        }
        What::Connections(options) => {
            let outcomes =
                one_thread()?.block_on(bounded(async { Ok(connections(options).await) }))?;
            let lines: Vec<_> = outcomes.iter().map(ToString::to_string).collect();
            print(&lines.join("\n"));
            Ok(code(outcomes.iter().all(Outcome::is_kept)))
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

/// 1 where a promise was not kept.
fn code(is_kept: bool) -> ExitCode {
    if is_kept {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// The driver shares the machine with what it drives: one thread is enough.
fn one_thread() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
}

/// Ends with the work, or when it is asked to, or has taken too long; children end with it.
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

#[expect(clippy::print_stdout, reason = "the table is what the program is for")]
fn print(table: &dyn std::fmt::Display) {
    progress("done");
    println!("{table}");
}
