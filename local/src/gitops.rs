//! Where the GitOps repository is: in the data folder, in a temporary one, or, without `git`, nowhere: then the seed is all
//! there will be.

use std::path::{Path, PathBuf};

use tempfile::TempDir;
use tenantctl::git::GitError;

use crate::source::{REPOSITORY, Source, topology_of};
use crate::topology::Topology;
use crate::{LocalError, seed};

/// The repository, if there is one.
pub(crate) struct Gitops {
    pub(crate) source: Option<Source>,
    /// Where it is, as the data folder is spelled.
    pub(crate) place: Option<PathBuf>,
    _temporary: Option<TempDir>,
}

impl Gitops {
    pub(crate) fn open(data: Option<&Path>) -> Result<Self, LocalError> {
        let temporary = match data {
            Some(_) => None,
            None => match TempDir::with_prefix("tenantry-") {
                Ok(folder) => Some(folder),
                Err(reason) => {
                    tracing::warn!(%reason, "no temporary folder for a GitOps repository: the sample tenants are all there will be");
                    return Ok(Self {
                        source: None,
                        place: None,
                        _temporary: None,
                    });
                }
            },
        };
        let folder = data
            .or_else(|| temporary.as_ref().map(TempDir::path))
            .expect("it is one of them");
        let source = match Source::open(folder) {
            Ok(source) => Some(source),
            Err(GitError::NoProgram(reason)) => {
                tracing::warn!(%reason, "there is no git: the sample tenants are all there will be");
                None
            }
            Err(error) => return Err(error.into()),
        };
        let place = source.is_some().then(|| folder.join(REPOSITORY));
        Ok(Self {
            source,
            place,
            _temporary: temporary,
        })
    }

    /// What it asks for, or asked for last before it was broken.
    pub(crate) fn wanted(&self) -> Result<Topology, LocalError> {
        let Some(source) = &self.source else {
            return topology_of(&seed::tree())
                .map_err(|broken| LocalError::Broken(broken.to_string()));
        };
        let head = source.head()?;
        match head.topology {
            Ok(wanted) => {
                source.remember(&head.commit);
                Ok(wanted)
            }
            Err(broken) => {
                let before = source.last_good().and_then(|good| good.topology.ok());
                let before = before.ok_or_else(|| LocalError::Broken(broken.to_string()))?;
                tracing::error!(
                    commit = head.commit.short(),
                    "this commit is broken; the last good one is carried out:\n{broken}"
                );
                Ok(before)
            }
        }
    }
}
