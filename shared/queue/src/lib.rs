//! Two engines for SQS queues: a sender that shares calls among callers, and a receiver that leases messages.
//!
//! - [`sender`]: group commit over SendMessageBatch. Each caller gets the outcome of its own message.
//! - [`receiver`]: polls, leases, handles, acknowledges. A message is deleted only once it was handled.
//! - [`forward`]: moves received messages to another queue.
//! - [`batch`]: the batching rule of the sender, for any other call that takes many entries.
//!
//! The crate knows queues and messages, and never interprets a body, a group or an attribute.

#![warn(missing_docs)]

pub mod batch;
pub mod forward;
pub mod message;
pub mod receiver;
pub mod sender;

mod url;
