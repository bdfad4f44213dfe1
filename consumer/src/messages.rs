//! `GET /consumer/messages`: the tenant's own stored messages, newest first, in pages.
//!
//! Every query is for the tenant's own partition, so neither a cursor nor a limit can reach another tenant's items. A
//! cursor of another tenant is a mistake or an attack, so it is refused.

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
use tenantry_registry::{Status, Tenant};
use tenantry_service::admission::Admitted;
use tenantry_service::error::ApiError;
use tenantry_service::openapi::{AnyJson, Errors, TenantHeader};
use tenantry_service::{Http, page as listing};
use tenantry_tenancy::environment::Environment;
use tenantry_tenancy::generation::{Generation, Owner};
use utoipa::ToSchema;

use self::page::{Cursor, Page};
pub(crate) use self::query::Reader;
use crate::Resources;

type Attributes = HashMap<String, AttributeValue>;

/// Queries of one page. A later owner of an id, whose items end before, has items of earlier owners behind them only.
const MAX_QUERIES: usize = 20;

/// State of the route. Clones share it.
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
pub(crate) struct MessageList {
    /// Messages of this page
    messages: Vec<Message>,
    /// `cursor` of the next page; null on the last page
    #[schema(required)]
    next_cursor: Option<String>,
}

/// A stored message
// Keys in sorted order.
#[derive(Serialize, ToSchema)]
struct Message {
    /// The environment that stored the message
    consumer_environment: String,
    /// Id from the answer to the POST; contains the time of acceptance, unless the POST had an `Idempotency-Key`
    message_id: String,
    /// Body of the POST, if it had one
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = AnyJson, required = false)]
    payload: Option<Box<RawValue>>,
    /// The environment that accepted the message
    producer_environment: String,
    /// The tenant that owns the message
    tenant_id: String,
    /// Time of acceptance, UTC
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

    /// The name of the table.
    ///
    /// # Errors
    /// 403 if another environment stores the tenant's messages, 503 while the table is not known yet, or while the tenant
    /// moves and a route or this registration may be older than the move.
    fn table_of(&self, registration: &Tenant) -> Result<&str, ApiError> {
        let (queue, table) = self.0.resources.get().ok_or_else(query::unavailable)?;
        let environment = self.0.http.environment();
        let is_ours = match environment {
            Environment::Silo(_) => true,
            Environment::Pool(_) => registration.queue.as_ref() == Some(queue),
        };
        if is_ours {
            return Ok(table.name());
        }
        if registration.status == Status::Moving
            || registration.moved_from.as_ref() == Some(environment)
        {
            return Err(ApiError::moving());
        }
        let msg = "Forbidden: the tenant's messages are stored in another environment";
        Err(ApiError::new(
            StatusCode::FORBIDDEN,
            "tenant_not_served",
            msg,
        ))
    }

    /// Reads one page. For a later owner of an id, queries on past items that earlier owners may have left, which are
    /// older than its own.
    async fn page(
        &self,
        table: &str,
        owner: &Owner,
        limit: usize,
        after: Cursor,
    ) -> Result<Page, ApiError> {
        let reader = &self.0.reader;
        let (by_id, by_time) = reader.newest(table, owner, limit, &after).await?;
        let mut page = page::merge(by_id, by_time, limit, after);
        let mut queries = 1;
        while owner.generation != Generation::FIRST
            && page.items.len() < limit
            && let Some(after) = page.next.take()
            && queries < MAX_QUERIES
        {
            let missing = limit - page.items.len();
            let (by_id, by_time) = reader.newest(table, owner, missing, &after).await?;
            let rest = page::merge(by_id, by_time, missing, after);
            page.items.extend(rest.items);
            page.next = rest.next;
            queries += 1;
        }
        Ok(page)
    }
}

impl AsRef<Http> for Messages {
    fn as_ref(&self) -> &Http {
        &self.0.http
    }
}

/// List the tenant's stored messages, newest first
#[utoipa::path(
    get,
    path = "/consumer/messages",
    params(TenantHeader, listing::PageQuery),
    responses((status = 200, description = "A page of messages", body = MessageList), Errors)
)]
pub(crate) async fn list(
    admitted: Admitted,
    State(messages): State<Messages>,
    query: Result<Query<listing::PageQuery>, QueryRejection>,
) -> Result<Json<MessageList>, ApiError> {
    let owner = admitted.registration.owner();
    let table = messages.table_of(&admitted.registration)?;
    let query = listing::query(query)?;
    let limit = listing::limit(query.limit)?;
    let after = query
        .cursor
        .as_deref()
        .map(|text| Cursor::parse(&owner, text))
        .transpose()?
        .unwrap_or_default();
    let page = messages.page(table, &owner, limit, after).await?;
    Ok(Json(MessageList {
        messages: page.items.iter().filter_map(message).collect(),
        next_cursor: page.next.map(|cursor| cursor.to_text(&owner)),
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

/// A payload as JSON. Older producers may have sent other texts, which become JSON strings.
fn as_json(payload: String) -> Box<RawValue> {
    RawValue::from_string(payload.clone())
        .unwrap_or_else(|_| serde_json::value::to_raw_value(&payload).expect("a string serializes"))
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
