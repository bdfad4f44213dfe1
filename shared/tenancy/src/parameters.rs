//! Paths of the index of tenants in Parameter Store, which the provisioners write and the services read.

/// Path with one parameter per registered tenant, named by its id; the value is the tier.
pub const TENANTS_PATH: &str = "/tenantry/tenants";
/// Path with one parameter per tenant that is not active, named by its id; the value is the status.
pub const REFUSED_PATH: &str = "/tenantry/refused";
