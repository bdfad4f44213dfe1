//! The two queue engines over a real socket: the same SDK path as production, against the embedded endpoint.

mod receiver;
mod sender;
mod support;
