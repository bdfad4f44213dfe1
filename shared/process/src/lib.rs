//! What every process of the suite has: settings, logs, traces, metrics, probes, signals, drain and exit code.
//!
//! Knows no tenant and no queue. A process that serves requests or drains queues gives its work to [`run::Worker`],
//! which owns the rest of its life.

pub mod admin;
pub mod arn;
pub mod aws;
pub mod config;
pub mod health;
pub mod hold;
pub mod metrics;
pub mod retry;
pub mod run;
pub mod server;
pub mod telemetry;

#[cfg(test)]
mod fuzz_targets;
