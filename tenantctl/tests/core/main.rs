//! The pure core, plans and lint, on this project's seed of a GitOps repository.

#![expect(
    clippy::print_stdout,
    reason = "tests: a panic is a failure, and figures are printed"
)]

mod lint;
mod properties;
mod requests;
mod sample_failures;
mod seed;
mod speed;
