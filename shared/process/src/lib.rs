//! The process runtime: settings, logs, traces, metrics, probes, signals, drain and exit code.
//!
//! A process hands its work to [`run::Worker`], which owns everything from start to exit. The crate knows no tenant and
//! no queue engine.

pub mod admin;
pub mod arn;
pub mod aws;
pub mod config;
pub mod health;
pub mod hold;
pub mod metrics;
pub mod request_id;
pub mod retry;
pub mod run;
pub mod server;
pub mod telemetry;

#[cfg(test)]
mod fuzz_targets;
