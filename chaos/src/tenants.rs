//! The tenants of a run: their tiers, and the environments of their apps.

use std::cell::RefCell;

/// One tenant of 16 is advanced and one of 16 premium. A silo is one or two processes, and two cores bear about a dozen; a
/// tenant of the pool needs no further process.
const TENANTS_PER_SILO: usize = 16;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tenant {
    pub id: String,
    /// Its home at the start.
    pub home: Home,
    /// Index of its own environment, which a tenant of the pool has if it moves.
    pub silo: Option<usize>,
}

/// The tier of a tenant, and the environments of its apps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Home {
    /// The tier as its parameter spells it.
    pub tier: &'static str,
    /// Index of the environment whose producer accepts its events.
    pub producer: usize,
    /// Index of the environment whose consumer stores its events, with its queue and table.
    pub consumer: usize,
}

/// The present homes of all tenants.
#[derive(Debug)]
pub struct Homes(RefCell<Vec<Home>>);

impl Homes {
    pub fn of(tenant_set: &TenantSet) -> Self {
        let homes = tenant_set
            .tenants
            .iter()
            .map(|tenant| tenant.home)
            .collect();
        Self(RefCell::new(homes))
    }

    pub fn get(&self, tenant: usize) -> Home {
        self.0.borrow()[tenant]
    }

    pub fn set(&self, tenant: usize, home: Home) {
        self.0.borrow_mut()[tenant] = home;
    }
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

pub const TIERS: [&str; 3] = ["basic", "advanced", "premium"];
/// Tenants of each tier that move.
const MOVERS_PER_TIER: usize = 2;

impl Tenant {
    /// Returns the tenant's home in a tier. A tenant without an environment of its own stays in the pool.
    pub fn home_in(&self, tier: &'static str) -> Home {
        let silo = self.silo.unwrap_or(POOL);
        let (producer, consumer) = match tier {
            "premium" => (silo, silo),
            "advanced" => (POOL, silo),
            _ => (POOL, POOL),
        };
        Home {
            tier,
            producer,
            consumer,
        }
    }
}

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
            let silo = has_silo.then(|| tenant_set.add_environment(&id));
            let home = Home {
                tier,
                producer: POOL,
                consumer: POOL,
            };
            let mut tenant = Tenant { id, home, silo };
            tenant.home = tenant.home_in(tier);
            tenant_set.tenants.push(tenant);
        }
        tenant_set
    }

    /// Indices of the tenants that move, some of each tier. Those of the pool get environments of their own.
    pub fn movers(&mut self) -> Vec<usize> {
        let mut movers = Vec::new();
        for tier in TIERS {
            let of_tier =
                (0..self.tenants.len()).filter(|index| self.tenants[*index].home.tier == tier);
            movers.extend(of_tier.take(MOVERS_PER_TIER));
        }
        for index in &movers {
            if self.tenants[*index].silo.is_none() {
                let id = self.tenants[*index].id.clone();
                self.tenants[*index].silo = Some(self.add_environment(&id));
            }
        }
        movers
    }

    fn add_environment(&mut self, name: &str) -> usize {
        self.environments.push(name.to_owned());
        self.environments.len() - 1
    }

    /// Number of tenants of this tier.
    pub fn of_tier(&self, tier: &str) -> usize {
        self.tenants
            .iter()
            .filter(|tenant| tenant.home.tier == tier)
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
                &tenant_set.environments[tenant.home.producer],
                &tenant_set.environments[tenant.home.consumer],
            );
            let expected = match tenant.home.tier {
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
    fn two_tenants_of_each_tier_move_and_have_environments_of_their_own() {
        let mut tenant_set = TenantSet::of(50);
        let movers = tenant_set.movers();
        let tiers: Vec<_> = movers
            .iter()
            .map(|index| tenant_set.tenants[*index].home.tier)
            .collect();
        assert_eq!(
            tiers,
            [
                "basic", "basic", "advanced", "advanced", "premium", "premium"
            ]
        );
        for index in movers {
            let tenant = &tenant_set.tenants[index];
            let silo = tenant.silo.expect("each has one");
            assert_eq!(tenant_set.environments[silo], tenant.id);
            assert_eq!(tenant.home_in(tenant.home.tier), tenant.home);
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
