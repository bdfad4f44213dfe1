//! The two queue engines. They know queues and messages, never tenants.
//!
//! - [`sender`]: group commit over SendMessageBatch: each caller gets its own entry's outcome.
//! - [`receiver`]: poll, lease, hand over, acknowledge: a message is deleted only once it was handled.

pub mod batch;
pub mod message;
pub mod receiver;
pub mod sender;

mod url;
