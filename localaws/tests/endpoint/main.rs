//! The endpoint over sockets, called with the AWS SDK for Rust and with plain HTTP.

#![expect(clippy::unwrap_used, reason = "a test helper fails by panicking")]

mod durability;
mod dynamodb;
mod faults;
mod leading_keys;
mod lifecycle;
mod long_polls;
mod queues;
mod ssm_sts;
mod support;
