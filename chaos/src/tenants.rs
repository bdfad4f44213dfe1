//! Who takes part: tenants of three tiers, and the environments their apps run in.

/// What share of the tenants is in silos: one of 16 advanced, one of 16 premium. A silo is a process or two, and what
/// two cores bear is a dozen processes; the tenants of the pool cost nothing more.
const TENANTS_A_SILO: usize = 16;

/// One tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tenant {
    /// Its id.
    pub id: String,
    /// Its tier, as its parameter spells it.
    pub tier: &'static str,
    /// Whose producer takes its events.
    pub producer: usize,
    /// Whose consumer stores them, and so whose queue and table are its own.
    pub consumer: usize,
}

/// Everyone who takes part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cast {
    /// The environments by name; the pool comes first.
    pub environments: Vec<String>,
    /// The tenants.
    pub tenants: Vec<Tenant>,
}

/// The pool's place among the environments.
pub const POOL: usize = 0;

impl Cast {
    /// This many tenants: as many advanced as premium ones, and all others basic.
    pub fn of(count: usize) -> Self {
        let silos = count.div_ceil(TENANTS_A_SILO).min(count / 3);
        let mut cast = Self {
            environments: vec!["pool-1".to_owned()],
            tenants: Vec::with_capacity(count),
        };
        for at in 0..count {
            let (tier, has_silo) = match at {
                at if at < silos => ("premium", true),
                at if at < 2 * silos => ("advanced", true),
                _ => ("basic", false),
            };
            let id = format!("tenant-{}", at + 1);
            let consumer = if has_silo {
                cast.environments.len()
            } else {
                POOL
            };
            if has_silo {
                cast.environments.push(id.clone());
            }
            let producer = if tier == "premium" { consumer } else { POOL };
            cast.tenants.push(Tenant {
                id,
                tier,
                producer,
                consumer,
            });
        }
        cast
    }

    /// How many tenants have this tier.
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
    fn fifty_tenants_are_of_three_tiers_and_every_silo_has_one_owner() {
        let cast = Cast::of(50);
        assert_eq!(
            ["premium", "advanced", "basic"].map(|tier| cast.of_tier(tier)),
            [4, 4, 42]
        );
        assert_eq!(cast.environments.len(), 9);
        for tenant in &cast.tenants {
            let (takes, stores) = (
                &cast.environments[tenant.producer],
                &cast.environments[tenant.consumer],
            );
            let expected = match tenant.tier {
                "premium" => (tenant.id.as_str(), tenant.id.as_str()),
                "advanced" => ("pool-1", tenant.id.as_str()),
                _ => ("pool-1", "pool-1"),
            };
            assert_eq!((takes.as_str(), stores.as_str()), expected, "{}", tenant.id);
        }
    }

    #[test]
    fn three_tenants_are_enough_for_three_tiers() {
        let cast = Cast::of(3);
        assert_eq!(
            ["premium", "advanced", "basic"].map(|tier| cast.of_tier(tier)),
            [1, 1, 1]
        );
    }
}
