//! Who a request or a message belongs to: tenant id, tier, environment, and the event on the wire.
//!
//! Pure types, parsed once at the edge; inside, no string is an id. Knows no AWS client and no HTTP.

pub mod environment;
pub mod event;
pub mod tenant;

#[cfg(test)]
mod fuzz_targets;
