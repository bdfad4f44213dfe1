//! A program under test as a process: its output is captured, its signals and exit code are the test's to see, and it
//! never outlives its value.

use std::io::{BufRead, BufReader, Read};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::wait::{PATIENCE, eventually, until};

/// Ports that no system hands out by itself, so that a server can be started again on the one it had.
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

/// How a program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// With this exit code.
    Code(i32),
    /// By this signal.
    Signal(i32),
}

/// The path of one of the workspace's binaries, built like the test itself.
///
/// # Panics
/// Where it was not built.
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

/// A command for a program that sees nothing of this process's environment but the search path.
pub fn clean(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new(program);
    command.env_clear();
    if let Some(path) = std::env::var_os("PATH") {
        command.env("PATH", path);
    }
    command
}

/// A free port that stays free for as long as the test needs it, whoever else opens connections meanwhile.
///
/// # Panics
/// Where none is free.
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
    /// Starts the command; `name` is what messages call it.
    ///
    /// # Panics
    /// Where it cannot be started.
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

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The lines it has written to standard output so far.
    pub fn stdout(&self) -> Vec<String> {
        lock(&self.stdout).clone()
    }

    /// The lines it has written to standard error so far.
    pub fn stderr(&self) -> Vec<String> {
        lock(&self.stderr).clone()
    }

    /// The first line on standard output that the function makes something of.
    ///
    /// # Panics
    /// Where none comes, or the program ends first.
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

    /// Whether it runs.
    ///
    /// # Panics
    /// Where the system does not know it.
    pub fn is_running(&mut self) -> bool {
        if self.exit.is_none()
            && let Some(status) = self.child.try_wait().expect("the child is ours")
        {
            self.ended(status);
        }
        self.exit.is_none()
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// Where it does not end in time.
    pub async fn exit(&mut self, within: Duration) -> Exit {
        let what = format!("{} ends", self.name);
        eventually(&what, within, async || {
            self.is_running();
            self.exit
        })
        .await
    }

    /// Freezes it: it keeps its connections and answers nothing until [`Self::resume`].
    pub async fn freeze(&self) {
        self.signal("STOP");
        let what = format!("{} is frozen", self.name);
        // The signal arrives at once, but each thread stops when it is next looked at.
        until(&what, PATIENCE, async || {
            thread_states(self.id()).iter().all(|state| *state == 'T')
        })
        .await;
    }

    /// Lets a frozen process go on.
    pub fn resume(&self) {
        self.signal("CONT");
    }

    /// Sends a signal by its name: `TERM`, `INT`.
    ///
    /// # Panics
    /// Where it cannot be sent.
    pub fn signal(&self, signal: &str) {
        send_signal(signal, self.id());
    }

    /// Ends it at once, without a chance to finish anything.
    ///
    /// # Panics
    /// Where the system does not let it.
    pub fn kill(&mut self) {
        if self.exit.is_none() {
            self.child.kill().expect("the child is ours");
            let status = self.child.wait().expect("the child is ours");
            self.ended(status);
        }
    }

    /// Most memory it ever had resident, in bytes.
    ///
    /// # Panics
    /// Where it has ended.
    pub fn peak_resident_bytes(&self) -> u64 {
        status_bytes(self.id(), "VmHWM").expect("it runs")
    }

    fn ended(&mut self, status: ExitStatus) {
        // The pipes close with the program; then all it said is here.
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
/// Where it cannot be sent.
pub fn send_signal(signal: &str, id: u32) {
    let sent = Command::new("sh")
        .args(["-c", &format!("kill -{signal} {id}")])
        .status()
        .expect("there is a shell");
    assert!(sent.success(), "SIG{signal} was not sent to {id}");
}

/// A figure of memory that Linux keeps of a process (`VmRSS`, `VmHWM`), in bytes; none where it has ended.
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

/// The state of each thread of a process, as Linux abbreviates it.
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
        reason = "what the processes of a failed test said is what explains it"
    )]
    fn drop(&mut self) {
        if self.exit.is_none() {
            // Either fails only where it has ended already.
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
