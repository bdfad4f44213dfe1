//! The GitOps repository over the `git` program: [`Repository`].
//!
//! It uses a bare mirror in a cache folder and plumbing commands, no work tree. A read sees one commit. A write is a commit on
//! top of that commit. A push succeeds only if the branch is still at the parent. All calls block, so async code calls them on
//! a blocking thread.
//!
//! Credentials come from git itself (a credential helper, an SSH agent) or from an askpass, which is this program. No URL,
//! argument or log line holds them. Git sends them to the server of the address alone: it follows no redirect, and over plain
//! HTTP it sends them only to this machine. The repository's hooks and settings never run a program. No call prompts, and
//! every call has a time limit.

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
use crate::tree::{Edit, RepoPath};

/// Prefix of the mirror's own reference to the branch.
const TRACKING: &str = "refs/tracking/";
/// The reference that keeps a commit reachable until its push. Only the holder of the mirror's lock uses it.
const PENDING: &str = "refs/pending/commit";
/// The mirror's lock file.
const LOCK_FILE: &str = "mirror.lock";
/// Limit of commits that mention a trailer's text; a commit that merely quotes a trailer is rare.
const MAX_MENTIONS: usize = 100;

/// Three zeros begin an entry: no message has a zero, and an empty one has two at most.
const LOG_FORMAT: &str = "--format=%x00%x00%x00%H%x00%ct%x00%an%x00%B%x00";

/// A commit of the history, and the files that it changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogEntry {
    pub commit: Oid,
    /// Seconds since 1970 by the committer's clock.
    pub seconds: i64,
    pub author: String,
    pub message: String,
    /// Changed files; a path that is not valid here is left out.
    pub paths: Vec<RepoPath>,
}

impl LogEntry {
    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.splitn(5, '\0');
        let mut next = || parts.next();
        let (commit, seconds, author, message) = (next()?, next()?, next()?, next()?);
        let paths = next().unwrap_or_default();
        Some(Self {
            commit: Oid::parse(commit)?,
            seconds: seconds.parse().ok()?,
            author: author.to_owned(),
            message: message.trim_end().to_owned(),
            paths: paths.lines().filter_map(|line| line.parse().ok()).collect(),
        })
    }
}

#[derive(Debug, Clone)]
pub struct Settings {
    pub address: Address,
    pub branch: Branch,
    pub author: Author,
    pub cache: PathBuf,
    /// Credentials for the remote; without them git uses its own helpers.
    pub credentials: Option<Credentials>,
    pub timeout: Duration,
}

/// A remote repository and its mirror. Clones share the mirror.
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

/// The lock of the mirror: at most one process that shares the mirror holds it. A drop releases the lock.
///
/// The lock avoids rejected pushes. Processes with mirrors of their own are safe, too.
#[derive(Debug)]
pub struct MirrorLock {
    repository: Repository,
    _lock: File,
    has_pending: bool,
}

/// The result of a push.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pushed {
    Accepted,
    /// The branch moved away from the commit's parent: plan again.
    Rejected,
}

/// Runs a blocking call on a thread of its own; a panic of the call continues here.
pub async fn on_blocking_thread<T: Send + 'static>(call: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(call)
        .await
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))
}

impl Repository {
    /// Opens the mirror; creates a missing one. Makes no call to the remote.
    pub fn open(settings: Settings) -> Result<Self, GitError> {
        let Settings {
            address,
            branch,
            author,
            cache,
            credentials,
            timeout,
        } = settings;
        if let Some(origin) = address.origin().filter(|_| credentials.is_some())
            && !origin.is_private()
        {
            return Err(GitError::PlainHttp {
                address: address.to_string(),
            });
        }
        let folder = cache.join(address.folder_name());
        let unwritable = |source| GitError::Cache {
            folder: folder.clone(),
            source,
        };
        std::fs::create_dir_all(&folder).map_err(unwritable)?;
        let git = Git::new(&folder, timeout).with_remote(address.clone(), credentials);
        let repository = Self(Arc::new(Inner {
            git,
            folder: folder.clone(),
            address,
            branch,
            author,
        }));
        let _lock = repository.lock()?;
        if !folder.join("HEAD").exists() {
            repository
                .0
                .git
                .output(&["init", "--quiet", "--bare", "--template=", "."], &[])?;
        }
        Ok(repository)
    }

    pub fn address(&self) -> &Address {
        &self.0.address
    }

    pub fn branch(&self) -> &Branch {
        &self.0.branch
    }

    /// Waits for the lock of the mirror. Its holder only calls git, and every call has a time limit.
    pub fn lock(&self) -> Result<MirrorLock, GitError> {
        let unwritable = |source| GitError::Cache {
            folder: self.0.folder.clone(),
            source,
        };
        let lock = File::create(self.0.folder.join(LOCK_FILE)).map_err(unwritable)?;
        lock.lock().map_err(unwritable)?;
        Ok(MirrorLock {
            repository: self.clone(),
            _lock: lock,
            has_pending: false,
        })
    }

    pub fn snapshot(&self, commit: &Oid) -> Result<Snapshot, GitError> {
        Snapshot::new(&self.0.git, commit)
    }

    /// Returns the messages of commits up to `head`, newest first, that have one of these lines.
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
        let found = self.0.git.output(&arguments, &[])?;
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

    /// Returns the commits up to `head` along first parents, newest first: those that `after` does not contain, at most `max`.
    pub fn log(
        &self,
        head: &Oid,
        after: Option<&Oid>,
        max: usize,
    ) -> Result<Vec<LogEntry>, GitError> {
        let most = format!("--max-count={max}");
        let without = after.map(|after| format!("^{after}"));
        let mut arguments = vec![
            "log",
            "--first-parent",
            "--diff-merges=first-parent",
            "--no-renames",
            "--no-color",
            "--no-decorate",
            "--no-mailmap",
            "--no-show-signature",
            "--no-notes",
            "--encoding=UTF-8",
            "--name-only",
            &most,
            LOG_FORMAT,
            head.as_str(),
        ];
        arguments.extend(without.as_deref());
        arguments.push("--");
        let printed = self.0.git.output(&arguments, &[])?;
        Ok(printed
            .split("\0\0\0")
            .filter_map(LogEntry::parse)
            .collect())
    }

    /// Returns what a commit changes, as a unified diff against its first parent.
    pub fn diff(&self, commit: &Oid) -> Result<String, GitError> {
        let arguments = [
            "show",
            "--format=",
            "--diff-merges=first-parent",
            "--no-renames",
            "--no-color",
            "--no-ext-diff",
            "--no-textconv",
            "--no-show-signature",
            "--no-notes",
            commit.as_str(),
            "--",
        ];
        self.0.git.output(&arguments, &[])
    }

    pub fn folder(&self) -> &Path {
        &self.0.folder
    }
}

impl MirrorLock {
    /// Fetches the branch; returns its commit.
    pub fn fetch(&self) -> Result<Oid, GitError> {
        let Inner {
            git,
            folder,
            address,
            branch,
            ..
        } = &*self.repository.0;
        let refspec = format!("+refs/heads/{branch}:{TRACKING}{branch}");
        // A fetch may repack the mirror; no process is left running.
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
            return Err(failure::classify_remote(address, branch, &fetched, folder));
        }
        let name = format!("{TRACKING}{branch}^{{commit}}");
        let head = git.output(&["rev-parse", "--verify", "--quiet", &name], &[])?;
        Oid::parse(head.trim()).ok_or_else(|| GitError::unexpected("rev-parse", &head))
    }

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

    /// Pushes a commit on top of `expected`, if the branch is still at `expected`.
    ///
    /// # Errors
    /// The commit may be on the branch if [`GitError::may_have_arrived`].
    pub fn push(&self, commit: &Oid, expected: &Oid) -> Result<Pushed, GitError> {
        let Inner {
            git,
            folder,
            address,
            branch,
            ..
        } = &*self.repository.0;
        // The lease keeps the push from recreating a branch that another writer has just deleted.
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
        match failure::classify_push(&pushed.stdout_text()) {
            Some(failure::Refusal::Moved) => Ok(Pushed::Rejected),
            Some(failure::Refusal::Declined(reason)) => {
                Err(failure::declined(address, &reason, &pushed))
            }
            None => Err(failure::classify_remote(address, branch, &pushed, folder)),
        }
    }
}

impl Drop for MirrorLock {
    fn drop(&mut self) {
        if self.has_pending {
            // If this fails, a stale commit stays in the mirror until the next one replaces it.
            drop(
                self.repository
                    .0
                    .git
                    .output(&["update-ref", "-d", PENDING], &[]),
            );
        }
    }
}
