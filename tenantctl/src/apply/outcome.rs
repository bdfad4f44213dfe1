//! Outcomes of requests, and the steps on the way to them.

use std::sync::Arc;

use crate::git::Oid;
use crate::plan::{Plan, PlanError, PlanErrorKind};
use crate::request::RequestId;

/// The result of an applied request.
#[derive(Debug, Clone)]
pub struct Applied {
    pub outcome: ApplyOutcome,
    /// `None` for a repeated request.
    pub plan: Option<Plan>,
    /// Pushes made; 0 if there was nothing to push.
    pub attempts: u32,
}

/// The success of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ApplyOutcome {
    Committed(Oid),
    /// The repository is in the requested state already.
    NothingToDo,
    /// An earlier commit has the request's id.
    Repeated(Oid),
}

/// Reason why one request is not applied. Other requests are not affected.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    #[error(transparent)]
    Plan(#[from] PlanError),
    #[error(
        "request id {id} belongs to another request, committed as {commit}: {recorded}; choose another id"
    )]
    IdTaken {
        id: RequestId,
        commit: Oid,
        recorded: String,
    },
}

/// One result for each request.
pub type ApplyResults = Vec<Result<Applied, RequestError>>;

/// One plan for each request; `None` where the request was refused.
pub(super) type Plans = Arc<Vec<Option<Plan>>>;

/// A step of an apply that may take long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ApplyStep {
    Fetching,
    Planning,
    Pushing,
    /// The branch moved: the attempt with this number begins.
    Replanning(u32),
    /// The push was not answered: the head is searched for its commit.
    Searching,
}

/// Callback for each step, on any thread.
pub type OnStep = Arc<dyn Fn(ApplyStep) + Send + Sync>;

impl RequestError {
    /// Returns the stable name of the error, for programs.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Plan(error) => error.code(),
            Self::IdTaken { .. } => "request_id_taken",
        }
    }

    pub const fn kind(&self) -> PlanErrorKind {
        match self {
            Self::Plan(error) => error.kind(),
            Self::IdTaken { .. } => PlanErrorKind::Conflict,
        }
    }
}
