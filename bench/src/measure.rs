//! One measured window: HTTP load on a producer, or a backlog that a consumer drains.

use std::time::Duration;

use anyhow::{Context as _, bail};
use hdrhistogram::Histogram;
use kit::load::Clients;
use tokio::time::Instant;

use crate::candidate::{Candidate, Side};
use crate::process::own_usage;
use crate::report::progress;
use crate::stub::Counts;

/// Pause between two polls of a drain.
const DRAIN_POLL_PAUSE: Duration = Duration::from_millis(50);
/// A drain ends after this long without a deleted message.
const DRAIN_STALL: Duration = Duration::from_secs(20);
/// Time limit of a drain.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(180);

/// Figures of a window of load.
pub(crate) struct Load {
    /// Answers per second.
    pub(crate) rate: f64,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    /// Processor time of the service per request.
    pub(crate) cpu_us: f64,
    /// Peak memory of the service so far.
    pub(crate) peak_rss_mib: f64,
    pub(crate) counts: Counts,
    /// Errors that make the figures invalid: answers other than 200 and 201, and answers without a message.
    pub(crate) fault: Option<String>,
    /// Latencies in microseconds.
    pub(crate) latency_us: Histogram<u64>,
}

/// Figures of a drain.
pub(crate) struct Drain {
    /// Messages per second.
    pub(crate) rate: f64,
    /// Processor time of the service per message.
    pub(crate) cpu_us: f64,
    /// Peak memory of the service so far.
    pub(crate) peak_rss_mib: f64,
    pub(crate) counts: Counts,
    /// Errors that make the figures invalid.
    pub(crate) fault: Option<String>,
}

impl Load {
    /// AWS calls per message sent.
    pub(crate) fn calls_per_message(&self) -> f64 {
        self.counts.all() as f64 / self.counts.sent as f64
    }
}

impl Drain {
    /// AWS calls per message deleted, without the receives after the end of the backlog.
    pub(crate) fn calls_per_message(&self) -> f64 {
        (self.counts.all() - self.counts.empty_receives) as f64 / self.counts.deleted as f64
    }
}

/// Loads the candidate for a warm-up and then a window. With `sends`, each request must have become a message.
pub(crate) async fn load(
    candidate: &Candidate,
    clients: &mut Clients,
    (warm_up, window): (Duration, Duration),
    sends: bool,
) -> anyhow::Result<Load> {
    clients.run(warm_up).await;
    candidate.stub.restart(0).await?;
    let (before, stub_before, own_before) = (
        candidate.usage()?,
        candidate.stub.process.usage()?,
        own_usage()?,
    );
    let run = clients.run(window).await;
    let (after, stub_after, own_after) = (
        candidate.usage()?,
        candidate.stub.process.usage()?,
        own_usage()?,
    );
    let counts = candidate.stub.counts().await?;
    let (answered, errors) = (run.accepted.len(), run.missing());
    if answered == 0 {
        let side = candidate.side.label();
        bail!("{side} accepted no request ({errors} errors)");
    }
    let each = |seconds: f64| seconds * 1e6 / answered as f64;
    let cpu_us = each(after.cpu_s - before.cpu_s);
    progress(&format!(
        "{:<14}{:>8.0}/s   p50 {:>7.2} ms   p99 {:>7.2} ms   CPU per request: {cpu_us:>6.1} µs (stub {:.1}, generator {:.1})",
        candidate.side.label(),
        run.rate(),
        run.accepted_ms(0.5),
        run.accepted_ms(0.99),
        each(stub_after.cpu_s - stub_before.cpu_s),
        each(own_after.cpu_s - own_before.cpu_s),
    ));
    let fault = match (errors, answered.saturating_sub(counts.sent)) {
        (0, missing) if !sends || missing == 0 => None,
        (0, missing) => Some(format!("{missing} answers without a message")),
        (errors, _) => Some(format!("{errors} errors")),
    };
    Ok(Load {
        rate: run.rate(),
        p50_ms: run.accepted_ms(0.5),
        p99_ms: run.accepted_ms(0.99),
        cpu_us,
        peak_rss_mib: after.peak_rss_mib,
        counts,
        fault,
        latency_us: run.accepted,
    })
}

/// Fills the queue with this many messages and waits until the candidate has drained it.
pub(crate) async fn drain(candidate: &Candidate, messages: u64) -> anyhow::Result<Drain> {
    let (before, stub_before) = (candidate.usage()?, candidate.stub.process.usage()?);
    candidate.stub.restart(messages).await?;
    let started = Instant::now();
    let (mut progressed, mut deleted) = (started, 0);
    let (counts, took) = loop {
        tokio::time::sleep(DRAIN_POLL_PAUSE).await;
        let counts = candidate.stub.counts().await?;
        if let Some(micros) = counts.drained_after_us {
            break (counts, Duration::from_micros(micros));
        }
        if counts.deleted > deleted {
            (progressed, deleted) = (Instant::now(), counts.deleted);
        }
        if progressed.elapsed() > DRAIN_STALL || started.elapsed() > DRAIN_TIMEOUT {
            break (counts, started.elapsed());
        }
    };
    let (after, stub_after) = (candidate.usage()?, candidate.stub.process.usage()?);
    let side = candidate.side;
    if counts.deleted == 0 {
        bail!(
            "{} deleted no message; calls: {:?}",
            side.label(),
            counts.calls
        );
    }
    let each = |seconds: f64| seconds * 1e6 / counts.deleted as f64;
    let (rate, cpu_us) = (
        counts.deleted as f64 / took.as_secs_f64(),
        each(after.cpu_s - before.cpu_s),
    );
    progress(&format!(
        "{:<14}{rate:>8.0}/s   {} messages   CPU per message: {cpu_us:>6.1} µs (stub {:.1})",
        side.label(),
        counts.deleted,
        each(stub_after.cpu_s - stub_before.cpu_s),
    ));
    let unstored = counts.deleted.saturating_sub(counts.stored);
    let fault = match (counts.drained_after_us, unstored) {
        (None, _) => Some(format!("{} of {messages} drained", counts.deleted)),
        (_, 1..) => Some(format!("{unstored} deleted and not stored")),
        _ => None,
    };
    Ok(Drain {
        rate,
        cpu_us,
        peak_rss_mib: after.peak_rss_mib,
        counts,
        fault,
    })
}

/// Measurements of several sides in rounds.
pub(crate) struct Rounds<T>(Vec<(Side, Vec<T>)>);

impl<T> Rounds<T> {
    pub(crate) const fn new() -> Self {
        Self(Vec::new())
    }

    pub(crate) fn push(&mut self, side: Side, measured: T) {
        match self.0.iter_mut().find(|(known, _)| *known == side) {
            Some((_, rounds)) => rounds.push(measured),
            None => self.0.push((side, vec![measured])),
        }
    }

    pub(crate) fn of(&self, side: Side) -> &[T] {
        self.0
            .iter()
            .find(|(known, _)| *known == side)
            .map_or(&[], |(_, rounds)| rounds)
    }

    pub(crate) fn values(&self, side: Side, figure: impl Fn(&T) -> f64) -> Vec<f64> {
        self.of(side).iter().map(figure).collect()
    }

    pub(crate) fn fault(
        &self,
        sides: [Side; 2],
        fault: impl Fn(&T) -> Option<&String>,
    ) -> Option<String> {
        sides.iter().find_map(|side| {
            let found = self.of(*side).iter().find_map(&fault)?;
            Some(format!("{}: {found}", side.label()))
        })
    }

    pub(crate) fn last(&self, side: Side) -> anyhow::Result<&T> {
        self.of(side)
            .last()
            .with_context(|| format!("{} was not measured", side.label()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_are_kept_by_side() {
        let mut rounds = Rounds::new();
        for (side, value) in [(Side::Ours, 1.0), (Side::OneCall, 2.0), (Side::Ours, 3.0)] {
            rounds.push(side, value);
        }
        assert_eq!(rounds.values(Side::Ours, |value| *value), [1.0, 3.0]);
        assert_eq!(rounds.values(Side::Node, |value| *value), [0.0; 0]);
        assert!(rounds.last(Side::OneCall).is_ok() && rounds.last(Side::Node).is_err());
    }
}
