//! `chaos overload`: a producer is asked for twice what it can do, and what it accepts is to stay quick.
//!
//! Capacity is the highest rate that an open loop gets accepted in full: a closed loop finds out what is possible at all,
//! and from there it goes down by tenths. Normal is an open loop at half of the capacity. The endpoint is the stub of
//! `bench`, which is never what everybody waits for. Everything runs on this machine: what load generator and endpoint
//! take of its cores is missing in the capacity.

use std::fmt;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use kit::service::Service;
use tokio::task::LocalSet;

use crate::load::{Seen, WINDOW, closed, open, post};
use crate::memory::resident_bytes;
use crate::report::progress;
use crate::stub::Stub;

/// How an overload is made.
#[derive(Debug, Clone, Copy, clap::Args)]
pub struct Options {
    /// Seconds of overload
    #[arg(long, default_value_t = 120)]
    pub seconds: u64,
    /// Seconds in which capacity, what is normal, and the recovery are measured
    #[arg(long, default_value_t = 10)]
    pub calm_seconds: u64,
    /// Clients of the closed loop that finds what is possible
    #[arg(long, default_value_t = 256)]
    pub clients: usize,
    /// How many times the capacity is asked for
    #[arg(long, default_value_t = 2.0)]
    pub factor: f64,
    /// Tell what was seen in each half second, too
    #[arg(long)]
    pub series: bool,
    /// Milliseconds that each call of the endpoint takes
    #[arg(long, default_value_t = 5)]
    pub delay_ms: u64,
}

/// Accepted requests may take so many times what is normal.
const LATENCY_FACTOR: f64 = 3.0;
/// A window is normal again up to so many times the normal p99; a window has few requests, so theirs varies.
const NORMAL_FACTOR: f64 = 2.0;
/// Part of the requests that may be refused at capacity: a neighbour on the processor is not an overload.
const REFUSED_MAX: f64 = 0.001;
/// A refusal comes at once within so many milliseconds, at the 99th percentile: sooner than anybody notices.
const AT_ONCE_MS: f64 = 100.0;
/// Longest until everything is normal again.
const RECOVERY_MAX: Duration = Duration::from_secs(5);
/// Memory is flat where its end is at most so many times its middle.
const MEMORY_FACTOR: f64 = 1.1;

/// What was measured.
pub struct Overload {
    /// Requests a second of clients that never pause.
    possible: f64,
    /// Requests a second that are accepted in full.
    capacity: f64,
    asked: f64,
    length: Duration,
    calm: Seen,
    over: Seen,
    /// Until the first window from which on all are normal; none where that did not come.
    recovery: Option<Duration>,
    resident: Vec<u64>,
}

/// A producer of the pool and what it works on.
pub(crate) struct Target {
    /// The producer.
    pub(crate) producer: Service,
    /// The endpoint; it lives as long as this.
    _stub: Stub,
}

impl Target {
    /// Starts both, every call of the endpoint taking this long.
    pub(crate) async fn start(delay_ms: u64) -> Self {
        let stub = Stub::start(delay_ms);
        // Log lines would fill the memory of this process: only how it starts is logged, and what is broken.
        // One worker thread: what is to overload it, and its endpoint, need the machine's other core.
        let variables = [
            ("LOG_LEVEL", "error,shared::service=info"),
            ("TOKIO_WORKER_THREADS", "1"),
        ];
        let producer = Service::start("producer", "pool-1", &stub.url(), &variables)
            .await
            .ready()
            .await;
        producer.post("tenant-2", "").await;
        Self {
            producer,
            _stub: stub,
        }
    }

    /// Where it serves.
    pub(crate) fn address(&self) -> SocketAddr {
        self.producer.address
    }

    /// The request of every measurement.
    pub(crate) fn request() -> Rc<[u8]> {
        post(
            "tenant-2",
            r#"{"order":7,"items":[{"sku":"A-100","quantity":2}]}"#,
        )
    }
}

/// Measures an overload.
///
/// # Panics
/// Where a process does not start, or refuses even a tenth of what it can do.
pub async fn overload(options: Options) -> Overload {
    LocalSet::new().run_until(measure(options)).await
}

async fn measure(options: Options) -> Overload {
    let target = Target::start(options.delay_ms).await;
    let (to, request) = (target.address(), Target::request());
    let calm_length = Duration::from_secs(options.calm_seconds);
    closed(to, &request, options.clients, calm_length / 4).await;
    let full = closed(to, &request, options.clients, calm_length).await;
    let possible = full.accepted.len() as f64 / calm_length.as_secs_f64();
    progress(&format!(
        "{possible:.0} requests a second of {} clients that never pause, p99 {:.1} ms",
        options.clients,
        full.accepted_ms(0.99)
    ));
    let (capacity, calm) = capacity(to, &request, possible, calm_length).await;
    progress(&format!(
        "capacity {capacity:.0} requests a second; at half of it p99 {:.1} ms",
        calm.accepted_ms(0.99)
    ));

    let asked = capacity * options.factor;
    let length = Duration::from_secs(options.seconds);
    progress(&format!(
        "{asked:.0} requests a second for {} s",
        options.seconds
    ));
    let id = target.producer.process.id();
    let sampling = tokio::task::spawn_local(async move {
        let mut resident = Vec::new();
        loop {
            resident.push(resident_bytes(id));
            if resident.len() as u64 > options.seconds {
                return resident;
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    });
    // Without a pause between: what the overload leaves behind is part of the recovery.
    let series = open(
        to,
        &request,
        &[(asked, length), (capacity / 2.0, calm_length)],
    )
    .await;
    let windows = (length.as_secs_f64() / WINDOW.as_secs_f64()) as usize;
    let (during, after) = series.split_at(windows.min(series.len()));
    let over = sum(during);
    if options.series {
        series
            .iter()
            .enumerate()
            .for_each(|(at, window)| progress(&line(WINDOW * at as u32, window)));
    }
    let resident = sampling.await.expect("sampling does not panic");
    let recovery = recovery(after, calm.accepted_ms(0.99) * NORMAL_FACTOR);
    drop(target);
    Overload {
        possible,
        capacity,
        asked,
        length,
        calm,
        over,
        recovery,
        resident,
    }
}

/// The highest rate, in tenths of what is possible, of which all but [`REFUSED_MAX`] is accepted in about the time it takes
/// at half of that rate; and what was seen at half of it.
async fn capacity(
    to: SocketAddr,
    request: &Rc<[u8]>,
    possible: f64,
    length: Duration,
) -> (f64, Seen) {
    for tenths in (1..=10).rev() {
        let rate = possible * f64::from(tenths) / 10.0;
        let whole = sum(&open(to, request, &[(rate, length)]).await);
        if !is_in_full(&whole, rate, length) {
            continue;
        }
        let half = sum(&open(to, request, &[(rate / 2.0, length)]).await);
        if whole.accepted_ms(0.99) <= NORMAL_FACTOR * half.accepted_ms(0.99) {
            return (rate, half);
        }
    }
    panic!("not even a tenth of what clients that never pause get is accepted in full")
}

/// Whether of requests at this rate next to none was refused, failed, or not even sent.
fn is_in_full(seen: &Seen, rate: f64, length: Duration) -> bool {
    seen.accepted.len() as f64 >= (1.0 - REFUSED_MAX) * rate * length.as_secs_f64()
}

/// A window of the series.
fn line(from: Duration, window: &Seen) -> String {
    format!(
        "{:>5.1} s: accepted {:>5}, p99 {:>6.1} ms; refused {:>5}, p99 {:>6.1} ms; no answer {}, not sent {}",
        from.as_secs_f64(),
        window.accepted.len(),
        window.accepted_ms(0.99),
        window.refused.len(),
        window.refused_ms(0.99),
        window.unanswered(),
        window.unsent
    )
}

fn sum(series: &[Seen]) -> Seen {
    let mut all = Seen::default();
    series.iter().for_each(|window| all.add(window));
    all
}

/// Until all windows but one are normal: without refusals, p99 within the bound. One may have met something else.
fn recovery(after: &[Seen], p99_ms: f64) -> Option<Duration> {
    let is_normal = |window: &Seen| {
        window.refused.is_empty()
            && window.unanswered() + window.unsent == 0
            && window.accepted_ms(0.99) <= p99_ms
    };
    let normal: Vec<bool> = after.iter().map(is_normal).collect();
    (0..normal.len())
        .find(|from| {
            let rest = &normal[*from..];
            rest[0] && rest.len() > 1 && rest.iter().filter(|normal| !**normal).count() <= 1
        })
        .map(|from| WINDOW * u32::try_from(from).unwrap_or(u32::MAX))
}

impl Overload {
    /// The promises, each with what was measured and whether it was kept.
    pub fn promises(&self) -> Vec<(&'static str, String, bool)> {
        let (normal, accepted) = (self.calm.accepted_ms(0.99), self.over.accepted_ms(0.99));
        let middle = self
            .resident
            .get(self.resident.len() / 2)
            .copied()
            .unwrap_or(1)
            .max(1);
        let end = self.resident.last().copied().unwrap_or_default();
        let growth = end as f64 / middle as f64;
        let strange =
            self.over.mute + self.over.unanswered() + self.over.others.values().sum::<u64>();
        vec![
            (
                "accepted: p99 within 3 x normal",
                format!(
                    "{accepted:.1} ms, normal {normal:.1} ms, {:.1} x",
                    accepted / normal
                ),
                accepted <= LATENCY_FACTOR * normal,
            ),
            (
                "the rest: 429 or 503 with Retry-After",
                format!(
                    "{} refused, {strange} anything else",
                    self.over.refused.len()
                ),
                strange == 0 && !self.over.refused.is_empty(),
            ),
            (
                "refusals: at once, p99 within 100 ms",
                format!(
                    "p50 {:.1} ms, p99 {:.1} ms",
                    self.over.refused_ms(0.5),
                    self.over.refused_ms(0.99)
                ),
                !self.over.refused.is_empty() && self.over.refused_ms(0.99) <= AT_ONCE_MS,
            ),
            (
                "memory: flat",
                format!(
                    "{} MiB in the middle, {} MiB at the end, {growth:.2} x",
                    middle >> 20,
                    end >> 20
                ),
                growth <= MEMORY_FACTOR,
            ),
            (
                "normal again within 5 s",
                self.recovery.map_or_else(
                    || "never".to_owned(),
                    |took| format!("{:.1} s", took.as_secs_f64()),
                ),
                self.recovery.is_some_and(|took| took <= RECOVERY_MAX),
            ),
        ]
    }
}

impl fmt::Display for Overload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.length.as_secs_f64();
        writeln!(
            f,
            "{:<40} {:.0} requests a second",
            "clients that never pause", self.possible
        )?;
        writeln!(
            f,
            "{:<40} {:.0} requests a second",
            "capacity", self.capacity
        )?;
        writeln!(
            f,
            "{:<40} {:.0} requests a second for {seconds:.0} s",
            "asked for", self.asked
        )?;
        writeln!(
            f,
            "{:<40} {:.0} requests a second, p50 {:.1} ms",
            "accepted",
            self.over.accepted.len() as f64 / seconds,
            self.over.accepted_ms(0.5)
        )?;
        writeln!(f, "{:<40} {}", "due and not sent", self.over.unsent)?;
        for (kind, count) in &self.over.unanswered {
            writeln!(f, "{:<40} {count}: {kind}", "no answer")?;
        }
        for (promise, measured, is_kept) in self.promises() {
            let word = if is_kept { "kept" } else { "MISSED" };
            writeln!(f, "{promise:<40} {measured}: {word}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(latency_ms: u64, refused: u64) -> Seen {
        let mut seen = Seen::default();
        seen.accepted.saturating_record(latency_ms * 1000);
        seen.refused.saturating_record_n(1000, refused);
        seen
    }

    #[test]
    fn capacity_is_a_rate_of_which_one_in_a_thousand_may_be_missing() {
        let second = Duration::from_secs(1);
        for (accepted, refused, expected) in [
            (2000, 0, true),
            (1998, 2, true),
            (1997, 3, false),
            (1997, 0, false),
        ] {
            let mut seen = window(9, refused);
            seen.accepted.saturating_record_n(9000, accepted - 1);
            assert_eq!(
                is_in_full(&seen, 2000.0, second),
                expected,
                "{accepted} accepted"
            );
        }
    }

    #[test]
    fn it_has_recovered_where_all_windows_but_one_are_normal() {
        let series = [
            window(90, 0),
            window(9, 3),
            window(9, 0),
            window(9, 0),
            window(99, 0),
            window(9, 0),
        ];
        assert_eq!(recovery(&series, 20.0), Some(WINDOW * 2));
        assert_eq!(
            recovery(&[window(90, 0), window(90, 0), window(9, 0)], 20.0),
            None
        );
    }
}
