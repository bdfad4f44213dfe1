//! The contract's HTTP, row by row: against the service processes, and through the load balancer of `local`.

mod answers;
mod errors;
mod foreign;
mod framing;
mod gateway;
mod headers;
mod held;
mod hostile;
mod hostile_values;
mod idempotency;
mod listing;
mod overload;
mod posts;
mod readiness;
mod routes;
