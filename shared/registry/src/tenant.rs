//! A registered tenant, parsed from its parameters.

use std::collections::HashMap;
use std::str::FromStr;

use tenantry_process::arn::{QueueArn, TableArn};
use tenantry_tenancy::environment::Environment;
use tenantry_tenancy::generation::{Generation, Owner};
use tenantry_tenancy::tenant::{TenantId, Tier};

use crate::LookupError;

/// Parameters read for every tenant.
pub(crate) const NAMES_PER_TENANT: usize = 5;

/// A registered tenant, as described by its parameters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tenant {
    pub id: TenantId,
    /// `None` without the parameter: tenants of older installations have no tier.
    pub tier: Option<Tier>,
    /// Queue of its messages; `None` while its infrastructure is being created.
    pub queue: Option<QueueArn>,
    pub status: Status,
    /// Which owner of the id the tenant is; messages and derived ids of another generation are not the tenant's.
    pub generation: Generation,
    /// Environment whose queue may still hold messages of the tenant, during a move.
    pub moved_from: Option<Environment>,
    /// Table in the parameter that [`crate::TenantRegistry::new`] was given; `None` without such a parameter.
    pub table: Option<TableArn>,
}

impl Tenant {
    pub fn owner(&self) -> Owner {
        Owner {
            tenant: self.id.clone(),
            generation: self.generation,
        }
    }
}

/// A tenant's status, from the parameter `/<tenant>/status`. Accepted messages are stored with every status.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Status {
    /// Requests are answered; the default without the parameter.
    #[default]
    Active,
    /// Requests are refused until the tenant is resumed.
    Suspended,
    /// Payments are being moved to another table: requests that write payments are refused, all others are served.
    Moving,
}

/// The text names no status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a status is one of active, suspended, moving")]
pub struct InvalidStatus;

impl Status {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Suspended => "suspended",
            Self::Moving => "moving",
        }
    }
}

impl FromStr for Status {
    type Err = InvalidStatus;

    fn from_str(text: &str) -> Result<Self, InvalidStatus> {
        match text {
            "active" => Ok(Self::Active),
            "suspended" => Ok(Self::Suspended),
            "moving" => Ok(Self::Moving),
            _ => Err(InvalidStatus),
        }
    }
}

/// Names of the parameters read for a tenant; `table` is the parameter of its table, if tables are read.
pub(crate) fn names(
    id: &TenantId,
    table: Option<&'static str>,
) -> impl Iterator<Item = String> + use<> {
    always(id)
        .into_iter()
        .chain(table.map(|table| format!("/{id}/{table}")))
}

/// Parses a tenant's parameters; returns `None` without queue and tier.
pub(crate) fn parse(
    id: &TenantId,
    table: Option<&'static str>,
    values: &HashMap<String, String>,
) -> Result<Option<Tenant>, LookupError> {
    let [queue, tier, status, generation, moved_from] = always(id);
    // First, so that no other error hides an invalid status.
    let status = value(values, &status)?.unwrap_or_default();
    let tenant = Tenant {
        id: id.clone(),
        tier: value(values, &tier)?,
        queue: value(values, &queue)?,
        status,
        generation: value(values, &generation)?.unwrap_or_default(),
        moved_from: value(values, &moved_from)?,
        table: match table {
            Some(table) => value(values, &format!("/{id}/{table}"))?,
            None => None,
        },
    };
    Ok((tenant.queue.is_some() || tenant.tier.is_some()).then_some(tenant))
}

/// Parses a parameter's value; returns `None` if the parameter does not exist.
pub(crate) fn value<T>(
    values: &HashMap<String, String>,
    name: &str,
) -> Result<Option<T>, LookupError>
where
    T: FromStr<Err: std::fmt::Display>,
{
    let Some(text) = values.get(name) else {
        return Ok(None);
    };
    let wrong = |error: T::Err| LookupError::Misconfigured {
        name: name.to_owned(),
        reason: error.to_string(),
    };
    text.trim().parse().map(Some).map_err(wrong)
}

/// Whether the error is an invalid value of the tenant's status.
pub(crate) fn is_of_status(id: &TenantId, error: &LookupError) -> bool {
    matches!(error, LookupError::Misconfigured { name, .. } if *name == status_name(id))
}

/// Name of the parameter of a tenant's status.
pub(crate) fn status_name(id: &TenantId) -> String {
    format!("/{id}/status")
}

/// Names of the parameters read for every tenant.
fn always(id: &TenantId) -> [String; NAMES_PER_TENANT] {
    ["consumer_sqs", "tier", "status", "generation", "moved_from"]
        .map(|name| format!("/{id}/{name}"))
}
