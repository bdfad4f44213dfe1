//! The GitOps repository over the `git` program: [`Repository`].
//!
//! A bare mirror in a cache folder and plumbing, no work tree: what is read is one commit's, what is written is a commit
//! on top of it, and a push succeeds only where the branch is still at that commit. All calls block; they are for a
//! thread that may.
//!
//! Credentials are git's own business (a credential helper, an SSH agent) or an askpass that this program is itself; they
//! are in no URL, no argument and no log line. No hook and no setting of the repository runs anything here, no prompt waits
//! for a terminal, and every call ends.

mod address;
mod credentials;
mod failure;
mod import;
mod names;
mod patch;
mod program;
mod seed;
mod snapshot;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

pub use self::address::{Address, InvalidAddress};
pub use self::credentials::{Credentials, answer_askpass};
pub use self::failure::GitError;
pub use self::names::{Author, Branch, InvalidAuthor, InvalidBranch, Oid};
pub use self::patch::{PatchError, patch};
pub use self::program::{DEFAULT_TIMEOUT, Git};
pub use self::seed::seed;
pub use self::snapshot::Snapshot;
use crate::tree::Edit;

/// The mirror's own name of the branch.
const TRACKING: &str = "refs/tracking/";
/// Where a commit stays reachable until it has been pushed; there is one turn at a time.
const PENDING: &str = "refs/pending/commit";
/// The mirror's file that processes take turns by.
const LOCK_FILE: &str = "turn.lock";
/// Commits looked at that mention a trailer's text; one that merely quotes it is rare.
const MAX_MENTIONS: usize = 100;

/// What a repository is opened with.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where it is.
    pub address: Address,
    /// The branch that is read and pushed to.
    pub branch: Branch,
    /// Who commits.
    pub author: Author,
    /// The folder of mirrors, one for each address.
    pub cache: PathBuf,
    /// What to answer where the remote asks who this is; git's own helpers are asked otherwise.
    pub credentials: Option<Credentials>,
    /// Longest a call of git may take.
    pub timeout: Duration,
}

/// A remote repository, by way of its mirror. Clones share the mirror.
#[derive(Debug, Clone)]
pub struct Repository(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    git: Git,
    folder: PathBuf,
    address: Address,
    branch: Branch,
    author: Author,
}

/// A turn at the mirror, one at a time among all who share it; over when it is dropped.
///
/// Those who take turns spare each other rejected pushes; those who have mirrors of their own are safe all the same.
#[derive(Debug)]
pub struct Turn {
    repository: Repository,
    _lock: File,
    has_pending: bool,
}

/// What became of a push.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pushed {
    /// The branch is at the commit.
    Accepted,
    /// The branch has moved on since the commit's parent: plan again.
    Rejected,
}

impl Repository {
    /// Opens the mirror, creating it where it is missing. Does not reach out to the remote.
    ///
    /// # Errors
    /// There is no `git`, or the cache folder cannot be written.
    pub fn open(settings: Settings) -> Result<Self, GitError> {
        let Settings {
            address,
            branch,
            author,
            cache,
            credentials,
            timeout,
        } = settings;
        let folder = cache.join(address.folder_name());
        let unwritable = |source| GitError::Cache {
            folder: folder.clone(),
            source,
        };
        std::fs::create_dir_all(&folder).map_err(unwritable)?;
        let git = Git::new(&folder, credentials, timeout);
        let repository = Self(Arc::new(Inner {
            git,
            folder: folder.clone(),
            address,
            branch,
            author,
        }));
        let _turn = repository.turn()?;
        if !folder.join("HEAD").exists() {
            repository
                .0
                .git
                .done(&["init", "--quiet", "--bare", "--template=", "."], &[])?;
        }
        Ok(repository)
    }

    /// Where it is.
    pub fn address(&self) -> &Address {
        &self.0.address
    }

    /// The branch.
    pub fn branch(&self) -> &Branch {
        &self.0.branch
    }

    /// Waits for a turn at the mirror. Whoever has one calls git only, and every such call ends.
    ///
    /// # Errors
    /// The cache folder cannot be written.
    pub fn turn(&self) -> Result<Turn, GitError> {
        let unwritable = |source| GitError::Cache {
            folder: self.0.folder.clone(),
            source,
        };
        let lock = File::create(self.0.folder.join(LOCK_FILE)).map_err(unwritable)?;
        lock.lock().map_err(unwritable)?;
        Ok(Turn {
            repository: self.clone(),
            _lock: lock,
            has_pending: false,
        })
    }

    /// The repository as it is at a commit.
    ///
    /// # Errors
    /// `git` cannot be started, or the mirror lacks the commit.
    pub fn snapshot(&self, commit: &Oid) -> Result<Snapshot, GitError> {
        Snapshot::new(&self.0.git, commit)
    }

    /// The messages of the commits up to `head`, newest first, that have one of these very lines.
    ///
    /// # Errors
    /// The mirror cannot be read.
    pub fn commits_with_lines(
        &self,
        head: &Oid,
        lines: &[String],
    ) -> Result<Vec<(Oid, String)>, GitError> {
        if lines.is_empty() {
            return Ok(Vec::new());
        }
        let most = format!("--max-count={MAX_MENTIONS}");
        let greps: Vec<String> = lines.iter().map(|line| format!("--grep={line}")).collect();
        let mut arguments = vec!["rev-list", "--fixed-strings", &most, "--format=%B%x00"];
        arguments.extend(greps.iter().map(String::as_str));
        arguments.extend([head.as_str(), "--"]);
        let found = self.0.git.done(&arguments, &[])?;
        let commits = found.split_terminator('\0').filter_map(|part| {
            let (first, message) = part.trim_start().split_once('\n')?;
            Some((
                Oid::parse(first.strip_prefix("commit ")?)?,
                message.trim_end().to_owned(),
            ))
        });
        let has_line = |message: &str| {
            message
                .lines()
                .any(|line| lines.iter().any(|wanted| wanted == line))
        };
        Ok(commits.filter(|(_, message)| has_line(message)).collect())
    }

    /// The mirror's folder.
    pub fn folder(&self) -> &Path {
        &self.0.folder
    }
}

impl Turn {
    /// Fetches the branch; gives the commit it is at.
    ///
    /// # Errors
    /// See [`GitError`].
    pub fn fetch(&self) -> Result<Oid, GitError> {
        let Inner {
            git,
            folder,
            address,
            branch,
            ..
        } = &*self.repository.0;
        let refspec = format!("+refs/heads/{branch}:{TRACKING}{branch}");
        // Also repacks the mirror when it has grown, and ends with that: nothing is left running.
        let arguments = [
            "fetch",
            "--quiet",
            "--no-tags",
            "--no-prune",
            "--no-recurse-submodules",
            "--no-write-fetch-head",
            "--refmap=",
            "--",
            address.as_str(),
            &refspec,
        ];
        let fetched = git.run(&arguments, &[])?;
        if !fetched.succeeded {
            return Err(failure::of_remote(address, branch, &fetched, folder));
        }
        let name = format!("{TRACKING}{branch}^{{commit}}");
        let head = git.done(&["rev-parse", "--verify", "--quiet", &name], &[])?;
        Oid::parse(head.trim()).ok_or_else(|| GitError::unexpected("rev-parse", &head))
    }

    /// Commits edits on top of a commit, in the mirror alone.
    ///
    /// # Errors
    /// The mirror cannot be written.
    pub fn commit(&mut self, parent: &Oid, edits: &[Edit], message: &str) -> Result<Oid, GitError> {
        let inner = &*self.repository.0;
        let commit = import::Commit {
            parent: Some(parent),
            author: &inner.author,
            message,
            edits,
        };
        self.has_pending = true;
        import::run(&inner.git, PENDING, &[commit])
    }

    /// Pushes a commit that was made on top of `expected`, if the branch is still there.
    ///
    /// # Errors
    /// See [`GitError`]; where its [`GitError::may_have_arrived`] says so, the commit may be on the branch.
    pub fn push(&self, commit: &Oid, expected: &Oid) -> Result<Pushed, GitError> {
        let Inner {
            git,
            folder,
            address,
            branch,
            ..
        } = &*self.repository.0;
        // The lease is what keeps a push from creating a branch anew that somebody has just deleted.
        let lease = format!("--force-with-lease=refs/heads/{branch}:{expected}");
        let refspec = format!("{commit}:refs/heads/{branch}");
        let arguments = [
            "push",
            "--porcelain",
            "--no-verify",
            "--no-follow-tags",
            "--no-signed",
            "--recurse-submodules=no",
            &lease,
            "--",
            address.as_str(),
            &refspec,
        ];
        let pushed = git.run(&arguments, &[])?;
        if pushed.succeeded {
            return Ok(Pushed::Accepted);
        }
        match failure::of_push(&pushed.stdout_text()) {
            Some(failure::Refusal::Moved) => Ok(Pushed::Rejected),
            Some(failure::Refusal::Declined(reason)) => {
                Err(failure::declined(address, &reason, &pushed))
            }
            None => Err(failure::of_remote(address, branch, &pushed, folder)),
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if self.has_pending {
            // At worst a commit that nobody needs stays in the mirror until the next one replaces it.
            drop(
                self.repository
                    .0
                    .git
                    .done(&["update-ref", "-d", PENDING], &[]),
            );
        }
    }
}
