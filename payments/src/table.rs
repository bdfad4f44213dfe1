//! What whoever creates the table has to know of it. On demand, all of it strings but the time to live, a number.

/// The parameter, of an environment or a tenant, that holds the table's ARN.
pub const PARAMETER: &str = "payments_ddb";
/// The hash key: whose item it is.
pub const HASH: &str = "tenant_id";
/// The range key: what it is.
pub const RANGE: &str = "sk";
/// The attribute that the table's time to live goes by: seconds since 1970.
pub const EXPIRES_AT: &str = "expires_at";
/// The index of the outbox, with all attributes. Sparse: items that are no entries of the outbox are not in it.
pub const OUTBOX: &str = "outbox";
/// The index's hash key.
pub const OUTBOX_SHARD: &str = "outbox_shard";
/// The index's range key: when the entry was written.
pub const OUTBOX_AT: &str = "outbox_at";
