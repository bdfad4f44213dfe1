//! Child processes: started with a clean environment, measured by what the kernel counts, ended with their owner.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use anyhow::{Context as _, bail};
use tokio::net::TcpStream;
use tokio::time::Instant;

/// Clock ticks a second in /proc (USER_HZ: 100 on every architecture we build for).
const TICKS_PER_SECOND: f64 = 100.0;
/// Ports that are used.
const PORTS: std::ops::Range<u16> = 20_000..30_000;
/// Longest a child may take to listen: Node and Python take half a second on a quiet machine.
const START_TIMEOUT: Duration = Duration::from_secs(30);
/// Pause between two looks whether it listens.
const START_PAUSE: Duration = Duration::from_millis(5);

/// A running child. Dropping it kills it: by its id, and it is waited for.
pub(crate) struct Child {
    name: String,
    child: std::process::Child,
}

/// What a process has used.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Usage {
    /// Processor time, user and system.
    pub(crate) cpu_s: f64,
    /// Resident memory now, in MiB.
    pub(crate) rss_mib: f64,
    /// Most resident memory since it started, in MiB.
    pub(crate) peak_rss_mib: f64,
}

impl Child {
    /// Starts it with standard output and error thrown away. Its standard input is a pipe that ends with this process,
    /// so that our own helpers notice even its violent end.
    pub(crate) fn start(name: &str, mut command: Command) -> anyhow::Result<Self> {
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        Self::spawn(name, command)
    }

    /// As [`Self::start`], with standard output kept for the caller.
    pub(crate) fn start_piped(
        name: &str,
        mut command: Command,
    ) -> anyhow::Result<(Self, std::process::ChildStdout)> {
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let mut started = Self::spawn(name, command)?;
        let stdout = started
            .child
            .stdout
            .take()
            .context("standard output is piped")?;
        Ok((started, stdout))
    }

    fn spawn(name: &str, mut command: Command) -> anyhow::Result<Self> {
        let program = command.get_program().to_string_lossy().into_owned();
        let child = command
            .spawn()
            .with_context(|| format!("{name} cannot be started ({program})"))?;
        Ok(Self {
            name: name.to_owned(),
            child,
        })
    }

    /// What it has used so far.
    pub(crate) fn usage(&self) -> anyhow::Result<Usage> {
        usage(&self.child.id().to_string()).with_context(|| format!("{} has ended", self.name))
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // Either fails only where it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What this process has used so far.
pub(crate) fn own_usage() -> anyhow::Result<Usage> {
    usage("self")
}

/// A command whose environment is empty but for what finds programs and homes.
pub(crate) fn clean(program: impl Into<PathBuf>) -> Command {
    let mut command = Command::new(program.into());
    command.env_clear();
    for name in ["PATH", "HOME", "LANG"] {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
    command
}

/// This program, even where it was built anew meanwhile.
pub(crate) fn own_binary() -> anyhow::Result<PathBuf> {
    let link = PathBuf::from("/proc/self/exe");
    // A child resolves "self" as itself, so the link is followed here; a replaced file has no path any more.
    let path = fs::read_link(&link).context("the path of this program")?;
    if path.exists() {
        Ok(path)
    } else {
        bail!("{} was replaced while it ran", path.display())
    }
}

/// A port nobody listens on now, below those the kernel gives to outgoing connections: one of them could take it, or a
/// client that tries until somebody listens could connect to itself.
pub(crate) fn free_port() -> anyhow::Result<u16> {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Runs side by side start at different places.
    let own = u16::try_from(std::process::id() % 100).expect("a number below 100") * 100;
    (0..PORTS.len())
        .map(|_| PORTS.start + (own + NEXT.fetch_add(1, Ordering::Relaxed)) % PORTS.len() as u16)
        .find(|port| std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok())
        .context("no port is free")
}

/// Waits until a connection is taken.
pub(crate) async fn wait_until_open(address: SocketAddr) -> anyhow::Result<()> {
    let deadline = Instant::now() + START_TIMEOUT;
    while TcpStream::connect(address).await.is_err() {
        if Instant::now() >= deadline {
            bail!("nothing listens on {address} after {START_TIMEOUT:?}");
        }
        tokio::time::sleep(START_PAUSE).await;
    }
    Ok(())
}

fn usage(id: &str) -> anyhow::Result<Usage> {
    let stat = fs::read_to_string(format!("/proc/{id}/stat"))?;
    let status = fs::read_to_string(format!("/proc/{id}/status"))?;
    let cpu_s = cpu_seconds(&stat).context("/proc/<pid>/stat is not understood")?;
    let memory = |name| mebibytes(&status, name).context("/proc/<pid>/status is not understood");
    Ok(Usage {
        cpu_s,
        rss_mib: memory("VmRSS:")?,
        peak_rss_mib: memory("VmHWM:")?,
    })
}

/// User and system time of a stat line; the name in it may contain anything but its last bracket.
fn cpu_seconds(stat: &str) -> Option<f64> {
    let (_, fields) = stat.rsplit_once(')')?;
    let ticks = |at| fields.split_ascii_whitespace().nth(at)?.parse::<f64>().ok();
    Some((ticks(11)? + ticks(12)?) / TICKS_PER_SECOND)
}

fn mebibytes(status: &str, name: &str) -> Option<f64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    let kibibytes: f64 = line.split_ascii_whitespace().next()?.parse().ok()?;
    Some(kibibytes / 1024.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_time_is_found_behind_any_name() {
        let stat = "7 (a) b) S 1 2 3 4 5 6 7 8 9 10 250 50 0 0 20";
        assert_eq!(cpu_seconds(stat), Some(3.0));
        assert_eq!(cpu_seconds("nonsense"), None);
    }

    #[test]
    fn memory_is_in_mebibytes() {
        assert_eq!(
            mebibytes("Name:\tx\nVmHWM:\t    2048 kB\n", "VmHWM:"),
            Some(2.0)
        );
        assert_eq!(mebibytes("", "VmHWM:"), None);
    }

    #[test]
    fn two_ports_are_two() {
        let ports = [free_port().expect("a port"), free_port().expect("another")];
        assert!(ports[0] != ports[1] && ports.iter().all(|port| PORTS.contains(port)));
    }

    #[test]
    fn a_process_can_be_told_what_it_uses() {
        assert!(own_usage().expect("this process runs").rss_mib > 0.5);
    }
}
