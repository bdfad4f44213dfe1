//! A request and a repository in, edits out: [`plan`] is pure.
//!
//! It reads what it needs and no more: onboarding does not look into other tenants' files. Asked again for what is
//! already so, it plans no edits. What it cannot do without loss it refuses, and says what to do instead.

use tenantry_tenancy::tenant::{TenantId, Tier};

use crate::request::{ReleaseVersion, Request};
use crate::tree::{RepoPath, Tree, TreeError};
use crate::yaml::YamlError;

mod deploy;
mod edits;
mod find;
mod forget;
mod offboard;
mod onboard;
mod switch;
mod template;
mod transfer;

/// The edits that fulfil a request.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Plan {
    /// By path; empty where nothing is to be done, which is a success without a commit.
    pub edits: Vec<Edit>,
    /// The first line of the commit message.
    pub subject: String,
    /// What it means, tenant by tenant, for reports.
    pub effects: Vec<Effect>,
}

/// What becomes of one file.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Edit {
    /// The file.
    pub path: RepoPath,
    /// Its whole new text; `None` deletes it.
    pub content: Option<String>,
}

/// What a plan means for one tenant or pool.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(tag = "effect", rename_all = "snake_case")]
pub enum Effect {
    /// A new tenant.
    Onboarded {
        /// The tenant.
        tenant: TenantId,
        /// Its tier.
        tier: &'static str,
    },
    /// Its apps go, its data stays.
    Offboarded {
        /// The tenant.
        tenant: TenantId,
        /// The tier it was in.
        from: &'static str,
    },
    /// Its data is no longer protected: it goes with the tombstone.
    ProtectionLifted {
        /// The tenant.
        tenant: TenantId,
    },
    /// Its tombstone goes, and its data with that; its id is free.
    Forgotten {
        /// The tenant.
        tenant: TenantId,
    },
    /// Another release.
    Released {
        /// The tenant or pool.
        release: String,
        /// The version it had.
        from: String,
        /// The version it gets.
        to: String,
    },
    /// A wave left it out.
    Skipped {
        /// The tenant or pool.
        release: String,
        /// The reason of its hold.
        reason: String,
    },
    /// Another tier.
    Moved {
        /// The tenant.
        tenant: TenantId,
        /// The tier it was in.
        from: &'static str,
        /// The tier it is in now.
        to: &'static str,
    },
    /// No routes any more.
    Suspended {
        /// The tenant.
        tenant: TenantId,
    },
    /// Routes again.
    Resumed {
        /// The tenant.
        tenant: TenantId,
    },
    /// Waves skip it.
    Held {
        /// The tenant.
        tenant: TenantId,
        /// Why.
        reason: String,
    },
    /// Waves take it along again.
    Unheld {
        /// The tenant.
        tenant: TenantId,
    },
}

/// Which kind of answer a [`PlanError`] is; exit codes and dead letters are made of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PlanErrorKind {
    /// The repository already says something else.
    Conflict,
    /// There is no such tenant.
    NotFound,
    /// The request can never be fulfilled as it is.
    Invalid,
    /// The repository is broken; the request may be fine.
    Repository,
}

/// Why there is no plan.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// The id is the one that templates have in their place.
    #[error(
        "{tenant} is the name that tier templates hold a tenant's place with; choose another id"
    )]
    TemplateName {
        /// The id.
        tenant: TenantId,
    },
    /// No cluster would take its Services: they are named `<tenant>-<app>`.
    #[error(
        "{tenant} begins with a digit: the names of its Services would, too, and Kubernetes refuses those (RFC 1035); \
         choose an id that begins with a letter"
    )]
    LeadingDigit {
        /// The id.
        tenant: TenantId,
    },
    /// The tenant exists in another tier.
    #[error("{tenant} exists in tier {tier}, not {asked}; `tenantctl move` changes a tier")]
    OtherTier {
        /// The tenant.
        tenant: TenantId,
        /// Where it is.
        tier: Tier,
        /// Where the request has it.
        asked: Tier,
    },
    /// The tenant exists with another release.
    #[error(
        "{tenant} exists with release {release}, not {asked}; `tenantctl deploy` changes a release"
    )]
    OtherRelease {
        /// The tenant.
        tenant: TenantId,
        /// What it has.
        release: String,
        /// What the request says.
        asked: ReleaseVersion,
    },
    /// The tenant has been offboarded; its id is not free.
    #[error(
        "{tenant} has been offboarded ({path}) and its id is not free: its data is still there. To be rid of it, \
         `tenantctl offboard {tenant} --delete-data`, and once the cluster has applied that `tenantctl forget {tenant}`"
    )]
    Offboarded {
        /// The tenant.
        tenant: TenantId,
        /// Its tombstone.
        path: RepoPath,
    },
    /// The tenant has been offboarded; there is nothing left to change but its data.
    #[error(
        "{tenant} has been offboarded ({path}); all that is left to do is `tenantctl offboard {tenant} --delete-data` \
         and, once the cluster has applied that, `tenantctl forget {tenant}`"
    )]
    Gone {
        /// The tenant.
        tenant: TenantId,
        /// Its tombstone.
        path: RepoPath,
    },
    /// The tenant to be forgotten is there.
    #[error(
        "{tenant} is in tier {tier}; only who has been offboarded is forgotten (`tenantctl offboard {tenant}`)"
    )]
    NotOffboarded {
        /// The tenant.
        tenant: TenantId,
        /// Where it is.
        tier: Tier,
    },
    /// The tenant to be forgotten has data under protection.
    #[error(
        "the data of {tenant} is protected and would stay behind, known to nobody; first `tenantctl offboard {tenant} \
         --delete-data`, and let the cluster apply that"
    )]
    Protected {
        /// The tenant.
        tenant: TenantId,
    },
    /// No tier has the tenant, and it has never been offboarded.
    #[error("there is no tenant {tenant}; `tenantctl list` shows those there are")]
    NotFound {
        /// The tenant.
        tenant: TenantId,
    },
    /// A canary wave that names nobody.
    #[error("a canary wave names at least one tenant")]
    EmptyWave,
    /// The move changes where the tenant's data is.
    #[error(
        "moving {tenant} from {from} to {to} changes its table: events stored so far stay in the old one, and \
         `GET /consumer/messages` no longer shows them. Say so with `--leave-data`, or copy them first"
    )]
    DataStaysBehind {
        /// The tenant.
        tenant: TenantId,
        /// The tier it is in.
        from: Tier,
        /// The tier it is to be in.
        to: Tier,
    },
    /// A file of the repository is not as it must be.
    #[error("{path}{}: {message}; `tenantctl lint` shows everything that is wrong", At(*line))]
    Broken {
        /// The file.
        path: RepoPath,
        /// Where in it, where that is known.
        line: Option<usize>,
        /// What is wrong.
        message: String,
    },
    /// The repository cannot be read.
    #[error(transparent)]
    Tree(#[from] TreeError),
}

/// The edits that fulfil a request in a repository.
///
/// # Errors
/// See [`PlanError`]; none of them has changed anything.
pub fn plan(tree: &dyn Tree, request: &Request) -> Result<Plan, PlanError> {
    match request {
        Request::Onboard {
            tenant,
            tier,
            release,
        } => onboard::onboard(tree, tenant, *tier, *release),
        Request::Offboard {
            tenant,
            tier,
            delete_data,
        } => offboard::offboard(tree, tenant, *tier, *delete_data),
        Request::Forget { tenant } => forget::forget(tree, tenant),
        Request::Deploy {
            tier,
            release,
            wave,
        } => deploy::deploy(tree, *tier, *release, wave),
        Request::Move {
            tenant,
            to,
            leave_data,
        } => transfer::transfer(tree, tenant, *to, *leave_data),
        Request::Suspend { tenant } => switch::suspend(tree, tenant),
        Request::Resume { tenant } => switch::resume(tree, tenant),
        Request::Hold { tenant, reason } => switch::hold(tree, tenant, reason),
        Request::Unhold { tenant } => switch::unhold(tree, tenant),
    }
}

impl PlanError {
    fn in_file(path: &RepoPath, error: YamlError) -> Self {
        Self::Broken {
            path: path.clone(),
            line: Some(error.line),
            message: error.message,
        }
    }

    /// The stable name of the error, for programs.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::TemplateName { .. } => "template_name",
            Self::LeadingDigit { .. } => "leading_digit",
            Self::OtherTier { .. } => "other_tier",
            Self::OtherRelease { .. } => "other_release",
            Self::Offboarded { .. } => "offboarded",
            Self::Gone { .. } => "gone",
            Self::NotOffboarded { .. } => "not_offboarded",
            Self::Protected { .. } => "data_protected",
            Self::NotFound { .. } => "not_found",
            Self::EmptyWave => "empty_wave",
            Self::DataStaysBehind { .. } => "data_stays_behind",
            Self::Broken { .. } => "broken_repository",
            Self::Tree(_) => "unreadable_repository",
        }
    }

    /// Which kind of answer it is.
    pub const fn kind(&self) -> PlanErrorKind {
        match self {
            Self::OtherTier { .. }
            | Self::OtherRelease { .. }
            | Self::Offboarded { .. }
            | Self::Gone { .. }
            | Self::NotOffboarded { .. }
            | Self::Protected { .. } => PlanErrorKind::Conflict,
            Self::NotFound { .. } => PlanErrorKind::NotFound,
            Self::TemplateName { .. }
            | Self::LeadingDigit { .. }
            | Self::EmptyWave
            | Self::DataStaysBehind { .. } => PlanErrorKind::Invalid,
            Self::Broken { .. } | Self::Tree(_) => PlanErrorKind::Repository,
        }
    }
}

/// `:12` where the line is known.
struct At(Option<usize>);

impl std::fmt::Display for At {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.map_or(Ok(()), |line| write!(f, ":{line}"))
    }
}
