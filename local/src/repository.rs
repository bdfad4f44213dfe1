//! The GitOps repository: a bare Git repository in the data folder, seeded from the project's `gitops/`.
//!
//! A commit is valid only if lint finds no error in the whole tree and its topology can be computed. After an invalid commit, the
//! last applied commit stays in force, also over a restart.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use localaws::private_files;
use tenantctl::git::{
    self, Address, Author, Branch, DEFAULT_TIMEOUT, GitError, Oid, Repository, Settings,
};
use tenantctl::lint::{Finding, lint};
use tenantctl::release::releases;
use tenantctl::tree::Tree;

use crate::seed;
use crate::topology::Topology;

/// Folder of the repository in the data folder.
pub(crate) const REPOSITORY: &str = "gitops.git";
/// File with the id of the last applied commit, in the data folder.
pub(crate) const LAST_APPLIED: &str = "gitops.good";
/// Folder of the mirror, through which the repository is read.
pub(crate) const CACHE: &str = "gitops-cache";
/// The branch that is followed.
const BRANCH: &str = "main";
/// Poll interval of the branch: two reads of small files.
const POLL_INTERVAL: Duration = Duration::from_millis(100);
/// Lint findings reported per commit.
const MAX_FINDINGS: usize = 20;

#[derive(Clone)]
pub(crate) struct GitopsRepository {
    repository: Repository,
    folder: PathBuf,
    last_applied: PathBuf,
}

/// A commit and its topology.
pub(crate) struct DesiredState {
    pub(crate) commit: Oid,
    pub(crate) topology: Result<Topology, InvalidCommit>,
}

/// Reasons why a commit is not valid, one per line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct InvalidCommit(Vec<String>);

/// Content of the files that hold the branch; every push changes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BranchStamp(Option<Vec<u8>>, Option<Vec<u8>>);

impl fmt::Display for InvalidCommit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("\n"))
    }
}

impl GitopsRepository {
    /// Opens the repository in the data folder, or creates it from the seed.
    ///
    /// # Errors
    /// [`GitError::NoProgram`] without `git`; a folder that cannot be written.
    pub(crate) fn open(data: &Path) -> Result<Self, GitError> {
        let unreadable = |source| GitError::Cache {
            folder: data.to_owned(),
            source,
        };
        let data = data.canonicalize().map_err(unreadable)?;
        let folder = data.join(REPOSITORY);
        let branch: Branch = BRANCH.parse().expect("main is a branch");
        let is_seeded = !folder.exists();
        if is_seeded {
            git::seed(&folder, &branch, &seed::files(), "The sample tenants")?;
        }
        let address: Result<Address, _> = format!("file://{}", folder.display()).parse();
        let address = address.map_err(|error| {
            let source = std::io::Error::new(std::io::ErrorKind::InvalidInput, error);
            GitError::Cache {
                folder: folder.clone(),
                source,
            }
        })?;
        let repository = Repository::open(Settings {
            address,
            branch,
            author: Author::tenantctl(),
            cache: data.join(CACHE),
            credentials: None,
            timeout: DEFAULT_TIMEOUT,
        })?;
        let opened = Self {
            repository,
            folder,
            last_applied: data.join(LAST_APPLIED),
        };
        private_files::restrict(&opened.folder);
        if is_seeded {
            // A unit test lints the seed, so the start need not.
            opened.save_applied(&opened.repository.lock()?.fetch()?);
        }
        Ok(opened)
    }

    pub(crate) fn repository(&self) -> Repository {
        self.repository.clone()
    }

    pub(crate) fn stamp(&self) -> BranchStamp {
        let read = |name: &str| fs::read(self.folder.join(name)).ok();
        BranchStamp(read(&format!("refs/heads/{BRANCH}")), read("packed-refs"))
    }

    /// Waits until the branch differs from the stamp.
    pub(crate) async fn changed_since(&self, stamp: &BranchStamp) {
        while self.stamp() == *stamp {
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }

    /// Reads the head of the branch. Blocks.
    pub(crate) fn head(&self) -> Result<DesiredState, GitError> {
        let commit = self.repository.lock()?.fetch()?;
        self.at(commit)
    }

    /// Reads the last applied commit. Blocks.
    pub(crate) fn last_applied(&self) -> Option<DesiredState> {
        self.at(self.applied()?).ok()
    }

    fn applied(&self) -> Option<Oid> {
        Oid::parse(fs::read_to_string(&self.last_applied).ok()?.trim())
    }

    /// Saves the id of the applied commit: one small write.
    pub(crate) fn save_applied(&self, commit: &Oid) {
        if let Err(error) = fs::write(&self.last_applied, format!("{commit}\n")) {
            tracing::warn!(%error, "write of the last applied commit failed: a restart may not find it");
        }
        private_files::restrict(&self.last_applied);
    }

    fn at(&self, commit: Oid) -> Result<DesiredState, GitError> {
        let snapshot = self.repository.snapshot(&commit)?;
        // An applied commit has passed the lint.
        let topology = if self.applied().as_ref() == Some(&commit) {
            topology_of_valid(&snapshot)
        } else {
            topology_of(&snapshot)
        };
        Ok(DesiredState { commit, topology })
    }
}

/// Lints a tree and computes its topology.
pub(crate) fn topology_of(tree: &dyn Tree) -> Result<Topology, InvalidCommit> {
    let mut findings = lint(tree);
    findings.retain(Finding::is_error);
    if !findings.is_empty() {
        let more = findings.len().saturating_sub(MAX_FINDINGS);
        let mut lines: Vec<String> = findings.iter().take(MAX_FINDINGS).map(describe).collect();
        if more > 0 {
            lines.push(format!("and {more} more"));
        }
        return Err(InvalidCommit(lines));
    }
    topology_of_valid(tree)
}

/// Computes the topology of a tree that passes the lint.
fn topology_of_valid(tree: &dyn Tree) -> Result<Topology, InvalidCommit> {
    let releases = releases(tree).map_err(|error| InvalidCommit(vec![error.to_string()]))?;
    Topology::of(&releases).map_err(|error| InvalidCommit(vec![error.to_string()]))
}

/// Describes a finding in one line: file, line, problem and remedy.
fn describe(finding: &Finding) -> String {
    let Finding {
        path,
        line,
        message,
        fix,
        ..
    } = finding;
    let line = line.map_or_else(String::new, |line| format!(":{line}"));
    format!("{path}{line}: {message}; {fix}")
}
