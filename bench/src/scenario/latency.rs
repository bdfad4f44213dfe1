//! One client: batching must not delay it.

use kit::load::Clients;

use crate::candidate::{Candidate, Role, Side, post_request};
use crate::measure::{Load, Rounds, load};
use crate::plan::Plan;
use crate::report::row::{Bound, Row, Unit};
use crate::report::{Report, progress};

/// Milliseconds per call.
const LATENCY_MS: u64 = 5;

pub(super) async fn run(plan: &Plan, report: &mut Report) -> anyhow::Result<()> {
    let mut candidates = Vec::new();
    for side in [Side::Ours, Side::OneCall] {
        let candidate = Candidate::start(side, Role::Producer, LATENCY_MS, &plan.binaries).await?;
        candidate.must_answer(&post_request()).await?;
        let clients = Clients::new(candidate.address, &post_request(), 1);
        candidates.push((candidate, clients));
    }
    let mut rounds: Rounds<Load> = Rounds::new();
    for round in 1..=plan.rounds {
        progress(&format!(
            "POST, 1 client, {LATENCY_MS} ms per call, round {round} of {}",
            plan.rounds
        ));
        for (candidate, clients) in &mut candidates {
            rounds.push(
                candidate.side,
                load(candidate, clients, (plan.warm_up(), plan.window()), true).await?,
            );
        }
    }
    let row = |what: &str, unit, figure: fn(&Load) -> f64| {
        Row::new(
            format!("{what}, 1 client, {LATENCY_MS} ms per call"),
            unit,
            rounds.values(Side::Ours, figure),
        )
        .against(Side::OneCall.label(), rounds.values(Side::OneCall, figure))
        .fault(rounds.fault([Side::Ours, Side::OneCall], |load| load.fault.as_ref()))
    };
    report.rows.extend([
        row("p50 of a POST", Unit::Milliseconds, |load| load.p50_ms)
            .bound(Bound::RatioAtMost(1.05)),
        row(
            "AWS calls per message sent",
            Unit::Number,
            Load::calls_per_message,
        )
        .bound(Bound::AtMost(1.0)),
    ]);
    Ok(())
}
