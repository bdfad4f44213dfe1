//! The sizes of a run and the order of its faults. Pure.

use std::time::Duration;

use crate::faults::{Kind, RATE};

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Schedule {
    /// Each kind of fault alone.
    Each,
    /// The endpoint frozen and killed, Parameter Store gone, credentials expired, the disk full.
    Outages,
    /// All kinds of faults at once.
    All,
    /// Each kind alone, then the outages, then all at once.
    Full,
}

/// The size of a run.
#[derive(Debug, Clone, clap::Args)]
pub struct Plan {
    /// Events that clients post
    #[arg(long, default_value_t = 100_000)]
    pub events: usize,
    /// Tenants, of three tiers
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u16).range(3..=200))]
    pub tenants: u16,
    /// Clients of each tenant
    #[arg(long, default_value_t = 4)]
    pub clients: usize,
    /// Services ended with SIGKILL and started again
    #[arg(long, default_value_t = 30)]
    pub kills: usize,
    /// Services ended with SIGTERM and started again
    #[arg(long, default_value_t = 10)]
    pub terminations: usize,
    /// Moves of tenants among all tiers
    #[arg(long, default_value_t = 24)]
    pub moves: usize,
    /// Seconds for which the endpoint is gone, frozen once and killed once
    #[arg(long, default_value_t = 15)]
    pub outage_seconds: u64,
    /// Seconds for which Parameter Store is gone
    #[arg(long, default_value_t = 60)]
    pub parameters_seconds: u64,
    /// Seconds for which a received message is hidden from other consumers
    #[arg(long, default_value_t = 15)]
    pub visibility_seconds: u64,
    /// Faults to inject
    #[arg(long, value_enum, default_value_t = Schedule::Full)]
    pub schedule: Schedule,
    /// Kinds of faults; all if none is given
    #[arg(long = "kind", value_enum)]
    pub kinds: Vec<Kind>,
    /// Share of the calls at which each kind of fault is injected
    #[arg(long, default_value_t = RATE)]
    pub rate: f64,
}

/// Share of the events for each kind alone in a full schedule: twelve kinds take 48 % of the events.
const SHARE_PER_KIND: f64 = 0.04;

/// A fault of the whole endpoint that lasts a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outage {
    /// The endpoint keeps its connections and answers nothing.
    Frozen,
    /// The endpoint is killed and started again on its data.
    Killed,
    /// Parameter Store answers nothing.
    NoParameters,
    /// Every call is refused for its credentials.
    ExpiredCredentials,
    /// Every write of the endpoint fails; then it is killed and started again, without the limit.
    FullDisk,
}

impl Outage {
    /// All outages in the order of a run.
    pub const ALL: [Self; 5] = [
        Self::Frozen,
        Self::Killed,
        Self::NoParameters,
        Self::ExpiredCredentials,
        Self::FullDisk,
    ];

    /// The name in the table.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Frozen => "endpoint frozen",
            Self::Killed => "endpoint killed",
            Self::NoParameters => "Parameter Store gone",
            Self::ExpiredCredentials => "credentials expired",
            Self::FullDisk => "endpoint's disk full",
        }
    }
}

/// One part of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// These kinds of faults until this many events are finished.
    Faults(Vec<Kind>, usize),
    /// An outage of this length.
    Outage(Outage, Duration),
}

impl Plan {
    /// The parts in order. The last part ends with the last event.
    pub fn parts(&self) -> Vec<Part> {
        let has = |wanted| self.schedule == wanted || self.schedule == Schedule::Full;
        let kinds = if self.kinds.is_empty() {
            &Kind::ALL[..]
        } else {
            &self.kinds
        };
        let mut parts = Vec::new();
        if has(Schedule::Each) {
            let share = match self.schedule {
                Schedule::Full => SHARE_PER_KIND,
                _ => 1.0 / kinds.len() as f64,
            };
            let until = |index: usize| (self.events as f64 * share * (index + 1) as f64) as usize;
            parts.extend(
                kinds
                    .iter()
                    .enumerate()
                    .map(|(index, kind)| Part::Faults(vec![*kind], until(index))),
            );
        }
        if has(Schedule::Outages) {
            parts.extend(Outage::ALL.map(|outage| Part::Outage(outage, self.length(outage))));
        }
        if has(Schedule::All) {
            parts.push(Part::Faults(kinds.to_vec(), self.events));
        }
        parts
    }

    /// Moves, evenly spread: the number of finished events before each.
    pub fn move_times(&self) -> impl Iterator<Item = usize> {
        (0..self.moves).map(|index| self.events * (index + 1) / (self.moves + 1))
    }

    fn length(&self, outage: Outage) -> Duration {
        Duration::from_secs(match outage {
            Outage::NoParameters => self.parameters_seconds,
            _ => self.outage_seconds,
        })
    }

    /// Kills and terminations, evenly spread: the number of finished events before each, and whether it is a SIGTERM.
    pub fn stops(&self) -> Vec<(usize, bool)> {
        let spread = |count: usize, is_sigterm: bool| {
            (0..count).map(move |index| (self.events * (index + 1) / (count + 1), is_sigterm))
        };
        let mut stops: Vec<_> = spread(self.kills, false)
            .chain(spread(self.terminations, true))
            .collect();
        stops.sort_unstable();
        stops
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAN: Plan = Plan {
        kinds: Vec::new(),
        rate: RATE,
        events: 1000,
        tenants: 50,
        clients: 1,
        kills: 3,
        terminations: 1,
        moves: 3,
        outage_seconds: 15,
        parameters_seconds: 60,
        visibility_seconds: 15,
        schedule: Schedule::Full,
    };

    #[test]
    fn a_full_run_has_each_fault_alone_every_outage_and_all_faults_together() {
        let parts = PLAN.parts();
        assert_eq!(parts.len(), 12 + 5 + 1);
        assert_eq!(parts[0], Part::Faults(vec![Kind::Throttles], 40));
        assert_eq!(parts[11], Part::Faults(vec![Kind::OutOfOrder], 480));
        assert!(parts.contains(&Part::Outage(Outage::NoParameters, Duration::from_secs(60))));
        assert_eq!(parts[17], Part::Faults(Kind::ALL.to_vec(), 1000));
    }

    #[test]
    fn a_run_of_each_fault_alone_uses_all_events() {
        let parts = Plan {
            schedule: Schedule::Each,
            ..PLAN
        }
        .parts();
        assert_eq!(parts.len(), 12);
        assert_eq!(parts[11], Part::Faults(vec![Kind::OutOfOrder], 1000));
    }

    #[test]
    fn kills_are_spread_over_the_run() {
        assert_eq!(
            PLAN.stops(),
            [(250, false), (500, false), (500, true), (750, false)]
        );
    }

    #[test]
    fn moves_are_spread_over_the_run() {
        assert_eq!(PLAN.move_times().collect::<Vec<_>>(), [250, 500, 750]);
    }
}
