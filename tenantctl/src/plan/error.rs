//! Reasons why a request has no plan.

use tenantry_tenancy::tenant::{TenantId, Tier};

use crate::request::ReleaseVersion;
use crate::tree::{RepoPath, TreeError};
use crate::yaml::YamlError;

/// Class of a [`PlanError`]; it decides the exit code, and whether a message is dead-lettered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PlanErrorKind {
    /// The repository contradicts the request.
    Conflict,
    NotFound,
    /// The request can never succeed.
    Invalid,
    /// The repository is broken; the request may be valid.
    Repository,
}

/// Reason why a request has no plan.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    #[error("{tenant} is the placeholder of the tier templates; choose another id")]
    TemplateName { tenant: TenantId },
    #[error(
        "{tenant} begins with a digit, and Kubernetes refuses Services whose names do (RFC 1035); \
         choose an id that begins with a letter"
    )]
    LeadingDigit { tenant: TenantId },
    #[error("{tenant} is a namespace of the platform ({path}); choose another id")]
    NamespaceTaken { tenant: TenantId, path: RepoPath },
    #[error("{tenant} exists in tier {tier}, not {asked}; `tenantctl move` changes a tier")]
    OtherTier {
        tenant: TenantId,
        tier: Tier,
        asked: Tier,
    },
    #[error(
        "{tenant} exists with release {release}, not {asked}; `tenantctl deploy` changes a release"
    )]
    OtherRelease {
        tenant: TenantId,
        release: String,
        asked: ReleaseVersion,
    },
    #[error(
        "{tenant} is offboarded ({path}); its data still exists, so its id is not free. To free the id, run `tenantctl \
         offboard {tenant} --delete-data` and, once the cluster has applied that, `tenantctl forget {tenant}`"
    )]
    Offboarded { tenant: TenantId, path: RepoPath },
    #[error(
        "{tenant} is offboarded ({path}); the only changes left are `tenantctl offboard {tenant} --delete-data` \
         and, once the cluster has applied that, `tenantctl forget {tenant}`"
    )]
    Gone { tenant: TenantId, path: RepoPath },
    #[error(
        "{tenant} is in tier {tier}, and `forget` needs an offboarded tenant; run `tenantctl offboard {tenant}` first"
    )]
    NotOffboarded { tenant: TenantId, tier: Tier },
    #[error(
        "the data of {tenant} is protected, and `forget` would orphan it; run `tenantctl offboard {tenant} \
         --delete-data` first, and let the cluster apply that"
    )]
    Protected { tenant: TenantId },
    #[error("there is no tenant {tenant}; `tenantctl list` shows all tenants")]
    NotFound { tenant: TenantId },
    #[error("the canary wave is empty; name at least one tenant")]
    EmptyWave,
    #[error("{path}{}: {message}; `tenantctl lint` shows all problems", At(*line))]
    Broken {
        path: RepoPath,
        line: Option<usize>,
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

    /// Returns the stable name of the error, for programs.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::TemplateName { .. } => "template_name",
            Self::LeadingDigit { .. } => "leading_digit",
            Self::NamespaceTaken { .. } => "namespace_taken",
            Self::OtherTier { .. } => "other_tier",
            Self::OtherRelease { .. } => "other_release",
            Self::Offboarded { .. } => "offboarded",
            Self::Gone { .. } => "gone",
            Self::NotOffboarded { .. } => "not_offboarded",
            Self::Protected { .. } => "data_protected",
            Self::NotFound { .. } => "not_found",
            Self::EmptyWave => "empty_wave",
            Self::Broken { .. } => "broken_repository",
            Self::Tree(_) => "unreadable_repository",
        }
    }

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
            | Self::NamespaceTaken { .. }
            | Self::LeadingDigit { .. }
            | Self::EmptyWave => PlanErrorKind::Invalid,
            Self::Broken { .. } | Self::Tree(_) => PlanErrorKind::Repository,
        }
    }
}

/// Displays as `:12` if the line is known.
struct At(Option<usize>);

impl std::fmt::Display for At {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.map_or(Ok(()), |line| write!(f, ":{line}"))
    }
}
