//! The neutral endpoint: SQS, DynamoDB and Parameter Store as far as a measurement needs them, and nothing that costs.
//!
//! It answers the AWS JSON protocol so that the Rust, JavaScript and Python SDKs accept it, adds a given latency to
//! every call, hands out a backlog on request and counts. It keeps no message that is sent to it. It runs as a process
//! of its own on one thread, so that what it costs is not counted as a service's, and can be told.

mod answer;
mod backlog;
mod client;
mod ledger;
mod server;

pub(crate) use self::client::Stub;
pub(crate) use self::ledger::Counts;
pub(crate) use self::server::{Options, run};

/// The tenant that every message of a backlog is of, and that requests are made for.
pub(crate) const TENANT: &str = "tenant-2";
/// The pool every service under test runs in.
pub(crate) const ENVIRONMENT: &str = "pool-1";
/// Region of everything.
pub(crate) const REGION: &str = "us-east-1";
/// Account of everything.
pub(crate) const ACCOUNT: &str = "000000000000";
/// Queue and table; what follows is the dead-letter queue's suffix.
pub(crate) const RESOURCE: &str = "consumer-pool-1-x7k";
