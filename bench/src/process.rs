//! Child processes: started with a clean environment, measured by the kernel's counts, ended with their owner.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{ChildStdout, Command};
use std::time::Duration;

use anyhow::{Context as _, bail};
use kit::process::{Helper, status_bytes};
use tokio::net::TcpStream;

/// Clock ticks per second in /proc (USER_HZ: 100 on every architecture we build for).
const TICKS_PER_SECOND: f64 = 100.0;
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
    let stat = fs::read_to_string(format!("/proc/{id}/stat"))?;
    let cpu_s = cpu_seconds(&stat).context("/proc/<pid>/stat has another format")?;
    let memory = |name| {
        let bytes = status_bytes(id, name).context("/proc/<pid>/status has another format");
        bytes.map(|bytes| bytes as f64 / MEBIBYTE)
    };
    Ok(Usage {
        cpu_s,
        rss_mib: memory("VmRSS")?,
        peak_rss_mib: memory("VmHWM")?,
    })
}

/// Returns the user and system time of a stat line. The program's name may contain brackets, so the fields begin after the
/// last bracket.
fn cpu_seconds(stat: &str) -> Option<f64> {
    let (_, fields) = stat.rsplit_once(')')?;
    let ticks = |index| {
        let field = fields.split_ascii_whitespace().nth(index)?;
        field.parse::<f64>().ok()
    };
    Some((ticks(11)? + ticks(12)?) / TICKS_PER_SECOND)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_time_is_found_after_any_program_name() {
        let stat = "7 (a) b) S 1 2 3 4 5 6 7 8 9 10 250 50 0 0 20";
        assert_eq!(cpu_seconds(stat), Some(3.0));
        assert_eq!(cpu_seconds("nonsense"), None);
    }

    #[test]
    fn a_running_process_has_a_usage() {
        assert!(own_usage().expect("this process runs").rss_mib > 0.5);
    }
}
