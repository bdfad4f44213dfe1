//! AWS cost per million messages, from the calls counted under load, for our services and for the public sample's calls.

use kit::load::Clients;

use crate::candidate::{Candidate, Role, Side, post_request};
use crate::cost::{Cost, MESSAGES};
use crate::load::FULL_LOAD;
use crate::measure::{drain, load};
use crate::plan::Plan;
use crate::report::row::{Row, Unit};
use crate::report::{Report, progress};

/// Milliseconds per call.
const LATENCY_MS: u64 = 5;
/// Messages consumed by ours and by the reference.
const MESSAGES_DRAINED: (u64, u64) = (20_000, 200);

pub(super) async fn run(plan: &Plan, report: &mut Report) -> anyhow::Result<()> {
    // The Python peer makes the public sample's calls; without that peer, the Rust reference makes the same calls.
    let sample = if plan.peers.contains(&Side::Python) {
        Side::Python
    } else {
        Side::OneCall
    };
    let (ours, other) = (
        measure(Side::Ours, plan).await?,
        measure(sample, plan).await?,
    );
    let row = |what: &str, figure: fn(Cost) -> f64| {
        Row::new(
            format!("{what} for {MESSAGES} messages"),
            Unit::Dollars,
            vec![figure(ours)],
        )
        .against(sample.label(), vec![figure(other)])
    };
    report.rows.extend([
        row("SQS requests", |cost| cost.sqs_usd),
        row("SQS and DynamoDB", Cost::total_usd),
    ]);
    report.notes.push(
        "Costs are at assumed list prices of us-east-1 (bench/src/cost.rs), not compared with AWS's pages. The calls are counted \
         at 256 clients and on a backlog, 5 ms per call."
            .to_owned(),
    );
    Ok(())
}

async fn measure(side: Side, plan: &Plan) -> anyhow::Result<Cost> {
    progress(&format!("calls of {}", side.label()));
    let producer = Candidate::start(side, Role::Producer, LATENCY_MS, &plan.binaries).await?;
    producer.must_answer(&post_request()).await?;
    let mut clients = Clients::new(producer.address, &post_request(), FULL_LOAD);
    let sending = load(
        &producer,
        &mut clients,
        (plan.warm_up(), plan.window()),
        true,
    )
    .await?;
    let consumer = Candidate::start(side, Role::Consumer, LATENCY_MS, &plan.binaries).await?;
    let messages = if side == Side::Ours {
        MESSAGES_DRAINED.0
    } else {
        MESSAGES_DRAINED.1
    };
    let consuming = drain(&consumer, messages).await?;
    Ok(Cost::of(&sending.counts, &consuming.counts))
}
