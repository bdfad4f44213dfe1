//! `GET /consumer/messages`: the caller's own stored messages, newest first, page by page.
//!
//! Every query is for the caller's own partition, so neither a cursor nor a limit can reach another tenant's items; a
//! cursor of another tenant is refused all the same, because it can only be a mistake or an attempt.

#[cfg(test)]
mod fuzz_targets;
mod page;
mod query;

use std::collections::HashMap;
use std::sync::Arc;

use aws_sdk_dynamodb::types::AttributeValue;
use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use serde::Serialize;
use serde_json::value::RawValue;
use tenantry_registry::Tenant;
use tenantry_service::admission::Admitted;
use tenantry_service::error::ApiError;
use tenantry_service::openapi::{AnyJson, Errors, TenantHeader};
use tenantry_service::{Http, page as listing};
use tenantry_tenancy::environment::Environment;
use utoipa::ToSchema;

use self::page::Cursor;
pub(crate) use self::query::Reader;
use crate::Resources;

type Attributes = HashMap<String, AttributeValue>;

/// What the route needs. Clones share it.
#[derive(Clone)]
pub(crate) struct Messages(Arc<Inner>);

struct Inner {
    http: Http,
    reader: Reader,
    resources: Resources,
}

/// A page of messages, newest first
// Keys in sorted order.
#[derive(Serialize, ToSchema)]
#[schema(as = Messages)]
pub(crate) struct Listed {
    messages: Vec<Message>,
    /// Where the next page starts; null on the last one
    #[schema(required)]
    next_cursor: Option<String>,
}

/// A stored message
// Keys in sorted order.
#[derive(Serialize, ToSchema)]
struct Message {
    /// The environment that stored it
    consumer_environment: String,
    /// As its sender was told; tells when it was accepted, unless it was sent under an `Idempotency-Key`
    message_id: String,
    /// What its sender sent, if anything
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = AnyJson, required = false)]
    payload: Option<Box<RawValue>>,
    /// The environment that accepted it
    producer_environment: String,
    tenant_id: String,
    /// When it was accepted, UTC
    #[schema(example = "2024-07-12T16:31:39+0000")]
    timestamp: String,
}

impl Messages {
    pub(crate) fn new(http: Http, reader: Reader, resources: Resources) -> Self {
        Self(Arc::new(Inner {
            http,
            reader,
            resources,
        }))
    }

    /// The table that holds the tenant's messages, if this environment does.
    fn table_of(&self, registration: &Tenant) -> Result<&str, ApiError> {
        let (queue, table) = self.0.resources.get().ok_or_else(query::unavailable)?;
        let is_ours = match self.0.http.environment() {
            Environment::Silo(_) => true,
            Environment::Pool(_) => registration.queue.as_ref() == Some(queue),
        };
        if is_ours {
            return Ok(table.name());
        }
        let msg = "Forbidden: the tenant's messages are kept in another environment";
        Err(ApiError::new(
            StatusCode::FORBIDDEN,
            "tenant_not_served",
            msg,
        ))
    }
}

impl AsRef<Http> for Messages {
    fn as_ref(&self) -> &Http {
        &self.0.http
    }
}

/// The tenant's own stored messages, newest first
#[utoipa::path(
    get,
    path = "/consumer/messages",
    params(TenantHeader, listing::Asked),
    responses((status = 200, description = "A page", body = Listed), Errors)
)]
pub(crate) async fn list(
    admitted: Admitted,
    State(messages): State<Messages>,
    asked: Result<Query<listing::Asked>, QueryRejection>,
) -> Result<Json<Listed>, ApiError> {
    let tenant = &admitted.tenant;
    let table = messages.table_of(&admitted.registration)?;
    let asked = listing::query(asked)?;
    let limit = listing::limit(asked.limit)?;
    let after = asked
        .cursor
        .as_deref()
        .map(|text| Cursor::parse(tenant, text))
        .transpose()?
        .unwrap_or_default();
    let (by_id, by_time) = messages
        .0
        .reader
        .newest(table, tenant, limit, &after)
        .await?;
    let page = page::merge(by_id, by_time, limit, after);
    Ok(Json(Listed {
        messages: page.items.iter().filter_map(message).collect(),
        next_cursor: page.next.map(|cursor| cursor.to_text(tenant)),
    }))
}

fn message(item: &Attributes) -> Option<Message> {
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

fn text(item: &Attributes, name: &str) -> Option<String> {
    item.get(name)?.as_s().ok().cloned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_that_is_not_json_is_shown_as_a_string() {
        assert_eq!(as_json(r#"{"a":1}"#.to_owned()).get(), r#"{"a":1}"#);
        assert_eq!(as_json("not json".to_owned()).get(), r#""not json""#);
    }
}
