//! What a tenant service is made of: who the tenant is, where its messages go, the two queue engines, and the HTTP,
//! health, telemetry and life cycle every service shares. Knows nothing of any one service.

pub mod arn;
pub mod auth;
pub mod aws;
pub mod config;
pub mod credentials;
pub mod environment;
pub mod event;
pub mod gather;
pub mod health;
pub mod http;
pub mod metrics;
pub mod queue;
pub mod registry;
pub mod service;
pub mod telemetry;
pub mod tenant;

#[cfg(test)]
mod fuzz_targets;
