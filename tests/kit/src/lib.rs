//! The test kit: the real binaries as processes, an HTTP client that sends any bytes, load generators, the AWS SDK against
//! the embedded endpoint, a simulated socket for the SDK, and waits with a time limit.
//!
//! Every process ends with its value, also when a test fails. A test owns its endpoint and its services: no test shares
//! state with another, so all may run at once. The kit depends on no crate of the workspace and never decides what an
//! answer should be.

pub mod aws;
pub mod endpoint;
pub mod git;
pub mod http;
pub mod load;
pub mod local;
pub mod metrics;
pub mod process;
pub mod service;
pub mod socket;
pub mod wait;
pub mod world;

/// The version of every crate of the workspace, which every answer names.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
