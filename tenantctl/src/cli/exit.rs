//! Exit codes, and the conversion of errors to them.

use std::process::ExitCode;

use crate::apply::{ApplyError, RequestError};
use crate::git::{GitError, PatchError};
use crate::message::BadMessage;
use crate::plan::{PlanError, PlanErrorKind};
use crate::release::ReleaseError;
use crate::tree::TreeError;

pub(super) const EXIT_CODES: &str = "\
Exit codes:
  0  done, or nothing to do
  1  unexpected: no git, no place for the mirror, a defect
  2  wrong arguments, or a request that can never succeed
  3  conflict with the repository, or with another request under the same id
  4  no such tenant
  5  the repository has problems: lint has findings, or a file is broken
  6  the remote is unreachable, refuses access, or declined the commit
  7  try again: other writers moved the branch each time, or a push was not answered";

/// The end of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Exit {
    Done = 0,
    Unexpected = 1,
    Usage = 2,
    Conflict = 3,
    NotFound = 4,
    Findings = 5,
    Remote = 6,
    TryAgain = 7,
}

/// Reason why a run failed.
#[derive(Debug)]
pub(super) struct CliError {
    /// Stable name, for programs.
    pub(super) code: &'static str,
    /// One sentence with the remedy.
    pub(super) message: String,
    pub(super) exit: Exit,
}

impl Exit {
    pub(super) const fn code(self) -> u8 {
        self as u8
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        exit.code().into()
    }
}

impl CliError {
    pub(super) fn new(code: &'static str, exit: Exit, message: impl ToString) -> Self {
        Self {
            code,
            exit,
            message: message.to_string(),
        }
    }

    pub(super) fn usage(message: impl ToString) -> Self {
        Self::new("usage", Exit::Usage, message)
    }

    pub(super) fn unexpected(message: impl ToString) -> Self {
        Self::new("unexpected", Exit::Unexpected, message)
    }
}

impl From<PlanErrorKind> for Exit {
    fn from(kind: PlanErrorKind) -> Self {
        match kind {
            PlanErrorKind::Conflict => Self::Conflict,
            PlanErrorKind::NotFound => Self::NotFound,
            PlanErrorKind::Invalid => Self::Usage,
            PlanErrorKind::Repository => Self::Findings,
        }
    }
}

impl From<RequestError> for CliError {
    fn from(refused: RequestError) -> Self {
        Self::new(refused.code(), refused.kind().into(), refused)
    }
}

impl From<BadMessage> for CliError {
    fn from(bad: BadMessage) -> Self {
        Self::new(BadMessage::CODE, Exit::Usage, bad)
    }
}

impl From<PlanError> for CliError {
    fn from(error: PlanError) -> Self {
        Self::new(error.code(), error.kind().into(), error)
    }
}

impl From<GitError> for CliError {
    fn from(error: GitError) -> Self {
        Self::new(error.code(), exit_of(&error), error)
    }
}

impl From<ApplyError> for CliError {
    fn from(error: ApplyError) -> Self {
        let exit = match &error {
            ApplyError::Git(error) => exit_of(error),
            ApplyError::Contended { .. } | ApplyError::PushUnanswered { .. } => Exit::TryAgain,
        };
        Self::new(error.code(), exit, error)
    }
}

impl From<PatchError> for CliError {
    fn from(error: PatchError) -> Self {
        match error {
            PatchError::Tree(error) => error.into(),
            PatchError::Git(error) => error.into(),
        }
    }
}

impl From<TreeError> for CliError {
    fn from(error: TreeError) -> Self {
        Self::new("unreadable_repository", Exit::Findings, error)
    }
}

impl From<ReleaseError> for CliError {
    fn from(error: ReleaseError) -> Self {
        Self::new("broken_repository", Exit::Findings, error)
    }
}

fn exit_of(error: &GitError) -> Exit {
    match error {
        GitError::TimedOut { .. }
        | GitError::Unreachable { .. }
        | GitError::Unauthorized { .. }
        | GitError::Redirected { .. }
        | GitError::NoRepository { .. }
        | GitError::NoBranch { .. }
        | GitError::Declined { .. } => Exit::Remote,
        GitError::PlainHttp { .. } => Exit::Usage,
        GitError::NoProgram(_)
        | GitError::Cache { .. }
        | GitError::Io { .. }
        | GitError::Mirror { .. }
        | GitError::Unexpected { .. } => Exit::Unexpected,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_help_has_every_exit_code() {
        let all = [
            Exit::Done,
            Exit::Unexpected,
            Exit::Usage,
            Exit::Conflict,
            Exit::NotFound,
            Exit::Findings,
            Exit::Remote,
            Exit::TryAgain,
        ];
        for (number, exit) in all.into_iter().enumerate() {
            assert_eq!(usize::from(exit.code()), number);
            assert!(EXIT_CODES.contains(&format!("\n  {number}  ")), "{number}");
        }
        assert_eq!(EXIT_CODES.lines().count(), all.len() + 1);
    }
}
