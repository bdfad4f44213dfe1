//! The effects over what is real: the `git` program, bare repositories by path, file:// and HTTP, the binary, the queues of
//! the embedded endpoint.

mod cli;
mod concurrency;
mod git;
mod http;
mod program;
mod remote;
mod sample_failures;
mod worker;
