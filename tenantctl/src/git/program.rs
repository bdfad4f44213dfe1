//! One call of the `git` program: its environment, its time limit, its output.
//!
//! The environment keeps a call from another repository, a terminal prompt and programs of the repository.

use std::ffi::OsStr;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use std::os::unix::process::CommandExt;

use rustix::process::{Pid, Signal, kill_process_group};

use super::address::Address;
use super::credentials::Credentials;
use super::failure::{GitError, GitOutput};

/// Default time limit of a call: the first fetch of a large repository.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(300);
/// Limit of standard error that is kept.
const MAX_STDERR_BYTES: u64 = 64 * 1024;

/// Variables of git that pass through: a user sets them on purpose, and they redirect no call. Every other `GIT_…` is
/// removed: it could redirect a call (`GIT_DIR`) or write secrets to a file (`GIT_TRACE_CURL`).
const KEPT_VARIABLES: [&str; 14] = [
    "GIT_ASKPASS",
    "GIT_CONFIG_GLOBAL",
    "GIT_CONFIG_NOSYSTEM",
    "GIT_CONFIG_SYSTEM",
    "GIT_EXEC_PATH",
    "GIT_PROXY_SSL_CAINFO",
    "GIT_PROXY_SSL_CERT",
    "GIT_PROXY_SSL_KEY",
    "GIT_SSH",
    "GIT_SSH_COMMAND",
    "GIT_SSH_VARIANT",
    "GIT_SSL_CAINFO",
    "GIT_SSL_CERT",
    "GIT_SSL_KEY",
];

/// Settings that override those of the user and of the mirror.
const SETTINGS: [&str; 10] = [
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    // Git ends a connection that carried no data for a minute.
    "http.lowSpeedLimit=1",
    "http.lowSpeedTime=60",
    // A call waits for the repack of the mirror.
    "gc.autoDetach=false",
    "maintenance.autoDetach=false",
    "gc.pruneExpire=1.day.ago",
    "protocol.version=2",
    // No server can direct git to another server.
    "transfer.bundleURI=false",
    "fetch.uriProtocols=",
];

/// The default SSH command: it never prompts, and it always ends.
const SSH_COMMAND: &str =
    "ssh -o BatchMode=yes -o ConnectTimeout=15 -o ServerAliveInterval=15 -o ServerAliveCountMax=3";

/// The calls of git for one mirror.
#[derive(Debug)]
pub struct Git {
    folder: PathBuf,
    address: Option<Address>,
    credentials: Option<Credentials>,
    timeout: Duration,
}

impl Git {
    pub(super) fn new(folder: &Path, timeout: Duration) -> Self {
        Self {
            folder: folder.to_owned(),
            address: None,
            credentials: None,
            timeout,
        }
    }

    /// Lets the calls reach a remote, with credentials for that remote alone.
    pub(super) fn with_remote(self, address: Address, credentials: Option<Credentials>) -> Self {
        Self {
            address: Some(address),
            credentials,
            ..self
        }
    }

    /// Prepares a call. The arguments never hold a secret.
    pub(super) fn command<A: AsRef<OsStr>>(&self, arguments: &[A]) -> Command {
        let mut command = Command::new("git");
        for (name, _) in std::env::vars_os() {
            let kept = name
                .to_str()
                .is_some_and(|name| KEPT_VARIABLES.contains(&name));
            if name.as_encoded_bytes().starts_with(b"GIT_") && !kept {
                command.env_remove(&name);
            }
        }
        command
            .env("LC_ALL", "C")
            .env_remove("LANGUAGE")
            .env("GIT_DIR", &self.folder)
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("GIT_ALLOW_PROTOCOL", "file:http:https:ssh")
            .env("GIT_NO_REPLACE_OBJECTS", "1")
            .env("GIT_OPTIONAL_LOCKS", "0");
        if std::env::var_os("GIT_SSH_COMMAND").is_none() && std::env::var_os("GIT_SSH").is_none() {
            command.env("GIT_SSH_COMMAND", SSH_COMMAND);
        }
        if let Some((address, origin)) = self
            .address
            .as_ref()
            .and_then(|address| Some((address, address.origin()?)))
        {
            if let Some(credentials) = &self.credentials {
                credentials.set_on(&mut command, &origin);
            }
            let settings = self.settings_of(address);
            command.env("GIT_CONFIG_COUNT", settings.len().to_string());
            for (index, (name, value)) in settings.iter().enumerate() {
                command
                    .env(
                        format!("GIT_CONFIG_KEY_{index}"),
                        format!("http.{address}.{name}"),
                    )
                    .env(format!("GIT_CONFIG_VALUE_{index}"), value);
            }
        }
        for setting in SETTINGS {
            command.args(["-c", setting]);
        }
        // A process group of its own, so that the processes started by git end with it.
        command
            .args(arguments)
            .current_dir(&self.folder)
            .process_group(0);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Returns the settings for one address. They override the user's settings for any address that matches it.
    ///
    /// A redirect is an error: git would ask for the credentials of the other server, and curl would repeat the user's headers
    /// there. If this program has credentials, git sends none of the user's headers, and no plain HTTP through a proxy.
    fn settings_of(&self, address: &Address) -> Vec<(&'static str, &'static str)> {
        let mut settings = vec![("followRedirects", "false")];
        if self.credentials.is_some() {
            settings.push(("extraHeader", ""));
            if address.as_str().to_ascii_lowercase().starts_with("http://") {
                settings.push(("proxy", ""));
            }
        }
        settings
    }

    /// Calls git with this input; a failed call is not an error here.
    pub(super) fn run(&self, arguments: &[&str], input: &[u8]) -> Result<GitOutput, GitError> {
        let mut command = self.command(arguments);
        if !input.is_empty() {
            command.stdin(Stdio::piped());
        }
        let child = command.spawn().map_err(GitError::NoProgram)?;
        let ended = wait_for(child, input, self.timeout).map_err(|source| GitError::Io {
            action: action(arguments),
            source,
        })?;
        let Some((status, stdout, stderr)) = ended else {
            return Err(GitError::TimedOut {
                action: action(arguments),
                after: self.timeout,
            });
        };
        let stderr = String::from_utf8_lossy(&stderr).into_owned();
        Ok(GitOutput {
            succeeded: status.success(),
            stdout,
            stderr,
        })
    }

    /// Calls git for a local action and returns its standard output.
    pub(super) fn output(&self, arguments: &[&str], input: &[u8]) -> Result<String, GitError> {
        let output = self.run(arguments, input)?;
        if output.succeeded {
            return Ok(output.stdout_text());
        }
        Err(GitError::local(
            action(arguments),
            &output.stderr,
            &self.folder,
        ))
    }
}

fn action(arguments: &[&str]) -> String {
    arguments.first().copied().unwrap_or_default().to_owned()
}

/// Status, standard output and standard error of a call.
type Ended = (ExitStatus, Vec<u8>, Vec<u8>);

/// Writes the input and reads the output until the call ends; `None` after a time-out.
fn wait_for(mut child: Child, input: &[u8], timeout: Duration) -> std::io::Result<Option<Ended>> {
    let stdin = child.stdin.take();
    let stdout = child.stdout.take().expect("standard output is piped");
    let stderr = child.stderr.take().expect("standard error is piped");
    let group = Pid::from_child(&child);
    std::thread::scope(|scope| {
        let (done, is_done) = channel::<()>();
        let watch = scope.spawn(move || {
            let expired = is_done.recv_timeout(timeout) == Err(RecvTimeoutError::Timeout);
            if expired {
                // Fails only if the group has just ended.
                let _ = kill_process_group(group, Signal::KILL);
            }
            expired
        });
        let complaints = scope.spawn(move || read_some(stderr));
        let feeding = scope.spawn(move || feed(stdin, input));
        let printed = read_all(stdout);
        let complained = complaints.join().expect("reading does not panic");
        let fed = feeding.join().expect("writing does not panic");
        let status = child.wait();
        drop(done);
        if watch.join().expect("waiting does not panic") {
            return Ok(None);
        }
        let (status, stdout, stderr) = (status?, printed?, complained?);
        // A failed git may not have read its input; its own message matters then.
        if status.success() {
            fed?;
        }
        Ok(Some((status, stdout, stderr)))
    })
}

fn feed(stdin: Option<ChildStdin>, input: &[u8]) -> std::io::Result<()> {
    stdin.map_or(Ok(()), |mut stdin| stdin.write_all(input))
}

fn read_all(mut from: impl Read) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.read_to_end(&mut bytes).map(|_| bytes)
}

/// Reads all bytes and keeps the first.
fn read_some(mut from: impl Read) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    (&mut from).take(MAX_STDERR_BYTES).read_to_end(&mut bytes)?;
    std::io::copy(&mut from, &mut std::io::sink()).map(|_| bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str) -> Child {
        let mut command = Command::new("sh");
        command.args(["-c", script]).process_group(0);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("a shell")
    }

    #[test]
    fn a_call_over_its_time_limit_is_killed_with_its_children() {
        let begun = std::time::Instant::now();
        // The inner process holds the pipes.
        let ended = wait_for(
            sh("sh -c 'sleep 600' & sleep 600"),
            &[],
            Duration::from_millis(50),
        );
        assert!(ended.expect("it was read").is_none());
        assert!(begun.elapsed() < Duration::from_secs(60));
    }

    #[test]
    fn large_input_and_output_do_not_block_each_other() {
        let input = vec![b'x'; 4 << 20];
        let ended =
            wait_for(sh("cat; echo more >&2"), &input, DEFAULT_TIMEOUT).expect("it was read");
        let (status, stdout, stderr) = ended.expect("it ended by itself");
        assert!(status.success() && stdout == input && stderr == b"more\n");
    }

    #[test]
    fn a_flood_on_standard_error_is_truncated() {
        let ended = wait_for(sh("head -c 1000000 /dev/zero >&2"), &[], DEFAULT_TIMEOUT)
            .expect("it was read");
        assert_eq!(ended.expect("it ended").2.len() as u64, MAX_STDERR_BYTES);
    }

    #[test]
    fn variables_that_redirect_or_log_secrets_do_not_reach_git() {
        let git = Git::new(Path::new("/mirror"), DEFAULT_TIMEOUT);
        let command = git.command(&["fetch"]);
        let set: Vec<_> = command
            .get_envs()
            .filter(|(_, value)| value.is_some())
            .map(|(name, _)| name)
            .collect();
        for name in [
            "GIT_DIR",
            "GIT_TERMINAL_PROMPT",
            "GIT_ALLOW_PROTOCOL",
            "LC_ALL",
        ] {
            assert!(set.contains(&OsStr::new(name)), "{name}");
        }
        assert!(
            !KEPT_VARIABLES
                .iter()
                .any(|name| name.contains("TRACE") || name.contains("DIR"))
        );
    }
}
