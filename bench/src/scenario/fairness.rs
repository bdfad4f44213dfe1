//! The lag of a quiet tenant's messages, sent one per second, while another tenant floods the pool.
//!
//! The embedded endpoint delivers messages fairly among groups, as SQS does, and adds a latency to every call. A message's
//! lag begins with its confirmed send and ends with the consumer's log line for the stored item, both by this machine's
//! clock. The metric `queue_lag_seconds` ends earlier, when the message is received.

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
const STORE_TIMEOUT: Duration = Duration::from_secs(10);
/// Pause between two polls.
const POLL_PAUSE: Duration = Duration::from_millis(20);

/// Lag of the quiet tenant's messages, by round.
#[derive(Default)]
struct Lag {
    p50_ms: Vec<f64>,
    p99_ms: Vec<f64>,
}

impl Lag {
    fn add(&mut self, times_ms: &[f64]) {
        self.p50_ms.extend(quantile(times_ms, 0.5));
        self.p99_ms.extend(quantile(times_ms, 0.99));
    }
}

pub(super) async fn run(plan: &Plan, report: &mut Report) -> anyhow::Result<()> {
    let world = World::start(&plan.binaries).await?;
    let flood = plan.pick(FLOOD_MESSAGES, FLOOD_MESSAGES / 5);
    let alone_for = plan.pick(Duration::from_secs(15), Duration::from_secs(5));
    let (mut alone, mut flooded) = (Lag::default(), Lag::default());
    for round in 1..=plan.rounds {
        progress(&format!(
            "fairness, round {round} of {}: {QUIET} alone for {alone_for:?}",
            plan.rounds
        ));
        alone.add(&lag_ms(&world, tokio::time::sleep(alone_for)).await?);
        progress(&format!(
            "fairness, round {round} of {}: {NOISY} sends {flood} messages",
            plan.rounds
        ));
        let (started, before) = (Instant::now(), world.stored.noisy());
        flooded.add(&lag_ms(&world, flood_until_stored(&world, before, flood)).await?);
        let rate = (world.stored.noisy() - before) as f64 / started.elapsed().as_secs_f64();
        progress(&format!(
            "{NOISY}: {rate:.0} messages per second, sent and stored"
        ));
    }
    let row = |what: &str, flooded: &[f64], alone: &[f64]| {
        Row::new(
            format!("{what} of the quiet tenant's lag, flooded"),
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

/// Sends a flood and waits until it is stored, at most `FLOOD_TIMEOUT`. A flood that does not end shows in the quiet
/// tenant's figures.
async fn flood_until_stored(world: &World, before: u64, messages: u64) {
    let flood = async {
        if let Err(error) = world.flood(messages).await {
            progress(&format!("the flood ended early: {error:#}"));
            return;
        }
        while world.stored.noisy() < before + messages {
            tokio::time::sleep(POLL_PAUSE).await;
        }
    };
    let _ = tokio::time::timeout(FLOOD_TIMEOUT, flood).await;
}

/// Sends the quiet tenant's messages until `meanwhile` ends; returns the lag of each in milliseconds.
async fn lag_ms(world: &World, meanwhile: impl Future<Output = ()>) -> anyhow::Result<Vec<f64>> {
    let mut meanwhile = pin!(meanwhile);
    let mut ticks = tokio::time::interval(QUIET_PAUSE);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut sent = Vec::new();
    loop {
        tokio::select! {
            () = &mut meanwhile => break,
            _ = ticks.tick() => {
                let id = world.send_quiet();
                // The flood continues while this message is being sent.
                let id = tokio::select! {
                    id = id => id?,
                    () = &mut meanwhile => break,
                };
                sent.push((id, chrono::Utc::now()));
            }
        }
    }
    let deadline = Instant::now() + STORE_TIMEOUT;
    let mut times_ms = Vec::with_capacity(sent.len());
    for (id, sent_at) in sent {
        let stored_at = loop {
            match world.stored.time_of(&id) {
                Some(time) => break time,
                None if Instant::now() > deadline => {
                    anyhow::bail!("a message of {QUIET} was not stored")
                }
                None => tokio::time::sleep(POLL_PAUSE).await,
            }
        };
        times_ms.push((stored_at - sent_at).as_seconds_f64() * 1e3);
    }
    Ok(times_ms)
}
