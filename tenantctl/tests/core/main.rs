//! The pure core: what is planned, and what lint finds, on the seed of a GitOps repository as it is in this project.

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
