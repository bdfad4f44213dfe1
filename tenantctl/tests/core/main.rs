//! The pure core: what is planned, and what lint finds, on the seed of a GitOps repository as it is in this project.

mod lint;
mod properties;
mod requests;
mod sample_failures;
mod seed;
mod speed;
