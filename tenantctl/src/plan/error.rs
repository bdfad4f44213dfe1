//! Reasons why a request has no plan.

use shared::tenant::{TenantId, Tier};

use crate::request::ReleaseVersion;
use crate::tree::{RepoPath, TreeError};
use crate::yaml::YamlError;

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

impl PlanError {
    pub(super) fn in_file(path: &RepoPath, error: YamlError) -> Self {
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
