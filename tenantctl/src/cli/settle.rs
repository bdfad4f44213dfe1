//! `settle`: ends a tenant's move on a cluster.

use std::time::Duration;

use serde_json::json;
use tenantry_process::aws::AwsSettings;
use tenantry_tenancy::tenant::TenantId;

use super::arguments::{Global, Output};
use super::exit::{CliError, Exit};
use super::output::{print, print_json};
use super::progress::Progress;
use super::repository;
use crate::data::DataClients;
use crate::data::moves::{Finished, Mover, Timing};
use crate::data::settle::{SettleError, Wanted, settle};
use crate::release::{Release, releases};

/// Longest time from a request's registration to its last write.
pub(super) const REQUEST: Duration = Duration::from_secs(5);

/// Moves what the former homes of a tenant still have, and prints how much that was.
pub(super) fn run(global: &Global, tenant: TenantId, timing: Timing) -> Result<Exit, CliError> {
    let progress = Progress::new(global.output);
    let tree = repository::read(global, &progress)?;
    drop(progress);
    let wanted = releases(&*tree)?
        .iter()
        .find(|release| release.tenant == tenant.as_str() && release.offboarded_from.is_none())
        .map(|release| wanted(release, &tenant))
        .ok_or_else(|| {
            let message = format!(
                "there is no tenant {tenant} in a tier; `tenantctl list` shows all tenants"
            );
            CliError::new("not_found", Exit::NotFound, message)
        })??;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = runtime.map_err(CliError::unexpected)?;
    let finished = runtime.block_on(async {
        let aws = AwsSettings::from_env().await.map_err(CliError::usage)?;
        let mover = Mover {
            clients: DataClients::new(&aws),
            timing,
        };
        settle(&mover, &wanted).await.map_err(CliError::from)
    })?;
    let Finished {
        forwarded,
        dead_letters,
        events,
        payments,
    } = finished;
    match global.output {
        Output::Text => print(
            format!(
                "{tenant} is settled: {forwarded} messages, {dead_letters} dead letters, {} events and {} items of payments moved\n",
                events.moved, payments.moved
            )
            .as_bytes(),
        )?,
        Output::Json => print_json(&json!({
            "outcome": if finished.is_whole() { "settled" } else { "conflicts" },
            "tenant": tenant.as_str(),
            "messages": forwarded,
            "dead_letters": dead_letters,
            "events": events.moved,
            "payments": payments.moved,
            "conflicts": events.conflicts + payments.conflicts,
        }))?,
    }
    if finished.is_whole() {
        return Ok(Exit::Done);
    }
    let message = format!(
        "{} items differ from those of the new home and stay in the former table; the log names it, compare them by hand",
        events.conflicts + payments.conflicts
    );
    Err(CliError::new("conflicts", Exit::Conflict, message))
}

/// The homes that a release asks for.
fn wanted(release: &Release, tenant: &TenantId) -> Result<Wanted, CliError> {
    let has = |app: &str| release.apps.get(app).is_some_and(|app| app.enabled);
    let pool = release
        .apps
        .values()
        .find_map(|app| app.env_id.as_deref())
        .unwrap_or("pool-1");
    Ok(Wanted {
        tenant: tenant.clone(),
        pool: pool.parse().map_err(CliError::usage)?,
        has_consumer: has("consumer"),
        has_payments: has("payments"),
        leave_data: release.leave_data,
    })
}

impl From<SettleError> for CliError {
    fn from(error: SettleError) -> Self {
        let (code, exit) = match &error {
            SettleError::NotApplied(..) => ("not_applied", Exit::TryAgain),
            SettleError::Parameter(_) => ("parameter", Exit::Conflict),
            SettleError::Data(_) => ("data", Exit::TryAgain),
        };
        Self::new(code, exit, error)
    }
}
