//! Combines Git's releases, what the platform observed and what the probe found into views. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::model::{
    AppPlace, Applied, Blocked, Desired, Figures, PoolView, ProbedApp, Serving, TenantState,
    TenantView,
};
use super::refused::Refused;
use super::time::Time;
use crate::layout::LABEL_PREFIX;
use crate::release::Release;

/// The commit that last changed a release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangeOf {
    pub commit: String,
    pub time: Time,
    pub actor: String,
}

/// What the platform says of all tenants and pools.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Observed {
    /// By name of the release: a tenant's id or a pool's name.
    pub releases: BTreeMap<String, AppliedTenant>,
    /// What blocks every tenant: a broken commit, a source that cannot be read.
    pub blocked: Option<Blocked>,
    /// What the cluster refuses of the tenants.
    pub refused: Option<Refused>,
    /// Namespaces of the cluster that are no tenant's and no pool's.
    pub foreign_namespaces: BTreeSet<String>,
}

impl Observed {
    /// What the platform says of one release. It is current only if the applied commit has the release's last change.
    pub fn of<P: Ord + Default>(
        &self,
        name: &str,
        changed: P,
        position: impl Fn(&str) -> P,
    ) -> Self {
        let mut applied = self.releases.get(name).cloned().unwrap_or_default();
        if let Some(rollout) = &mut applied.rollout {
            let commit = rollout.commit.as_deref();
            rollout.current &= changed <= commit.map_or_else(P::default, position);
        }
        Self {
            releases: [(name.to_owned(), applied)].into(),
            blocked: self.blocked.clone(),
            refused: None,
            foreign_namespaces: BTreeSet::new(),
        }
    }
}

/// What the platform says of one release.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct AppliedTenant {
    pub rollout: Option<Rollout>,
    pub blocked: Option<Blocked>,
    pub figures: Figures,
}

/// How far the platform is with a release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rollout {
    /// Whether the desired state is the applied one: for a tenant that leaves, that nothing of it runs.
    pub current: bool,
    pub commit: Option<String>,
    pub time: Time,
    pub release: Option<String>,
    pub message: Option<String>,
}

/// What a probe found, by app.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probed {
    pub time: Time,
    /// Since when the result is the same.
    pub since: Time,
    /// The commit that was applied when the probe began.
    pub commit: Option<String>,
    pub apps: Arc<BTreeMap<String, ProbeResult>>,
}

/// The answer of one app.
pub type ProbeResult = ProbedApp;

/// Returns the view of a tenant.
pub fn tenant(
    release: &Release,
    change: Option<&ChangeOf>,
    observed: &Observed,
    probed: Option<&Probed>,
) -> TenantView {
    let applied = observed.releases.get(&release.tenant);
    let rollout = applied.and_then(|applied| applied.rollout.as_ref());
    let blocked = applied
        .and_then(|applied| applied.blocked.clone())
        .or_else(|| observed.blocked.clone());
    let apps = Arc::new(places(release));
    let serving = probed.map(|probed| serving(probed, &apps));
    let is_current = rollout.is_some_and(|rollout| rollout.current);
    let answers = serving.as_ref().is_some_and(|serving| serving.answers);
    let (state, since) = if release.offboarded_from.is_some() && is_current {
        (TenantState::Offboarded, rollout.map(|rollout| rollout.time))
    } else if !is_current && let Some(blocked) = &blocked {
        (TenantState::Blocked, blocked.since)
    } else if !is_current {
        (TenantState::Committed, change.map(|change| change.time))
    } else if release.suspended {
        (TenantState::Suspended, rollout.map(|rollout| rollout.time))
    } else if answers {
        (
            TenantState::Serving,
            serving.as_ref().map(|serving| serving.since),
        )
    } else {
        (TenantState::Applied, rollout.map(|rollout| rollout.time))
    };
    let mut figures = applied
        .map(|applied| applied.figures.clone())
        .unwrap_or_default();
    if figures.last_error.is_none() {
        figures.last_error = serving.as_ref().and_then(|serving| {
            let mut errors = serving.apps.values().filter_map(|app| app.error.clone());
            errors.next()
        });
    }
    TenantView {
        id: release.tenant.clone(),
        tier: release
            .offboarded_from
            .clone()
            .unwrap_or_else(|| release.tier.clone()),
        state,
        since,
        release: release.version.clone(),
        suspended: release.suspended,
        held: release.hold.clone(),
        delete_data: release.delete_data,
        labels: labels(release),
        path: release.path.to_string(),
        desired: change.map(|change| desired(change, release)),
        applied: rollout.map(of_rollout),
        serving,
        blocked: if is_current { None } else { blocked },
        figures,
        apps,
    }
}

/// Returns the view of a pool that this many tenants use.
pub fn pool(
    release: &Release,
    change: Option<&ChangeOf>,
    observed: &Observed,
    tenants: usize,
) -> PoolView {
    let applied = observed.releases.get(&release.tenant);
    let rollout = applied.and_then(|applied| applied.rollout.as_ref());
    let is_current = rollout.is_some_and(|rollout| rollout.current);
    let blocked = applied
        .and_then(|applied| applied.blocked.clone())
        .or_else(|| observed.blocked.clone());
    let apps = release.apps.iter().filter(|(_, app)| app.enabled);
    PoolView {
        id: release.tenant.clone(),
        release: release.version.clone(),
        apps: apps.map(|(name, _)| name.clone()).collect(),
        tenants,
        desired: change.map(|change| desired(change, release)),
        applied: rollout.map(of_rollout),
        blocked: if is_current { None } else { blocked },
        figures: applied
            .map(|applied| applied.figures.clone())
            .unwrap_or_default(),
    }
}

/// Where each app of a release runs.
fn places(release: &Release) -> BTreeMap<String, AppPlace> {
    let place = |(name, app): (&String, &crate::release::AppPlacement)| {
        let environment = if app.enabled {
            release.tenant.clone()
        } else {
            app.env_id.clone()?
        };
        let routed = app.route && !release.suspended;
        Some((
            name.clone(),
            AppPlace {
                environment,
                routed,
            },
        ))
    };
    if release.offboarded_from.is_some() {
        return BTreeMap::new();
    }
    release.apps.iter().filter_map(place).collect()
}

fn labels(release: &Release) -> BTreeMap<String, String> {
    let own = |(key, value): (&String, &String)| {
        Some((key.strip_prefix(LABEL_PREFIX)?.to_owned(), value.clone()))
    };
    release.labels.iter().filter_map(own).collect()
}

fn desired(change: &ChangeOf, release: &Release) -> Desired {
    Desired {
        commit: change.commit.clone(),
        time: change.time,
        actor: change.actor.clone(),
        release: release.version.clone(),
    }
}

fn of_rollout(rollout: &Rollout) -> Applied {
    Applied {
        commit: rollout.commit.clone(),
        time: rollout.time,
        release: rollout.release.clone(),
        ready: rollout.current,
        message: rollout.message.clone(),
    }
}

/// Compares the answers with the places of the apps.
fn serving(probed: &Probed, places: &BTreeMap<String, AppPlace>) -> Serving {
    let mut apps = Arc::clone(&probed.apps);
    let mut answers = true;
    for (name, place) in places.iter().filter(|(_, place)| place.routed) {
        let Some(app) = apps.get(name) else {
            answers = false;
            continue;
        };
        let is_well = app.error.is_none();
        let found = app.environment.as_ref();
        let elsewhere = found.filter(|found| **found != place.environment);
        let error = elsewhere.map(|found| {
            format!(
                "{name} answers from {found}, not from {}",
                place.environment
            )
        });
        answers &= is_well && error.is_none();
        if let Some(error) = error
            && let Some(app) = Arc::make_mut(&mut apps).get_mut(name)
        {
            app.error = Some(error);
        }
    }
    Serving {
        commit: probed.commit.clone(),
        time: probed.time,
        since: probed.since,
        answers,
        apps,
    }
}
