//! Faults, kills and overload against the real processes, judged by what their clients were told.
//!
//! [`run`] lets clients post while the endpoint fails and services are killed, and holds what clients were told against
//! what is in the tables ([`judge`]); [`reference`](mod@reference) is what shows that it would notice. [`overload`] asks
//! for more than can be done, [`connections`] holds what others need. Everything runs on this machine, on the loopback address, bounded in number and time, and ends with the value that stands for it.

pub mod clients;
pub mod connections;
pub mod faults;
pub mod fleet;
pub mod judge;
pub mod load;
pub mod memory;
pub mod overload;
pub mod plan;
pub mod recovery;
pub mod reference;
pub mod report;
pub mod run;
pub mod side;
pub mod stage;
pub mod stub;
pub mod tenants;
