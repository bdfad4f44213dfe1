//! Load generators. In a closed loop, each client sends its next request once the previous request is answered. In an open
//! loop, requests are sent at a rate, whether or not earlier requests were answered.
//!
//! Connections are kept alive, and requests are serialized before the measurement. Everything runs on the caller's thread,
//! which shares the machine's cores with the measured service.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use hdrhistogram::Histogram;
use tokio::task::{JoinSet, LocalSet};
use tokio::time::Instant;

use crate::http::{Connection, Head, Request};

/// Length of one window of an open loop's series.
pub const WINDOW: Duration = Duration::from_millis(500);
/// Time limit of an answer; an answer that is later counts as a failure.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);
/// Significant digits of a latency.
const LATENCY_DIGITS: u8 = 3;
/// Pause of a client whose connection failed, so that it does not spin.
const RECONNECT_PAUSE: Duration = Duration::from_millis(20);
/// Interval at which an open loop sends the due requests.
const TICK: Duration = Duration::from_millis(1);

/// The bytes of a request, ready to be sent again and again.
#[derive(Clone)]
pub struct Prepared {
    bytes: Rc<[u8]>,
    /// Position of a number that differs each time the request is sent.
    number_at: Option<usize>,
}

/// Digits of that number.
const NUMBER_DIGITS: usize = 16;
/// The next number of this process.
static NEXT_NUMBER: AtomicU64 = AtomicU64::new(0);

impl From<&Request> for Prepared {
    fn from(request: &Request) -> Self {
        Self {
            bytes: request.bytes().into(),
            number_at: None,
        }
    }
}

impl Prepared {
    /// The request with another `Idempotency-Key` each time it is sent.
    pub fn once_each(request: Request) -> Self {
        const KEY: &str = "Idempotency-Key: ";
        let numbered = Self::from(&request.key(&format!("{:0NUMBER_DIGITS$}", 0)));
        let key_at = numbered
            .bytes
            .windows(KEY.len())
            .position(|bytes| bytes == KEY.as_bytes());
        Self {
            number_at: key_at.map(|at| at + KEY.len()),
            ..numbered
        }
    }

    fn bytes(&self) -> Cow<'_, [u8]> {
        let Some(at) = self.number_at else {
            return Cow::Borrowed(&self.bytes);
        };
        let number = NEXT_NUMBER.fetch_add(1, Ordering::Relaxed);
        let mut bytes = self.bytes.to_vec();
        bytes[at..at + NUMBER_DIGITS]
            .copy_from_slice(format!("{number:0NUMBER_DIGITS$}").as_bytes());
        Cow::Owned(bytes)
    }
}

/// The answers to a load. Latencies are in microseconds.
#[derive(Clone)]
pub struct Tally {
    /// Latencies of answers 200 and 201.
    pub accepted: Histogram<u64>,
    /// Latencies of answers 429 and 503.
    pub refused: Histogram<u64>,
    /// Refusals without `Retry-After`.
    pub without_retry_after: u64,
    /// Other answers by status.
    pub others: BTreeMap<u16, u64>,
    /// Requests without an answer, by error.
    pub failed: BTreeMap<io::ErrorKind, u64>,
    /// Requests that were due and not sent, because every connection was busy.
    pub unsent: u64,
    /// Length of the load, until its last answer.
    pub took: Duration,
}

impl Default for Tally {
    fn default() -> Self {
        let histogram = || Histogram::new(LATENCY_DIGITS).expect("three digits are supported");
        Self {
            accepted: histogram(),
            refused: histogram(),
            without_retry_after: 0,
            others: BTreeMap::new(),
            failed: BTreeMap::new(),
            unsent: 0,
            took: Duration::ZERO,
        }
    }
}

impl Tally {
    /// The sum of consecutive windows.
    pub fn sum(windows: &[Self]) -> Self {
        let mut sum = Self::default();
        for window in windows {
            const GROWS: &str = "the histogram grows";
            sum.accepted.add(&window.accepted).expect(GROWS);
            sum.refused.add(&window.refused).expect(GROWS);
            sum.without_retry_after += window.without_retry_after;
            sum.unsent += window.unsent;
            sum.took += window.took;
            for (status, count) in &window.others {
                *sum.others.entry(*status).or_default() += count;
            }
            for (kind, count) in &window.failed {
                *sum.failed.entry(*kind).or_default() += count;
            }
        }
        sum
    }

    /// Accepted requests per second.
    pub fn rate(&self) -> f64 {
        self.accepted.len() as f64 / self.took.as_secs_f64()
    }

    /// Latency below which this share of the accepted requests was answered, in milliseconds.
    pub fn accepted_ms(&self, quantile: f64) -> f64 {
        self.accepted.value_at_quantile(quantile) as f64 / 1000.0
    }

    /// Latency below which this share of the refusals was answered, in milliseconds.
    pub fn refused_ms(&self, quantile: f64) -> f64 {
        self.refused.value_at_quantile(quantile) as f64 / 1000.0
    }

    /// Answers that are neither accepted nor refused.
    pub fn others(&self) -> u64 {
        self.others.values().sum()
    }

    /// Requests without an answer.
    pub fn failed(&self) -> u64 {
        self.failed.values().sum()
    }

    /// Requests that were due and not accepted.
    pub fn missing(&self) -> u64 {
        self.refused.len() + self.others() + self.failed() + self.unsent
    }

    fn record(&mut self, answer: io::Result<Head>, took: Duration) {
        const GROWS: &str = "the histogram grows";
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX).max(1);
        match answer {
            Ok(Head {
                status: 200 | 201, ..
            }) => self.accepted.record(micros).expect(GROWS),
            Ok(Head {
                status: 429 | 503,
                has_retry_after,
                ..
            }) => {
                self.refused.record(micros).expect(GROWS);
                self.without_retry_after += u64::from(!has_retry_after);
            }
            Ok(Head { status, .. }) => *self.others.entry(status).or_default() += 1,
            Err(error) => *self.failed.entry(error.kind()).or_default() += 1,
        }
    }
}

/// Clients in a closed loop; their connections are kept from one run to the next.
pub struct Clients {
    to: SocketAddr,
    request: Prepared,
    connections: Vec<Option<Connection>>,
}

impl Clients {
    /// This many clients of a server; they connect when they first send.
    pub fn new(to: SocketAddr, request: impl Into<Prepared>, count: usize) -> Self {
        Self {
            to,
            request: request.into(),
            connections: (0..count).map(|_| None).collect(),
        }
    }

    /// Sends for this long, then waits for the answers in flight.
    pub async fn run(&mut self, length: Duration) -> Tally {
        let (tally, began) = (RefCell::new(Tally::default()), Instant::now());
        let (to, request, until) = (self.to, &self.request, began + length);
        let clients = self.connections.iter_mut().map(async |connection| {
            while Instant::now() < until {
                let sent = Instant::now();
                let answer = exchange(to, connection, request).await;
                let is_failed = answer.is_err();
                tally.borrow_mut().record(answer, sent.elapsed());
                if is_failed {
                    tokio::time::sleep(RECONNECT_PAUSE).await;
                }
            }
        });
        join_all(clients).await;
        let mut tally = tally.into_inner();
        tally.took = began.elapsed();
        tally
    }
}

/// An open loop.
pub struct Open {
    pub to: SocketAddr,
    pub request: Prepared,
    /// Most requests in flight, each on a connection; a further due request is not sent, only counted.
    pub connections: usize,
}

/// A rate in requests per second, and how long it lasts.
pub type Stretch = (f64, Duration);

impl Open {
    /// Sends at these rates, one stretch right after the other, and returns the answers by windows of [`WINDOW`]. A request
    /// belongs to the window in which it was due, and its latency begins when it was due. There is no pause between
    /// stretches: the second stretch begins with the requests that the first left in progress.
    pub async fn run(self, stretches: &[Stretch]) -> Vec<Tally> {
        LocalSet::new().run_until(self.send(stretches)).await
    }

    async fn send(self, stretches: &[Stretch]) -> Vec<Tally> {
        let length: Duration = stretches.iter().map(|(_, length)| *length).sum();
        let windows = (length.as_secs_f64() / WINDOW.as_secs_f64()).ceil() as usize;
        let window = Tally {
            took: WINDOW,
            ..Tally::default()
        };
        let series = Rc::new(RefCell::new(vec![window; windows]));
        let idle: Rc<RefCell<Vec<Connection>>> = Rc::default();
        let (to, began, mut sent) = (self.to, Instant::now(), 0_u64);
        let mut in_flight = JoinSet::new();
        while began.elapsed() < length {
            while let Some(due) = due(stretches, sent).filter(|due| *due <= began.elapsed()) {
                sent += 1;
                let window = (due.as_secs_f64() / WINDOW.as_secs_f64()) as usize;
                if in_flight.len() >= self.connections {
                    series.borrow_mut()[window].unsent += 1;
                    continue;
                }
                let (series, idle) = (Rc::clone(&series), Rc::clone(&idle));
                let request = self.request.clone();
                in_flight.spawn_local(async move {
                    // The connection used last is the one least likely to have been closed.
                    let mut connection = idle.borrow_mut().pop();
                    let answer = exchange(to, &mut connection, &request).await;
                    series.borrow_mut()[window].record(answer, began.elapsed() - due);
                    idle.borrow_mut().extend(connection);
                });
            }
            while in_flight.try_join_next().is_some() {}
            tokio::time::sleep(TICK).await;
        }
        in_flight.join_all().await;
        Rc::try_unwrap(series)
            .unwrap_or_else(|_| unreachable!("every task has ended"))
            .into_inner()
    }
}

/// Returns the time at which the request of this number is due; none after the last request.
fn due(stretches: &[Stretch], mut number: u64) -> Option<Duration> {
    let mut begin = Duration::ZERO;
    for (rate, length) in stretches {
        let count = (rate * length.as_secs_f64()) as u64;
        if number < count {
            return Some(begin + Duration::from_secs_f64(number as f64 / rate));
        }
        number -= count;
        begin += *length;
    }
    None
}

/// Sends one request over this connection or a new connection, and returns its answer.
async fn exchange(
    to: SocketAddr,
    connection: &mut Option<Connection>,
    request: &Prepared,
) -> io::Result<Head> {
    let exchanged = tokio::time::timeout(ANSWER_TIMEOUT, async {
        let open = match connection {
            Some(open) => open,
            None => connection.insert(Connection::open(to).await?),
        };
        open.ask(&request.bytes()).await
    });
    let answer = exchanged
        .await
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
    if answer.as_ref().map_or(true, |answer| answer.closes) {
        *connection = None;
    }
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stretch_follows_the_previous_stretch_without_a_pause() {
        let stretches = [
            (10.0, Duration::from_secs(2)),
            (4.0, Duration::from_secs(1)),
        ];
        let due = |number| due(&stretches, number).map(|due| due.as_millis());
        assert_eq!(
            [0, 19, 20, 23, 24].map(due),
            [Some(0), Some(1900), Some(2000), Some(2750), None]
        );
    }

    #[test]
    fn accepted_refused_other_and_missing_answers_are_counted_apart() {
        let mut tally = Tally::default();
        for (status, has_retry_after) in [(200, false), (503, false), (429, true), (400, false)] {
            let answer = Head {
                status,
                has_retry_after,
                closes: false,
            };
            tally.record(Ok(answer), Duration::from_millis(3));
        }
        tally.record(Err(io::ErrorKind::TimedOut.into()), Duration::ZERO);
        let (accepted, refused) = (tally.accepted.len(), tally.refused.len());
        assert_eq!((accepted, refused, tally.without_retry_after), (1, 2, 1));
        assert_eq!((tally.others(), tally.failed(), tally.missing()), (1, 1, 4));
        assert!((2.9..3.1).contains(&tally.accepted_ms(0.99)));
        let twice = Tally::sum(&[tally.clone(), tally]);
        assert_eq!((twice.accepted.len(), twice.missing()), (2, 8));
    }

    #[test]
    fn each_request_has_another_key() {
        let prepared = Prepared::once_each(Request::new("POST", "/payments/charges"));
        let (one, two) = (prepared.bytes().into_owned(), prepared.bytes().into_owned());
        assert!(one != two && one.len() == prepared.bytes.len());
    }
}
