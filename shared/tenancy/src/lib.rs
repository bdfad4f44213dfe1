//! Tenant id, tier, environment, generation, and the event as a message.
//!
//! The types are pure and are parsed once, at the edge; after the edge no `String` is an id. The crate knows no AWS client
//! and no HTTP.

pub mod environment;
pub mod event;
pub mod generation;
pub mod parameters;
pub mod tenant;

#[cfg(test)]
mod fuzz_targets;
