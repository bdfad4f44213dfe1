//! The dwell time of a quiet tenant's messages, one per second, while another tenant floods the pool.
//!
//! The embedded endpoint delivers messages fairly among groups, as SQS does, and adds a latency to every call. Dwell time
//! begins with the confirmed send and ends with the consumer's log line for the stored item, both by this machine's clock.

mod stored;
mod world;

use std::pin::pin;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior};

use self::world::World;
use crate::plan::Plan;
use crate::report::row::{Bound, Row, Unit};
use crate::report::stats::quantile;
use crate::report::{Report, progress};

/// Messages of the flood.
const FLOOD_MESSAGES: u64 = 50_000;
/// The tenant that floods.
const NOISY: &str = "tenant-a";
/// The tenant that sends one message per second.
const QUIET: &str = "tenant-b";
/// Pause between two messages of the quiet tenant.
const QUIET_PAUSE: Duration = Duration::from_secs(1);
/// Time limit of a flood.
const FLOOD_TIMEOUT: Duration = Duration::from_secs(120);
/// Time limit until the last message is stored.
const LATE: Duration = Duration::from_secs(10);
/// Pause between two polls.
const LOOK: Duration = Duration::from_millis(20);

/// Dwell times of the quiet tenant's messages by round.
#[derive(Default)]
struct Dwell {
    p50_ms: Vec<f64>,
    p99_ms: Vec<f64>,
}

impl Dwell {
    fn add(&mut self, times_ms: &[f64]) {
        self.p50_ms.extend(quantile(times_ms, 0.5));
        self.p99_ms.extend(quantile(times_ms, 0.99));
    }
}

pub(super) async fn run(plan: &Plan, report: &mut Report) -> anyhow::Result<()> {
    let world = World::start(&plan.binaries).await?;
    let flood = plan.pick(FLOOD_MESSAGES, FLOOD_MESSAGES / 5);
    let alone_for = plan.pick(Duration::from_secs(15), Duration::from_secs(5));
    let (mut alone, mut flooded) = (Dwell::default(), Dwell::default());
    for round in 1..=plan.rounds {
        progress(&format!(
            "fairness, round {round} of {}: {QUIET} alone for {alone_for:?}",
            plan.rounds
        ));
        alone.add(&dwell_ms(&world, tokio::time::sleep(alone_for)).await?);
        progress(&format!(
            "fairness, round {round} of {}: {NOISY} sends {flood} messages",
            plan.rounds
        ));
        let (started, before) = (Instant::now(), world.stored.noisy());
        flooded.add(&dwell_ms(&world, drown(&world, before, flood)).await?);
        let rate = (world.stored.noisy() - before) as f64 / started.elapsed().as_secs_f64();
        progress(&format!(
            "{NOISY}: {rate:.0} messages per second, sent and stored"
        ));
    }
    let row = |what: &str, flooded: &[f64], alone: &[f64]| {
        Row::new(
            format!("{what} of the quiet tenant's dwell time, flooded"),
            Unit::Milliseconds,
            flooded.to_vec(),
        )
        .against("alone", alone.to_vec())
    };
    report
        .rows
        .push(row("p99", &flooded.p99_ms, &alone.p99_ms).bound(Bound::RatioAtMost(3.0)));
    report
        .rows
        .push(row("median", &flooded.p50_ms, &alone.p50_ms));
    Ok(())
}

/// Floods until the flood is stored. A flood that does not end shows in the quiet tenant's figures.
async fn drown(world: &World, before: u64, messages: u64) {
    let flood = async {
        if let Err(error) = world.flood(messages).await {
            progress(&format!("the flood ended early: {error:#}"));
            return;
        }
        while world.stored.noisy() < before + messages {
            tokio::time::sleep(LOOK).await;
        }
    };
    let _ = tokio::time::timeout(FLOOD_TIMEOUT, flood).await;
}

/// Sends the quiet tenant's messages until `meanwhile` ends; returns the dwell time of each.
async fn dwell_ms(world: &World, meanwhile: impl Future<Output = ()>) -> anyhow::Result<Vec<f64>> {
    let mut meanwhile = pin!(meanwhile);
    let mut ticks = tokio::time::interval(QUIET_PAUSE);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut sent = Vec::new();
    loop {
        tokio::select! {
            () = &mut meanwhile => break,
            _ = ticks.tick() => {
                let id = world.send_quiet();
                // The flood goes on while this message is being sent.
                let id = tokio::select! {
                    id = id => id?,
                    () = &mut meanwhile => break,
                };
                sent.push((id, chrono::Utc::now()));
            }
        }
    }
    let deadline = Instant::now() + LATE;
    let mut times_ms = Vec::with_capacity(sent.len());
    for (id, sent_at) in sent {
        let stored_at = loop {
            match world.stored.time_of(&id) {
                Some(time) => break time,
                None if Instant::now() > deadline => {
                    anyhow::bail!("a message of {QUIET} was not stored")
                }
                None => tokio::time::sleep(LOOK).await,
            }
        };
        times_ms.push((stored_at - sent_at).as_seconds_f64() * 1e3);
    }
    Ok(times_ms)
}
