//! The peers in other languages: their folders, commands and installation.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, bail};

use crate::process::clean;
use crate::report::progress;
use crate::side::Side;

/// The installed peers.
pub(crate) fn installed() -> Vec<Side> {
    let node = node_folder().join("node_modules").is_dir() && runs("node");
    let python = python_binary().is_file();
    let note = |side: Side, why: &str| progress(&format!("{} is left out: {why}", side.label()));
    if !node {
        note(
            Side::Node,
            "install it with: cargo run --release -p bench -- peers (needs Node 20 and npm)",
        );
    }
    if !python {
        note(
            Side::Python,
            "install it with: cargo run --release -p bench -- peers (needs Python 3.10)",
        );
    }
    [(Side::Node, node), (Side::Python, python)]
        .into_iter()
        .filter_map(|(side, is_there)| is_there.then_some(side))
        .collect()
}

/// Installs the peers whose language is on this machine, from the pinned lists.
pub(crate) fn install() -> anyhow::Result<()> {
    if runs("npm") {
        progress("Node: npm ci");
        must(
            Command::new("npm")
                .arg("ci")
                .arg("--no-fund")
                .arg("--no-audit")
                .current_dir(node_folder()),
        )?;
    } else {
        progress("Node is not installed; its peer is left out");
    }
    if runs("python3") {
        progress("Python: a virtual environment in .tools/bench-venv");
        must(Command::new("python3").args(["-m", "venv"]).arg(venv()))?;
        let mut pip = Command::new(python_binary());
        pip.args([
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "--requirement",
        ]);
        must(pip.arg(python_folder().join("requirements.txt")))?;
    } else {
        progress("Python is not installed; its peer is left out");
    }
    Ok(())
}

/// The Node peer of a role.
pub(crate) fn node(role: &str) -> Command {
    let mut command = clean("node");
    command
        .arg(node_folder().join(format!("{role}.mjs")))
        .env("NODE_ENV", "production");
    command
}

/// The Python peer of a role.
pub(crate) fn python(role: &str) -> Command {
    let mut command = clean(python_binary());
    command.arg(python_folder().join(format!("{role}.py")));
    command
}

fn must(command: &mut Command) -> anyhow::Result<()> {
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

fn runs(program: &str) -> bool {
    let mut command = clean(program);
    command
        .arg("--version")
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn node_folder() -> PathBuf {
    root().join("peers/node")
}

fn python_folder() -> PathBuf {
    root().join("peers/python")
}

fn venv() -> PathBuf {
    root().join("../.tools/bench-venv")
}

fn python_binary() -> PathBuf {
    venv().join("bin/python")
}
