//! Start errors.

use std::net::SocketAddr;

use tenantctl::git::GitError;
use tenantry_process::config::ConfigError;

use crate::data::DataError;
use crate::plane::ReconcileError;
use crate::provision::ProvisionError;

/// Start failure; each message begins with one line that says what to do.
#[derive(Debug, thiserror::Error)]
pub enum LocalError {
    #[error(transparent)]
    Data(#[from] DataError),
    #[error("--aws-listen: {0}")]
    Endpoint(#[from] localaws::StartError),
    #[error(
        "{flag}: cannot listen on {address}: {reason}; choose another address with {flag}, or stop the program that listens there"
    )]
    Listen {
        flag: &'static str,
        address: SocketAddr,
        reason: std::io::Error,
    },
    #[error("creation of the lifecycle queues failed: {0}")]
    Provision(#[from] ProvisionError),
    #[error("GitOps repository: {0}")]
    Repository(#[from] GitError),
    /// The head of the GitOps repository is not valid, and no earlier commit was applied.
    #[error(
        "the GitOps repository is not valid: push a corrected commit, or delete gitops.git in the data folder\n{0}"
    )]
    InvalidCommit(String),
    /// An environment variable of the lifecycle worker is not valid.
    #[error(transparent)]
    Worker(#[from] ConfigError),
    #[error(transparent)]
    Reconcile(#[from] ReconcileError),
}
