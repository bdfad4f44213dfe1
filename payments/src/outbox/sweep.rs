//! The sweeper: finds what a crash, or a queue that was down, left in the outbox, and publishes it.
//!
//! Every replica sweeps: each looks at one part of the index after the other, in an order and at times of its own, and
//! only at entries old enough that the request which wrote them should have sent them. Two that find the same entry send
//! it twice, and it is stored once. An entry that cannot be sent (a tenant that is gone) does not keep those behind it:
//! a look goes on where the last one had to stop.

use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::operation::query::QueryError;
use chrono::{DateTime, TimeDelta, Utc};
use futures_util::future::join_all;
use metrics::{Counter, Gauge};
use tenantry_process::metrics::{Metrics, label};
use tenantry_process::retry::classify;

use super::publish::{By, Publisher};
use super::{Entry, SHARDS};
use crate::charge::timestamp;
use crate::clock::Clock;
use crate::ledger::items::{Attributes, as_text, text};
use crate::table::{HASH, OUTBOX, OUTBOX_AT, OUTBOX_SHARD, RANGE};

/// Entries of one page.
const PAGE: i32 = 100;
/// Pages of one look.
const MAX_PAGES: usize = 50;
/// Pages in a row of which nothing could be sent, after which a look ends: the queues or the registry are down.
const MAX_VAIN_PAGES: usize = 2;

/// Sweeps. One a service.
pub(crate) struct Sweeper {
    client: Client,
    table: String,
    publisher: Publisher,
    clock: Clock,
    /// Every part is looked at about once in this time, and only at entries older than it.
    every: Duration,
    parts: [Part; SHARDS as usize],
    gauges: Gauges,
}

/// What is known of one part of the index.
#[derive(Default)]
struct Part {
    /// When the oldest entry was written that the last look could not send.
    oldest: Option<String>,
    /// Entries the last look could not send.
    waiting: usize,
    /// Where the last look had to stop.
    go_on: Option<Attributes>,
}

/// What a page of the index held.
struct Page {
    entries: Vec<Entry>,
    next: Option<Attributes>,
}

struct Gauges {
    oldest: Gauge,
    waiting: Gauge,
    looks_ok: Counter,
    looks_failed: Counter,
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
            "Age of the oldest event that could not be sent; 0 where all are",
        );
        metrics.describe_gauge(
            "outbox_waiting",
            "Events that the last looks of the sweeper could not send",
        );
        metrics.describe_counter(
            "outbox_looks_total",
            "Looks of the sweeper at a part of the outbox, by outcome",
        );
        let looks =
            |outcome| metrics.counter("outbox_looks_total", vec![label("outcome", outcome)]);
        let gauges = Gauges {
            oldest: metrics.gauge("outbox_oldest_seconds", vec![]),
            waiting: metrics.gauge("outbox_waiting", vec![]),
            looks_ok: looks("ok"),
            looks_failed: looks("error"),
        };
        gauges.oldest.set(0.0);
        gauges.waiting.set(0.0);
        Self {
            client,
            table,
            publisher,
            clock,
            every,
            parts: Default::default(),
            gauges,
        }
    }

    /// Looks at one part after the other; never ends.
    pub(crate) async fn sweep_forever(mut self) {
        let mut order: Vec<u8> = (0..SHARDS).collect();
        loop {
            fastrand::shuffle(&mut order);
            for part in &order {
                tokio::time::sleep(pause(self.every, fastrand::f64())).await;
                self.look(*part).await;
                self.tell();
            }
        }
    }

    /// Publishes what waits in one part.
    async fn look(&mut self, part: u8) {
        let at = usize::from(part);
        let before =
            timestamp(self.clock.now() - TimeDelta::from_std(self.every).unwrap_or(TimeDelta::MAX));
        // From the start, for whatever is oldest; then on from where the last look had to stop.
        let (mut from, mut resume) = (None, self.parts[at].go_on.take());
        let (mut unsent, mut vain) = (Vec::new(), 0);
        for _ in 0..MAX_PAGES {
            let Ok(page) = self.page(part, &before, from.take()).await else {
                self.gauges.looks_failed.increment(1);
                return;
            };
            let times: Vec<_> = page.entries.iter().map(|entry| entry.at.clone()).collect();
            let publishing = page
                .entries
                .into_iter()
                .map(|entry| self.publisher.publish(entry, None, By::Sweep));
            let sent = join_all(publishing).await;
            vain = if sent.contains(&true) { 0 } else { vain + 1 };
            unsent.extend(
                times
                    .into_iter()
                    .zip(sent)
                    .filter(|(_, sent)| !sent)
                    .map(|(at, _)| at),
            );
            from = resume.take().or(page.next);
            if from.is_none() || vain >= MAX_VAIN_PAGES {
                break;
            }
        }
        self.parts[at] = Part {
            waiting: unsent.len(),
            oldest: unsent.into_iter().min(),
            go_on: from,
        };
        self.gauges.looks_ok.increment(1);
    }

    async fn page(&self, part: u8, before: &str, from: Option<Attributes>) -> Result<Page, ()> {
        let call = self
            .client
            .query()
            .table_name(&self.table)
            .index_name(OUTBOX)
            .key_condition_expression(format!("{OUTBOX_SHARD} = :part AND {OUTBOX_AT} < :before"))
            .expression_attribute_values(":part", text(&part.to_string()))
            .expression_attribute_values(":before", text(before))
            .limit(PAGE)
            .set_exclusive_start_key(from);
        let output = Box::pin(call.send()).await.map_err(|error| {
            let failure = classify::<QueryError>(&error);
            tracing::warn!(
                code = failure.code,
                reason = failure.reason,
                "the outbox was not looked at"
            );
        })?;
        let items = output.items.unwrap_or_default();
        let entries = items.iter().filter_map(|item| {
            let entry = Entry::from_item(item);
            if entry.is_none() {
                tracing::error!(
                    tenant_id = as_text(item, HASH),
                    sk = as_text(item, RANGE),
                    "no entry of the outbox"
                );
            }
            entry
        });
        Ok(Page {
            entries: entries.collect(),
            next: output.last_evaluated_key,
        })
    }

    /// Sets the gauges; the age goes on growing while the outbox cannot be looked at.
    fn tell(&self) {
        let oldest = self
            .parts
            .iter()
            .filter_map(|part| part.oldest.as_deref())
            .min();
        self.gauges
            .oldest
            .set(oldest.map_or(0.0, |at| age_seconds(at, self.clock.now())));
        let waiting: usize = self.parts.iter().map(|part| part.waiting).sum();
        self.gauges.waiting.set(waiting as f64);
    }
}

/// The wait before the next look, so that every part's turn comes once in about `every`; half to one and a half of its
/// share, because replicas started together would else stay together. `random` is uniform in 0..1.
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
    fn every_part_has_its_turn_in_about_the_time_given() {
        let every = Duration::from_secs(8);
        assert_eq!(pause(every, 0.0), Duration::from_millis(500));
        assert_eq!(pause(every, 0.5), Duration::from_secs(1));
        assert!(pause(every, 0.999) < Duration::from_millis(1500));
    }

    #[test]
    fn an_age_is_told_from_the_time_an_entry_was_written() {
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
