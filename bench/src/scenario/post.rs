//! POST at 256 and 1,024 clients: throughput, processor time and calls per message, at three latencies with the same
//! settings.

use kit::load::Clients;

use crate::candidate::{Candidate, Role, Side, post_request};
use crate::load::{FULL_LOAD, MAX_CLIENTS};
use crate::measure::{Load, Rounds, load};
use crate::plan::Plan;
use crate::report::chart::{Axis, Chart, Line, Scale};
use crate::report::row::{Bound, Row, Unit};
use crate::report::{Report, progress};

/// Milliseconds per call (within one zone, usual, slow) and clients. At 20 ms per call, 256 clients in a closed loop send at
/// most 12,800 requests per second to any service; 1,024 clients show the service's own limit.
const LOADS: [Conditions; 4] = [
    Conditions {
        latency_ms: 0,
        clients: FULL_LOAD,
    },
    Conditions {
        latency_ms: 5,
        clients: FULL_LOAD,
    },
    Conditions {
        latency_ms: 20,
        clients: FULL_LOAD,
    },
    Conditions {
        latency_ms: 20,
        clients: MAX_CLIENTS,
    },
];
/// The latency whose answers the chart shows.
const DRAWN_MS: u64 = 5;
/// Shares of the answers in the chart.
const DRAWN_SHARES: [f64; 14] = [
    0.0, 0.1, 0.25, 0.5, 0.6, 0.75, 0.85, 0.9, 0.95, 0.98, 0.99, 0.995, 0.998, 0.999,
];

#[derive(Clone, Copy)]
struct Conditions {
    latency_ms: u64,
    clients: usize,
}

impl std::fmt::Display for Conditions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} clients, {} ms per call",
            self.clients, self.latency_ms
        )
    }
}

pub(super) async fn run(plan: &Plan, report: &mut Report) -> anyhow::Result<()> {
    for conditions in LOADS {
        let rounds = measure(plan, conditions).await?;
        rows(&rounds, conditions, plan, report);
        if conditions.latency_ms == DRAWN_MS {
            report.charts.push(distribution(&rounds, plan));
        }
    }
    report.notes.push(
        "256 clients in a closed loop send at most 12,800 requests per second to any service at 20 ms per call; \
         at 1,024 the clients are not the limit."
            .to_owned(),
    );
    Ok(())
}

async fn measure(plan: &Plan, conditions: Conditions) -> anyhow::Result<Rounds<Load>> {
    let mut candidates = Vec::new();
    for side in sides(plan, conditions) {
        let candidate =
            Candidate::start(side, Role::Producer, conditions.latency_ms, &plan.binaries).await?;
        candidate.must_answer(&post_request()).await?;
        let clients = Clients::new(candidate.address, &post_request(), conditions.clients);
        candidates.push((candidate, clients));
    }
    let mut rounds = Rounds::new();
    for round in 1..=plan.rounds {
        progress(&format!(
            "POST, {conditions}, round {round} of {}",
            plan.rounds
        ));
        for (candidate, clients) in &mut candidates {
            if !plan.takes_part(candidate.side, round) {
                continue;
            }
            let measured = load(candidate, clients, (plan.warm_up(), plan.window()), true).await?;
            rounds.push(candidate.side, measured);
        }
    }
    Ok(rounds)
}

/// Returns the sides to measure. Peers are measured at 256 clients only.
fn sides(plan: &Plan, conditions: Conditions) -> Vec<Side> {
    if conditions.clients == FULL_LOAD {
        plan.with_peers(Side::OneCall)
    } else {
        vec![Side::Ours, Side::OneCall]
    }
}

fn rows(rounds: &Rounds<Load>, conditions: Conditions, plan: &Plan, report: &mut Report) {
    let row = |what: &str, unit, figure: fn(&Load) -> f64, reference: Side| {
        Row::new(
            format!("{what}, {conditions}"),
            unit,
            rounds.values(Side::Ours, figure),
        )
        .against(reference.label(), rounds.values(reference, figure))
        .fault(rounds.fault([Side::Ours, reference], |load| load.fault.as_ref()))
    };
    let (rate, cpu) = (|load: &Load| load.rate, |load: &Load| load.cpu_us);
    let one_call = Side::OneCall;
    report.rows.extend([
        row("POST", Unit::PerSecond, rate, one_call).bound(Bound::RatioAtLeast(3.0)),
        row("CPU per POST", Unit::Microseconds, cpu, one_call).bound(Bound::RatioAtMost(0.30)),
        row(
            "AWS calls per message sent",
            Unit::Number,
            Load::calls_per_message,
            one_call,
        )
        .bound(Bound::AtMost(0.11)),
        row(
            "p99 of a POST",
            Unit::Milliseconds,
            |load| load.p99_ms,
            one_call,
        ),
    ]);
    let memory = row(
        "producer's peak memory",
        Unit::Mebibytes,
        |load| load.peak_rss_mib,
        one_call,
    );
    // The bound is for 256 clients: each connection has buffers of its own.
    let is_usual = conditions.clients == FULL_LOAD;
    report.rows.push(if is_usual {
        memory.bound(Bound::AtMost(32.0))
    } else {
        memory
    });
    for peer in sides(plan, conditions)
        .iter()
        .filter(|side| plan.peers.contains(side))
    {
        report.rows.extend([
            row("POST", Unit::PerSecond, rate, *peer),
            row("CPU per POST", Unit::Microseconds, cpu, *peer),
        ]);
    }
}

fn distribution(rounds: &Rounds<Load>, plan: &Plan) -> Chart {
    let line = |side: Side| {
        let load = rounds.last(side).ok()?;
        let point = |share: &f64| {
            (
                *share,
                load.latency_us.value_at_quantile(*share) as f64 / 1000.0,
            )
        };
        Some(Line {
            name: side.label().to_owned(),
            points: DRAWN_SHARES.iter().map(point).collect(),
        })
    };
    Chart {
        name: "latency",
        title: format!("POST: time to answer at {FULL_LOAD} clients, {DRAWN_MS} ms per call"),
        x: Axis::new("share of requests answered within", Scale::Percentiles),
        y: Axis::new("milliseconds", Scale::Decades),
        lines: plan
            .with_peers(Side::OneCall)
            .into_iter()
            .filter_map(line)
            .collect(),
    }
}
