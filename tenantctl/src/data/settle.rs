//! Ends a tenant's move on a cluster, after its commit has been applied: Terraform has written the parameters, the charts have
//! started and ended the apps.
//!
//! The parameters say where the data is registered and where it was. While `/<tenant>/unsettled_payments` exists, the status
//! is `moving` and no service writes payments, so the former table counts. It is deleted once the payments are copied. While a
//! parameter `unsettled_…` exists, the tenant has the entry `moved` in the list of tenants that are not active, so that services
//! read its registration itself.

use std::collections::HashMap;
use std::str::FromStr;

use aws_sdk_ssm::types::ParameterType;
use tenantry_process::arn::{QueueArn, TableArn};
use tenantry_tenancy::environment::Environment;
use tenantry_tenancy::parameters::REFUSED_PATH;
use tenantry_tenancy::tenant::TenantId;

use super::moves::{Change, ConsumerHome, Finished, Mover, Relocation};
use super::{DataError, retrying};

/// A tenant's parameters that matter for a move. GetParameters takes ten names.
const OF_TENANT: [&str; 10] = [
    "consumer_sqs",
    "consumer_ddb",
    "payments_ddb",
    "status",
    "moved_from",
    "unsettled_consumer",
    "unsettled_payments",
    "retained_consumer_sqs",
    "retained_consumer_ddb",
    "retained_payments_ddb",
];
const OF_POOL: [&str; 3] = ["consumer_sqs", "consumer_ddb", "payments_ddb"];

/// Which homes a tenant's release asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    pub tenant: TenantId,
    /// The pool of the apps that do not run in the silo.
    pub pool: Environment,
    /// Whether the consumer, and payments, run in the silo.
    pub has_consumer: bool,
    pub has_payments: bool,
    pub leave_data: bool,
}

/// Why a move cannot be ended.
#[derive(Debug, Clone, thiserror::Error)]
pub enum SettleError {
    #[error(
        "the cluster has not applied the move of {0} yet: /{0}/{1} names {2}; wait until its Terraform object is ready, then try again"
    )]
    NotApplied(TenantId, &'static str, String),
    #[error("parameter {0} is missing or wrong; check the tenant's Terraform object")]
    Parameter(String),
    #[error(transparent)]
    Data(#[from] DataError),
}

/// Moves what the former homes still have to the registered ones. Payments come first, so that they can be written again
/// before the queues are empty.
///
/// # Errors
/// [`SettleError`]: call it again; every step can be repeated.
pub async fn settle(mover: &Mover, wanted: &Wanted) -> Result<Finished, SettleError> {
    let parameters = read(mover, wanted).await?;
    let relocation = parameters.relocation()?;
    mover.wait_until_known(&relocation).await?;
    let tenant = &wanted.tenant;
    if parameters.own("unsettled_payments").is_some() {
        mover.copy_payments(&relocation).await?;
    }
    let payments = Relocation {
        consumer: None,
        has_own_queue: false,
        ..relocation.clone()
    };
    let mut finished = mover.finish(&payments).await?;
    // First this parameter: were it still there after payments are written again, a repeat would overwrite them.
    delete(mover, &[format!("/{tenant}/unsettled_payments")]).await?;
    // A suspension since the start must stay.
    if read(mover, wanted).await?.own("status") == Some("moving") {
        put(mover, &format!("/{tenant}/status"), "active").await?;
    }
    finished.add(mover.finish(&relocation).await?);
    finished.add(mover.finish_late(&relocation).await?);
    let entry = format!("{REFUSED_PATH}/{tenant}");
    if read(mover, wanted).await?.own("status") == Some("suspended") {
        put(mover, &entry, "suspended").await?;
    } else {
        delete(mover, &[entry]).await?;
    }
    delete(mover, &[format!("/{tenant}/unsettled_consumer")]).await?;
    Ok(finished)
}

async fn put(mover: &Mover, name: &str, value: &str) -> Result<(), DataError> {
    let call = mover
        .clients
        .ssm
        .put_parameter()
        .name(name)
        .value(value)
        .r#type(ParameterType::String)
        .overwrite(true);
    retrying(name, || call.clone().send()).await.map(drop)
}

/// Deletes parameters; those that do not exist are deleted already.
async fn delete(mover: &Mover, names: &[String]) -> Result<(), DataError> {
    let call = mover
        .clients
        .ssm
        .delete_parameters()
        .set_names(Some(names.to_vec()));
    retrying(&names.concat(), || call.clone().send())
        .await
        .map(drop)
}

/// The parameters of a tenant and of its pool.
struct Parameters<'a> {
    wanted: &'a Wanted,
    values: HashMap<String, String>,
}

async fn read<'a>(mover: &Mover, wanted: &'a Wanted) -> Result<Parameters<'a>, SettleError> {
    let of_tenant = OF_TENANT.map(|name| format!("/{}/{name}", wanted.tenant));
    let of_pool = OF_POOL.map(|name| format!("/{}/{name}", wanted.pool));
    let mut values = HashMap::new();
    for names in [&of_tenant[..], &of_pool[..]] {
        let call = mover
            .clients
            .ssm
            .get_parameters()
            .set_names(Some(names.to_vec()));
        let found = retrying("parameters", || call.clone().send()).await?;
        let found = found.parameters.unwrap_or_default();
        values.extend(
            found
                .into_iter()
                .filter_map(|found| Some((found.name?, found.value?))),
        );
    }
    Ok(Parameters { wanted, values })
}

impl Parameters<'_> {
    fn own(&self, name: &str) -> Option<&str> {
        let name = format!("/{}/{name}", self.wanted.tenant);
        self.values.get(&name).map(String::as_str)
    }

    /// A parameter of the tenant or the pool, parsed; `None` if it does not exist.
    fn of<T: FromStr>(&self, holder: &str, name: &str) -> Result<Option<T>, SettleError> {
        let name = format!("/{holder}/{name}");
        let text = self.values.get(&name).map(|text| text.trim().parse());
        text.transpose().map_err(|_| SettleError::Parameter(name))
    }

    fn must<T: FromStr>(&self, holder: &str, name: &str) -> Result<T, SettleError> {
        let missing = || SettleError::Parameter(format!("/{holder}/{name}"));
        self.of(holder, name)?.ok_or_else(missing)
    }

    /// What may have to move, by the registered homes.
    fn relocation(&self) -> Result<Relocation, SettleError> {
        let Wanted {
            tenant,
            pool,
            has_consumer,
            has_payments,
            leave_data,
        } = self.wanted;
        let queue: QueueArn = self.must(tenant.as_str(), "consumer_sqs")?;
        self.check("consumer_sqs", queue.name(), "consumer", *has_consumer)?;
        let to = ConsumerHome {
            queue,
            table: self.must(tenant.as_str(), "consumer_ddb")?,
        };
        let former = if *has_consumer {
            Some((pool.as_str(), "consumer_sqs", "consumer_ddb"))
        } else {
            let retained = self.own("retained_consumer_sqs").is_some();
            retained.then_some((
                tenant.as_str(),
                "retained_consumer_sqs",
                "retained_consumer_ddb",
            ))
        };
        let former = former.map(|(holder, queue, table)| {
            Ok::<_, SettleError>(ConsumerHome {
                queue: self.must(holder, queue)?,
                table: self.must(holder, table)?,
            })
        });
        let consumer = former.transpose()?.map(|from| Change { from, to });
        Ok(Relocation {
            tenant: tenant.clone(),
            consumer,
            payments: self.payments(tenant, pool, *has_payments)?,
            leave_data: *leave_data,
            has_own_queue: !has_consumer,
        })
    }

    fn payments(
        &self,
        tenant: &TenantId,
        pool: &Environment,
        has_payments: bool,
    ) -> Result<Option<Change<TableArn>>, SettleError> {
        let Some(to) = self.of::<TableArn>(tenant.as_str(), "payments_ddb")? else {
            return Ok(None);
        };
        self.check("payments_ddb", to.name(), "payments", has_payments)?;
        let from = if has_payments {
            self.of(pool.as_str(), "payments_ddb")?
        } else {
            self.of(tenant.as_str(), "retained_payments_ddb")?
        };
        Ok(from.map(|from| Change { from, to }))
    }

    /// Checks that a registered resource is the silo's or the pool's, as the release asks.
    fn check(
        &self,
        name: &'static str,
        resource: &str,
        app: &str,
        is_own: bool,
    ) -> Result<(), SettleError> {
        let Wanted { tenant, pool, .. } = self.wanted;
        let owner = if is_own {
            tenant.as_str()
        } else {
            pool.as_str()
        };
        if resource.starts_with(&format!("{app}-{owner}-")) {
            return Ok(());
        }
        Err(SettleError::NotApplied(
            tenant.clone(),
            name,
            resource.to_owned(),
        ))
    }
}
