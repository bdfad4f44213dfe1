//! Clients that measure: over connections kept alive, in a closed loop (the next request when the last one is answered)
//! or an open one (requests come when they come, whatever became of those before).

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use futures_util::future::join_all;
use hdrhistogram::Histogram;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::Instant;

/// Longest an answer may take; then it counts as none.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest latency told apart, in microseconds.
const LATENCY_US_MAX: u64 = 20_000_000;
/// Largest answer taken.
const ANSWER_BYTES_MAX: usize = 64 * 1024;
/// Pause between two looks which requests are due.
const TICK: Duration = Duration::from_millis(1);
/// Most requests under way in an open loop, each on a connection: fewer than a service takes (`MAX_CONNECTIONS`), as a load
/// balancer would be set to. What is due beyond is not sent, and counted.
const UNDER_WAY_MAX: usize = 2_000;
/// Length of one window of the series.
pub const WINDOW: Duration = Duration::from_millis(500);

/// One connection.
struct Connection(TcpStream);

/// An answer, as far as a measurement needs it.
struct Answer {
    status: u16,
    has_retry_after: bool,
}

/// What was seen in a while.
pub struct Seen {
    /// Latencies of 200s, in microseconds.
    pub accepted: Histogram<u64>,
    /// Latencies of 429s and 503s, in microseconds.
    pub refused: Histogram<u64>,
    /// Refusals without `Retry-After`.
    pub mute: u64,
    /// Other answers, by status.
    pub others: BTreeMap<u16, u64>,
    /// Requests without an answer, by what came instead.
    pub unanswered: BTreeMap<io::ErrorKind, u64>,
    /// Requests that were due and not sent, because too many were under way.
    pub unsent: u64,
}

impl Default for Seen {
    fn default() -> Self {
        let histogram =
            || Histogram::new_with_bounds(1, LATENCY_US_MAX, 3).expect("the bounds are in order");
        Self {
            accepted: histogram(),
            refused: histogram(),
            mute: 0,
            others: BTreeMap::new(),
            unanswered: BTreeMap::new(),
            unsent: 0,
        }
    }
}

impl Seen {
    /// Adds what another saw.
    pub fn add(&mut self, other: &Self) {
        self.accepted
            .add(&other.accepted)
            .expect("all have the same bounds");
        self.refused
            .add(&other.refused)
            .expect("all have the same bounds");
        self.mute += other.mute;
        self.unsent += other.unsent;
        for (status, count) in &other.others {
            *self.others.entry(*status).or_default() += count;
        }
        for (kind, count) in &other.unanswered {
            *self.unanswered.entry(*kind).or_default() += count;
        }
    }

    /// Latency below which this share of the accepted requests was answered, in milliseconds.
    pub fn accepted_ms(&self, quantile: f64) -> f64 {
        self.accepted.value_at_quantile(quantile) as f64 / 1000.0
    }

    /// The same of the refused.
    pub fn refused_ms(&self, quantile: f64) -> f64 {
        self.refused.value_at_quantile(quantile) as f64 / 1000.0
    }

    /// Requests without an answer, whatever came instead.
    pub fn unanswered(&self) -> u64 {
        self.unanswered.values().sum()
    }

    fn note(&mut self, answer: io::Result<Answer>, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(LATENCY_US_MAX);
        match answer {
            Ok(Answer { status: 200, .. }) => self.accepted.saturating_record(micros),
            Ok(Answer {
                status: 429 | 503,
                has_retry_after,
            }) => {
                self.refused.saturating_record(micros);
                self.mute += u64::from(!has_retry_after);
            }
            Ok(Answer { status, .. }) => *self.others.entry(status).or_default() += 1,
            Err(error) => *self.unanswered.entry(error.kind()).or_default() += 1,
        }
    }
}

/// A `POST /producer` of a tenant's, kept alive.
pub fn post(tenant: &str, body: &str) -> Rc<[u8]> {
    let length = body.len();
    let text = format!(
        "POST /producer HTTP/1.1\r\nhost: test\r\ntenantID: {tenant}\r\ncontent-length: {length}\r\n\r\n{body}"
    );
    text.into_bytes().into()
}

/// Clients in a closed loop, for this long.
pub async fn closed(to: SocketAddr, request: &Rc<[u8]>, clients: usize, length: Duration) -> Seen {
    let seen = RefCell::new(Seen::default());
    let until = Instant::now() + length;
    let client = async || {
        let mut connection = None;
        while Instant::now() < until {
            let sent = Instant::now();
            let answer = exchange(to, &mut connection, request).await;
            seen.borrow_mut().note(answer, sent.elapsed());
        }
    };
    join_all((0..clients).map(|_| client())).await;
    seen.into_inner()
}

/// So many requests a second for so long, one stretch right after the other; what was seen by windows of [`WINDOW`], by
/// when each request was due. Nothing is waited for between two stretches: what the first leaves behind, the next one
/// meets. To be called within a `LocalSet`.
pub async fn open(to: SocketAddr, request: &Rc<[u8]>, stretches: &[(f64, Duration)]) -> Vec<Seen> {
    let length: Duration = stretches.iter().map(|(_, length)| *length).sum();
    let windows = length.as_secs_f64() / WINDOW.as_secs_f64();
    let series: Rc<RefCell<Vec<Seen>>> = Rc::new(RefCell::new(
        (0..windows.ceil() as usize)
            .map(|_| Seen::default())
            .collect(),
    ));
    let idle: Rc<RefCell<Vec<Connection>>> = Rc::default();
    let (began, mut sent) = (Instant::now(), 0_u64);
    let mut under_way = tokio::task::JoinSet::new();
    while began.elapsed() < length {
        while let Some(due) = due(stretches, sent).filter(|due| *due <= began.elapsed()) {
            sent += 1;
            let window = (due.as_secs_f64() / WINDOW.as_secs_f64()) as usize;
            let Some(window) = Some(window).filter(|window| *window < series.borrow().len()) else {
                continue;
            };
            if under_way.len() >= UNDER_WAY_MAX {
                series.borrow_mut()[window].unsent += 1;
                continue;
            }
            let (series, idle, request) =
                (Rc::clone(&series), Rc::clone(&idle), Rc::clone(request));
            under_way.spawn_local(async move {
                // The one used last is the one least likely to have been closed.
                let mut connection = idle.borrow_mut().pop();
                let answer = exchange(to, &mut connection, &request).await;
                series.borrow_mut()[window].note(answer, (began + due).elapsed());
                idle.borrow_mut().extend(connection);
            });
        }
        while under_way.try_join_next().is_some() {}
        tokio::time::sleep(TICK).await;
    }
    under_way.join_all().await;
    Rc::try_unwrap(series)
        .unwrap_or_else(|_| unreachable!("every task has ended"))
        .into_inner()
}

/// When the request of this number is due; none beyond the last.
fn due(stretches: &[(f64, Duration)], mut number: u64) -> Option<Duration> {
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

/// One request and its answer, over this connection or a new one.
async fn exchange(
    to: SocketAddr,
    connection: &mut Option<Connection>,
    request: &[u8],
) -> io::Result<Answer> {
    let exchanged = tokio::time::timeout(ANSWER_TIMEOUT, async {
        if connection.is_none() {
            let stream = TcpStream::connect(to).await?;
            stream.set_nodelay(true)?;
            *connection = Some(Connection(stream));
        }
        let open = connection.as_mut().expect("it was opened a line above");
        open.0.write_all(request).await?;
        open.answer().await
    });
    let answer = exchanged
        .await
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
    if answer.as_ref().map_or(true, |(_, closes)| *closes) {
        *connection = None;
    }
    answer.map(|(answer, _)| answer)
}

impl Connection {
    /// The next answer, and whether the connection ends with it.
    async fn answer(&mut self) -> io::Result<(Answer, bool)> {
        let (mut buffer, mut filled) = (vec![0; 2048], 0);
        loop {
            if let Some(answer) = parse(&buffer[..filled])? {
                return Ok(answer);
            }
            if filled == buffer.len() {
                if filled >= ANSWER_BYTES_MAX {
                    return Err(io::ErrorKind::InvalidData.into());
                }
                buffer.resize(2 * filled, 0);
            }
            let read = self.0.read(&mut buffer[filled..]).await?;
            if read == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            filled += read;
        }
    }
}

/// The answer in these bytes, once it is whole.
fn parse(bytes: &[u8]) -> io::Result<Option<(Answer, bool)>> {
    let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else {
        return Ok(None);
    };
    let head = String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase();
    let header = |name: &str| {
        head.lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
            .map(str::trim)
    };
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok());
    let length: usize = header("content-length")
        .and_then(|length| length.parse().ok())
        .unwrap_or(0);
    if bytes.len() < end + 4 + length {
        return Ok(None);
    }
    let closes = header("connection") == Some("close");
    let status = status.ok_or(io::ErrorKind::InvalidData)?;
    Ok(Some((
        Answer {
            status,
            has_retry_after: header("retry-after").is_some(),
        },
        closes,
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read_once_it_is_whole() {
        let text =
            b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 2\r\n\r\n{}";
        assert!(parse(&text[..text.len() - 1]).expect("no error").is_none());
        let (answer, closes) = parse(text).expect("valid").expect("whole");
        assert_eq!(
            (answer.status, answer.has_retry_after, closes),
            (503, true, false)
        );
        assert!(parse(b"nonsense\r\n\r\n").is_err());
    }

    #[test]
    fn one_stretch_follows_right_after_the_other() {
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
    fn what_was_seen_is_told_apart() {
        let mut seen = Seen::default();
        let took = Duration::from_millis(3);
        seen.note(
            Ok(Answer {
                status: 200,
                has_retry_after: false,
            }),
            took,
        );
        seen.note(
            Ok(Answer {
                status: 503,
                has_retry_after: false,
            }),
            took,
        );
        seen.note(
            Ok(Answer {
                status: 429,
                has_retry_after: true,
            }),
            took,
        );
        seen.note(
            Ok(Answer {
                status: 400,
                has_retry_after: false,
            }),
            took,
        );
        seen.note(Err(io::ErrorKind::TimedOut.into()), took);
        assert_eq!(
            (seen.accepted.len(), seen.refused.len(), seen.mute),
            (1, 2, 1)
        );
        assert_eq!(
            (seen.others.get(&400), seen.unanswered.len()),
            (Some(&1), 1)
        );
        assert!((2.9..3.1).contains(&seen.accepted_ms(0.99)));
    }
}
