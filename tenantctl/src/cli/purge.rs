//! `forget --purge`: deletes a tenant's items from the pools' tables, with proof, before its id is free.

use tenantry_process::aws::AwsSettings;
use tenantry_tenancy::tenant::TenantId;

use super::arguments::Global;
use super::exit::{CliError, Exit};
use super::progress::Progress;
use super::repository;
use crate::plan::plan;
use crate::purge::{PurgeError, purge_pools};
use crate::release::releases;
use crate::request::Request;

/// Deletes the items of a tenant that may be forgotten. Returns their number.
///
/// # Errors
/// As planning `forget`; [`PurgeError`] if the items are not proved gone.
pub(super) fn run(global: &Global, tenant: &TenantId) -> Result<u64, CliError> {
    let progress = Progress::new(global.output);
    let tree = repository::read(global, &progress)?;
    let forget = Request::Forget {
        tenant: tenant.clone(),
    };
    plan(&*tree, &forget)?;
    let pools: Vec<_> = releases(&*tree)?
        .into_iter()
        .map(|release| release.tenant)
        .filter(|name| name.starts_with("pool-"))
        .collect();
    progress.show("deleting items");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(CliError::unexpected)?;
    runtime.block_on(async {
        let aws = AwsSettings::from_env().await.map_err(CliError::usage)?;
        let config = aws.with_retries();
        Ok(purge_pools(&config, &pools, tenant).await?)
    })
}

impl From<PurgeError> for CliError {
    fn from(error: PurgeError) -> Self {
        let exit = match &error {
            PurgeError::InUse { .. } => Exit::TryAgain,
            PurgeError::Registered { .. } => Exit::Conflict,
            PurgeError::Failed { .. } | PurgeError::OtherTable { .. } => Exit::Remote,
        };
        Self::new(error.code(), exit, error)
    }
}
