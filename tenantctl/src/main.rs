//! The `tenantctl` program.

fn main() {}
