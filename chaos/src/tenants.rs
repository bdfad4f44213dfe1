//! The tenants of a run: their tiers, and the environments of their apps.

/// One tenant of 16 is advanced and one of 16 premium. A silo is one or two processes, and two cores bear about a dozen; a
/// tenant of the pool needs no further process.
const TENANTS_PER_SILO: usize = 16;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tenant {
    pub id: String,
    /// The tier as its parameter spells it.
    pub tier: &'static str,
    /// Index of the environment whose producer accepts its events.
    pub producer: usize,
    /// Index of the environment whose consumer stores its events, with its queue and table.
    pub consumer: usize,
}

/// Tenants and their environments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TenantSet {
    /// Names of the environments, the pool first.
    pub environments: Vec<String>,
    pub tenants: Vec<Tenant>,
}

/// Index of the pool.
pub const POOL: usize = 0;

impl TenantSet {
    /// Creates this many tenants: as many advanced as premium tenants, the others basic.
    pub fn of(count: usize) -> Self {
        let silos = count.div_ceil(TENANTS_PER_SILO).min(count / 3);
        let mut tenant_set = Self {
            environments: vec!["pool-1".to_owned()],
            tenants: Vec::with_capacity(count),
        };
        for index in 0..count {
            let (tier, has_silo) = match index {
                index if index < silos => ("premium", true),
                index if index < 2 * silos => ("advanced", true),
                _ => ("basic", false),
            };
            let id = format!("tenant-{}", index + 1);
            let consumer = if has_silo {
                tenant_set.environments.len()
            } else {
                POOL
            };
            if has_silo {
                tenant_set.environments.push(id.clone());
            }
            let producer = if tier == "premium" { consumer } else { POOL };
            tenant_set.tenants.push(Tenant {
                id,
                tier,
                producer,
                consumer,
            });
        }
        tenant_set
    }

    /// Number of tenants of this tier.
    pub fn of_tier(&self, tier: &str) -> usize {
        self.tenants
            .iter()
            .filter(|tenant| tenant.tier == tier)
            .count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fifty_tenants_are_of_three_tiers_and_every_silo_has_one_tenant() {
        let tenant_set = TenantSet::of(50);
        assert_eq!(
            ["premium", "advanced", "basic"].map(|tier| tenant_set.of_tier(tier)),
            [4, 4, 42]
        );
        assert_eq!(tenant_set.environments.len(), 9);
        for tenant in &tenant_set.tenants {
            let (accepting, storing) = (
                &tenant_set.environments[tenant.producer],
                &tenant_set.environments[tenant.consumer],
            );
            let expected = match tenant.tier {
                "premium" => (tenant.id.as_str(), tenant.id.as_str()),
                "advanced" => ("pool-1", tenant.id.as_str()),
                _ => ("pool-1", "pool-1"),
            };
            assert_eq!(
                (accepting.as_str(), storing.as_str()),
                expected,
                "{}",
                tenant.id
            );
        }
    }

    #[test]
    fn three_tenants_are_enough_for_three_tiers() {
        let tenant_set = TenantSet::of(3);
        assert_eq!(
            ["premium", "advanced", "basic"].map(|tier| tenant_set.of_tier(tier)),
            [1, 1, 1]
        );
    }
}
