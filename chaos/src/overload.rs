//! `chaos overload`: rows of load on a producer with shipped defaults. Each row has a promise that the producer must keep.
//!
//! The endpoint is the stub of `bench`. Load generator and stub share this machine's cores with the producer, so the
//! measured capacity is lower than the producer's alone. In an open loop, latency counts from the time the request was due.

mod capacity;
mod row;

use std::path::PathBuf;
use std::time::Duration;

use kit::load::{Clients, Open, Tally, WINDOW};
use tokio::task::LocalSet;

use self::capacity::{Capacity, find_capacity};
pub use self::row::{Row, Table};
use crate::busy::Busy;
use crate::memory::resident_bytes;
use crate::quota::Quota;
use crate::report::progress;
use crate::target::{TENANTS, Target, post};

/// Rows to measure, and durations.
#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    /// Rows to measure; all if none is given
    #[arg(long = "row", value_enum)]
    rows: Vec<RowId>,
    /// Seconds of rows e and f
    #[arg(long, default_value_t = 120)]
    seconds: u64,
    /// Requests in flight at most in an open loop, each on a connection
    #[arg(long, default_value_t = 2_000)]
    connections: usize,
    /// Use short durations: enough to show that every row runs, too short for figures
    #[arg(long)]
    quick: bool,
    /// Print every half second of rows e and f
    #[arg(long)]
    series: bool,
    /// Write the table to this file, as JSON
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

/// A group of rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum RowId {
    /// Closed loops: no refusal
    A,
    /// Open loop at 80 % of the capacity: no refusal
    B,
    /// Closed loops beside two busy loops per core: no refusal
    C,
    /// Open loop at 60 % of the capacity under a quota of 0.25 core: no refusal
    D,
    /// Open loop at twice the capacity: goodput, latency, refusals, memory, recovery
    E,
    /// Open loop at four times the capacity
    F,
    /// Two tenants, one of which floods: no refusal for the other
    G,
}

/// Clients of the closed loops.
const CLIENTS: [usize; 4] = [16, 64, 256, 1_024];
/// Milliseconds per call of the endpoint in closed loops.
const DELAYS_MS: [u64; 3] = [0, 5, 20];
/// Milliseconds per call of the endpoint everywhere else.
const DELAY_MS: u64 = 5;
/// Clients of the closed loops beside busy loops.
const BUSY_CLIENTS: [usize; 2] = [256, 1_024];
/// Cores that the quota allows.
const QUOTA_CORES: f64 = 0.25;
/// Share of the capacity below which no request is refused.
const SAFE_SHARE: f64 = 0.8;
/// Share of the capacity under the quota below which no request is refused.
const QUOTA_SAFE_SHARE: f64 = 0.6;
/// Share of the requests at a safe rate that may not be sent because every connection was busy.
const UNSENT_MAX: f64 = 0.001;
/// Share of the capacity that the quiet tenant asks for beside a flood.
const QUIET_SHARE: f64 = 0.05;
/// Longest p99 of accepted requests, in milliseconds.
const ACCEPTED_MS_MAX: f64 = 200.0;
/// Longest p99 of refusals, in milliseconds.
const REFUSED_MS_MAX: f64 = 100.0;
/// Longest time from the end of an overload until the windows are normal.
const RECOVERY_MAX: Duration = Duration::from_secs(5);
/// A window's p99 is normal up to this multiple of the normal p99: a window has too few requests for a stable p99.
const NORMAL_FACTOR: f64 = 2.0;
/// Memory is flat if its end is at most this multiple of its middle.
const MEMORY_FACTOR: f64 = 1.1;

impl Options {
    fn has(&self, row: RowId) -> bool {
        self.rows.is_empty() || self.rows.contains(&row)
    }

    /// Returns `seconds`, or `quick` seconds with `--quick`.
    fn duration(&self, seconds: u64, quick: u64) -> Duration {
        Duration::from_secs(if self.quick { quick } else { seconds })
    }

    fn warm_up_duration(&self) -> Duration {
        self.duration(3, 1)
    }

    fn closed_loop_duration(&self) -> Duration {
        self.duration(10, 2)
    }

    fn open_loop_duration(&self) -> Duration {
        self.duration(30, 5)
    }
}

/// Measures the selected rows.
///
/// # Panics
/// A process does not start.
pub async fn overload(options: &Options) -> Table {
    LocalSet::new().run_until(measure_rows(options)).await
}

async fn measure_rows(options: &Options) -> Table {
    let mut table = Table::default();
    for delay_ms in DELAYS_MS {
        if options.has(RowId::A) {
            let target = Target::start(delay_ms, None).await;
            for clients in CLIENTS {
                table
                    .push(measure_closed_loop(RowId::A, &target, clients, delay_ms, options).await);
            }
        }
    }
    if options.has(RowId::C) {
        let target = Target::start(DELAY_MS, None).await;
        for clients in BUSY_CLIENTS {
            let _busy =
                Busy::start(2 * (options.warm_up_duration() + options.closed_loop_duration()));
            table.push(measure_closed_loop(RowId::C, &target, clients, DELAY_MS, options).await);
        }
    }
    if options.has(RowId::D) {
        table.push(measure_under_quota(options).await);
    }
    if [RowId::B, RowId::E, RowId::F, RowId::G]
        .iter()
        .any(|row| options.has(*row))
    {
        measure_shares_of_capacity(options, &mut table).await;
    }
    table.sort();
    table
}

/// Measures the selected rows whose rate is a share or a multiple of the capacity, on one producer.
async fn measure_shares_of_capacity(options: &Options, table: &mut Table) {
    let target = Target::start(DELAY_MS, None).await;
    let found = find_capacity(&target, options).await;
    table.capacity = Some(found.rate);
    if options.has(RowId::B) {
        table.push(measure_safe_rate(RowId::B, SAFE_SHARE, "", &target, &found, options).await);
    }
    if options.has(RowId::G) {
        table.push(measure_flood(&target, &found, options).await);
    }
    for (row, factor, goodput_min) in [(RowId::E, 2.0, 0.9), (RowId::F, 4.0, 0.5)] {
        if options.has(row) {
            table.push(measure_overload(row, factor, goodput_min, &target, &found, options).await);
        }
    }
}

/// Measures a closed loop. No request may be refused.
async fn measure_closed_loop(
    row: RowId,
    target: &Target,
    clients: usize,
    delay_ms: u64,
    options: &Options,
) -> Row {
    let beside = if row == RowId::C {
        ", beside busy loops"
    } else {
        ""
    };
    let load = format!("closed loop, {clients} clients, {delay_ms} ms per call{beside}");
    progress(&load);
    let mut generator = Clients::new(target.address(), post(TENANTS[0]), clients);
    // A refusal during the warm-up counts, too: the producer is not overloaded then either.
    let warm_up = generator.run(options.warm_up_duration()).await;
    let tally = generator.run(options.closed_loop_duration()).await;
    let mut row = Row::new(row, load, tally);
    row.check_max("not accepted in the warm-up", warm_up.missing() as f64, 0.0);
    row.check_no_refusal();
    row
}

/// Measures an open loop at a share of the capacity. No request may be refused.
async fn measure_safe_rate(
    row: RowId,
    share: f64,
    under: &str,
    target: &Target,
    found: &Capacity,
    options: &Options,
) -> Row {
    let (rate, length) = (share * found.rate, options.open_loop_duration());
    let seconds = length.as_secs();
    let load = format!(
        "open loop at {:.0} % of {:.0} per second{under}, {seconds} s",
        share * 100.0,
        found.rate
    );
    progress(&load);
    let generator = open_loop(target, TENANTS[0], options.connections);
    let tally = Tally::sum(&generator.run(&[(rate, length)]).await);
    let unsent = tally.unsent as f64 / (rate * seconds as f64);
    let mut row = Row::new(row, load, tally);
    row.check_no_refusal();
    row.check_max("share not sent", unsent, UNSENT_MAX);
    row
}

async fn measure_under_quota(options: &Options) -> Row {
    let under = format!(" under {QUOTA_CORES} core");
    let quota = match Quota::new(QUOTA_CORES) {
        Ok(quota) => quota,
        Err(error) => {
            let load = format!("open loop{under}");
            return Row::not_measured(RowId::D, load, format!("{error:#}"));
        }
    };
    let target = Target::start(DELAY_MS, Some(&quota)).await;
    let found = find_capacity(&target, options).await;
    let row = measure_safe_rate(RowId::D, QUOTA_SAFE_SHARE, &under, &target, &found, options).await;
    drop(target);
    row
}

/// Measures two tenants: the first floods at twice the capacity, the second sends a small share of the capacity. No request
/// of the second may be refused.
async fn measure_flood(target: &Target, found: &Capacity, options: &Options) -> Row {
    let length = options.open_loop_duration();
    let load = format!(
        "tenant at {:.0} % of the capacity, beside a flood at 2 x, {} s",
        QUIET_SHARE * 100.0,
        length.as_secs()
    );
    progress(&load);
    // The two loops together open no more connections than a service accepts.
    let few = options.connections / 20;
    let rates = [2.0 * found.rate, QUIET_SHARE * found.rate].map(|rate| [(rate, length)]);
    let (flood, quiet) = tokio::join!(
        open_loop(target, TENANTS[0], options.connections - few).run(&rates[0]),
        open_loop(target, TENANTS[1], few).run(&rates[1]),
    );
    let flood = Tally::sum(&flood);
    let mut row = Row::new(RowId::G, load, Tally::sum(&quiet));
    row.check_no_refusal();
    row.note("flood: accepted per second", flood.rate());
    row.note(
        "flood: refused per second",
        flood.refused.len() as f64 / flood.took.as_secs_f64(),
    );
    row
}

/// Measures an open loop beyond the capacity, and the recovery after it.
async fn measure_overload(
    row: RowId,
    factor: f64,
    goodput_min: f64,
    target: &Target,
    found: &Capacity,
    options: &Options,
) -> Row {
    let rate = factor * found.rate;
    let length = Duration::from_secs(options.seconds).min(options.duration(u64::MAX, 10));
    let calm = options.duration(10, 6);
    let load = format!(
        "open loop at {factor} x {:.0} per second, {} s",
        found.rate,
        length.as_secs()
    );
    progress(&load);
    let sampling = sample_memory(target.process_id(), length);
    let sampling = tokio::task::spawn_local(sampling);
    // No pause lies between the two: the recovery begins with the requests that the overload left in progress.
    let stretches = [(rate, length), (found.rate / 2.0, calm)];
    let series = open_loop(target, TENANTS[0], options.connections)
        .run(&stretches)
        .await;
    if options.series {
        for (index, window) in series.iter().enumerate() {
            progress(&row::window(WINDOW * index as u32, window));
        }
    }
    let windows = (length.as_secs_f64() / WINDOW.as_secs_f64()) as usize;
    let (during, after) = series.split_at(windows.min(series.len()));
    let resident = sampling.await.expect("sampling does not panic");
    let recovery = recovery(after, found.normal_ms * NORMAL_FACTOR);

    let tally = Tally::sum(during);
    let goodput = tally.rate() / found.rate;
    let strange = tally.without_retry_after + tally.others() + tally.failed();
    let mut row = Row::new(row, load, tally);
    row.check_min("goodput / capacity", goodput, goodput_min);
    row.check_max(
        "accepted p99 ms",
        row.tally.accepted_ms(0.99),
        ACCEPTED_MS_MAX,
    );
    row.check_max(
        "neither accepted nor 429/503 with Retry-After",
        strange as f64,
        0.0,
    );
    row.check_max("refused p99 ms", row.tally.refused_ms(0.99), REFUSED_MS_MAX);
    row.check_max("memory, end / middle", growth(&resident), MEMORY_FACTOR);
    let seconds = recovery.map_or(f64::INFINITY, |took| took.as_secs_f64());
    row.check_max("normal after s", seconds, RECOVERY_MAX.as_secs_f64());
    row.note(
        "memory MiB",
        (resident.last().copied().unwrap_or_default() >> 20) as f64,
    );
    row.note("normal p99 ms", found.normal_ms);
    row
}

fn open_loop(target: &Target, tenant: &str, connections: usize) -> Open {
    Open {
        to: target.address(),
        request: post(tenant),
        connections,
    }
}

/// Samples the resident memory of a process once per second, in bytes.
async fn sample_memory(process: u32, length: Duration) -> Vec<u64> {
    let mut resident = Vec::new();
    for _ in 0..=length.as_secs() {
        resident.push(resident_bytes(process));
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    resident
}

fn growth(resident: &[u64]) -> f64 {
    let middle = resident
        .get(resident.len() / 2)
        .copied()
        .unwrap_or_default();
    let end = resident.last().copied().unwrap_or_default();
    end as f64 / middle.max(1) as f64
}

/// Returns the time from which on all windows but one are normal: no request is missing, and p99 is within the bound.
///
/// One window may differ, because another process of the machine can disturb it.
fn recovery(after: &[Tally], p99_ms: f64) -> Option<Duration> {
    let is_normal = |window: &Tally| window.missing() == 0 && window.accepted_ms(0.99) <= p99_ms;
    let normal: Vec<bool> = after.iter().map(is_normal).collect();
    (0..normal.len())
        .find(|from| {
            let rest = &normal[*from..];
            rest[0] && rest.len() > 1 && rest.iter().filter(|normal| !**normal).count() <= 1
        })
        .map(|from| WINDOW * u32::try_from(from).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(latency_ms: u64, refused: u64) -> Tally {
        let mut tally = Tally::default();
        tally.accepted.record(latency_ms * 1000).expect("it grows");
        tally.refused.record_n(1000, refused).expect("it grows");
        tally
    }

    #[test]
    fn the_recovery_ends_when_all_windows_but_one_are_normal() {
        let series = [
            window(90, 0),
            window(9, 3),
            window(9, 0),
            window(9, 0),
            window(99, 0),
            window(9, 0),
        ];
        assert_eq!(recovery(&series, 20.0), Some(WINDOW * 2));
        let late = [window(90, 0), window(90, 0), window(9, 0)];
        assert_eq!(recovery(&late, 20.0), None);
    }

    #[test]
    fn memory_grows_from_the_middle_to_the_end() {
        assert_eq!(growth(&[1, 10, 10, 12]), 1.2);
        assert_eq!(growth(&[]), 0.0);
    }
}
