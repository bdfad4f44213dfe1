//! Programs as processes. A [`Process`] is under test: its output is captured, and a test sends signals and sees the exit
//! code. A [`Helper`] only runs. Each process ends with its value.

use std::io::{self, BufRead, BufReader, Read};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::wait::{PATIENCE, eventually, until};

/// Ports outside the range of ephemeral ports, so that a server can be started again on its former port.
const FIXED_PORTS: std::ops::Range<u16> = 20_000..32_000;

/// A running program.
pub struct Process {
    name: String,
    child: Child,
    stdout: Arc<Mutex<Vec<String>>>,
    stderr: Arc<Mutex<Vec<String>>>,
    readers: Vec<JoinHandle<()>>,
    exit: Option<Exit>,
}

/// A program whose output is not kept. The program is killed with its value. Its standard input ends with this process, so
/// our own programs notice even a SIGKILL of the test.
pub struct Helper(Child);

impl Helper {
    /// Starts the command.
    ///
    /// # Errors
    /// The program cannot be started.
    pub fn start(command: &mut Command) -> io::Result<Self> {
        command.stdout(Stdio::null());
        Self::spawn(command)
    }

    /// Starts the command and returns its standard output, which the caller must read.
    ///
    /// # Errors
    /// The program cannot be started.
    ///
    /// # Panics
    /// Never, because the output is piped.
    pub fn piped(command: &mut Command) -> io::Result<(Self, ChildStdout)> {
        command.stdout(Stdio::piped());
        let mut helper = Self::spawn(command)?;
        let stdout = helper.0.stdout.take().expect("piped");
        Ok((helper, stdout))
    }

    fn spawn(command: &mut Command) -> io::Result<Self> {
        command.stdin(Stdio::piped()).stderr(Stdio::null());
        Ok(Self(command.spawn()?))
    }

    pub fn id(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        // Either fails only if the process has ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// How a program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    Code(i32),
    Signal(i32),
}

/// The path of a binary of the workspace, built with the profile of the test.
///
/// # Panics
/// The binary was not built.
pub fn binary(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("a running test has a path");
    test.ancestors()
        .skip(1)
        .map(|folder| folder.join(name))
        .find(|path| path.is_file())
        .unwrap_or_else(|| {
            panic!(
                "there is no binary {name}: run `cargo build --workspace` first (make test does)"
            )
        })
}

/// The folder of the repository.
pub fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .nth(2)
        .expect("the crate is in the repository")
}

/// Returns a command whose environment has only the search path.
pub fn command_with_clean_env(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new(program);
    command.env_clear();
    if let Some(path) = std::env::var_os("PATH") {
        command.env("PATH", path);
    }
    command
}

/// A free port that no outgoing connection takes.
///
/// # Panics
/// No port is free.
pub fn fixed_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let ports = FIXED_PORTS.end - FIXED_PORTS.start;
    // Test processes that run at once start at different places.
    let first = u16::try_from(std::process::id() % u32::from(ports))
        .expect("less than the number of ports");
    (0..ports)
        .map(|_| FIXED_PORTS.start + (first + NEXT.fetch_add(1, Ordering::Relaxed)) % ports)
        .find(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok())
        .expect("one of the ports is free")
}

impl Process {
    /// Starts the command; messages use `name`.
    ///
    /// # Panics
    /// The program cannot be started.
    pub fn start(name: &str, mut command: Command) -> Self {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{name} cannot be started: {error}"));
        let (stdout, stderr) = (Arc::default(), Arc::default());
        let readers = vec![
            follow(child.stdout.take().expect("piped"), &stdout),
            follow(child.stderr.take().expect("piped"), &stderr),
        ];
        Self {
            name: name.to_owned(),
            child,
            stdout,
            stderr,
            readers,
            exit: None,
        }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Lines of standard output so far.
    pub fn stdout(&self) -> Vec<String> {
        lock(&self.stdout).clone()
    }

    /// Lines of standard error so far.
    pub fn stderr(&self) -> Vec<String> {
        lock(&self.stderr).clone()
    }

    /// The value of the first line on standard output that `read` understands.
    ///
    /// # Panics
    /// No such line comes, or the program ends first.
    pub async fn line<T>(&mut self, what: &str, read: impl Fn(&str) -> Option<T>) -> T {
        let what = format!("{} says {what}", self.name);
        eventually(&what, PATIENCE, async || {
            let found = self.stdout().iter().find_map(|line| read(line));
            assert!(
                found.is_some() || self.is_running(),
                "{what}: it ended with {:?}\n{}",
                self.exit,
                self.output()
            );
            found
        })
        .await
    }

    /// # Panics
    /// The system does not know the process.
    pub fn is_running(&mut self) -> bool {
        if self.exit.is_none()
            && let Some(status) = self.child.try_wait().expect("the child is ours")
        {
            self.ended(status);
        }
        self.exit.is_none()
    }

    /// Waits for the end of the process.
    ///
    /// # Panics
    /// It does not end in time.
    pub async fn exit(&mut self, within: Duration) -> Exit {
        let what = format!("{} ends", self.name);
        eventually(&what, within, async || {
            self.is_running();
            self.exit
        })
        .await
    }

    /// Freezes the process: it keeps its connections and answers nothing until [`Self::resume`].
    pub async fn freeze(&self) {
        self.signal("STOP");
        let what = format!("{} is frozen", self.name);
        // The signal arrives at once, but each thread stops when the kernel schedules it next.
        until(&what, PATIENCE, async || {
            thread_states(self.id()).iter().all(|state| *state == 'T')
        })
        .await;
    }

    /// Resumes a frozen process.
    pub fn resume(&self) {
        self.signal("CONT");
    }

    /// Sends a signal by its name: `TERM`, `INT`.
    ///
    /// # Panics
    /// The signal cannot be sent.
    pub fn signal(&self, signal: &str) {
        send_signal(signal, self.id());
    }

    /// Ends the process with SIGKILL.
    ///
    /// # Panics
    /// The system does not permit it.
    pub fn kill(&mut self) {
        if self.exit.is_none() {
            self.child.kill().expect("the child is ours");
            let status = self.child.wait().expect("the child is ours");
            self.ended(status);
        }
    }

    /// Most resident memory since the start, in bytes.
    ///
    /// # Panics
    /// The process has ended.
    pub fn peak_resident_bytes(&self) -> u64 {
        status_bytes(self.id(), "VmHWM").expect("it runs")
    }

    fn ended(&mut self, status: ExitStatus) {
        // The pipes close with the program; then its output is complete.
        for reader in self.readers.drain(..) {
            reader.join().expect("reading lines does not panic");
        }
        self.exit = Some(match (status.code(), status.signal()) {
            (Some(code), _) => Exit::Code(code),
            (None, signal) => Exit::Signal(signal.unwrap_or_default()),
        });
    }

    fn output(&self) -> String {
        format!("{}\n{}", self.stdout().join("\n"), self.stderr().join("\n"))
    }
}

/// Sends a signal to any process.
///
/// # Panics
/// The signal cannot be sent.
pub fn send_signal(signal: &str, id: u32) {
    let sent = Command::new("sh")
        .args(["-c", &format!("kill -{signal} {id}")])
        .status()
        .expect("there is a shell");
    assert!(sent.success(), "SIG{signal} was not sent to {id}");
}

/// A memory figure of a process (`VmRSS`, `VmHWM`) in bytes; none if the process has ended.
pub fn status_bytes(id: u32, field: &str) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).ok()?;
    let value = status
        .lines()
        .find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))?;
    Some(
        value
            .trim()
            .strip_suffix(" kB")?
            .trim()
            .parse::<u64>()
            .ok()?
            * 1024,
    )
}

/// CPU time that a process has used, in user mode and in the kernel; none if the process has ended.
pub fn cpu_time(id: u32) -> Option<Duration> {
    cpu_time_of(&std::fs::read_to_string(format!("/proc/{id}/stat")).ok()?)
}

/// The user and system time of a stat line. The program's name may contain brackets, so the fields begin after the last one.
fn cpu_time_of(stat: &str) -> Option<Duration> {
    /// Linux counts a hundred ticks a second for programs, on every architecture.
    const TICKS_PER_SECOND: u64 = 100;
    let (_, fields) = stat.rsplit_once(')')?;
    let ticks = |index| {
        let field = fields.split_ascii_whitespace().nth(index)?;
        field.parse::<u64>().ok()
    };
    let both = ticks(11)? + ticks(12)?;
    Some(Duration::from_millis(both * 1000 / TICKS_PER_SECOND))
}

/// The state of each thread of a process, as one letter.
fn thread_states(id: u32) -> Vec<char> {
    let threads = std::fs::read_dir(format!("/proc/{id}/task"))
        .expect("it runs")
        .filter_map(Result::ok);
    // The name before the state may contain anything but ends with the last parenthesis.
    let state = |text: String| text.rsplit_once(") ")?.1.chars().next();
    threads
        .filter_map(|thread| state(std::fs::read_to_string(thread.path().join("stat")).ok()?))
        .collect()
}

impl Drop for Process {
    #[expect(
        clippy::print_stderr,
        reason = "the output of its processes explains a failed test"
    )]
    fn drop(&mut self) {
        if self.exit.is_none() {
            // Either fails only if the process has ended.
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        if std::thread::panicking() {
            eprintln!(
                "---- output of {} ({}), exit {:?}\n{}",
                self.name,
                self.id(),
                self.exit,
                self.output()
            );
        }
    }
}

/// Collects lines until the pipe closes.
fn follow(pipe: impl Read + Send + 'static, lines: &Arc<Mutex<Vec<String>>>) -> JoinHandle<()> {
    let lines = Arc::clone(lines);
    std::thread::spawn(move || {
        for line in BufReader::new(pipe).split(b'\n').map_while(Result::ok) {
            lock(&lines).push(String::from_utf8_lossy(&line).into_owned());
        }
    })
}

fn lock(lines: &Mutex<Vec<String>>) -> std::sync::MutexGuard<'_, Vec<String>> {
    lines.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_time_is_found_after_any_program_name() {
        let stat = "7 (a) b) S 1 2 3 4 5 6 7 8 9 10 250 50 0 0 20";
        assert_eq!(cpu_time_of(stat), Some(Duration::from_secs(3)));
        assert_eq!(cpu_time_of("nonsense"), None);
    }
}
