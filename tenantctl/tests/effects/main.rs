//! Effects on real systems: the `git` program, bare repositories by path, file:// and HTTP, the binary, the queues of the
//! embedded endpoint.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "tests: a panic is a failure, and figures are printed"
)]

mod cli;
mod concurrency;
mod git;
mod handle;
mod http;
mod program;
mod remote;
mod sample_failures;
mod speed;
mod take_back;
mod worker;
