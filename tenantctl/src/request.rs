//! Requests: a [`Request`] consists of parsed types only.
//!
//! A message or a command line is parsed into these types first. After that, no untrusted text reaches a path, a template or a
//! commit message.

mod id;
mod labels;

use std::fmt;
use std::str::FromStr;

use tenantry_tenancy::environment::Environment;
use tenantry_tenancy::tenant::{TenantId, Tier};

pub use self::id::{
    Actor, InvalidActor, InvalidReplyQueue, InvalidRequestId, ReplyQueue, RequestId,
};
pub(crate) use self::labels::is_label;
pub use self::labels::{InvalidLabel, Labels, MAX_LABELS};

pub const MAX_HOLD_REASON_CHARS: usize = 200;

/// One change of a tenant, or of a tier's release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    Onboard {
        tenant: TenantId,
        tier: Tier,
        release: ReleaseVersion,
        /// The operator's own labels of a new tenant.
        labels: Labels,
    },
    /// Removes the tenant's apps; the data stays protected until `delete_data`.
    Offboard {
        tenant: TenantId,
        /// The expected tier; another tier is a conflict.
        tier: Option<Tier>,
        /// Lifts the protection of the data, so that `Forget` deletes it.
        delete_data: bool,
    },
    /// Deletes the tombstone of an offboarded tenant with unprotected data: the data is deleted, the id is free.
    Forget {
        tenant: TenantId,
    },
    /// Deploys a release to the tenants of a tier, or a wave of them.
    Deploy {
        tier: Tier,
        release: ReleaseVersion,
        wave: Wave,
    },
    Move {
        tenant: TenantId,
        to: Tier,
        /// Leaves stored events and payments in the former tables.
        leave_data: bool,
    },
    /// Removes the tenant's routes; everything else stays.
    Suspend {
        tenant: TenantId,
    },
    Resume {
        tenant: TenantId,
    },
    /// Waves skip the tenant.
    Hold {
        tenant: TenantId,
        reason: HoldReason,
    },
    Unhold {
        tenant: TenantId,
    },
    /// Gives tenants and pools the chart versions that they had before a deployment. One that has another version meanwhile
    /// keeps it.
    Restore {
        /// Id of the deployment.
        deployment: RequestId,
        releases: Vec<FormerRelease>,
    },
}

/// A tenant or pool, with the chart version that a deployment gave it, and the one before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FormerRelease {
    pub release: Environment,
    pub deployed: String,
    pub former: String,
}

/// A request and its id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdentifiedRequest {
    pub request: Request,
    /// The id that identifies a repeat of the request.
    pub id: RequestId,
    /// Whether the history may have the id already; it cannot have a random id just made.
    pub may_be_repeat: bool,
    /// Queue that gets the events of the request.
    pub reply_to: Option<ReplyQueue>,
}

/// The tenants of a tier that get a release. Tenants on hold never do.
///
/// The pools belong to the basic tier. A pool serves many tenants, so it is never a canary. `All` and `Rest` deploy the
/// pools in the same commit; `dependsOn` makes Flux upgrade them first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wave {
    /// Every tenant of the tier.
    All,
    Canary {
        tenants: Vec<TenantId>,
    },
    /// About this share of the tier, chosen by tenant id: the same tenants each time; a larger share adds tenants.
    Percent(Percent),
    /// Every tenant that does not have the release yet.
    Rest,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Percent(u8);

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a share is a whole number from 1 to 100, without a sign")]
pub struct InvalidPercent;

/// A release: `MAJOR.MINOR`, which includes every patch, or `MAJOR.MINOR.PATCH`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ReleaseVersion {
    major: u32,
    minor: u32,
    patch: Option<u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a release is MAJOR.MINOR or MAJOR.MINOR.PATCH, for example 0.1 or 0.1.3")]
pub struct InvalidReleaseVersion;

/// Reason of a hold: one line of text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HoldReason(String);

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a reason is one line of 1 to {MAX_HOLD_REASON_CHARS} characters, without control characters"
)]
pub struct InvalidHoldReason;

impl Percent {
    pub const fn get(self) -> u8 {
        self.0
    }
}

impl TryFrom<u8> for Percent {
    type Error = InvalidPercent;

    fn try_from(number: u8) -> Result<Self, InvalidPercent> {
        if (1..=100).contains(&number) {
            Ok(Self(number))
        } else {
            Err(InvalidPercent)
        }
    }
}

impl FromStr for Percent {
    type Err = InvalidPercent;

    fn from_str(text: &str) -> Result<Self, InvalidPercent> {
        number(text)
            .and_then(|number| u8::try_from(number).ok())
            .ok_or(InvalidPercent)?
            .try_into()
    }
}

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}%", self.0)
    }
}

impl ReleaseVersion {
    /// Returns the chart version of a `HelmRelease`: `0.1.x` for `0.1`, `0.1.3` for `0.1.3`.
    pub fn chart_version(self) -> String {
        self.patch.map_or_else(
            || format!("{}.{}.x", self.major, self.minor),
            |patch| format!("{}.{}.{patch}", self.major, self.minor),
        )
    }
}

impl FromStr for ReleaseVersion {
    type Err = InvalidReleaseVersion;

    fn from_str(text: &str) -> Result<Self, InvalidReleaseVersion> {
        let mut numbers = text
            .split('.')
            .map(|text| number(text).ok_or(InvalidReleaseVersion));
        let (Some(major), Some(minor), patch, None) = (
            numbers.next(),
            numbers.next(),
            numbers.next(),
            numbers.next(),
        ) else {
            return Err(InvalidReleaseVersion);
        };
        Ok(Self {
            major: major?,
            minor: minor?,
            patch: patch.transpose()?,
        })
    }
}

impl fmt::Display for ReleaseVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)?;
        self.patch.map_or(Ok(()), |patch| write!(f, ".{patch}"))
    }
}

impl HoldReason {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for HoldReason {
    type Err = InvalidHoldReason;

    fn from_str(text: &str) -> Result<Self, InvalidHoldReason> {
        let is_line = |character: char| {
            !character.is_control() && !matches!(character, '\u{2028}' | '\u{2029}' | '\u{feff}')
        };
        let text = text.trim();
        let fits = !text.is_empty() && text.chars().count() <= MAX_HOLD_REASON_CHARS;
        if fits && text.chars().all(is_line) {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidHoldReason)
        }
    }
}

impl fmt::Display for HoldReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Parses a decimal number without sign and leading zeros, as in semantic versions.
fn number(text: &str) -> Option<u32> {
    let is_decimal = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let is_canonical = text == "0" || !text.starts_with('0');
    if is_decimal && is_canonical {
        text.parse().ok()
    } else {
        None
    }
}
