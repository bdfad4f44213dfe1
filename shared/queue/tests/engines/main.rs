//! Sender and receiver over a real socket: the same SDK path as in production, against the embedded endpoint.

#![expect(clippy::unwrap_used, reason = "a test ends where anything fails")]

mod receiver;
mod sender;
mod support;
