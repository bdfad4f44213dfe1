//! Payments over real sockets: what the API answers, what is stored however often it is asked and sent, and what is left
//! of it when processes are killed and calls fail.

mod api;
mod audit;
mod faults;
mod kills;
mod pages;
mod readme;
mod story;
mod support;
mod tenants;
