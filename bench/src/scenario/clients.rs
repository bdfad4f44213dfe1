//! POST at a growing number of clients: throughput and calls as batches grow.

use kit::load::Clients;

use crate::candidate::{Candidate, Role, Side, post_request};
use crate::load::FULL_LOAD;
use crate::measure::load;
use crate::plan::Plan;
use crate::report::chart::{Axis, Chart, Line, Scale};
use crate::report::{Report, progress};

/// Milliseconds per call.
const LATENCY_MS: u64 = 5;

pub(super) async fn run(plan: &Plan, report: &mut Report) -> anyhow::Result<()> {
    let counts: Vec<usize> = (0..)
        .map(|power| 1 << power)
        .take_while(|count| *count <= FULL_LOAD)
        .collect();
    let (mut rates, mut calls) = (Vec::new(), Vec::new());
    for side in [Side::Ours, Side::OneCall] {
        let candidate = Candidate::start(side, Role::Producer, LATENCY_MS, &plan.binaries).await?;
        candidate.must_answer(&post_request()).await?;
        let (mut rate_points, mut call_points) = (Vec::new(), Vec::new());
        for count in &counts {
            progress(&format!("POST, {count} clients, {LATENCY_MS} ms per call"));
            let mut clients = Clients::new(candidate.address, &post_request(), *count);
            let measured = load(
                &candidate,
                &mut clients,
                (plan.warm_up() / 2, plan.window() / 2),
                true,
            )
            .await?;
            rate_points.push((*count as f64, measured.rate));
            call_points.push((*count as f64, measured.calls_per_message()));
        }
        let line = |points| Line {
            name: side.label().to_owned(),
            points,
        };
        rates.push(line(rate_points));
        calls.push(line(call_points));
    }
    let chart = |name, title: &str, label, lines| Chart {
        name,
        title: format!("POST: {title}, {LATENCY_MS} ms per call"),
        x: Axis::new("clients", Scale::Doubling),
        y: Axis::new(label, Scale::Linear),
        lines,
    };
    report.charts.push(chart(
        "throughput",
        "requests per second over clients",
        "requests per second",
        rates,
    ));
    report.charts.push(chart(
        "calls",
        "AWS calls for each message over clients",
        "calls per message",
        calls,
    ));
    Ok(())
}
