//! Faults, kills and overload against the real processes, checked by the answers to their clients.
//!
//! [`run`] lets clients post while the endpoint fails, services are killed and tenants move ([`moves`]). [`checker`] compares
//! the answers with the tables. [`reference`](mod@reference) loses and duplicates messages, so that a test shows that the
//! checker notices.
//! [`overload`] sends more than a producer can do, [`connections`] holds connections open. Everything runs on the loopback
//! address, is bounded in number and time, and ends with its value.

pub mod busy;
pub mod checker;
pub mod clients;
pub mod connections;
pub mod faults;
pub mod fleet;
pub mod installation;
pub mod memory;
pub mod moves;
pub mod overload;
pub mod plan;
mod quota;
pub mod recovery;
pub mod reference;
pub mod report;
pub mod run;
pub mod side;
pub mod stub;
mod target;
pub mod tenants;
