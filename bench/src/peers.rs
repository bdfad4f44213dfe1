//! The peers in other languages: their folders, commands and installation.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, bail};

use crate::process::command_with_clean_env;
use crate::report::progress;
use crate::side::Side;

/// Returns the installed peers, and reports the others.
pub(crate) fn installed() -> Vec<Side> {
    let has_node = node_folder().join("node_modules").is_dir() && is_available("node");
    let has_python = python_binary().is_file();
    [
        (Side::Node, has_node, "Node 20 and npm"),
        (Side::Python, has_python, "Python 3.10"),
    ]
    .into_iter()
    .filter_map(|(side, is_installed, needs)| {
        if !is_installed {
            progress(&format!(
                "skipping {}: not installed; run `cargo run --release -p bench -- peers` (needs {needs})",
                side.label()
            ));
        }
        is_installed.then_some(side)
    })
    .collect()
}

/// Installs the peers whose language is on this machine, from the pinned lists.
pub(crate) fn install() -> anyhow::Result<()> {
    if is_available("npm") {
        progress("Node: npm ci");
        run_checked(
            Command::new("npm")
                .arg("ci")
                .arg("--no-fund")
                .arg("--no-audit")
                .current_dir(node_folder()),
        )?;
    } else {
        progress("skipping Node: npm is not available; install Node 20 and npm");
    }
    if is_available("python3") {
        progress("Python: a virtual environment in .tools/bench-venv");
        run_checked(Command::new("python3").args(["-m", "venv"]).arg(venv()))?;
        let mut pip = Command::new(python_binary());
        pip.args([
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "--requirement",
        ]);
        run_checked(pip.arg(python_folder().join("requirements.txt")))?;
    } else {
        progress("skipping Python: python3 is not available; install Python 3.10");
    }
    Ok(())
}

/// Returns the command of the Node peer of a role.
pub(crate) fn node(role: &str) -> Command {
    let mut command = command_with_clean_env("node");
    command
        .arg(node_folder().join(format!("{role}.mjs")))
        .env("NODE_ENV", "production");
    command
}

/// Returns the command of the Python peer of a role.
pub(crate) fn python(role: &str) -> Command {
    let mut command = command_with_clean_env(python_binary());
    command.arg(python_folder().join(format!("{role}.py")));
    command
}

fn run_checked(command: &mut Command) -> anyhow::Result<()> {
    let name = command.get_program().to_string_lossy().into_owned();
    let status = command
        .status()
        .with_context(|| format!("{name} cannot be started"))?;
    if status.success() {
        Ok(())
    } else {
        bail!("{name} failed: {status}")
    }
}

fn is_available(program: &str) -> bool {
    let mut command = command_with_clean_env(program);
    command
        .arg("--version")
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

fn crate_folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn node_folder() -> PathBuf {
    crate_folder().join("peers/node")
}

fn python_folder() -> PathBuf {
    crate_folder().join("peers/python")
}

fn venv() -> PathBuf {
    crate_folder().join("../.tools/bench-venv")
}

fn python_binary() -> PathBuf {
    venv().join("bin/python")
}
