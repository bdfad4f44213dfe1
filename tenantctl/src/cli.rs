//! The command line: arguments, output, exit codes.
//!
//! Text output is for people. JSON output is one object on standard output, also for errors. Wrong arguments are the
//! exception: their error goes to standard error, with exit code 2. A progress line appears on a terminal only. No command
//! prompts.

mod arguments;
mod change;
mod exit;
mod handle;
mod lint;
mod list;
mod output;
mod progress;
mod purge;
mod repository;
mod settle;
mod status;
mod work;

use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use self::arguments::{Cli, Command};
use self::exit::{CliError, Exit};
use self::output::print;
use crate::data::moves::Timing;
use crate::git::answer_askpass;

/// Runs the command of the process's arguments.
pub fn main() -> ExitCode {
    // Git has started this program as its askpass.
    if let Some(answered) = answer_askpass() {
        return answered;
    }
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(asked) => {
            // A failure of this write cannot be reported anywhere.
            let _ = asked.print();
            return u8::try_from(asked.exit_code())
                .unwrap_or(Exit::Unexpected.code())
                .into();
        }
    };
    let output = cli.global.output;
    match run(cli) {
        Ok(exit) => exit.into(),
        Err(error) => output::print_error(output, &error),
    }
}

fn run(cli: Cli) -> Result<Exit, CliError> {
    let Cli { global, command } = cli;
    match command {
        Command::Change(change) => change::run(&global, change),
        Command::Diff { change } => change::diff(&global, change),
        Command::List { tier } => list::run(&global, tier),
        Command::Status(arguments) => status::run(&global, &arguments),
        Command::Lint => lint::run(&global),
        Command::Settle {
            tenant,
            registry_refresh_seconds,
            count_seconds,
            late_seconds,
        } => {
            let timing = Timing {
                refresh: registry_refresh_seconds,
                request: settle::REQUEST,
                count: count_seconds,
                late: late_seconds,
            };
            settle::run(&global, tenant, timing)
        }
        Command::Handle {
            kind,
            message_base64,
        } => handle::run(&global, kind, &message_base64),
        Command::Worker(worker) => work::run(&global, worker),
        Command::Completion { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "tenantctl", &mut script);
            print(&script).map(|()| Exit::Done)
        }
    }
}
