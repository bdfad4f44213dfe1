//! Both services under full load at once: memory stays low and flat.

use std::time::Duration;

use tokio::time::Instant;

use crate::candidate::{Candidate, Role, Side, post_request};
use crate::load::FULL_LOAD;
use crate::plan::Plan;
use crate::report::chart::{Axis, Chart, Line, Scale};
use crate::report::row::{Bound, Row, Unit};
use crate::report::stats::Spread;
use crate::report::{Report, progress};
use kit::load::Clients;

/// More messages than any run consumes.
const ENDLESS: u64 = 1_000_000_000;
/// Pause between two samples.
const SAMPLE_PAUSE: Duration = Duration::from_secs(1);
/// Most growth of memory from the second quarter of the run to the last.
const MAX_GROWTH_MIB: f64 = 1.0;

pub(super) async fn run(plan: &Plan, report: &mut Report) -> anyhow::Result<()> {
    let producer = Candidate::start(Side::Ours, Role::Producer, 0, &plan.binaries).await?;
    let consumer = Candidate::start(Side::Ours, Role::Consumer, 0, &plan.binaries).await?;
    producer.must_answer(&post_request()).await?;
    consumer.stub.restart(ENDLESS).await?;
    let window = plan.pick(Duration::from_secs(600), Duration::from_secs(20));
    progress(&format!("full load for {window:?}"));
    let mut clients = Clients::new(producer.address, &post_request(), FULL_LOAD);
    let both = [&producer, &consumer];
    let (run, samples) = tokio::join!(clients.run(window), watch(&both, window));
    let samples = samples?;
    let fault = (run.missing() > 0).then(|| format!("{} errors", run.missing()));
    for (candidate, name, line) in [
        (&producer, "producer", &samples[0]),
        (&consumer, "consumer", &samples[1]),
    ] {
        report.rows.extend([
            Row::new(
                format!("{name}'s peak memory, full load"),
                Unit::Mebibytes,
                vec![candidate.usage()?.peak_rss_mib],
            )
            .bound(Bound::AtMost(32.0))
            .fault(fault.clone()),
            Row::new(
                format!("{name}'s growth over {} s of full load", window.as_secs()),
                Unit::Mebibytes,
                vec![growth(line)],
            )
            .bound(Bound::AtMost(MAX_GROWTH_MIB))
            .fault(fault.clone()),
        ]);
    }
    report.notes.push(format!(
        "Full load over {} s: {} POSTs answered, {} messages consumed.",
        window.as_secs(),
        run.accepted.len(),
        consumer.stub.counts().await?.deleted
    ));
    let names = ["producer", "consumer"].into_iter();
    report.charts.push(Chart {
        name: "memory",
        title: format!(
            "Resident memory under full load, {FULL_LOAD} clients and an endless backlog"
        ),
        x: Axis::new("seconds", Scale::Linear),
        y: Axis::new("MiB", Scale::Linear),
        lines: names
            .zip(samples)
            .map(|(name, points)| Line {
                name: name.to_owned(),
                points,
            })
            .collect(),
    });
    Ok(())
}

/// Samples each candidate's memory until the time is over: seconds and mebibytes.
async fn watch(
    candidates: &[&Candidate],
    window: Duration,
) -> anyhow::Result<Vec<Vec<(f64, f64)>>> {
    let started = Instant::now();
    let mut samples = vec![Vec::new(); candidates.len()];
    while started.elapsed() < window {
        for (candidate, samples) in candidates.iter().zip(&mut samples) {
            samples.push((started.elapsed().as_secs_f64(), candidate.usage()?.rss_mib));
        }
        tokio::time::sleep(SAMPLE_PAUSE).await;
    }
    Ok(samples)
}

/// The median of the last quarter minus that of the second.
fn growth(samples: &[(f64, f64)]) -> f64 {
    let quarter = samples.len() / 4;
    let median = |part: &[(f64, f64)]| {
        let values: Vec<f64> = part.iter().map(|(_, mebibytes)| *mebibytes).collect();
        Spread::of(&values).map_or(f64::NAN, |spread| spread.median)
    };
    median(&samples[samples.len() - quarter..]) - median(&samples[quarter..2 * quarter])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_leaves_the_start_out() {
        let samples: Vec<_> = [1.0, 5.0, 8.0, 8.0, 8.0, 8.0, 9.0, 9.0]
            .into_iter()
            .map(|mebibytes| (0.0, mebibytes))
            .collect();
        assert!((growth(&samples) - 1.0).abs() < f64::EPSILON);
        assert!(growth(&[]).is_nan());
    }
}
