//! Deletes a tenant's items from tables that tenants share, and proves by a consistent query that none is left.
//!
//! It deletes the items of every owner of the id, so the id must have no owner at present. An app that still writes for the
//! tenant could write behind the proof: a purge comes after the tenant's registration is gone from every replica.

use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use aws_config::SdkConfig;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::DisplayErrorContext;
use aws_sdk_dynamodb::operation::describe_table::DescribeTableError;
use aws_sdk_dynamodb::types::{
    AttributeValue, DeleteRequest, KeySchemaElement, KeyType, WriteRequest,
};
use aws_sdk_ssm::operation::get_parameter::GetParameterError;
use tenantry_process::arn::TableArn;
use tenantry_tenancy::tenant::TenantId;

/// Time after a change of a tenant's registration until no service uses an older one.
const REGISTRATION_IN_USE: Duration = Duration::from_secs(15);
/// Parameters of a pool that name tables of tenants' items.
const TABLES: [&str; 2] = ["consumer_ddb", "payments_ddb"];
/// Items per BatchWriteItem (DynamoDB: 25).
const MAX_BATCH_ITEMS: usize = 25;
/// Hash key of every table with tenants' items.
const HASH: &str = "tenant_id";

type Key = HashMap<String, AttributeValue>;

/// The items of a tenant were not deleted, or not all.
#[derive(Debug, thiserror::Error)]
pub enum PurgeError {
    #[error(
        "{tenant} is registered and not suspended; let the cluster apply its offboarding, then try again"
    )]
    Registered { tenant: TenantId },
    #[error(
        "{tenant} was suspended less than {} s ago, and services may still write its items; try again then",
        REGISTRATION_IN_USE.as_secs()
    )]
    InUse { tenant: TenantId },
    #[error("{resource}: {reason}; the id stays taken, try again")]
    Failed { resource: String, reason: String },
    #[error("table {table} has the key {found}; a table of tenants' items has the hash key {HASH}")]
    OtherTable { table: String, found: String },
}

impl PurgeError {
    /// Returns the stable name of the error, for programs.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Registered { .. } => "still_registered",
            Self::InUse { .. } => "still_in_use",
            Self::Failed { .. } => "purge_failed",
            Self::OtherTable { .. } => "other_table",
        }
    }
}

/// Deletes the tenant's items from the tables of these pools, which their parameters name. Returns their number.
///
/// # Errors
/// [`PurgeError`]: a service may still write the tenant's items, or they are not proved gone.
pub async fn purge_pools(
    config: &SdkConfig,
    pools: &[String],
    tenant: &TenantId,
) -> Result<u64, PurgeError> {
    let (ssm, dynamodb) = (aws_sdk_ssm::Client::new(config), Client::new(config));
    if is_registered(&ssm, tenant).await? {
        refuse_in_use(&ssm, tenant).await?;
    } else {
        // The registration may have been deleted a moment ago, and services may still write.
        tokio::time::sleep(REGISTRATION_IN_USE).await;
    }
    let names = pools
        .iter()
        .flat_map(|pool| TABLES.map(|table| format!("/{pool}/{table}")));
    let mut deleted = 0;
    for name in names {
        let Some(found) = parameter(&ssm, &name).await? else {
            continue;
        };
        let arn = found.value.unwrap_or_default();
        let table = arn.trim().parse::<TableArn>();
        let table = table.map_err(|error| PurgeError::Failed {
            resource: name,
            reason: error.to_string(),
        })?;
        deleted += purge(&dynamodb, table.name(), tenant).await?;
    }
    Ok(deleted)
}

async fn is_registered(ssm: &aws_sdk_ssm::Client, tenant: &TenantId) -> Result<bool, PurgeError> {
    for name in ["tier", "consumer_sqs"] {
        if parameter(ssm, &format!("/{tenant}/{name}"))
            .await?
            .is_some()
        {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Refuses a registered tenant, unless it has been suspended for so long that no service writes for it.
async fn refuse_in_use(ssm: &aws_sdk_ssm::Client, tenant: &TenantId) -> Result<(), PurgeError> {
    let status = parameter(ssm, &format!("/{tenant}/status")).await?;
    let Some(status) = status.filter(|status| status.value() == Some("suspended")) else {
        return Err(PurgeError::Registered {
            tenant: tenant.clone(),
        });
    };
    let changed = status
        .last_modified_date()
        .and_then(|date| SystemTime::try_from(*date).ok());
    let is_old = changed
        .and_then(|changed| SystemTime::now().duration_since(changed).ok())
        .is_some_and(|age| age >= REGISTRATION_IN_USE);
    if is_old {
        Ok(())
    } else {
        Err(PurgeError::InUse {
            tenant: tenant.clone(),
        })
    }
}

async fn parameter(
    ssm: &aws_sdk_ssm::Client,
    name: &str,
) -> Result<Option<aws_sdk_ssm::types::Parameter>, PurgeError> {
    match ssm.get_parameter().name(name).send().await {
        Ok(found) => Ok(found.parameter),
        Err(error)
            if error
                .as_service_error()
                .is_some_and(GetParameterError::is_parameter_not_found) =>
        {
            Ok(None)
        }
        Err(error) => Err(failed(name, &error)),
    }
}

/// Deletes the tenant's items from the table, until a consistent query finds none. Returns their number; 0 for a table that
/// does not exist.
///
/// # Errors
/// [`PurgeError`]: a repeat goes on where this call ended.
pub async fn purge(client: &Client, table: &str, tenant: &TenantId) -> Result<u64, PurgeError> {
    let Some(keys) = key_names(client, table).await? else {
        return Ok(0);
    };
    let mut deleted = 0;
    loop {
        let found = some_keys(client, table, &keys, tenant).await?;
        if found.is_empty() {
            return Ok(deleted);
        }
        let before = deleted;
        for batch in found.chunks(MAX_BATCH_ITEMS) {
            deleted += delete(client, table, batch).await?;
        }
        if deleted == before {
            return Err(PurgeError::Failed {
                resource: table.to_owned(),
                reason: "DynamoDB processed no delete".to_owned(),
            });
        }
    }
}

/// The names of the table's key attributes; `None` if the table does not exist.
async fn key_names(client: &Client, table: &str) -> Result<Option<Vec<String>>, PurgeError> {
    let described = match client.describe_table().table_name(table).send().await {
        Ok(described) => described.table,
        Err(error)
            if error
                .as_service_error()
                .is_some_and(DescribeTableError::is_resource_not_found_exception) =>
        {
            return Ok(None);
        }
        Err(error) => return Err(failed(table, &error)),
    };
    let schema = described
        .and_then(|table| table.key_schema)
        .unwrap_or_default();
    let hash = schema
        .iter()
        .find(|key| *key.key_type() == KeyType::Hash)
        .map_or("none", KeySchemaElement::attribute_name);
    if hash != HASH {
        return Err(PurgeError::OtherTable {
            table: table.to_owned(),
            found: hash.to_owned(),
        });
    }
    let names = schema.iter().map(|key| key.attribute_name().to_owned());
    Ok(Some(names.collect()))
}

/// Keys of up to a page of the tenant's items.
async fn some_keys(
    client: &Client,
    table: &str,
    names: &[String],
    tenant: &TenantId,
) -> Result<Vec<Key>, PurgeError> {
    let aliases: Vec<_> = (0..names.len()).map(|n| format!("#k{n}")).collect();
    let mut query = client
        .query()
        .table_name(table)
        .consistent_read(true)
        .key_condition_expression(format!("{HASH} = :tenant"))
        .expression_attribute_values(":tenant", AttributeValue::S(tenant.to_string()))
        .projection_expression(aliases.join(", "));
    for (alias, name) in aliases.iter().zip(names) {
        query = query.expression_attribute_names(alias, name);
    }
    let found = query.send().await.map_err(|error| failed(table, &error))?;
    Ok(found.items.unwrap_or_default())
}

/// Deletes items by their keys. Returns the number that DynamoDB processed.
async fn delete(client: &Client, table: &str, keys: &[Key]) -> Result<u64, PurgeError> {
    let requests = keys.iter().map(|key| {
        let delete = DeleteRequest::builder().set_key(Some(key.clone())).build();
        WriteRequest::builder()
            .delete_request(delete.expect("the key is set"))
            .build()
    });
    let output = client
        .batch_write_item()
        .request_items(table, requests.collect())
        .send()
        .await
        .map_err(|error| failed(table, &error))?;
    // The next query finds what was not processed.
    let unprocessed = output
        .unprocessed_items
        .unwrap_or_default()
        .remove(table)
        .map_or(0, |requests| requests.len());
    Ok((keys.len() - unprocessed) as u64)
}

fn failed(resource: &str, error: &(dyn std::error::Error + 'static)) -> PurgeError {
    PurgeError::Failed {
        resource: resource.to_owned(),
        reason: DisplayErrorContext(error).to_string(),
    }
}
