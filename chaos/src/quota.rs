//! A CPU quota for one process: a cgroup of its own, of version 1 or 2, removed with the value.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::Context as _;
use kit::process::command_with_clean_env;

/// Period of the kernel's CPU bandwidth control, in microseconds (the kernel's and Kubernetes' default).
const PERIOD_US: u32 = 100_000;
/// Attempts to remove the cgroup: the kernel may need a moment to remove its last process.
const REMOVE_ATTEMPTS: usize = 50;

/// A cgroup with a CPU quota.
pub(crate) struct Quota {
    folder: PathBuf,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Version {
    One,
    Two,
}

impl Quota {
    /// Creates the cgroup.
    ///
    /// # Errors
    /// The machine has no cgroup controller for the CPU, or this process may not write it.
    pub(crate) fn new(cores: f64) -> anyhow::Result<Self> {
        let (version, parent) = controller(
            &fs::read_to_string("/proc/self/mounts")?,
            &fs::read_to_string("/proc/self/cgroup")?,
        )
        .context("no cgroup controller for the CPU is mounted")?;
        let folder = parent.join(format!("tenantry-chaos-{}", std::process::id()));
        let quota = (cores * f64::from(PERIOD_US)) as u32;
        if version == Version::Two {
            write(&parent.join("cgroup.subtree_control"), "+cpu")?;
        }
        fs::create_dir(&folder)
            .with_context(|| format!("{} cannot be created", folder.display()))?;
        let made = Self { folder };
        match version {
            Version::One => {
                write(
                    &made.folder.join("cpu.cfs_period_us"),
                    &PERIOD_US.to_string(),
                )?;
                write(&made.folder.join("cpu.cfs_quota_us"), &quota.to_string())?;
            }
            Version::Two => {
                write(
                    &made.folder.join("cpu.max"),
                    &format!("{quota} {PERIOD_US}"),
                )?;
            }
        }
        Ok(made)
    }

    /// Returns a command that starts `command` in the cgroup, from its first instruction on: the runtime sizes its worker
    /// threads by the quota.
    pub(crate) fn around(&self, command: &Command) -> Command {
        let mut limited = command_with_clean_env("sh");
        limited.args(["-c", "echo $$ > \"$0\" && exec \"$@\""]);
        limited.arg(self.folder.join("cgroup.procs"));
        limited.arg(command.get_program()).args(command.get_args());
        let variables = command.get_envs();
        limited.envs(variables.filter_map(|(name, value)| Some((name, value?))));
        limited
    }
}

impl Drop for Quota {
    fn drop(&mut self) {
        for _ in 0..REMOVE_ATTEMPTS {
            match fs::remove_dir(&self.folder) {
                Err(error) if error.kind() == io::ErrorKind::ResourceBusy => {
                    std::thread::sleep(Duration::from_millis(20));
                }
                _ => return,
            }
        }
    }
}

fn write(file: &Path, text: &str) -> anyhow::Result<()> {
    fs::write(file, text).with_context(|| format!("{} cannot be written", file.display()))
}

/// Returns the version of the CPU controller and this process's own cgroup in it.
fn controller(mounts: &str, cgroups: &str) -> Option<(Version, PathBuf)> {
    let mounted = |kind: &str, option: &str| {
        mounts.lines().find_map(|line| {
            let mut fields = line.split(' ').skip(1);
            let (folder, found, options) = (fields.next()?, fields.next()?, fields.next()?);
            let has_option = option.is_empty() || options.split(',').any(|item| item == option);
            (found == kind && has_option).then(|| PathBuf::from(folder))
        })
    };
    let own = |controller: &str| {
        cgroups.lines().find_map(|line| {
            let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
            let is_listed = controllers.split(',').any(|listed| listed == controller);
            is_listed.then(|| path.trim_start_matches('/').to_owned())
        })
    };
    let version_1 = || Some((Version::One, mounted("cgroup", "cpu")?.join(own("cpu")?)));
    let version_2 = || Some((Version::Two, mounted("cgroup2", "")?.join(own("")?)));
    version_1().or_else(version_2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_controller_of_version_1_goes_before_an_empty_hierarchy_of_version_2() {
        let mounts = "cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n\
                      cgroup /sys/fs/cgroup/cpu,cpuacct cgroup rw,cpu,cpuacct 0 0\n";
        let cgroups = "3:cpuset:/\n1:cpu,cpuacct:/user\n0::/\n";
        let expected = PathBuf::from("/sys/fs/cgroup/cpu,cpuacct/user");
        assert_eq!(controller(mounts, cgroups), Some((Version::One, expected)));
    }

    #[test]
    fn version_2_has_one_hierarchy() {
        let mounts = "cgroup2 /sys/fs/cgroup cgroup2 rw,nsdelegate 0 0\n";
        let expected = PathBuf::from("/sys/fs/cgroup/user.slice");
        assert_eq!(
            controller(mounts, "0::/user.slice\n"),
            Some((Version::Two, expected))
        );
        assert_eq!(controller("proc /proc proc rw 0 0\n", "0::/\n"), None);
    }
}
