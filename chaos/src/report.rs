//! The table at the end of a run, and lines of progress.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use crate::checker::Verdict;
use crate::installation::Left;
use crate::moves::Moved;

/// The counts of a run.
#[derive(Debug, Clone)]
pub struct Report {
    pub seed: u64,
    /// Processes beside the endpoint.
    pub services: usize,
    /// Tenants: basic, advanced, premium.
    pub tiers: [usize; 3],
    pub verdict: Verdict,
    /// Repeats of a key whose answer named another id.
    pub contradicted: u64,
    pub statuses: BTreeMap<u16, u64>,
    pub unanswered: u64,
    /// Messages in dead-letter queues before they were redriven.
    pub dead_lettered: u64,
    /// Messages left at the end.
    pub left: Left,
    /// Injected faults, by name.
    pub injected: BTreeMap<&'static str, u64>,
    /// Services killed.
    pub kills: usize,
    /// Services ended with SIGTERM, including those at the end.
    pub terminations: usize,
    /// Terminations that ended in time with exit code 0.
    pub clean: usize,
    /// Tenants moved.
    pub moved: Moved,
    /// Longest time from the end of a fault to the first success, by fault.
    pub recovery: BTreeMap<&'static str, Duration>,
    /// Time in which clients posted.
    pub posted: Duration,
    /// Total time.
    pub took: Duration,
}

impl Report {
    pub fn is_clean(&self) -> bool {
        self.verdict.is_clean()
            && self.contradicted == 0
            && self.left == Left::default()
            && self.moved.total.is_whole()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = &self.verdict;
        let [basic, advanced, premium] = self.tiers;
        let mut row = |name: &str, value: String| writeln!(f, "{name:<34} {value}");
        row("seed", self.seed.to_string())?;
        row(
            "tenants",
            format!("{basic} basic, {advanced} advanced, {premium} premium"),
        )?;
        row("services", self.services.to_string())?;
        row("events", (verdict.accepted + verdict.open).to_string())?;
        row("accepted", verdict.accepted.to_string())?;
        row("stored", verdict.stored.to_string())?;
        row("lost", verdict.lost.to_string())?;
        row("stranded", verdict.stranded.to_string())?;
        row("duplicated", verdict.duplicated.to_string())?;
        row("misrouted", verdict.misrouted.to_string())?;
        row("under another id", verdict.renamed.to_string())?;
        row("with another payload", verdict.altered.to_string())?;
        row("repeats with another id", self.contradicted.to_string())?;
        row(
            "dead-lettered, then redriven",
            self.dead_lettered.to_string(),
        )?;
        row(
            "left in queues, dead-letter queues",
            format!("{}, {}", self.left.waiting, self.left.dead_lettered),
        )?;
        for (status, count) in &self.statuses {
            row(&format!("answers {status}"), count.to_string())?;
        }
        row("requests without an answer", self.unanswered.to_string())?;
        row(
            "faults injected",
            self.injected.values().sum::<u64>().to_string(),
        )?;
        for (name, count) in &self.injected {
            row(&format!("  {name}"), count.to_string())?;
        }
        row("killed (SIGKILL)", self.kills.to_string())?;
        row(
            "ended (SIGTERM), as promised",
            format!("{}, {}", self.terminations, self.clean),
        )?;
        row(
            "moves, longest",
            format!(
                "{}, {:.0} s",
                self.moved.took.len(),
                self.moved.longest().as_secs_f64()
            ),
        )?;
        row(
            "  items, messages, dead letters",
            format!(
                "{}, {}, {}",
                self.moved.items(),
                self.moved.total.forwarded,
                self.moved.total.dead_letters
            ),
        )?;
        row("recovery, longest", String::new())?;
        for (name, longest) in &self.recovery {
            row(
                &format!("  after {name}"),
                format!("{:.2} s", longest.as_secs_f64()),
            )?;
        }
        row(
            "clients posted for",
            format!("{:.0} s", self.posted.as_secs_f64()),
        )?;
        row("took", format!("{:.0} s", self.took.as_secs_f64()))
    }
}

/// Prints a line of progress.
#[expect(clippy::print_stderr, reason = "a run of minutes reports its progress")]
pub fn progress(line: &str) {
    eprintln!("chaos: {line}");
}
