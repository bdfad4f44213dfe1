//! Idle services: the cost of an idle tenant.

use std::time::Duration;

use crate::candidate::{Candidate, Role, Side, post_request};
use crate::measure::drain;
use crate::plan::Plan;
use crate::process::Usage;
use crate::report::row::{Bound, Row, Unit};
use crate::report::{Report, progress};

/// Messages consumed before the measurement, so that each poller has been busy.
const BUSY_MESSAGES: u64 = 500;
/// Pause after the start, and after the end of work.
const SETTLE: Duration = Duration::from_secs(3);

pub(super) async fn run(plan: &Plan, report: &mut Report) -> anyhow::Result<()> {
    let consumer = Candidate::start(Side::Ours, Role::Consumer, 0, &plan.binaries).await?;
    let producer = Candidate::start(Side::Ours, Role::Producer, 0, &plan.binaries).await?;
    producer.must_answer(&post_request()).await?;
    tokio::time::sleep(SETTLE).await;
    let (consumer_fresh, producer_fresh) = (consumer.usage()?, producer.usage()?);
    drain(&consumer, BUSY_MESSAGES).await?;
    tokio::time::sleep(SETTLE).await;
    let window = plan.pick(Duration::from_secs(60), Duration::from_secs(20));
    progress(&format!("idle for {window:?}"));
    consumer.stub.restart(0).await?;
    let (consumer_before, producer_before) = (consumer.usage()?, producer.usage()?);
    tokio::time::sleep(window).await;
    let (consumer_after, producer_after) = (consumer.usage()?, producer.usage()?);
    let receives = consumer.stub.counts().await?.of("ReceiveMessage") as f64;
    let minutes = window.as_secs_f64() / 60.0;
    let busy = |before: f64, after: f64| vec![(after - before) / window.as_secs_f64() * 100.0];
    let memory =
        |figure: &str, usage: Usage| Row::new(figure, Unit::Mebibytes, vec![usage.rss_mib]);
    report.rows.extend([
        Row::new(
            "receives per minute, idle queue",
            Unit::Number,
            vec![receives / minutes],
        )
        .bound(Bound::AtMost(3.0)),
        Row::new(
            "consumer's CPU, idle",
            Unit::Percent,
            busy(consumer_before.cpu_s, consumer_after.cpu_s),
        )
        .bound(Bound::AtMost(0.2)),
        Row::new(
            "producer's CPU, idle",
            Unit::Percent,
            busy(producer_before.cpu_s, producer_after.cpu_s),
        )
        .bound(Bound::AtMost(0.2)),
        memory("consumer's memory, idle", consumer_fresh).bound(Bound::AtMost(16.0)),
        memory("consumer's memory, idle after work", consumer_after),
        memory("producer's memory, idle", producer_fresh).bound(Bound::AtMost(16.0)),
    ]);
    Ok(())
}
