//! Onboards a tenant: the tier's template with the tenant's id and generation, and a line in the tier's list.

use serde_json::Value;
use tenantry_tenancy::generation::Generation;
use tenantry_tenancy::tenant::{TenantId, Tier};

use super::edits::Edits;
use super::effect::{Effect, Plan};
use super::error::PlanError;
use super::find::{Location, locate};
use super::template;
use crate::layout;
use crate::request::{Labels, ReleaseVersion};
use crate::tenant_file::TenantFile;
use crate::tree::Tree;
use crate::yaml::{YamlError, set};

/// Key of a tenant's generation in its `HelmRelease`.
const GENERATION: [&str; 5] = ["spec", "values", "infra", "vars", "generation"];

pub(super) fn onboard(
    tree: &dyn Tree,
    tenant: &TenantId,
    tier: Tier,
    (release, labels): (ReleaseVersion, &Labels),
    generation: Generation,
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
    match locate(tree, tenant)? {
        Location::Tombstone { path, .. } => {
            return Err(PlanError::Offboarded {
                tenant: tenant.clone(),
                path,
            });
        }
        Location::Active(active) if active.tier != tier => {
            return Err(PlanError::OtherTier {
                tenant: tenant.clone(),
                tier: active.tier,
                asked: tier,
            });
        }
        Location::Active(active) => {
            let broken = |error| PlanError::in_file(&active.path, error);
            let file = TenantFile::parse(&active.text).map_err(broken)?;
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
        Location::Absent => {
            // Only for new tenants: an existing one is found above and left as it is.
            if tenant
                .as_str()
                .starts_with(|first: char| first.is_ascii_digit())
            {
                return Err(PlanError::LeadingDigit {
                    tenant: tenant.clone(),
                });
            }
            let text = template::instance(tree, tier, tenant, &version)?;
            let text = with_generation(text, generation)
                .map_err(|error| PlanError::in_file(&path, error))?;
            let text =
                with_labels(text, labels).map_err(|error| PlanError::in_file(&path, error))?;
            edits.write(path.clone(), None, text);
            effects.push(Effect::Onboarded {
                tenant: tenant.clone(),
                tier: tier.as_str(),
            });
        }
    }
    // Flux ignores an unlisted tenant, so a repeated request lists it again.
    edits.list(&path)?;
    Ok(Plan {
        edits: edits.finish()?,
        subject: format!("Onboard {tenant} ({tier}, {release})"),
        effects,
    })
}

/// Adds the operator's labels to a tenant's `HelmRelease`.
fn with_labels(mut text: String, labels: &Labels) -> Result<String, YamlError> {
    for (name, value) in labels.iter() {
        let index = TenantFile::parse(&text)?.index;
        let key = format!("{}{name}", layout::LABEL_PREFIX);
        text = set(
            &text,
            index,
            &["metadata", "labels", &key],
            &Value::from(value.as_str()),
        )?;
    }
    Ok(text)
}

/// Adds the generation to a tenant's file. The Terraform module gets it as a variable.
fn with_generation(text: String, generation: Generation) -> Result<String, YamlError> {
    let Some(number) = generation.number() else {
        return Ok(text);
    };
    let index = TenantFile::parse(&text)?.index;
    set(&text, index, &GENERATION, &Value::from(number))
}
