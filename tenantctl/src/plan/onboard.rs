//! A new tenant: its tier's template under its name, and a line in the tier's list.

use shared::tenant::{TenantId, Tier};

use super::edits::Edits;
use super::effect::{Effect, Plan};
use super::error::PlanError;
use super::find::{Found, find};
use super::template;
use crate::layout;
use crate::request::ReleaseVersion;
use crate::tenant_file::TenantFile;
use crate::tree::Tree;

pub(super) fn onboard(
    tree: &dyn Tree,
    tenant: &TenantId,
    tier: Tier,
    release: ReleaseVersion,
) -> Result<Plan, PlanError> {
    if tenant.as_str() == layout::PLACEHOLDER {
        return Err(PlanError::TemplateName {
            tenant: tenant.clone(),
        });
    }
    let path = layout::tenant(tier, tenant);
    let version = release.chart_version();
    let mut edits = Edits::new(tree);
    let mut effects = Vec::new();
    match find(tree, tenant)? {
        Found::Tombstone { path, .. } => {
            return Err(PlanError::Offboarded {
                tenant: tenant.clone(),
                path,
            });
        }
        Found::Live(live) if live.tier != tier => {
            return Err(PlanError::OtherTier {
                tenant: tenant.clone(),
                tier: live.tier,
                asked: tier,
            });
        }
        Found::Live(live) => {
            let broken = |error| PlanError::in_file(&live.path, error);
            let file = TenantFile::parse(&live.text).map_err(broken)?;
            let has = file.version().map_err(broken)?;
            if has != version {
                let release_is = has.to_owned();
                return Err(PlanError::OtherRelease {
                    tenant: tenant.clone(),
                    release: release_is,
                    asked: release,
                });
            }
        }
        Found::Nowhere => {
            // Not of an id in general: whoever is there already is found above, and left as it is.
            if tenant
                .as_str()
                .starts_with(|first: char| first.is_ascii_digit())
            {
                return Err(PlanError::LeadingDigit {
                    tenant: tenant.clone(),
                });
            }
            let text = template::instance(tree, tier, tenant, &version)?;
            edits.write(path.clone(), None, text);
            effects.push(Effect::Onboarded {
                tenant: tenant.clone(),
                tier: tier.as_str(),
            });
        }
    }
    // A tenant that somebody took out of the list is not there for Flux: asked for again, it is listed again.
    edits.list(&path)?;
    Ok(Plan {
        edits: edits.finish(),
        subject: format!("Onboard {tenant} ({tier}, {release})"),
        effects,
    })
}
