//! The capacity of a producer: the highest rate of an open loop that is accepted in full.
//!
//! A closed loop gives an estimate; a bisection around the estimate finds the rate.

use std::time::Duration;

use kit::load::{Clients, Tally, WINDOW};

use super::{ACCEPTED_MS_MAX, Options, open_loop};
use crate::report::progress;
use crate::target::{TENANTS, Target, post};

/// Clients of the closed loop.
const CLIENTS: usize = 256;
/// The bisection begins with this multiple of the closed loop's rate as its upper end.
const UPPER: f64 = 1.25;
/// The bisection ends at this width, as a share of the closed loop's rate.
const PRECISION: f64 = 1.0 / 32.0;
/// Share of the requests that may be missing: another process on the same core is no overload.
const MISSING_MAX: f64 = 0.001;
/// First part of each probe, which does not count: the previous probe's queue drains, and connections are opened.
const SETTLING: Duration = Duration::from_secs(1);

/// The capacity of a producer, and its latency at half of it.
pub(super) struct Capacity {
    /// Requests per second that are accepted in full.
    pub(super) rate: f64,
    /// p99 at half of that rate, in milliseconds.
    pub(super) normal_ms: f64,
}

/// Finds the capacity. A rate is accepted in full if at most `MISSING_MAX` of the requests is missing and p99 keeps the
/// bound of row e: a queue that grows all the time is an overload, too.
pub(super) async fn find_capacity(target: &Target, options: &Options) -> Capacity {
    let length = options.duration(5, 2);
    let mut clients = Clients::new(target.address(), post(TENANTS[0]), CLIENTS);
    clients.run(options.warm_up_duration()).await;
    let possible = clients.run(options.closed_loop_duration()).await.rate();
    drop(clients);
    progress(&format!(
        "closed loop, {CLIENTS} clients: {possible:.0} per second"
    ));
    let (mut low, mut high) = (0.0, UPPER * possible);
    while high - low > PRECISION * possible {
        let rate = f64::midpoint(low, high);
        let seen = probe(target, rate, length, options).await;
        let is_full = is_in_full(&seen, rate, length);
        if is_full {
            low = rate;
        } else {
            high = rate;
        }
        progress(&format!(
            "{rate:.0} per second: {}, p99 {:.1} ms",
            if is_full { "in full" } else { "not in full" },
            seen.accepted_ms(0.99)
        ));
    }
    let normal = probe(target, low / 2.0, options.duration(10, 2), options).await;
    Capacity {
        rate: low,
        normal_ms: normal.accepted_ms(0.99),
    }
}

async fn probe(target: &Target, rate: f64, length: Duration, options: &Options) -> Tally {
    let stretches = [(rate / 2.0, SETTLING), (rate, length)];
    let series = open_loop(target, TENANTS[0], options.connections)
        .run(&stretches)
        .await;
    let settling = (SETTLING.as_secs_f64() / WINDOW.as_secs_f64()) as usize;
    Tally::sum(&series[settling.min(series.len())..])
}

fn is_in_full(seen: &Tally, rate: f64, length: Duration) -> bool {
    let least = (1.0 - MISSING_MAX) * rate * length.as_secs_f64();
    seen.accepted.len() as f64 >= least.floor() && seen.accepted_ms(0.99) <= ACCEPTED_MS_MAX
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_rate_in_full_one_request_in_a_thousand_may_be_missing() {
        for (accepted, latency_ms, expected) in [
            (2000, 9, true),
            (1998, 9, true),
            (1997, 9, false),
            (2000, 400, false),
        ] {
            let mut seen = Tally::default();
            seen.accepted
                .record_n(latency_ms * 1000, accepted)
                .expect("it grows");
            let is_full = is_in_full(&seen, 2000.0, Duration::from_secs(1));
            assert_eq!(
                is_full, expected,
                "{accepted} accepted after {latency_ms} ms"
            );
        }
    }
}
