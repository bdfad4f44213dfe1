//! Topology: the pools, the tenants, and the environment of each tenant's apps. The tenant chart derives the same on a
//! cluster; here it is computed from the releases of the GitOps repository.

use std::collections::{BTreeMap, BTreeSet};

use tenantctl::release::Release;
use tenantry_registry::Status;
use tenantry_tenancy::environment::Environment;
use tenantry_tenancy::generation::Generation;
use tenantry_tenancy::tenant::{TenantId, Tier};

/// A service that an environment may run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum App {
    Producer,
    Consumer,
    Payments,
}

/// An app within an environment: a unit that runs and serves requests.
pub(crate) type Target = (Environment, App);

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Topology {
    /// Apps of each pool.
    pub(crate) pools: BTreeMap<Environment, BTreeSet<App>>,
    /// Includes offboarded tenants.
    pub(crate) tenants: BTreeMap<TenantId, TenantSpec>,
    /// The chart's version of each pool and tenant. Nothing here depends on it; deployments change it.
    pub(crate) versions: BTreeMap<String, String>,
}

/// A tenant, as its release defines it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TenantSpec {
    pub(crate) id: TenantId,
    /// Which owner of the id; `None` if the file does not say. The reconciler then decides.
    pub(crate) generation: Option<Generation>,
    pub(crate) state: TenantState,
    /// Placement of each app that runs.
    pub(crate) placements: BTreeMap<App, Placement>,
    /// Whether a move leaves stored events and payments in the former tables.
    pub(crate) leave_data: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TenantState {
    Onboarded { tier: Tier, status: Status },
    Offboarded { delete_data: bool },
}

/// Placement of a tenant's app.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Placement {
    pub(crate) environment: Environment,
    /// Whether the load balancer routes requests to the app.
    pub(crate) routed: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {message}")]
pub(crate) struct InvalidRelease {
    path: String,
    message: String,
}

impl App {
    pub(crate) const ALL: [Self; 3] = [Self::Producer, Self::Consumer, Self::Payments];

    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|app| app.as_str() == name)
    }

    /// The name, and the path prefix.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Producer => producer::NAME,
            Self::Consumer => consumer::NAME,
            Self::Payments => payments::NAME,
        }
    }
}

impl Topology {
    /// Computes the topology of the releases.
    ///
    /// # Errors
    /// The first invalid release: its tenant, tier or pool does not exist.
    pub(crate) fn of(releases: &[Release]) -> Result<Self, InvalidRelease> {
        let version = |release: &Release| (release.tenant.clone(), release.version.clone());
        let mut topology = Self {
            versions: releases.iter().map(version).collect(),
            ..Self::default()
        };
        let environment = |release: &Release| {
            let invalid_name = |_| {
                invalid(
                    release,
                    format!("{:?} is neither a tenant id nor a pool", release.tenant),
                )
            };
            release.tenant.parse::<Environment>().map_err(invalid_name)
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

    /// The state of each tenant.
    pub(crate) fn states(&self) -> BTreeMap<TenantId, TenantState> {
        let states = self.tenants.iter();
        states
            .map(|(id, tenant)| (id.clone(), tenant.state))
            .collect()
    }

    fn tenant(&self, release: &Release, id: TenantId) -> Result<TenantSpec, InvalidRelease> {
        let state = if release.offboarded_from.is_some() {
            TenantState::Offboarded {
                delete_data: release.delete_data,
            }
        } else {
            let invalid_tier =
                |error| invalid(release, format!("tier {:?}: {error}", release.tier));
            let status = if release.suspended {
                Status::Suspended
            } else {
                Status::Active
            };
            TenantState::Onboarded {
                tier: release.tier.parse().map_err(invalid_tier)?,
                status,
            }
        };
        let generation = match release.generation.as_deref() {
            // As in the Terraform module.
            Some("") => Some(Generation::FIRST),
            Some(number) => Some(number.parse().map_err(|error| {
                invalid(
                    release,
                    format!("infra.vars.generation {number:?}: {error}"),
                )
            })?),
            None => None,
        };
        let mut placements = BTreeMap::new();
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
                let none = || invalid(release, format!("no pool {pool} runs {}", app.as_str()));
                found.ok_or_else(none)?.0.clone()
            } else {
                continue;
            };
            placements.insert(
                app,
                Placement {
                    environment,
                    routed: placement.route && !release.suspended,
                },
            );
        }
        Ok(TenantSpec {
            id,
            generation,
            state,
            placements,
            leave_data: release.leave_data,
        })
    }

    /// The names of all pools and tenants.
    pub(crate) fn names(&self) -> BTreeSet<String> {
        self.versions.keys().cloned().collect()
    }

    /// Whether another topology has the same pool or tenant of this name.
    pub(crate) fn is_same(&self, other: &Self, name: &str) -> bool {
        let of = |topology: &Self| {
            let pool = topology
                .pools
                .iter()
                .find(|(pool, _)| pool.as_str() == name);
            let tenant = name.parse::<TenantId>().ok();
            let tenant = tenant.and_then(|tenant| topology.tenants.get(&tenant).cloned());
            let apps = pool.map(|(_, apps)| apps.clone());
            (apps, tenant, topology.versions.get(name).cloned())
        };
        of(self) == of(other)
    }

    /// Every app that runs, with its environment.
    pub(crate) fn targets(&self) -> BTreeSet<Target> {
        let pools = self
            .pools
            .iter()
            .flat_map(|(pool, apps)| apps.iter().map(|app| (pool.clone(), *app)));
        pools
            .chain(self.tenants.values().flat_map(TenantSpec::targets))
            .collect()
    }

    /// The tenants that are not offboarded.
    pub(crate) fn onboarded(&self) -> impl Iterator<Item = (&TenantSpec, Tier)> {
        self.tenants
            .values()
            .filter_map(|tenant| match tenant.state {
                TenantState::Onboarded { tier, .. } => Some((tenant, tier)),
                TenantState::Offboarded { .. } => None,
            })
    }
}

impl TenantSpec {
    /// Returns the environment of the tenant's app.
    pub(crate) fn environment_of(&self, app: App) -> Option<&Environment> {
        self.placements
            .get(&app)
            .map(|placement| &placement.environment)
    }

    /// The apps in the tenant's own environment.
    pub(crate) fn targets(&self) -> impl Iterator<Item = Target> {
        App::ALL
            .into_iter()
            .filter(|app| self.is_siloed(*app))
            .map(|app| (self.silo(), app))
    }

    /// The tenant with some apps in other environments.
    pub(crate) fn with_homes(&self, homes: &BTreeMap<App, Environment>) -> Self {
        let mut spec = self.clone();
        for (app, environment) in homes {
            if let Some(placement) = spec.placements.get_mut(app) {
                placement.environment = environment.clone();
            }
        }
        spec
    }

    pub(crate) fn is_siloed(&self, app: App) -> bool {
        matches!(self.environment_of(app), Some(Environment::Silo(_)))
    }

    /// The tenant's own environment, also if no app runs in it.
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
            .onboarded()
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
    fn a_missing_pool_is_reported_with_the_file() {
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
