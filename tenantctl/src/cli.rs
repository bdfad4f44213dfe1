//! The command line: what can be asked for, what is answered, and with which exit code.
//!
//! People get lines, machines one JSON object on standard output, whatever happens; wrong arguments are the exception:
//! they are told on standard error with exit code 2. A progress line appears on a terminal only. Nothing is asked for
//! interactively.

mod arguments;
mod change;
mod exit;
mod handle;
mod lint;
mod list;
mod output;
mod progress;
mod sources;
mod work;

use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use self::arguments::{Cli, Command};
use self::exit::{CliError, Exit};
use self::output::say;
use crate::git::answer_askpass;

/// The whole of `main`: reads the process's arguments, does what they say.
pub fn main() -> ExitCode {
    // Git has started this program to ask who it is.
    if let Some(answered) = answer_askpass() {
        return answered;
    }
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(asked) => {
            // Nobody is left to tell if this fails, too.
            let _ = asked.print();
            return u8::try_from(asked.exit_code())
                .unwrap_or(Exit::Unexpected.code())
                .into();
        }
    };
    let output = cli.global.output;
    match run(cli) {
        Ok(exit) => exit.into(),
        Err(error) => output::fail(output, &error),
    }
}

/// Does what the arguments say.
fn run(cli: Cli) -> Result<Exit, CliError> {
    let Cli { global, command } = cli;
    match command {
        Command::Change(change) => change::run(&global, change),
        Command::Diff { change } => change::diff(&global, change),
        Command::List { tier } => list::run(&global, tier),
        Command::Lint => lint::run(&global),
        Command::Handle {
            kind,
            message_base64,
        } => handle::run(&global, kind, &message_base64),
        Command::Worker(worker) => work::run(&global, worker),
        Command::Completion { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "tenantctl", &mut script);
            say(&script).map(|()| Exit::Done)
        }
    }
}
