//! `GET /consumer/messages`: the caller's own stored messages, newest first, page by page.
//!
//! A query is always for the caller's own partition, so neither a cursor nor a limit can reach another tenant's items; a
//! cursor of another tenant is refused all the same, because it can only be a mistake or an attempt.

use std::collections::HashMap;
use std::sync::Arc;

use aws_sdk_dynamodb::error::DisplayErrorContext;
use aws_sdk_dynamodb::types::AttributeValue;
use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use shared::environment::Environment;
use shared::http::Http;
use shared::http::caller::CallingTenant;
use shared::http::error::ApiError;
use shared::tenant::TenantId;

use crate::Resources;

/// Messages of a page where the caller does not say.
const DEFAULT_LIMIT: usize = 20;
/// Messages of the largest page.
const MAX_LIMIT: usize = 100;

/// What the route needs. Clones share it.
#[derive(Clone)]
pub(crate) struct Messages(Arc<Inner>);

struct Inner {
    http: Http,
    dynamodb: aws_sdk_dynamodb::Client,
    resources: Resources,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Page {
    limit: Option<usize>,
    cursor: Option<String>,
}

/// One page; keys in sorted order.
#[derive(Serialize)]
pub(crate) struct Listed {
    messages: Vec<Message>,
    next_cursor: Option<String>,
}

/// A stored message; keys in sorted order.
#[derive(Serialize)]
struct Message {
    consumer_environment: String,
    message_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<Box<RawValue>>,
    producer_environment: String,
    tenant_id: String,
    timestamp: String,
}

impl Messages {
    pub(crate) fn new(http: Http, dynamodb: aws_sdk_dynamodb::Client, resources: Resources) -> Self {
        Self(Arc::new(Inner { http, dynamodb, resources }))
    }

    /// The table that holds the tenant's messages, if this environment does.
    async fn table_of(&self, tenant: &TenantId) -> Result<&str, ApiError> {
        let access = self.0.http.access();
        access.admit(tenant).await?;
        let (queue, table) = self.0.resources.get().ok_or_else(not_yet)?;
        if matches!(access.environment(), Environment::Pool(_)) {
            let registered = access.registered(tenant).await?;
            if registered.queue.as_ref() != Some(queue) {
                let msg = "Forbidden: the tenant's messages are kept in another environment";
                return Err(ApiError::new(axum::http::StatusCode::FORBIDDEN, "tenant_not_served", msg));
            }
        }
        Ok(table.name())
    }

    async fn query(
        &self,
        table: &str,
        tenant: &TenantId,
        limit: usize,
        after: Option<String>,
    ) -> Result<Listed, ApiError> {
        let start = after.map(|message_id| {
            HashMap::from([
                ("tenant_id".to_owned(), AttributeValue::S(tenant.to_string())),
                ("message_id".to_owned(), AttributeValue::S(message_id)),
            ])
        });
        let request = self
            .0
            .dynamodb
            .query()
            .table_name(table)
            .key_condition_expression("tenant_id = :tenant")
            .expression_attribute_values(":tenant", AttributeValue::S(tenant.to_string()))
            .scan_index_forward(false)
            .limit(i32::try_from(limit).unwrap_or(i32::MAX))
            .set_exclusive_start_key(start);
        let output = request.send().await.map_err(|error| {
            tracing::error!(tenant_id = %tenant, error = %DisplayErrorContext(&error), "messages not read");
            not_yet()
        })?;
        let last = output.last_evaluated_key.as_ref().and_then(|key| text(key, "message_id"));
        Ok(Listed {
            messages: output.items.unwrap_or_default().iter().filter_map(message).collect(),
            next_cursor: last.map(|message_id| cursor(tenant, &message_id)),
        })
    }
}

pub(crate) async fn list(
    State(messages): State<Messages>,
    CallingTenant(tenant): CallingTenant,
    page: Result<Query<Page>, QueryRejection>,
) -> Result<Json<Listed>, ApiError> {
    let table = messages.table_of(&tenant).await?;
    let Query(page) = page.map_err(|error| {
        ApiError::bad_request("invalid_query", format!("BadRequest: {}", error.body_text()))
    })?;
    let limit = page.limit.unwrap_or(DEFAULT_LIMIT);
    if !(1..=MAX_LIMIT).contains(&limit) {
        let msg = format!("BadRequest: limit is a number from 1 to {MAX_LIMIT}");
        return Err(ApiError::bad_request("invalid_limit", msg));
    }
    let after = page.cursor.as_deref().map(|cursor| position(&tenant, cursor)).transpose()?;
    messages.query(table, &tenant, limit, after).await.map(Json)
}

/// An opaque place in the tenant's messages: after this id.
fn cursor(tenant: &TenantId, message_id: &str) -> String {
    URL_SAFE_NO_PAD.encode(format!("{tenant}/{message_id}"))
}

/// The id a cursor stands for.
fn position(tenant: &TenantId, cursor: &str) -> Result<String, ApiError> {
    let decoded = URL_SAFE_NO_PAD.decode(cursor).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    let own = decoded.and_then(|text| text.strip_prefix(&format!("{tenant}/")).map(ToOwned::to_owned));
    own.filter(|id| !id.is_empty() && id.len() <= 1024).ok_or_else(|| {
        let msg = "BadRequest: the cursor is not one this tenant was given; start again without it";
        ApiError::bad_request("invalid_cursor", msg)
    })
}

fn message(item: &HashMap<String, AttributeValue>) -> Option<Message> {
    let or_empty = |name| text(item, name).unwrap_or_default();
    Some(Message {
        consumer_environment: or_empty("consumer_environment"),
        message_id: text(item, "message_id")?,
        payload: text(item, "payload").map(as_json),
        producer_environment: or_empty("producer_environment"),
        tenant_id: text(item, "tenant_id")?,
        timestamp: or_empty("timestamp"),
    })
}

/// A payload as JSON: itself where it is JSON, as every payload of our producer is; else as a string.
fn as_json(payload: String) -> Box<RawValue> {
    RawValue::from_string(payload.clone())
        .unwrap_or_else(|_| serde_json::value::to_raw_value(&payload).expect("a string serialises"))
}

fn text(item: &HashMap<String, AttributeValue>, name: &str) -> Option<String> {
    item.get(name)?.as_s().ok().cloned()
}

fn not_yet() -> ApiError {
    let msg = "Unavailable: the messages cannot be read now; try again after Retry-After seconds";
    ApiError::unavailable("table_unavailable", msg)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn tenant(id: &str) -> TenantId {
        id.parse().expect("valid")
    }

    #[test]
    fn a_cursor_is_worth_something_to_its_own_tenant_only() {
        let (one, two) = (tenant("tenant-1"), tenant("tenant-2"));
        let cursor = cursor(&one, "some-id");
        assert_eq!(position(&one, &cursor), Ok("some-id".to_owned()));
        assert_eq!(position(&two, &cursor).expect_err("foreign").code(), "invalid_cursor");
        assert!(position(&tenant("tenant-1-b"), &cursor).is_err());
    }

    #[test]
    fn a_payload_that_is_not_json_is_shown_as_a_string() {
        assert_eq!(as_json(r#"{"a":1}"#.to_owned()).get(), r#"{"a":1}"#);
        assert_eq!(as_json("not json".to_owned()).get(), r#""not json""#);
    }

    proptest! {
        #[test]
        fn any_cursor_is_a_position_or_a_clear_error(cursor in ".{0,80}") {
            if let Err(error) = position(&tenant("tenant-1"), &cursor) {
                prop_assert_eq!(error.code(), "invalid_cursor");
            }
        }
    }
}
