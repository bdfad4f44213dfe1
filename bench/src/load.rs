//! Closed-loop clients: each sends its next request when the last one is answered, over a connection kept alive.
//!
//! All run on the measurement's one thread, with requests written beforehand: what they cost is told with the figures.

use std::borrow::Cow;
use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, bail};
use futures_util::future::join_all;
use hdrhistogram::Histogram;
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::http1::Connection;

/// Most clients at once.
pub(crate) const MAX_CLIENTS: usize = 1024;
/// Clients of a full load, where nothing else is said.
pub(crate) const FULL_LOAD: usize = 256;
/// Longest an answer may take; then it counts as an error.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);
/// Longest latency the histogram tells apart.
const MAX_LATENCY_US: u64 = 60_000_000;
/// Significant digits of a latency.
const LATENCY_DIGITS: u8 = 3;
/// Pause of a client whose connection failed, so that it does not spin.
const RECONNECT_PAUSE: Duration = Duration::from_millis(20);

/// What an AWS call has to have, and nobody checks.
const AUTHORIZATION: &str = "AWS4-HMAC-SHA256 Credential=bench/20260101/us-east-1/any/aws4_request, \
                             SignedHeaders=host, Signature=0";

/// A request as it goes over the wire.
#[derive(Clone)]
pub(crate) struct Request {
    bytes: Vec<u8>,
    /// Where a number is that is another one each time it is sent.
    number_at: Option<usize>,
}

/// Digits of that number.
const NUMBER_DIGITS: usize = 16;
/// The next one, of all clients of this process.
static NEXT_NUMBER: AtomicU64 = AtomicU64::new(0);

/// Clients with open connections.
pub(crate) struct Clients {
    address: SocketAddr,
    request: Request,
    connections: Vec<Option<Connection>>,
}

/// What a run of clients saw.
pub(crate) struct Run {
    /// Answers with status 200 or 201.
    pub(crate) answered: u64,
    /// Everything else: other answers, connections that failed, no answer in time.
    pub(crate) errors: u64,
    /// From the first request to the last answer.
    pub(crate) took: Duration,
    /// Time to each answer, in microseconds.
    pub(crate) latency_us: Histogram<u64>,
}

impl Request {
    /// `GET` for the tenant.
    pub(crate) fn get(path: &str, tenant: &str) -> Self {
        Self::fixed(format!(
            "GET {path} HTTP/1.1\r\nhost: localhost\r\ntenantID: {tenant}\r\n\r\n"
        ))
    }

    /// `POST` of a JSON body for the tenant.
    pub(crate) fn post(path: &str, tenant: &str, body: &str) -> Self {
        Self::with_body(
            &format!("POST {path}"),
            &format!("tenantID: {tenant}\r\ncontent-type: application/json"),
            body,
        )
    }

    /// As [`Self::post`], with another `Idempotency-Key` each time it is sent.
    pub(crate) fn post_once_each(path: &str, tenant: &str, body: &str) -> Self {
        const KEY: &str = "Idempotency-Key: ";
        let headers = format!("tenantID: {tenant}\r\n{KEY}{:0NUMBER_DIGITS$}", 0);
        let mut request = Self::with_body(&format!("POST {path}"), &headers, body);
        let key_at = request
            .bytes
            .windows(KEY.len())
            .position(|bytes| bytes == KEY.as_bytes());
        request.number_at = key_at.map(|at| at + KEY.len());
        request
    }

    /// The bytes to send this time.
    fn bytes(&self) -> Cow<'_, [u8]> {
        let Some(at) = self.number_at else {
            return Cow::Borrowed(&self.bytes);
        };
        let number = NEXT_NUMBER.fetch_add(1, Ordering::Relaxed);
        let mut bytes = self.bytes.clone();
        bytes[at..at + NUMBER_DIGITS]
            .copy_from_slice(format!("{number:0NUMBER_DIGITS$}").as_bytes());
        Cow::Owned(bytes)
    }

    fn fixed(text: String) -> Self {
        Self {
            bytes: text.into_bytes(),
            number_at: None,
        }
    }

    /// `PUT` of a JSON body.
    pub(crate) fn put(path: &str, body: &str) -> Self {
        Self::with_body(
            &format!("PUT {path}"),
            "content-type: application/json",
            body,
        )
    }

    /// An AWS call to an endpoint that checks no signatures.
    pub(crate) fn aws(action: &str, body: &str) -> Self {
        let headers = format!(
            "x-amz-target: {action}\r\ncontent-type: application/x-amz-json-1.0\r\nauthorization: {AUTHORIZATION}\r\n\
             x-amz-date: 20260101T000000Z"
        );
        Self::with_body("POST /", &headers, body)
    }

    fn with_body(line: &str, headers: &str, body: &str) -> Self {
        let length = body.len();
        let text = format!(
            "{line} HTTP/1.1\r\nhost: localhost\r\n{headers}\r\ncontent-length: {length}\r\n\r\n{body}"
        );
        Self::fixed(text)
    }
}

impl Clients {
    /// That many clients of one address; they connect when they first send.
    pub(crate) fn new(address: SocketAddr, request: Request, count: usize) -> Self {
        let connections = (0..count.clamp(1, MAX_CLIENTS)).map(|_| None).collect();
        Self {
            address,
            request,
            connections,
        }
    }

    /// Sends for this long, then waits for the answers under way.
    pub(crate) async fn run(&mut self, duration: Duration) -> anyhow::Result<Run> {
        let latency_us = Histogram::new_with_bounds(1, MAX_LATENCY_US, LATENCY_DIGITS)?;
        let started = Instant::now();
        let run = RefCell::new(Run {
            answered: 0,
            errors: 0,
            took: Duration::ZERO,
            latency_us,
        });
        let (address, request, until) = (self.address, &self.request, started + duration);
        let clients = self
            .connections
            .iter_mut()
            .map(|connection| client(address, request, connection, until, &run));
        join_all(clients).await;
        let mut run = run.into_inner();
        run.took = started.elapsed();
        Ok(run)
    }
}

impl Run {
    /// Answers a second.
    pub(crate) fn rate(&self) -> f64 {
        self.answered as f64 / self.took.as_secs_f64()
    }

    /// Latency below which this share of the answers came.
    pub(crate) fn quantile_ms(&self, quantile: f64) -> f64 {
        self.latency_us.value_at_quantile(quantile) as f64 / 1000.0
    }
}

async fn client(
    address: SocketAddr,
    request: &Request,
    connection: &mut Option<Connection>,
    until: Instant,
    run: &RefCell<Run>,
) {
    while Instant::now() < until {
        let sent = Instant::now();
        let exchanged =
            tokio::time::timeout(ANSWER_TIMEOUT, exchange(address, request, connection)).await;
        let is_answered = matches!(exchanged, Ok(Ok(true)));
        if is_answered {
            let micros = u64::try_from(sent.elapsed().as_micros()).unwrap_or(MAX_LATENCY_US);
            let mut run = run.borrow_mut();
            run.answered += 1;
            run.latency_us.saturating_record(micros);
            continue;
        }
        run.borrow_mut().errors += 1;
        if !matches!(exchanged, Ok(Ok(_))) {
            *connection = None;
            tokio::time::sleep(RECONNECT_PAUSE).await;
        }
    }
}

/// One request and its answer; whether that was a 200 or 201.
async fn exchange(
    address: SocketAddr,
    request: &Request,
    connection: &mut Option<Connection>,
) -> io::Result<bool> {
    let open = match connection {
        Some(open) => open,
        None => connection.insert(Connection::new(TcpStream::connect(address).await?)?),
    };
    open.write(&request.bytes()).await?;
    let head = open.read().await?.ok_or(io::ErrorKind::UnexpectedEof)?;
    let is_ok = is_ok(open.message(&head).first_line);
    if head.closes {
        *connection = None;
    }
    Ok(is_ok)
}

fn is_ok(status_line: &[u8]) -> bool {
    matches!(status_line.get(9..12), Some(b"200" | b"201"))
}

/// One connection for requests whose answers matter.
pub(crate) struct Caller(Connection);

impl Caller {
    /// Connects.
    pub(crate) async fn connect(address: SocketAddr) -> anyhow::Result<Self> {
        Ok(Self(Connection::new(TcpStream::connect(address).await?)?))
    }

    /// The body of the answer, which must have a status of success.
    pub(crate) async fn ask(&mut self, request: &Request) -> anyhow::Result<Vec<u8>> {
        tokio::time::timeout(ANSWER_TIMEOUT, self.exchange(request))
            .await
            .context("no answer in time")?
    }

    async fn exchange(&mut self, request: &Request) -> anyhow::Result<Vec<u8>> {
        self.0.write(&request.bytes()).await?;
        let head = self.0.read().await?.context("no answer")?;
        let message = self.0.message(&head);
        if message.first_line.get(9) != Some(&b'2') {
            let (line, body) = (
                String::from_utf8_lossy(message.first_line),
                String::from_utf8_lossy(message.body),
            );
            bail!("{line}: {body}");
        }
        Ok(message.body.to_vec())
    }
}

/// One request over a connection of its own.
pub(crate) async fn ask(address: SocketAddr, request: &Request) -> anyhow::Result<Vec<u8>> {
    Caller::connect(address).await?.ask(request).await
}

/// `GET` without a tenant.
pub(crate) async fn fetch(address: SocketAddr, path: &str) -> anyhow::Result<Vec<u8>> {
    ask(
        address,
        &Request::fixed(format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n")),
    )
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_200_or_201_is_an_answer() {
        assert!(is_ok(b"HTTP/1.1 200 OK") && is_ok(b"HTTP/1.1 201 Created"));
        assert!(!is_ok(b"HTTP/1.1 503 Service Unavailable") && !is_ok(b""));
    }

    #[test]
    fn a_request_says_how_long_its_body_is() {
        let text =
            String::from_utf8(Request::post("/producer", "tenant-2", "{}").bytes).expect("text");
        assert!(text.contains("content-length: 2\r\n\r\n{}"), "{text}");
    }

    #[test]
    fn a_key_is_another_one_each_time() {
        let request = Request::post_once_each("/payments/charges", "tenant-2", "{}");
        let key = || {
            let text = String::from_utf8(request.bytes().into_owned()).expect("text");
            text.split("Idempotency-Key: ")
                .nth(1)
                .and_then(|rest| rest.split('\r').next())
                .expect("a key")
                .to_owned()
        };
        let (one, two) = (key(), key());
        assert!(
            one != two && one.len() == NUMBER_DIGITS && two.len() == NUMBER_DIGITS,
            "{one} {two}"
        );
    }
}
