//! Git and edits by hand, as an operator makes them in a clone.

use std::path::Path;
use std::process::Command;

use crate::process::command_with_clean_env;

/// Git in a folder, with an operator's name and without the settings of this machine.
pub fn command(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = command_with_clean_env("git");
    command.current_dir(folder).args(arguments).envs([
        ("GIT_CONFIG_GLOBAL", "/dev/null"),
        ("GIT_CONFIG_NOSYSTEM", "1"),
        ("GIT_AUTHOR_NAME", "Operator"),
        ("GIT_AUTHOR_EMAIL", "operator@example.com"),
        ("GIT_COMMITTER_NAME", "Operator"),
        ("GIT_COMMITTER_EMAIL", "operator@example.com"),
    ]);
    command
}

/// Runs git in a folder, and returns what it prints.
///
/// # Panics
/// Git fails.
pub fn git(folder: &Path, arguments: &[&str]) -> String {
    run(command(folder, arguments))
}

/// Runs a program, and returns what it prints.
///
/// # Panics
/// The program does not start, or fails.
pub fn run(mut command: Command) -> String {
    let output = command.output().expect("the program starts");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {error}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Replaces the first such text in a file.
///
/// # Panics
/// The file does not have the text.
pub fn replace(file: &Path, from: &str, to: &str) {
    let text = std::fs::read_to_string(file).expect("the file is there");
    assert!(
        text.contains(from),
        "{} has {from:?}:\n{text}",
        file.display()
    );
    std::fs::write(file, text.replacen(from, to, 1)).expect("the file is ours");
}
