//! Child processes: started with a clean environment, measured by the kernel's counts, ended with their owner.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{ChildStdout, Command};
use std::time::Duration;

use anyhow::{Context as _, bail};
use kit::process::{Helper, cpu_time, status_bytes};
use tokio::net::TcpStream;

/// Time limit until a child listens: Node and Python take half a second on a quiet machine.
const START_TIMEOUT: Duration = Duration::from_secs(30);
const MEBIBYTE: f64 = 1024.0 * 1024.0;

/// A running child.
pub(crate) struct Child {
    name: String,
    process: Helper,
}

/// Processor time and memory of a process.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Usage {
    /// Processor time since the start, user and system.
    pub(crate) cpu_s: f64,
    /// Resident memory now.
    pub(crate) rss_mib: f64,
    /// Most resident memory since the start.
    pub(crate) peak_rss_mib: f64,
}

impl Child {
    /// Starts the command; the output is dropped.
    pub(crate) fn start(name: &str, mut command: Command) -> anyhow::Result<Self> {
        let started = Helper::start(&mut command).with_context(|| failed(name, &command))?;
        Ok(Self::named(name, started))
    }

    /// Starts the command and returns its standard output.
    pub(crate) fn start_piped(
        name: &str,
        mut command: Command,
    ) -> anyhow::Result<(Self, ChildStdout)> {
        let piped = Helper::piped(&mut command).with_context(|| failed(name, &command))?;
        Ok((Self::named(name, piped.0), piped.1))
    }

    fn named(name: &str, process: Helper) -> Self {
        Self {
            name: name.to_owned(),
            process,
        }
    }

    pub(crate) fn usage(&self) -> anyhow::Result<Usage> {
        usage(self.process.id()).with_context(|| format!("{} has ended", self.name))
    }
}

fn failed(name: &str, command: &Command) -> String {
    let program = command.get_program().to_string_lossy();
    format!("{name} cannot be started ({program})")
}

/// Returns the usage of this process.
pub(crate) fn own_usage() -> anyhow::Result<Usage> {
    usage(std::process::id())
}

/// Returns a command whose environment has only the variables that find programs and home folders.
pub(crate) fn command_with_clean_env(program: impl Into<PathBuf>) -> Command {
    let mut command = kit::process::command_with_clean_env(program.into());
    for name in ["HOME", "LANG"] {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
    command
}

/// Returns the path of this program.
pub(crate) fn own_binary() -> anyhow::Result<PathBuf> {
    let link = PathBuf::from("/proc/self/exe");
    // A child resolves "self" as itself, so the link is followed here; a replaced file has no path any more.
    let path = fs::read_link(&link).context("the path of this program")?;
    if path.exists() {
        Ok(path)
    } else {
        bail!(
            "{} was replaced while it ran; start it again",
            path.display()
        )
    }
}

/// Waits until a connection is accepted.
pub(crate) async fn wait_until_open(address: SocketAddr) -> anyhow::Result<()> {
    let connects = async || TcpStream::connect(address).await.ok().map(drop);
    kit::wait::within(START_TIMEOUT, connects)
        .await
        .with_context(|| format!("no process listens on {address} after {START_TIMEOUT:?}"))
}

fn usage(id: u32) -> anyhow::Result<Usage> {
    let cpu = cpu_time(id).context("/proc/<pid>/stat has another format")?;
    let memory = |name| {
        let bytes = status_bytes(id, name).context("/proc/<pid>/status has another format");
        bytes.map(|bytes| bytes as f64 / MEBIBYTE)
    };
    Ok(Usage {
        cpu_s: cpu.as_secs_f64(),
        rss_mib: memory("VmRSS")?,
        peak_rss_mib: memory("VmHWM")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_running_process_has_a_usage() {
        assert!(own_usage().expect("this process runs").rss_mib > 0.5);
    }
}
