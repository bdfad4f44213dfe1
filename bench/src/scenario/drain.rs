//! A consumer that drains a backlog: rate, processor time and calls per message.

use crate::candidate::{Candidate, Role, Side};
use crate::measure::{Drain, Rounds, drain};
use crate::plan::Plan;
use crate::report::row::{Bound, Row, Unit};
use crate::report::{Report, progress};

/// Milliseconds per call.
const LATENCIES_MS: [u64; 2] = [0, 5];
/// The latency at which the bounds apply.
const BOUND_MS: u64 = 5;

/// Bound beside Node, in messages per CPU-second.
const MIN_RATIO_TO_NODE: Bound = Bound::RatioAtLeast(40.0);
/// Bound beside the other peers: at least as fast.
const MIN_RATIO_TO_PEERS: Bound = Bound::RatioAtLeast(1.0);

pub(super) async fn run(plan: &Plan, report: &mut Report) -> anyhow::Result<()> {
    for latency_ms in LATENCIES_MS {
        let mut candidates = Vec::new();
        for side in plan.with_peers(Side::OneCall) {
            let candidate =
                Candidate::start(side, Role::Consumer, latency_ms, &plan.binaries).await?;
            progress(&format!(
                "drain, {latency_ms} ms per call: warming up {}",
                side.label()
            ));
            drain(&candidate, messages(side, latency_ms, plan) / 10).await?;
            candidates.push(candidate);
        }
        let mut rounds = Rounds::new();
        for round in 1..=plan.rounds {
            progress(&format!(
                "drain, {latency_ms} ms per call, round {round} of {}",
                plan.rounds
            ));
            for candidate in candidates
                .iter()
                .filter(|candidate| plan.takes_part(candidate.side, round))
            {
                let count = messages(candidate.side, latency_ms, plan);
                rounds.push(candidate.side, drain(candidate, count).await?);
            }
        }
        rows(&rounds, latency_ms, plan, report);
    }
    Ok(())
}

/// Returns the number of messages that a side drains. A reference drains fewer, so that each side takes about as long.
const fn messages(side: Side, latency_ms: u64, plan: &Plan) -> u64 {
    let (full, quick) = match (side, latency_ms) {
        (Side::Ours, _) => (100_000, 20_000),
        (Side::Node, 0) => (3_000, 1_000),
        (Side::Node, _) => (1_500, 500),
        (_, 0) => (3_000, 1_000),
        _ => (400, 100),
    };
    plan.pick(full, quick)
}

fn rows(rounds: &Rounds<Drain>, latency_ms: u64, plan: &Plan, report: &mut Report) {
    let row = |what: &str, unit, figure: fn(&Drain) -> f64, reference: Side, bound| {
        let row = Row::new(
            format!("{what}, {latency_ms} ms per call"),
            unit,
            rounds.values(Side::Ours, figure),
        )
        .against(reference.label(), rounds.values(reference, figure))
        .fault(rounds.fault([Side::Ours, reference], |drain| drain.fault.as_ref()));
        if latency_ms == BOUND_MS {
            row.bound(bound)
        } else {
            row
        }
    };
    let (rate, cpu, calls) = (
        |drain: &Drain| drain.rate,
        |drain: &Drain| drain.cpu_us,
        Drain::calls_per_message,
    );
    let one_call = Side::OneCall;
    report.rows.extend([
        row(
            "messages drained",
            Unit::PerSecond,
            rate,
            one_call,
            Bound::RatioAtLeast(150.0),
        ),
        row(
            "CPU per message consumed",
            Unit::Microseconds,
            cpu,
            one_call,
            Bound::RatioAtMost(0.15),
        ),
        row(
            "AWS calls per message consumed",
            Unit::Number,
            calls,
            one_call,
            Bound::AtMost(0.30),
        ),
        row(
            "consumer's peak memory",
            Unit::Mebibytes,
            |drain| drain.peak_rss_mib,
            one_call,
            Bound::AtMost(32.0),
        ),
    ]);
    for peer in &plan.peers {
        let per_cpu_second = |drain: &Drain| 1e6 / drain.cpu_us;
        let bound = if *peer == Side::Node {
            MIN_RATIO_TO_NODE
        } else {
            MIN_RATIO_TO_PEERS
        };
        report.rows.extend([
            row(
                "messages drained",
                Unit::PerSecond,
                rate,
                *peer,
                MIN_RATIO_TO_PEERS,
            ),
            row(
                "messages consumed per CPU-second",
                Unit::Number,
                per_cpu_second,
                *peer,
                bound,
            ),
        ]);
    }
}
