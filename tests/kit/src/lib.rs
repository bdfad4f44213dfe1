//! What the end-to-end tests are made of: the real binaries as processes, a client that can send any bytes, the AWS
//! SDK against the embedded endpoint, and waiting with a deadline.
//!
//! Every process ends with the value that stands for it, also when a test fails. A test owns its endpoint and its
//! services: none shares state with another, so all may run at once. Nothing here knows what an answer should be.

pub mod aws;
pub mod endpoint;
pub mod http;
pub mod local;
pub mod metrics;
pub mod process;
pub mod service;
pub mod wait;
pub mod world;

/// The version every crate of the workspace has, and every answer names.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
