//! `chaos connections`: attackers hold connections and never complete a request.
//!
//! During each attack another client posts at a low rate and must be served. The producer's memory stays bounded, and after
//! the attack the attackers' connections are closed.

use std::cell::Cell;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use kit::load::{Open, Tally};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::LocalSet;
use tokio::time::Instant;

use crate::memory::{open_files, resident_bytes};
use crate::report::progress;
use crate::target::{TENANTS, Target, post};

#[derive(Debug, Clone, Copy, clap::Args)]
pub struct Options {
    /// Seconds of each attack
    #[arg(long, default_value_t = 15)]
    pub seconds: u64,
    /// Connections of the attack `idle connections`
    #[arg(long, default_value_t = 10_000)]
    pub idle: usize,
    /// Connections of each other attack
    #[arg(long, default_value_t = 500)]
    pub connections: usize,
    /// Requests per second of the other client
    #[arg(long, default_value_t = 50)]
    pub rate: u32,
}

/// Connections from one address; further connections use another address, so that no address runs out of ports.
const CONNECTIONS_PER_ADDRESS: usize = 5_000;
/// Milliseconds that each call of the endpoint takes.
const ENDPOINT_DELAY_MS: u64 = 5;
/// Connections of the other client, at most.
const CLIENT_CONNECTIONS: usize = 2_000;
/// Pause between two bytes of a slow writer.
const SLOW_PAUSE: Duration = Duration::from_millis(500);
/// Requests of a client that does not read the answers.
const UNREAD_REQUESTS: usize = 2_000;
/// Most open descriptors of a producer without clients: its connections to the endpoint come and go.
const OWN_FILES_MAX: usize = 150;
/// Time limit until the attackers' connections are closed. The server closes a connection that has been idle for 80 s, even
/// if the kernel has not reported the client's end.
const GONE_WITHIN: Duration = Duration::from_secs(90);
/// Most memory of the producer: the chart's limit.
const MEMORY_MAX_BYTES: u64 = 128 << 20;

/// A kind of attack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Attack {
    /// Connections that send nothing.
    Idle,
    /// Heads that arrive byte by byte and never end.
    SlowHeads,
    /// Bodies that arrive byte by byte and never end.
    SlowBodies,
    /// Requests whose answers are not read.
    SlowReaders,
    /// Connections whose client has shut down its sending half.
    HalfOpen,
    /// Heads beyond every limit.
    HeaderFlood,
    /// Bodies beyond every limit.
    BodyFlood,
}

impl Attack {
    const ALL: [Self; 7] = [
        Self::Idle,
        Self::SlowHeads,
        Self::SlowBodies,
        Self::SlowReaders,
        Self::HalfOpen,
        Self::HeaderFlood,
        Self::BodyFlood,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::Idle => "idle connections",
            Self::SlowHeads => "slow heads (slowloris)",
            Self::SlowBodies => "slow bodies",
            Self::SlowReaders => "slow readers",
            Self::HalfOpen => "half-open connections",
            Self::HeaderFlood => "header flood",
            Self::BodyFlood => "body flood",
        }
    }
}

/// The result of an attack.
pub struct Outcome {
    name: &'static str,
    /// Connections that attackers opened, at once or one after the other.
    pub opened: usize,
    /// Most open descriptors of the producer.
    pub files: usize,
    /// The answers to the other client.
    pub beside: Tally,
    /// Most memory of the producer, in bytes.
    pub resident: u64,
    /// Whether the attackers' connections were closed afterwards.
    pub are_gone: bool,
}

impl Outcome {
    /// Whether the client was served, within the bounds.
    pub fn is_kept(&self) -> bool {
        // A flood of new connections may cost the other client a second attempt, never its service.
        let is_served = self.beside.accepted.len() >= 9 * self.beside.missing();
        is_served && self.are_gone && self.resident <= MEMORY_MAX_BYTES
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let beside = &self.beside;
        let word = if self.is_kept() { "kept" } else { "MISSED" };
        write!(
            f,
            "{:<24} {:>6} connections, {} descriptors; client: {} served, {} refused, {} failed, p50 {:.1} ms, p99 {:.1} ms; \
             {} MiB; closed afterwards: {}: {word}",
            self.name,
            self.opened,
            self.files,
            beside.accepted.len(),
            beside.refused.len(),
            beside.failed(),
            beside.accepted_ms(0.5),
            beside.accepted_ms(0.99),
            self.resident >> 20,
            if self.are_gone { "yes" } else { "no" },
        )
    }
}

/// Runs every attack, one after the other, on one producer.
///
/// # Panics
/// A process does not start.
pub async fn connections(options: Options) -> Vec<Outcome> {
    LocalSet::new().run_until(run_attacks(options)).await
}

async fn run_attacks(options: Options) -> Vec<Outcome> {
    let target = Target::start(ENDPOINT_DELAY_MS, None).await;
    let mut outcomes = Vec::new();
    for attack in Attack::ALL {
        let outcome = run_attack(attack, options, &target).await;
        progress(&outcome.to_string());
        outcomes.push(outcome);
    }
    outcomes
}

async fn run_attack(attack: Attack, options: Options, target: &Target) -> Outcome {
    let (to, id) = (target.address(), target.process_id());
    let count = if attack == Attack::Idle {
        options.idle
    } else {
        options.connections
    };
    let length = Duration::from_secs(options.seconds);
    let until_end = Instant::now() + length;
    let opened: Rc<Cell<usize>> = Rc::default();
    let mut attackers = tokio::task::JoinSet::new();
    for at in 0..count {
        attackers.spawn_local(attacker(attack, at, to, until_end, Rc::clone(&opened)));
    }
    let sampling = tokio::task::spawn_local(async move {
        let mut most = (0, 0);
        while Instant::now() < until_end {
            most = (most.0.max(resident_bytes(id)), most.1.max(open_files(id)));
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        most
    });
    let client = Open {
        to,
        request: post(TENANTS[0]),
        connections: CLIENT_CONNECTIONS,
    };
    let beside = Tally::sum(&client.run(&[(options.rate.into(), length)]).await);
    let (resident, files) = sampling.await.expect("sampling does not panic");
    attackers.join_all().await;
    let deadline = Instant::now() + GONE_WITHIN;
    while open_files(id) > OWN_FILES_MAX && Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let are_gone = open_files(id) <= OWN_FILES_MAX;
    Outcome {
        name: attack.name(),
        opened: opened.get(),
        files,
        beside,
        resident,
        are_gone,
    }
}

/// Runs one attacker: opens a connection and misuses it until the end; opens another if it was closed.
async fn attacker(
    attack: Attack,
    at: usize,
    to: SocketAddr,
    until_end: Instant,
    opened: Rc<Cell<usize>>,
) {
    while Instant::now() < until_end {
        // An error only ends this connection.
        let _ = tokio::time::timeout_at(until_end, misuse(attack, at, to, &opened)).await;
        if attack == Attack::Idle || attack == Attack::HalfOpen {
            // A connection that the server closed is not opened again: its slot is for other clients.
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn misuse(
    attack: Attack,
    at: usize,
    to: SocketAddr,
    opened: &Cell<usize>,
) -> std::io::Result<()> {
    let mut stream = connect(at, to).await?;
    opened.set(opened.get() + 1);
    let post = "POST /producer HTTP/1.1\r\nhost: test\r\ntenantID: tenant-2\r\n";
    match attack {
        Attack::Idle => wait_for_end(&mut stream).await,
        Attack::SlowHeads => {
            stream
                .write_all(b"POST /producer HTTP/1.1\r\nx-slow: ")
                .await?;
            drip(&mut stream).await
        }
        Attack::SlowBodies => {
            stream
                .write_all(format!("{post}content-length: 100000\r\n\r\n\"").as_bytes())
                .await?;
            drip(&mut stream).await
        }
        Attack::SlowReaders => {
            let request = "GET /producer HTTP/1.1\r\nhost: test\r\n\r\n".repeat(UNREAD_REQUESTS);
            stream.write_all(request.as_bytes()).await?;
            std::future::pending().await
        }
        Attack::HalfOpen => {
            stream.write_all(post.as_bytes()).await?;
            stream.shutdown().await?;
            wait_for_end(&mut stream).await
        }
        Attack::HeaderFlood => {
            stream.write_all(post.as_bytes()).await?;
            loop {
                stream
                    .write_all(format!("x-flood-{at}: {}\r\n", "x".repeat(4_000)).as_bytes())
                    .await?;
            }
        }
        Attack::BodyFlood => {
            stream
                .write_all(format!("{post}transfer-encoding: chunked\r\n\r\n").as_bytes())
                .await?;
            loop {
                stream
                    .write_all(format!("1000\r\n{}\r\n", "x".repeat(4_096)).as_bytes())
                    .await?;
            }
        }
    }
}

async fn drip(stream: &mut TcpStream) -> std::io::Result<()> {
    loop {
        stream.write_all(b"x").await?;
        tokio::time::sleep(SLOW_PAUSE).await;
    }
}

/// Ends when the server closes.
async fn wait_for_end(stream: &mut TcpStream) -> std::io::Result<()> {
    let mut sink = [0; 1024];
    while stream.read(&mut sink).await? > 0 {}
    Ok(())
}

/// Connects from one of the loopback addresses.
async fn connect(at: usize, to: SocketAddr) -> std::io::Result<TcpStream> {
    let last = u8::try_from(2 + at / CONNECTIONS_PER_ADDRESS).unwrap_or(u8::MAX);
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::from((Ipv4Addr::new(127, 0, 1, last), 0)))?;
    socket.connect(to).await
}
