//! Queries of a page: the table for ids that contain their time, the index for all other ids.

use std::collections::HashMap;

use aws_sdk_dynamodb::config::Credentials;
use aws_sdk_dynamodb::error::DisplayErrorContext;
use aws_sdk_dynamodb::operation::query::builders::QueryFluentBuilder;
use aws_sdk_dynamodb::types::AttributeValue;
use aws_sdk_dynamodb::{Client, Config};
use tenantry_process::retry::classify;
use tenantry_service::error::ApiError;
use tenantry_tenancy::event::{GENERATION_ATTRIBUTE, LISTED_AT, LISTED_INDEX};
use tenantry_tenancy::generation::{Generation, Owner};
use tenantry_tenancy::tenant::TenantId;

use super::page::{Cursor, PageSource};
use super::text;
use crate::credentials::TenantCredentials;

/// Upper bound of ids that contain a time, until the year 2527. Other ids are random from their first digit on.
const LAST_TIMED_ID: &str = "1";
/// Lower bound of ids that contain a time, from 2024 on; the bound excludes most random ids.
const FIRST_TIMED_ID: &str = "018";

/// Why a query failed.
enum QueryFailure {
    /// The table has no such index.
    NoIndex,
    Other(ApiError),
}

/// Reads tables: with each tenant's credentials if there is a role for that, else with the service's own.
pub(crate) struct Reader {
    client: Client,
    credentials: Option<TenantCredentials>,
}

impl Reader {
    pub(crate) fn new(client: Client, credentials: Option<TenantCredentials>) -> Self {
        Self {
            client,
            credentials,
        }
    }

    /// Queries both sources after the cursor, for one item more than the page has: that item shows that a next page
    /// exists.
    pub(super) async fn newest(
        &self,
        table: &str,
        owner: &Owner,
        limit: usize,
        after: &Cursor,
    ) -> Result<(PageSource, PageSource), ApiError> {
        let credentials = match &self.credentials {
            Some(credentials) => Some(credentials.of(&owner.tenant).await?),
            None => None,
        };
        newest(
            &self.client,
            credentials.as_ref(),
            (table, owner),
            limit,
            after,
        )
        .await
    }
}

async fn newest(
    client: &Client,
    credentials: Option<&Credentials>,
    (table, owner): (&str, &Owner),
    limit: usize,
    after: &Cursor,
) -> Result<(PageSource, PageSource), ApiError> {
    let tenant = &owner.tenant;
    // Items of other owners of the id may be left in the partition.
    let is_owners = if owner.generation == Generation::FIRST {
        "attribute_not_exists(#generation)"
    } else {
        "#generation = :generation"
    };
    let generation = owner.generation.number().map(AttributeValue::S);
    let values: HashMap<_, _> = [(":tenant", Some(AttributeValue::S(tenant.to_string())))]
        .into_iter()
        .chain([(":generation", generation)])
        .filter_map(|(name, value)| Some((name.to_owned(), value?)))
        .collect();
    let query = || {
        client
            .query()
            .table_name(table)
            .set_expression_attribute_values(Some(values.clone()))
            .expression_attribute_names("#generation", GENERATION_ATTRIBUTE)
            .scan_index_forward(false)
            .limit(i32::try_from(limit + 1).unwrap_or(i32::MAX))
    };
    let timed = query()
        .key_condition_expression("tenant_id = :tenant AND message_id BETWEEN :first AND :last")
        .expression_attribute_values(":first", AttributeValue::S(FIRST_TIMED_ID.to_owned()))
        .expression_attribute_values(":last", AttributeValue::S(LAST_TIMED_ID.to_owned()))
        .filter_expression(format!("attribute_not_exists(listed_at) AND {is_owners}"))
        .set_exclusive_start_key(table_key(tenant, &after.by_id));
    let listed = query()
        .index_name(LISTED_INDEX)
        .key_condition_expression("tenant_id = :tenant")
        .filter_expression(is_owners)
        .set_exclusive_start_key(index_key(tenant, &after.by_time));
    match tokio::try_join!(
        run(timed, "message_id", credentials),
        run(listed, LISTED_AT, credentials)
    ) {
        Ok(sources) => Ok(sources),
        Err(QueryFailure::Other(error)) => Err(error),
        // A table of an older installation has no index: its messages are listed in the order of their ids.
        Err(QueryFailure::NoIndex) => {
            let all = query()
                .key_condition_expression("tenant_id = :tenant")
                .filter_expression(is_owners)
                .set_exclusive_start_key(table_key(tenant, &after.by_id));
            match run(all, "message_id", credentials).await {
                Ok(source) => Ok((source, PageSource::default())),
                Err(QueryFailure::NoIndex) => Err(unavailable()),
                Err(QueryFailure::Other(error)) => Err(error),
            }
        }
    }
}

pub(super) fn unavailable() -> ApiError {
    let msg = "Unavailable: the messages cannot be read now; try again after Retry-After seconds";
    ApiError::unavailable("table_unavailable", msg)
}

async fn run(
    query: QueryFluentBuilder,
    position: &str,
    credentials: Option<&Credentials>,
) -> Result<PageSource, QueryFailure> {
    let sent = match credentials {
        Some(credentials) => {
            let as_tenant = Config::builder().credentials_provider(credentials.clone());
            query.customize().config_override(as_tenant).send().await
        }
        None => query.send().await,
    };
    match sent {
        Ok(output) => Ok(PageSource {
            more: output
                .last_evaluated_key
                .as_ref()
                .and_then(|key| text(key, position)),
            items: output.items.unwrap_or_default().into(),
        }),
        Err(error) if classify(&error).code == "ValidationException" => Err(QueryFailure::NoIndex),
        Err(error) => {
            tracing::error!(error = %DisplayErrorContext(&error), "query of messages failed");
            Err(QueryFailure::Other(unavailable()))
        }
    }
}

fn table_key(tenant: &TenantId, message_id: &str) -> Option<HashMap<String, AttributeValue>> {
    (!message_id.is_empty())
        .then(|| key(&[("tenant_id", tenant.as_str()), ("message_id", message_id)]))
}

fn index_key(tenant: &TenantId, listed_at: &str) -> Option<HashMap<String, AttributeValue>> {
    let (_, message_id) = listed_at.split_once('#')?;
    Some(key(&[
        ("tenant_id", tenant.as_str()),
        ("message_id", message_id),
        (LISTED_AT, listed_at),
    ]))
}

fn key(parts: &[(&str, &str)]) -> HashMap<String, AttributeValue> {
    parts
        .iter()
        .map(|(name, value)| ((*name).to_owned(), AttributeValue::S((*value).to_owned())))
        .collect()
}
