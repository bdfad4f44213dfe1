//! The schema of the payments table, for the code that creates it. Every attribute here is a string, except the time to
//! live, which is a number.

/// Parameter of an environment or a tenant with the table's ARN.
pub const PARAMETER: &str = "payments_ddb";
/// Hash key: the tenant.
pub const HASH: &str = "tenant_id";
/// Range key: type and id of the item.
pub const RANGE: &str = "sk";
/// Attribute of the table's time to live, in seconds since 1970.
pub const EXPIRES_AT: &str = "expires_at";
/// Index of the outbox, with all attributes. Sparse: it contains the outbox entries only.
pub const OUTBOX: &str = "outbox";
/// Hash key of the index.
pub const OUTBOX_SHARD: &str = "outbox_shard";
/// Range key of the index: the time at which the entry was written.
pub const OUTBOX_AT: &str = "outbox_at";
