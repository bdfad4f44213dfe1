//! The scenarios: each starts what it needs, measures in interleaved rounds and adds its rows and charts.

mod clients;
mod cost;
mod drain;
mod fairness;
mod get;
mod idle;
mod latency;
mod memory;
mod payments;
mod post;
mod start;

use crate::plan::Plan;
use crate::report::{Report, progress};

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::Subcommand)]
pub(crate) enum Scenario {
    /// POST at 256 clients, at 0, 5 and 20 ms per call
    Post,
    /// POST by one client
    Latency,
    /// POST at a growing number of clients
    Clients,
    /// GET at 32 clients
    Get,
    /// Consumer of a backlog
    Drain,
    /// Idle services
    Idle,
    /// Memory of both services under full load, for ten minutes
    Memory,
    /// From start to the first answer
    Start,
    /// AWS's bill for a million messages
    Cost,
    /// Dwell time of one tenant's messages beside another tenant's flood
    Fairness,
    /// Charges and their events
    Payments,
}

impl Scenario {
    /// All scenarios in the order of the table.
    pub(crate) const ALL: [Self; 11] = [
        Self::Latency,
        Self::Post,
        Self::Clients,
        Self::Get,
        Self::Drain,
        Self::Idle,
        Self::Start,
        Self::Memory,
        Self::Cost,
        Self::Fairness,
        Self::Payments,
    ];

    /// The name on the command line.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Post => "post",
            Self::Latency => "latency",
            Self::Clients => "clients",
            Self::Get => "get",
            Self::Drain => "drain",
            Self::Idle => "idle",
            Self::Memory => "memory",
            Self::Start => "start",
            Self::Cost => "cost",
            Self::Fairness => "fairness",
            Self::Payments => "payments",
        }
    }

    pub(crate) async fn run(self, plan: &Plan, report: &mut Report) -> anyhow::Result<()> {
        progress(&format!("== {}", self.name()));
        match self {
            Self::Post => post::run(plan, report).await,
            Self::Latency => latency::run(plan, report).await,
            Self::Clients => clients::run(plan, report).await,
            Self::Get => get::run(plan, report).await,
            Self::Drain => drain::run(plan, report).await,
            Self::Idle => idle::run(plan, report).await,
            Self::Memory => memory::run(plan, report).await,
            Self::Start => start::run(plan, report).await,
            Self::Cost => cost::run(plan, report).await,
            Self::Fairness => fairness::run(plan, report).await,
            Self::Payments => payments::run(plan, report).await,
        }
    }
}
