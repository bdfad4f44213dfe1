//! Which environments there are, which apps they run, and which of them serves whom: what the tenant chart decides on a
//! cluster, read from the releases of the GitOps repository.

use std::collections::{BTreeMap, BTreeSet};

use tenantctl::release::Release;
use tenantry_registry::Status;
use tenantry_tenancy::environment::Environment;
use tenantry_tenancy::tenant::{TenantId, Tier};

/// A service every environment may run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum App {
    Producer,
    Consumer,
    Payments,
}

/// An environment's app: what runs, and where a request goes.
pub(crate) type Target = (Environment, App);

/// Every pool and tenant.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Topology {
    /// What each pool runs.
    pub(crate) pools: BTreeMap<Environment, BTreeSet<App>>,
    /// Each tenant, those that are offboarded, too.
    pub(crate) tenants: BTreeMap<TenantId, TenantSpec>,
}

/// A tenant as its release has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TenantSpec {
    pub(crate) id: TenantId,
    pub(crate) life: Life,
    /// Where each of its apps runs; those that run nowhere are missing.
    pub(crate) places: BTreeMap<App, Place>,
}

/// Where a tenant is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Life {
    Onboard { tier: Tier, status: Status },
    Offboarded { delete_data: bool },
}

/// Where an app runs for a tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) environment: Environment,
    /// Whether requests reach it.
    pub(crate) routed: bool,
}

/// A release that no cluster could carry out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {message}")]
pub(crate) struct InvalidRelease {
    path: String,
    message: String,
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
}

impl Topology {
    /// The topology that the releases ask for.
    ///
    /// # Errors
    /// The first release that names a pool or app there is none of.
    pub(crate) fn of(releases: &[Release]) -> Result<Self, InvalidRelease> {
        let mut topology = Self::default();
        let environment = |release: &Release| {
            let wrong = |_| {
                invalid(
                    release,
                    format!("{:?} is no tenant and no pool", release.tenant),
                )
            };
            release.tenant.parse::<Environment>().map_err(wrong)
        };
        for release in releases {
            if let pool @ Environment::Pool(_) = environment(release)? {
                let apps = App::ALL.into_iter().filter(|app| is_enabled(release, *app));
                topology.pools.insert(pool, apps.collect());
            }
        }
        for release in releases {
            if let Environment::Silo(id) = environment(release)? {
                let spec = topology.tenant(release, id)?;
                topology.tenants.insert(spec.id.clone(), spec);
            }
        }
        Ok(topology)
    }

    fn tenant(&self, release: &Release, id: TenantId) -> Result<TenantSpec, InvalidRelease> {
        let life = if release.offboarded_from.is_some() {
            Life::Offboarded {
                delete_data: release.delete_data,
            }
        } else {
            let wrong = |error| invalid(release, format!("tier {:?}: {error}", release.tier));
            let status = if release.suspended {
                Status::Suspended
            } else {
                Status::Active
            };
            Life::Onboard {
                tier: release.tier.parse().map_err(wrong)?,
                status,
            }
        };
        let mut places = BTreeMap::new();
        for app in App::ALL {
            let Some(placement) = release.apps.get(app.as_str()) else {
                continue;
            };
            let environment = if placement.enabled {
                Environment::Silo(id.clone())
            } else if let Some(pool) = placement.env_id.as_deref().filter(|pool| !pool.is_empty()) {
                let found = self
                    .pools
                    .iter()
                    .find(|(name, apps)| name.as_str() == pool && apps.contains(&app));
                let none = || {
                    invalid(
                        release,
                        format!("there is no pool {pool} that runs {}", app.as_str()),
                    )
                };
                found.ok_or_else(none)?.0.clone()
            } else {
                continue;
            };
            places.insert(
                app,
                Place {
                    environment,
                    routed: placement.route && !release.suspended,
                },
            );
        }
        Ok(TenantSpec { id, life, places })
    }

    /// Every app that runs somewhere.
    pub(crate) fn targets(&self) -> BTreeSet<Target> {
        let pools = self
            .pools
            .iter()
            .flat_map(|(pool, apps)| apps.iter().map(|app| (pool.clone(), *app)));
        let silos = self.tenants.values().flat_map(|tenant| {
            App::ALL
                .into_iter()
                .filter(|app| tenant.is_siloed(*app))
                .map(|app| (tenant.silo(), app))
        });
        pools.chain(silos).collect()
    }

    /// The tenants that are served.
    pub(crate) fn onboard(&self) -> impl Iterator<Item = (&TenantSpec, Tier)> {
        self.tenants
            .values()
            .filter_map(|tenant| match tenant.life {
                Life::Onboard { tier, .. } => Some((tenant, tier)),
                Life::Offboarded { .. } => None,
            })
    }
}

impl TenantSpec {
    /// The environment that runs an app for this tenant, if any.
    pub(crate) fn environment_of(&self, app: App) -> Option<&Environment> {
        self.places.get(&app).map(|place| &place.environment)
    }

    /// Whether the app runs in the tenant's own environment.
    pub(crate) fn is_siloed(&self, app: App) -> bool {
        matches!(self.environment_of(app), Some(Environment::Silo(_)))
    }

    /// The tenant's own environment, whether or not anything runs in it.
    pub(crate) fn silo(&self) -> Environment {
        Environment::Silo(self.id.clone())
    }
}

fn is_enabled(release: &Release, app: App) -> bool {
    release
        .apps
        .get(app.as_str())
        .is_some_and(|placement| placement.enabled)
}

fn invalid(release: &Release, message: String) -> InvalidRelease {
    InvalidRelease {
        path: release.path.to_string(),
        message,
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// The topology of the seed.
    pub(crate) fn seeded() -> Topology {
        let releases =
            tenantctl::release::releases(&crate::seed::tree()).expect("the seed is whole");
        Topology::of(&releases).expect("the seed is right")
    }

    #[test]
    fn the_sample_tenants_run_where_the_contract_says() {
        let topology = seeded();
        let table: Vec<Vec<String>> = topology
            .onboard()
            .map(|(tenant, tier)| {
                let at = |app| {
                    tenant
                        .environment_of(app)
                        .expect("it runs somewhere")
                        .to_string()
                };
                let mut row = vec![tenant.id.to_string(), tier.to_string()];
                row.extend(App::ALL.map(at));
                row
            })
            .collect();
        assert_eq!(
            table,
            [
                ["tenant-1", "premium", "tenant-1", "tenant-1", "tenant-1"],
                ["tenant-2", "basic", "pool-1", "pool-1", "pool-1"],
                ["tenant-3", "advanced", "pool-1", "tenant-3", "pool-1"],
            ]
        );
    }

    #[test]
    fn a_silo_runs_only_what_its_release_gives_it() {
        let targets = seeded().targets();
        let of = |name: &str| {
            targets
                .iter()
                .filter(|(environment, _)| environment.as_str() == name)
                .count()
        };
        assert_eq!(
            (of("pool-1"), of("tenant-1"), of("tenant-2"), of("tenant-3")),
            (3, 3, 0, 1)
        );
    }

    #[test]
    fn a_pool_that_is_not_there_is_named_with_the_file() {
        let mut releases =
            tenantctl::release::releases(&crate::seed::tree()).expect("the seed is whole");
        releases.retain(|release| release.tenant != "pool-1");
        let error = Topology::of(&releases).expect_err("no pool").to_string();
        assert!(
            error.contains("/tenant-2.yaml") && error.contains("pool-1"),
            "{error}"
        );
    }
}
