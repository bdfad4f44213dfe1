//! What can be asked for: a [`Request`], made of parsed types only.
//!
//! Whoever takes a request from outside (a message, a command line) parses it into these types first. Past that, no
//! text of a stranger reaches a path, a template or a commit message.

mod id;

use std::fmt;
use std::str::FromStr;

use shared::tenant::{TenantId, Tier};

pub use self::id::{InvalidRequestId, RequestId};

/// Longest reason of a hold.
pub const MAX_HOLD_REASON_CHARS: usize = 200;

/// One change of one tenant's life, or of a tier's release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// A new tenant.
    Onboard {
        /// Its id.
        tenant: TenantId,
        /// What it has bought.
        tier: Tier,
        /// The chart it starts with.
        release: ReleaseVersion,
    },
    /// The tenant's apps go; its data stays, under protection, until `delete_data`.
    Offboard {
        /// Its id.
        tenant: TenantId,
        /// The tier it is believed to be in; another one is a conflict.
        tier: Option<Tier>,
        /// Lift the protection of its data, which goes when the tenant is forgotten.
        delete_data: bool,
    },
    /// An offboarded tenant whose data is unprotected leaves the repository: its data goes, its id is free.
    Forget {
        /// Its id.
        tenant: TenantId,
    },
    /// A tier's tenants, or a wave of them, take up a release.
    Deploy {
        /// The tier.
        tier: Tier,
        /// The chart's version.
        release: ReleaseVersion,
        /// Which of them.
        wave: Wave,
    },
    /// A tenant changes its tier.
    Move {
        /// Its id.
        tenant: TenantId,
        /// The tier it changes to.
        to: Tier,
        /// Accept that stored events stay where they are when the table changes.
        leave_data: bool,
    },
    /// The tenant's routes go; everything else stays.
    Suspend {
        /// Its id.
        tenant: TenantId,
    },
    /// The opposite.
    Resume {
        /// Its id.
        tenant: TenantId,
    },
    /// Waves skip the tenant.
    Hold {
        /// Its id.
        tenant: TenantId,
        /// For whoever wonders why.
        reason: HoldReason,
    },
    /// The opposite.
    Unhold {
        /// Its id.
        tenant: TenantId,
    },
}

/// A request and the id it is known by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// What is to be done.
    pub request: Request,
    /// The id that makes a repeat of it known.
    pub id: RequestId,
    /// Whether the id may be in the history already; one just made up cannot.
    pub may_be_repeat: bool,
}

/// Which tenants of a tier take up a release. Tenants on hold never do.
///
/// The pools belong to the basic tier. They serve many tenants at once, so they are no canary: `All` and `Rest` take
/// them along, in the same commit, and `dependsOn` makes them the first to be upgraded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wave {
    /// Everyone.
    All,
    /// Only these tenants, each of which must be in the tier.
    Canary {
        /// At least one.
        tenants: Vec<TenantId>,
    },
    /// About this share of the tier, chosen by tenant id: the same tenants every time, and more with a larger share.
    Percent(Percent),
    /// Everyone who does not have the release yet.
    Rest,
}

/// A share of 1 to 100 percent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Percent(u8);

/// A number that is no share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a share is a whole number from 1 to 100, without a sign")]
pub struct InvalidPercent;

/// A release: `MAJOR.MINOR`, which takes every patch of it, or `MAJOR.MINOR.PATCH`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ReleaseVersion {
    major: u32,
    minor: u32,
    patch: Option<u32>,
}

/// A text that names no release.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a release is MAJOR.MINOR or MAJOR.MINOR.PATCH, for example 0.1 or 0.1.3")]
pub struct InvalidReleaseVersion;

/// Why a tenant is on hold: one line of text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HoldReason(String);

/// A text that is no reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a reason is one line of 1 to {MAX_HOLD_REASON_CHARS} characters, without control characters"
)]
pub struct InvalidHoldReason;

impl Percent {
    /// The number.
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
    /// As the chart version of a `HelmRelease`: `0.1.x` for `0.1`, `0.1.3` for itself.
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
    /// The reason as text.
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

/// A decimal number without sign and leading zeros, as semantic versions have them.
fn number(text: &str) -> Option<u32> {
    let is_decimal = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let is_canonical = text == "0" || !text.starts_with('0');
    if is_decimal && is_canonical {
        text.parse().ok()
    } else {
        None
    }
}
