//! The sweeper: publishes the entries that a crash or an unavailable queue left in the outbox.
//!
//! Every replica sweeps one shard of the index after the other, in random order and at random times. A sweep skips
//! young entries, which their own requests still send. Two replicas may send the same entry; its event is stored once.
//! An entry that cannot be sent, for example of an offboarded tenant, does not block later entries: the next sweep
//! resumes after the last page.

use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::operation::query::QueryError;
use chrono::{DateTime, TimeDelta, Utc};
use futures_util::future::join_all;
use metrics::{Counter, Gauge};
use tenantry_process::metrics::{Metrics, label};
use tenantry_process::retry::classify;

use super::publish::{PublishedBy, Publisher};
use super::{OutboxEntry, SHARDS};
use crate::charge::timestamp;
use crate::clock::Clock;
use crate::ledger::items::{Attributes, as_text, text};
use crate::table::{HASH, OUTBOX, OUTBOX_AT, OUTBOX_SHARD, RANGE};

/// Entries per page.
const PAGE: i32 = 100;
/// Pages per sweep of a shard.
const MAX_PAGES: usize = 50;
/// A sweep ends after this many consecutive pages without a sent entry: the queues or the registry are down.
const MAX_FAILED_PAGES: usize = 2;

/// Sweeps the outbox. A service has one.
pub(crate) struct Sweeper {
    client: Client,
    table: String,
    publisher: Publisher,
    clock: Clock,
    /// Time in which every shard is swept about once. Younger entries are skipped.
    every: Duration,
    shards: [ShardState; SHARDS as usize],
    metrics: SweepMetrics,
}

/// Result of the last sweep of a shard.
#[derive(Default)]
struct ShardState {
    /// Time at which the oldest unsent entry was written.
    oldest: Option<String>,
    /// Number of unsent entries.
    waiting: usize,
    /// Position after the last page, if the sweep ended early.
    resume_from: Option<Attributes>,
}

/// A page of the index.
struct Page {
    entries: Vec<OutboxEntry>,
    next: Option<Attributes>,
}

struct SweepMetrics {
    oldest: Gauge,
    waiting: Gauge,
    sweeps_ok: Counter,
    sweeps_failed: Counter,
}

impl Sweeper {
    pub(crate) fn new(
        (client, table): (Client, String),
        publisher: Publisher,
        clock: Clock,
        every: Duration,
        metrics: &Metrics,
    ) -> Self {
        metrics.describe_gauge(
            "outbox_oldest_seconds",
            "Age of the oldest unsent event in seconds; 0 if every event is sent",
        );
        metrics.describe_gauge(
            "outbox_waiting",
            "Events that the last sweep of each shard could not send",
        );
        metrics.describe_counter(
            "outbox_looks_total",
            "Sweeps of one shard of the outbox, by outcome",
        );
        let sweeps =
            |outcome| metrics.counter("outbox_looks_total", vec![label("outcome", outcome)]);
        let metrics = SweepMetrics {
            oldest: metrics.gauge("outbox_oldest_seconds", vec![]),
            waiting: metrics.gauge("outbox_waiting", vec![]),
            sweeps_ok: sweeps("ok"),
            sweeps_failed: sweeps("error"),
        };
        metrics.oldest.set(0.0);
        metrics.waiting.set(0.0);
        Self {
            client,
            table,
            publisher,
            clock,
            every,
            shards: Default::default(),
            metrics,
        }
    }

    /// Sweeps one shard after the other. Never returns.
    pub(crate) async fn sweep_forever(mut self) {
        let mut order: Vec<u8> = (0..SHARDS).collect();
        loop {
            fastrand::shuffle(&mut order);
            for shard in &order {
                tokio::time::sleep(pause(self.every, fastrand::f64())).await;
                self.sweep(*shard).await;
                self.report();
            }
        }
    }

    /// Publishes the entries of one shard.
    async fn sweep(&mut self, shard: u8) {
        let index = usize::from(shard);
        let before =
            timestamp(self.clock.now() - TimeDelta::from_std(self.every).unwrap_or(TimeDelta::MAX));
        // The first page has the oldest entries. The second page starts where the last sweep ended.
        let (mut from, mut resume) = (None, self.shards[index].resume_from.take());
        let (mut unsent, mut failed_pages) = (Vec::new(), 0);
        for _ in 0..MAX_PAGES {
            let Ok(page) = self.page(shard, &before, from.take()).await else {
                self.metrics.sweeps_failed.increment(1);
                return;
            };
            let times: Vec<_> = page.entries.iter().map(|entry| entry.at.clone()).collect();
            let publishing = page
                .entries
                .into_iter()
                .map(|entry| self.publisher.publish(entry, None, PublishedBy::Sweeper));
            let sent = join_all(publishing).await;
            failed_pages = if sent.contains(&true) {
                0
            } else {
                failed_pages + 1
            };
            unsent.extend(
                times
                    .into_iter()
                    .zip(sent)
                    .filter(|(_, sent)| !sent)
                    .map(|(at, _)| at),
            );
            from = resume.take().or(page.next);
            if from.is_none() || failed_pages >= MAX_FAILED_PAGES {
                break;
            }
        }
        self.shards[index] = ShardState {
            waiting: unsent.len(),
            oldest: unsent.into_iter().min(),
            resume_from: from,
        };
        self.metrics.sweeps_ok.increment(1);
    }

    async fn page(&self, shard: u8, before: &str, from: Option<Attributes>) -> Result<Page, ()> {
        let call = self
            .client
            .query()
            .table_name(&self.table)
            .index_name(OUTBOX)
            .key_condition_expression(format!("{OUTBOX_SHARD} = :shard AND {OUTBOX_AT} < :before"))
            .expression_attribute_values(":shard", text(&shard.to_string()))
            .expression_attribute_values(":before", text(before))
            .limit(PAGE)
            .set_exclusive_start_key(from);
        let output = Box::pin(call.send()).await.map_err(|error| {
            let failure = classify::<QueryError>(&error);
            tracing::warn!(
                code = failure.code,
                reason = failure.reason,
                "query of the outbox failed"
            );
        })?;
        let items = output.items.unwrap_or_default();
        let entries = items.iter().filter_map(|item| {
            let entry = OutboxEntry::from_item(item);
            if entry.is_none() {
                tracing::error!(
                    tenant_id = as_text(item, HASH),
                    sk = as_text(item, RANGE),
                    "outbox entry has an invalid format"
                );
            }
            entry
        });
        Ok(Page {
            entries: entries.collect(),
            next: output.last_evaluated_key,
        })
    }

    /// Sets the gauges. The age grows while queries of the outbox fail, too.
    fn report(&self) {
        let oldest = self
            .shards
            .iter()
            .filter_map(|shard| shard.oldest.as_deref())
            .min();
        self.metrics
            .oldest
            .set(oldest.map_or(0.0, |at| age_seconds(at, self.clock.now())));
        let waiting: usize = self.shards.iter().map(|shard| shard.waiting).sum();
        self.metrics.waiting.set(waiting as f64);
    }
}

/// Pause before the next shard, so that all shards are swept in about `every`. The pause is 0.5 to 1.5 of the shard's
/// share, so that replicas that started together drift apart. `random` is uniform in 0..1.
fn pause(every: Duration, random: f64) -> Duration {
    (every / u32::from(SHARDS)).mul_f64(0.5 + random)
}

fn age_seconds(at: &str, now: DateTime<Utc>) -> f64 {
    let at = DateTime::parse_from_rfc3339(at).map_or(now, |at| at.to_utc());
    (now - at).as_seconds_f64().max(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::charge::tests::noon;

    #[test]
    fn all_shards_are_swept_in_about_the_given_time() {
        let every = Duration::from_secs(8);
        assert_eq!(pause(every, 0.0), Duration::from_millis(500));
        assert_eq!(pause(every, 0.5), Duration::from_secs(1));
        assert!(pause(every, 0.999) < Duration::from_millis(1500));
    }

    #[test]
    fn an_age_is_counted_from_the_time_of_writing() {
        let written = timestamp(noon());
        assert!(
            (age_seconds(&written, noon() + TimeDelta::seconds(90)) - 90.0).abs() < f64::EPSILON
        );
        assert!(
            age_seconds(&written, noon() - TimeDelta::seconds(1)).abs() < f64::EPSILON,
            "clocks differ"
        );
        assert!(age_seconds("nonsense", noon()).abs() < f64::EPSILON);
    }
}
