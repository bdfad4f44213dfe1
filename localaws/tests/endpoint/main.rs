//! The endpoint over real sockets, by the AWS SDK for Rust and by plain HTTP.

#![expect(
    clippy::unwrap_used,
    reason = "a helper of a test fails by panicking, like the test"
)]

mod durability;
mod dynamodb;
mod faults;
mod leading_keys;
mod lifecycle;
mod long_polls;
mod queues;
mod ssm_sts;
mod support;
