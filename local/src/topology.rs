//! Which tenants there are and where their apps run: what the tenant chart decides on a cluster.

use shared::environment::Environment;
use shared::tenant::{TenantId, Tier};

/// The shared pool.
pub(crate) const POOL: &str = "pool-1";

/// A service every environment may run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum App {
    Producer,
    Consumer,
    Payments,
}

/// A tenant and its tier.
#[derive(Debug, Clone)]
pub(crate) struct TenantSpec {
    pub(crate) id: TenantId,
    pub(crate) tier: Tier,
}

impl App {
    pub(crate) const ALL: [Self; 3] = [Self::Producer, Self::Consumer, Self::Payments];

    /// Its name: also its path prefix.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Producer => producer::NAME,
            Self::Consumer => consumer::NAME,
            Self::Payments => payments::NAME,
        }
    }

    /// Whether a tier runs this app in the tenant's silo.
    const fn is_siloed(self, tier: Tier) -> bool {
        match tier {
            Tier::Basic => false,
            Tier::Advanced => matches!(self, Self::Consumer),
            Tier::Premium => true,
        }
    }
}

impl TenantSpec {
    /// The environment that runs an app for this tenant.
    pub(crate) fn environment_of(&self, app: App) -> Environment {
        if app.is_siloed(self.tier) { Environment::Silo(self.id.clone()) } else { pool() }
    }
}

/// The shared pool as an environment.
pub(crate) fn pool() -> Environment {
    POOL.parse().expect("the pool's name is valid")
}

/// One tenant a tier, as the walk-through has them.
pub(crate) fn sample_tenants() -> Vec<TenantSpec> {
    [("tenant-1", Tier::Premium), ("tenant-2", Tier::Basic), ("tenant-3", Tier::Advanced)]
        .map(|(id, tier)| TenantSpec { id: id.parse().expect("the sample ids are valid"), tier })
        .into()
}

/// Every environment with the apps it runs: the pool runs all, a silo those of its tenant's tier.
pub(crate) fn environments(tenants: &[TenantSpec]) -> Vec<(Environment, Vec<App>)> {
    let silos = tenants.iter().map(|tenant| {
        let silo = Environment::Silo(tenant.id.clone());
        let apps = App::ALL.into_iter().filter(|app| app.is_siloed(tenant.tier)).collect();
        (silo, apps)
    });
    std::iter::once((pool(), App::ALL.to_vec())).chain(silos).filter(|(_, apps)| !apps.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sample_tenants_run_where_the_contract_says() {
        let table: Vec<[String; 4]> = sample_tenants()
            .iter()
            .map(|tenant| {
                let at = |app| tenant.environment_of(app).to_string();
                [tenant.id.to_string(), at(App::Producer), at(App::Consumer), at(App::Payments)]
            })
            .collect();
        assert_eq!(
            table,
            [
                ["tenant-1", "tenant-1", "tenant-1", "tenant-1"],
                ["tenant-2", "pool-1", "pool-1", "pool-1"],
                ["tenant-3", "pool-1", "tenant-3", "pool-1"],
            ]
        );
    }

    #[test]
    fn a_silo_runs_only_what_its_tier_gives_it() {
        let apps: Vec<_> = environments(&sample_tenants())
            .into_iter()
            .map(|(environment, apps)| (environment.to_string(), apps.len()))
            .collect();
        assert_eq!(apps, [("pool-1".to_owned(), 3), ("tenant-1".to_owned(), 3), ("tenant-3".to_owned(), 1)]);
    }
}
