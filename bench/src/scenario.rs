//! The scenarios. Each starts its processes, measures in interleaved rounds and adds its rows and charts to the report.

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
    /// Throughput, CPU and AWS calls of POST at 256 clients, at 0, 5 and 20 ms per call
    Post,
    /// Latency of POST at one client
    Latency,
    /// Throughput and AWS calls of POST at a growing number of clients
    Clients,
    /// Throughput and CPU of GET at 32 clients
    Get,
    /// Rate, CPU and AWS calls of a consumer that drains a backlog
    Drain,
    /// CPU, memory and receives of an idle producer and consumer
    Idle,
    /// Memory of producer and consumer under full load, for ten minutes
    Memory,
    /// Time from the start of a process to its first 200
    Start,
    /// AWS cost per million messages
    Cost,
    /// Lag of one tenant's messages from send to storage during another tenant's flood
    Fairness,
    /// Rate, latency and AWS calls of charges in the payments service
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
