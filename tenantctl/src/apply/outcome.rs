//! Outcomes of requests, and the steps on the way to them.

use std::sync::Arc;

use crate::git::Oid;
use crate::plan::{Plan, PlanError, PlanErrorKind};
use crate::request::RequestId;

/// What carrying a request out came to.
#[derive(Debug, Clone)]
pub struct Applied {
    /// What became of it.
    pub outcome: Outcome,
    /// What was planned; `None` for a repeat.
    pub plan: Option<Plan>,
    /// Pushes it took, 0 where there was nothing to push.
    pub attempts: u32,
}

/// A request's good ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The branch has this commit.
    Committed(Oid),
    /// The repository says so already.
    NothingToDo,
    /// This commit, made before, carries the request's id.
    Repeated(Oid),
}

/// Why one request is not carried out; others are none the worse for it.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// There is no plan.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The id belongs to another request.
    #[error(
        "request id {id} belongs to another request, committed as {commit}: {recorded}; choose another id"
    )]
    IdTaken {
        /// The id.
        id: RequestId,
        /// The commit that has it.
        commit: Oid,
        /// What was asked for under it.
        recorded: String,
    },
}

/// What each request came to.
pub type Results = Vec<Result<Applied, Refused>>;

/// What was planned for each request.
pub(super) type Plans = Arc<Vec<Option<Plan>>>;

/// A step that may take long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Fetching the branch.
    Fetching,
    /// Reading and planning.
    Planning,
    /// Pushing.
    Pushing,
    /// The branch moved on: this is the next attempt's number.
    Again(u32),
    /// The push was not answered: looking for its commit.
    Searching,
}

/// Hears of each step, on any thread.
pub type OnStep = Arc<dyn Fn(Step) + Send + Sync>;

impl Refused {
    /// The stable name of the error, for programs.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Plan(error) => error.code(),
            Self::IdTaken { .. } => "request_id_taken",
        }
    }

    /// Which kind of answer it is.
    pub const fn kind(&self) -> PlanErrorKind {
        match self {
            Self::Plan(error) => error.kind(),
            Self::IdTaken { .. } => PlanErrorKind::Conflict,
        }
    }
}
