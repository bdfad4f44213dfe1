//! Payments over real sockets: the API's answers, the ledger and its events, also when requests repeat, processes are killed
//! and calls fail.

mod api;
mod audit;
mod faults;
mod kills;
mod page;
mod pages;
mod sequences;
mod support;
mod tenants;
