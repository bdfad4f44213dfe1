//! The neutral endpoint: the calls of SQS, DynamoDB and Parameter Store that a measurement needs, at little processor time.
//!
//! The endpoint speaks the AWS JSON protocol, so the Rust, JavaScript and Python SDKs work over it. It adds a given latency
//! to every call, delivers a backlog on request and counts calls. It keeps no message that is sent to it. It runs as a
//! process of its own on one thread, so that its processor time is measured apart from the service's.

mod answer;
mod backlog;
mod client;
mod ledger;
mod server;

pub(crate) use self::client::Stub;
pub(crate) use self::ledger::Counts;
pub(crate) use self::server::{Options, run};

/// The tenant of every request and of every message of a backlog.
pub(crate) const TENANT: &str = "tenant-2";
/// The environment of every service.
pub(crate) const ENVIRONMENT: &str = "pool-1";
pub(crate) const REGION: &str = "us-east-1";
pub(crate) const ACCOUNT: &str = "000000000000";
/// Name of queue and table; the dead-letter queue has a suffix.
pub(crate) const RESOURCE: &str = "consumer-pool-1-x7k";
