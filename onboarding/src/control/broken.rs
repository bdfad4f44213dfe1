//! The commit since which the branch cannot be read: a revert of it, not of the newest, mends the branch.

use tenantctl::git::{GitError, LogEntry, Oid, Repository};
use tenantctl::release::{ReleaseError, release_states};
use tenantctl::status::Blocked;

use super::now;

/// Commits among which the one is searched that broke the branch.
pub(crate) const MAX_BROKEN: usize = 20;

/// Why the head's releases cannot be read.
#[derive(Debug)]
pub(crate) struct Broken {
    /// The first commit since which they cannot be.
    first: Oid,
    pub(crate) blocked: Blocked,
}

/// A head that cannot be read.
pub(super) struct Unreadable {
    head: Oid,
    error: ReleaseError,
    /// The oldest of the new commits that cannot be read either.
    first: Oid,
    /// Whether the commit before that one can be read.
    is_first: bool,
}

impl Unreadable {
    /// Reads the commits before an unreadable head; `entries` are the new ones, newest first.
    ///
    /// # Errors
    /// Git fails.
    pub(super) fn since(
        repository: &Repository,
        head: &Oid,
        entries: &[LogEntry],
        error: ReleaseError,
    ) -> Result<Self, GitError> {
        let mut found = Self {
            head: head.clone(),
            error,
            first: head.clone(),
            is_first: false,
        };
        let newest = entries.iter().take(MAX_BROKEN).map(|entry| &entry.commit);
        for commit in newest.filter(|commit| *commit != head) {
            if release_states(&repository.snapshot(commit)?).is_ok() {
                found.is_first = true;
                break;
            }
            found.first = commit.clone();
        }
        Ok(found)
    }

    /// What blocks every tenant, after what blocked them until now.
    pub(super) fn after(self, before: Option<Broken>) -> Broken {
        let before = before.filter(|_| !self.is_first);
        let first = before.map_or(self.first, |broken| broken.first);
        let blocked = Blocked {
            code: "broken_commit".to_owned(),
            reason: format!(
                "commit {} cannot be read: {}",
                self.head.short(),
                self.error
            ),
            remedy: format!(
                "push a corrected file, or: git pull && git revert {} && git push; `tenantctl lint` shows all problems",
                first.short()
            ),
            since: Some(now()),
            object: None,
        };
        Broken { first, blocked }
    }
}
