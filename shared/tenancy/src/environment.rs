//! The environment that a service runs in: a shared pool, or the silo of one tenant.
//!
//! The environment decides which tenants a service may answer. The registry, not the environment, decides a message's queue.

use std::fmt;
use std::str::FromStr;

use crate::tenant::{InvalidTenantId, TenantId, check_label};

/// Prefix of every pool's name.
const POOL_PREFIX: &str = "pool-";

/// One running copy of the services.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Environment {
    /// Shared by every tenant that has no silo, for example `pool-1`.
    Pool(PoolId),
    /// Owned by one tenant, and named after that tenant.
    Silo(TenantId),
}

/// The name of a pool: `pool-` and more, a DNS-1123 label of at most 32 characters.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PoolId(Box<str>);

/// The text names no environment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an environment is a pool (pool-1) or a silo named after its tenant (tenant-1): {0}")]
pub struct InvalidEnvironment(InvalidTenantId);

impl Environment {
    pub fn as_str(&self) -> &str {
        match self {
            Self::Pool(id) => &id.0,
            Self::Silo(tenant) => tenant.as_str(),
        }
    }

    /// Returns true if this environment may answer the tenant: a silo answers its owner alone, a pool any tenant.
    pub fn admits(&self, tenant: &TenantId) -> bool {
        match self {
            Self::Pool(_) => true,
            Self::Silo(owner) => owner == tenant,
        }
    }
}

impl FromStr for Environment {
    type Err = InvalidEnvironment;

    fn from_str(text: &str) -> Result<Self, InvalidEnvironment> {
        if text.strip_prefix(POOL_PREFIX).is_some() {
            check_label(text.as_bytes()).map_err(InvalidEnvironment)?;
            return Ok(Self::Pool(PoolId(text.into())));
        }
        text.parse().map(Self::Silo).map_err(InvalidEnvironment)
    }
}

impl fmt::Display for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pool_answers_every_tenant_and_a_silo_its_owner_alone() {
        let (one, two): (TenantId, TenantId) = (
            "tenant-1".parse().expect("valid"),
            "tenant-2".parse().expect("valid"),
        );
        let pool: Environment = "pool-1".parse().expect("valid");
        let silo: Environment = "tenant-1".parse().expect("valid");
        assert!(pool.admits(&one) && pool.admits(&two));
        assert!(silo.admits(&one) && !silo.admits(&two));
        assert_eq!((pool.as_str(), silo.as_str()), ("pool-1", "tenant-1"));
    }

    #[test]
    fn a_text_that_names_neither_pool_nor_silo_is_refused() {
        for text in [
            "",
            "pool-",
            "pool",
            "Pool-1",
            "kube-system",
            "a/b",
            &format!("pool-{}", "x".repeat(28)),
        ] {
            assert!(text.parse::<Environment>().is_err(), "{text:?}");
        }
    }
}
