//! Deploys a release to a tier or a wave: the version changes in each file, and no other byte.

use std::collections::BTreeSet;

use serde_json::Value;
use tenantry_tenancy::tenant::{TenantId, Tier};

use super::edits::Edits;
use super::effect::{Effect, Plan};
use super::error::PlanError;
use super::find;
use crate::kustomization;
use crate::layout;
use crate::request::{FormerRelease, RequestId};
use crate::request::{Percent, ReleaseVersion, Wave};
use crate::tenant_file::{TenantFile, VERSION, is_release};
use crate::tree::{RepoPath, Tree};
use crate::yaml::{parse, set};
use tenantry_tenancy::environment::Environment;

pub(super) fn deploy(
    tree: &dyn Tree,
    tier: Tier,
    release: ReleaseVersion,
    wave: &Wave,
) -> Result<Plan, PlanError> {
    let paths = match wave {
        Wave::All | Wave::Rest => {
            let mut paths = if tier == Tier::Basic {
                pools(tree)?
            } else {
                Vec::new()
            };
            paths.extend(members(tree, tier)?.into_iter().map(|(_, path)| path));
            paths
        }
        Wave::Percent(share) => {
            let members = members(tree, tier)?;
            share_of(members, *share)
        }
        Wave::Canary { tenants } => canary(tree, tier, tenants)?,
    };
    let version = release.chart_version();
    let mut edits = Edits::new(tree);
    let mut effects = Vec::new();
    for path in paths {
        give_release(tree, path, &version, &mut edits, &mut effects)?;
    }
    let subject = match wave {
        Wave::All => format!("Deploy {release} to tier {tier}"),
        Wave::Rest => format!("Deploy {release} to the rest of tier {tier}"),
        Wave::Percent(share) => format!("Deploy {release} to {share} of tier {tier}"),
        Wave::Canary { tenants } if tenants.len() == 1 => {
            format!("Deploy {release} to one tenant of tier {tier}")
        }
        Wave::Canary { tenants } => format!(
            "Deploy {release} to {} tenants of tier {tier}",
            tenants.len()
        ),
    };
    Ok(Plan {
        edits: edits.finish()?,
        subject,
        effects,
    })
}

/// Gives tenants and pools their former versions back.
pub(super) fn restore(
    tree: &dyn Tree,
    deployment: &RequestId,
    releases: &[FormerRelease],
) -> Result<Plan, PlanError> {
    let mut edits = Edits::new(tree);
    let mut effects = Vec::new();
    let pools = pools(tree)?;
    for FormerRelease {
        release,
        deployed,
        former,
    } in releases
    {
        let path = match release {
            Environment::Pool(_) => {
                let is_its = |path: &&RepoPath| path.yaml_stem() == Some(release.as_str());
                pools.iter().find(is_its).cloned()
            }
            Environment::Silo(tenant) => match find::locate(tree, tenant)? {
                find::Location::Active(active) => Some(active.path),
                find::Location::Tombstone { .. } | find::Location::Absent => None,
            },
        };
        // A tenant that left meanwhile has no release to restore.
        let Some(path) = path else { continue };
        let text = read(tree, &path)?;
        let has_it = TenantFile::parse(&text)
            .and_then(|file| Ok(file.version()? == deployed))
            .map_err(|error| PlanError::in_file(&path, error))?;
        if has_it {
            give_release(tree, path, former, &mut edits, &mut effects)?;
        }
    }
    Ok(Plan {
        edits: edits.finish()?,
        subject: format!("Revert deployment {deployment}"),
        effects,
    })
}

/// Changes the version in one file, unless the release is on hold.
fn give_release(
    tree: &dyn Tree,
    path: RepoPath,
    version: &str,
    edits: &mut Edits<'_>,
    effects: &mut Vec<Effect>,
) -> Result<(), PlanError> {
    let broken = |error| PlanError::in_file(&path, error);
    let text = read(tree, &path)?;
    let file = TenantFile::parse(&text).map_err(broken)?;
    let from = file.version().map_err(broken)?;
    if from == version {
        return Ok(());
    }
    let release = path.yaml_stem().unwrap_or_default().to_owned();
    if let Some(reason) = file.hold() {
        effects.push(Effect::Skipped {
            release,
            reason: reason.to_owned(),
        });
        return Ok(());
    }
    effects.push(Effect::Released {
        release,
        from: from.to_owned(),
        to: version.to_owned(),
    });
    let after = set(&text, file.index, &VERSION, &Value::from(version)).map_err(broken)?;
    drop(file);
    edits.write(path, Some(text), after);
    Ok(())
}

/// Returns the tenants that the kustomization of a tier lists.
fn members(tree: &dyn Tree, tier: Tier) -> Result<Vec<(TenantId, RepoPath)>, PlanError> {
    let folder = layout::tier_folder(tier);
    let list = layout::kustomization(&folder);
    let entries = listed(tree, &list)?;
    let member = |(entry, path, line): (String, RepoPath, usize)| {
        let tenant = path
            .file_name()
            .strip_suffix(".yaml")
            .and_then(|name| name.parse::<TenantId>().ok())
            .filter(|tenant| layout::tenant(tier, tenant) == path);
        let tenant = tenant.ok_or_else(|| PlanError::Broken {
            path: list.clone(),
            line: Some(line),
            message: format!("{entry} is not the file of a tenant"),
        })?;
        Ok((tenant, path))
    };
    entries.into_iter().map(member).collect()
}

fn pools(tree: &dyn Tree) -> Result<Vec<RepoPath>, PlanError> {
    let list = layout::kustomization(&layout::pools());
    let mut pools = Vec::new();
    for (entry, path, line) in listed(tree, &list)? {
        let broken = |message: String| PlanError::Broken {
            path: list.clone(),
            line: Some(line),
            message,
        };
        let text = tree
            .read(&path)?
            .ok_or_else(|| broken(format!("{entry} is listed but does not exist")))?;
        let documents = parse(&text).map_err(|error| PlanError::in_file(&path, error))?;
        if documents.iter().any(|document| is_release(&document.root)) {
            pools.push(path);
        }
    }
    Ok(pools)
}

/// Returns the resources of a list with their paths, each path once.
fn listed(tree: &dyn Tree, list: &RepoPath) -> Result<Vec<(String, RepoPath, usize)>, PlanError> {
    let text = read(tree, list)?;
    let folder = list.parent().unwrap_or_else(RepoPath::root);
    let entries =
        kustomization::resources(&text).map_err(|error| PlanError::in_file(list, error))?;
    let mut seen = BTreeSet::new();
    let mut found = Vec::new();
    for (entry, line) in entries {
        let path = folder.resolve(&entry).ok_or_else(|| PlanError::Broken {
            path: list.clone(),
            line: Some(line),
            message: format!("{entry} is not a path inside the repository"),
        })?;
        if seen.insert(path.clone()) {
            found.push((entry, path, line));
        }
    }
    Ok(found)
}

/// Returns the first tenants in the order of a hash of their ids, at least one if the tier has one. The choice is equal each
/// time, and a larger share contains a smaller one.
fn share_of(mut members: Vec<(TenantId, RepoPath)>, share: Percent) -> Vec<RepoPath> {
    members.sort_by_cached_key(|(tenant, _)| (hash(tenant), tenant.clone()));
    let count = (members.len() * usize::from(share.get())).div_ceil(100);
    members
        .into_iter()
        .take(count)
        .map(|(_, path)| path)
        .collect()
}

/// FNV-1a, the same in every build, with the last bytes mixed through: ids often differ in their last character alone.
fn hash(tenant: &TenantId) -> u64 {
    let mixed = tenant
        .as_str()
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
    (mixed ^ (mixed >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd) >> 16
}

/// Returns the files of the named tenants, each of which must be in the tier.
fn canary(tree: &dyn Tree, tier: Tier, tenants: &[TenantId]) -> Result<Vec<RepoPath>, PlanError> {
    if tenants.is_empty() {
        return Err(PlanError::EmptyWave);
    }
    let file = |tenant: &TenantId| {
        let active = find::active(tree, tenant)?;
        if active.tier != tier {
            return Err(PlanError::OtherTier {
                tenant: tenant.clone(),
                tier: active.tier,
                asked: tier,
            });
        }
        Ok(active.path)
    };
    tenants
        .iter()
        .collect::<BTreeSet<_>>()
        .into_iter()
        .map(file)
        .collect()
}

fn read(tree: &dyn Tree, path: &RepoPath) -> Result<String, PlanError> {
    let absent = || PlanError::Broken {
        path: path.clone(),
        line: None,
        message: "the file is missing".to_owned(),
    };
    tree.read(path)?.ok_or_else(absent)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tenants(count: usize) -> Vec<(TenantId, RepoPath)> {
        let tenant = |number| {
            format!("tenant-{number}")
                .parse::<TenantId>()
                .expect("an id")
        };
        (0..count)
            .map(tenant)
            .map(|tenant| (tenant.clone(), layout::tenant(Tier::Basic, &tenant)))
            .collect()
    }

    #[test]
    fn a_larger_share_contains_every_smaller_one() {
        let mut before = Vec::new();
        for share in 1..=100 {
            let chosen = share_of(tenants(250), Percent::try_from(share).expect("a share"));
            assert_eq!(chosen.len(), (250 * usize::from(share)).div_ceil(100));
            assert!(chosen.starts_with(&before), "{share}%");
            before = chosen;
        }
        assert_eq!(before.len(), 250);
    }

    #[test]
    fn a_share_of_few_tenants_is_not_empty_and_does_not_favor_the_first() {
        let one = Percent::try_from(1).expect("a share");
        assert_eq!(share_of(tenants(3), one).len(), 1);
        assert_eq!(share_of(Vec::new(), one), []);
        let half = share_of(tenants(1000), Percent::try_from(50).expect("a share"));
        let low = half
            .iter()
            .filter(|path| {
                path.yaml_stem()
                    .is_some_and(|name| name.len() <= "tenant-499".len() && name < "tenant-5")
            })
            .count();
        assert!(
            (200..=300).contains(&low),
            "{low} of 500 are among the first half of names"
        );
    }
}
