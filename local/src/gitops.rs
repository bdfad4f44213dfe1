//! Location of the GitOps repository: the data folder, or a temporary folder. Without `git` there is no repository, and the
//! seed is the desired state.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use tenantctl::git::{GitError, Oid};
use tenantry_tenancy::tenant::TenantId;

use crate::error::LocalError;
use crate::repository::{GitopsRepository, InvalidCommit, REPOSITORY, topology_of};
use crate::seed;
use crate::topology::{TenantState, Topology};

pub(crate) struct Gitops {
    pub(crate) repository: Option<GitopsRepository>,
    /// Path of the repository, below the data folder as given.
    pub(crate) path: Option<PathBuf>,
    _temporary: Option<TempDir>,
}

/// What is applied at a start.
pub(crate) struct Start {
    /// The tenants of the commit that was applied last; those of `topology` if that commit cannot be read.
    pub(crate) before: BTreeMap<TenantId, TenantState>,
    pub(crate) topology: Topology,
    /// Its commit; `None` without a repository.
    pub(crate) commit: Option<Oid>,
    /// The head, if it is not valid.
    pub(crate) invalid: Option<(Oid, InvalidCommit)>,
}

impl Gitops {
    pub(crate) fn open(data: Option<&Path>) -> Result<Self, LocalError> {
        let temporary = match data {
            Some(_) => None,
            None => match TempDir::with_prefix("tenantry-") {
                Ok(folder) => Some(folder),
                Err(reason) => {
                    tracing::warn!(%reason, "no temporary folder for the GitOps repository: only the sample tenants are served");
                    return Ok(Self {
                        repository: None,
                        path: None,
                        _temporary: None,
                    });
                }
            },
        };
        let folder = data
            .or_else(|| temporary.as_ref().map(TempDir::path))
            .expect("without a data folder there is a temporary one");
        let repository = match GitopsRepository::open(folder) {
            Ok(repository) => Some(repository),
            Err(GitError::NoProgram(reason)) => {
                tracing::warn!(%reason, "git not found: only the sample tenants are served");
                None
            }
            Err(error) => return Err(error.into()),
        };
        let path = repository.is_some().then(|| folder.join(REPOSITORY));
        Ok(Self {
            repository,
            path,
            _temporary: temporary,
        })
    }

    /// Returns the topology of the head, or of the last applied commit if the head is not valid.
    pub(crate) fn desired(&self) -> Result<Start, LocalError> {
        let Some(repository) = &self.repository else {
            let topology = topology_of(&seed::tree())
                .map_err(|invalid| LocalError::InvalidCommit(invalid.to_string()))?;
            return Ok(Start {
                before: topology.states(),
                topology,
                commit: None,
                invalid: None,
            });
        };
        let head = repository.head()?;
        match head.topology {
            Ok(topology) => {
                let last = repository.last_applied();
                let last = last.and_then(|applied| applied.topology.ok());
                repository.save_applied(&head.commit);
                Ok(Start {
                    before: last.as_ref().unwrap_or(&topology).states(),
                    topology,
                    commit: Some(head.commit),
                    invalid: None,
                })
            }
            Err(invalid) => {
                let before = repository
                    .last_applied()
                    .and_then(|applied| Some((applied.commit, applied.topology.ok()?)));
                let (commit, topology) =
                    before.ok_or_else(|| LocalError::InvalidCommit(invalid.to_string()))?;
                tracing::error!(
                    commit = head.commit.short(),
                    "commit not valid, last applied commit stays in force:\n{invalid}"
                );
                Ok(Start {
                    before: topology.states(),
                    topology,
                    commit: Some(commit),
                    invalid: Some((head.commit, invalid)),
                })
            }
        }
    }
}
