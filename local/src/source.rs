//! Where the topology comes from: a bare Git repository in the data folder, seeded from the project's `gitops/`. Without
//! `git` on this machine it is the seed itself, which then never changes.
//!
//! A commit counts only if the whole tree passes the lint and asks for something that can be carried out; of one that does
//! not, the reasons are told and the last good one stays in force, through restarts, too.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tenantctl::git::{
    self, Address, Author, Branch, DEFAULT_TIMEOUT, GitError, Oid, Repository, Settings,
};
use tenantctl::lint::{Finding, lint};
use tenantctl::release::releases;
use tenantctl::tree::Tree;

use crate::seed;
use crate::topology::Topology;

/// The repository's folder within the data folder.
pub(crate) const REPOSITORY: &str = "gitops.git";
/// The file that names the last commit that was carried out.
const LAST_GOOD: &str = "gitops.good";
/// The folder of the mirror it is read through.
const CACHE: &str = "gitops-cache";
/// The branch that counts.
const BRANCH: &str = "main";
/// How often the branch is looked at: two reads of small files.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Findings told of one commit.
const MAX_TOLD: usize = 20;

/// The GitOps repository.
#[derive(Clone)]
pub(crate) struct Source {
    repository: Repository,
    folder: PathBuf,
    last_good: PathBuf,
}

/// A commit and what it asks for.
pub(crate) struct Desired {
    pub(crate) commit: Oid,
    pub(crate) topology: Result<Topology, Broken>,
}

/// Why a commit cannot be carried out: one line a reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Broken(Vec<String>);

/// What the branch looks like from outside; different after every push.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stamp(Option<Vec<u8>>, Option<Vec<u8>>);

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("\n"))
    }
}

impl Source {
    /// Opens the repository in the data folder; a new one is seeded.
    ///
    /// # Errors
    /// [`GitError::NoProgram`] where there is no `git`; the folder cannot be written.
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
        let source = Self {
            repository,
            folder,
            last_good: data.join(LAST_GOOD),
        };
        if is_seeded {
            // A unit test lints the seed: nobody needs to wait for that again.
            source.remember(&source.repository.turn()?.fetch()?);
        }
        Ok(source)
    }

    /// The repository, for whoever commits to it.
    pub(crate) fn repository(&self) -> Repository {
        self.repository.clone()
    }

    /// What the branch looks like now.
    pub(crate) fn stamp(&self) -> Stamp {
        let read = |name: &str| fs::read(self.folder.join(name)).ok();
        Stamp(read(&format!("refs/heads/{BRANCH}")), read("packed-refs"))
    }

    /// Ends once the branch looks different.
    pub(crate) async fn changed_since(&self, stamp: &Stamp) {
        while self.stamp() == *stamp {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// The head of the branch. Blocks.
    pub(crate) fn head(&self) -> Result<Desired, GitError> {
        let commit = self.repository.turn()?.fetch()?;
        self.at(commit)
    }

    /// The last commit that was carried out, if any. Blocks.
    pub(crate) fn last_good(&self) -> Option<Desired> {
        self.at(self.good()?).ok()
    }

    fn good(&self) -> Option<Oid> {
        Oid::parse(fs::read_to_string(&self.last_good).ok()?.trim())
    }

    /// Remembers a commit that was carried out: one small write.
    pub(crate) fn remember(&self, commit: &Oid) {
        if let Err(error) = fs::write(&self.last_good, format!("{commit}\n")) {
            tracing::warn!(%error, "a restart may not find the last good commit");
        }
    }

    fn at(&self, commit: Oid) -> Result<Desired, GitError> {
        let snapshot = self.repository.snapshot(&commit)?;
        // What was carried out before passed the lint then.
        let topology = if self.good().as_ref() == Some(&commit) {
            asked_for(&snapshot)
        } else {
            topology_of(&snapshot)
        };
        Ok(Desired { commit, topology })
    }
}

/// What a tree asks for.
pub(crate) fn topology_of(tree: &dyn Tree) -> Result<Topology, Broken> {
    let findings = lint(tree);
    if !findings.is_empty() {
        let more = findings.len().saturating_sub(MAX_TOLD);
        let mut lines: Vec<String> = findings.iter().take(MAX_TOLD).map(told).collect();
        if more > 0 {
            lines.push(format!("and {more} more"));
        }
        return Err(Broken(lines));
    }
    asked_for(tree)
}

/// What a tree that passes the lint asks for.
fn asked_for(tree: &dyn Tree) -> Result<Topology, Broken> {
    let releases = releases(tree).map_err(|error| Broken(vec![error.to_string()]))?;
    Topology::of(&releases).map_err(|error| Broken(vec![error.to_string()]))
}

/// One line: where, what, and what to do.
fn told(finding: &Finding) -> String {
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
