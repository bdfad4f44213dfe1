//! `POST /producer`: from request to confirmed message.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::{FromRequestParts, State};
use axum::http::HeaderMap;
use axum::http::request::Parts;
use serde::Serialize;
use shared::event::{Event, Payload, id_of_key};
use shared::http::caller::CallingTenant;
use shared::http::error::ApiError;
use shared::http::idempotency::IdempotencyKey;
use shared::http::openapi::{
    AnyJson, BodyErrors, Errors, OptionalKeyHeader, TenantHeader, TraceHeader,
};
use shared::http::{Http, RequestContext};
use shared::queue::message::Outgoing;
use shared::queue::sender::Sender;
use shared::registry::Tenant;
use shared::telemetry::traceparent;
use shared::tenant::{TenantId, Tier};
use tokio::time::Instant;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::idempotency::{Replay, Replays};
use crate::openapi::TierHeader;

/// The request header that names the tier its caller believes the tenant has.
const TIER_HEADER: &str = "tier";
/// Longest look-up and send together: an answer comes within 5 s.
const ANSWER_WITHIN: Duration = Duration::from_millis(4500);

/// What the route needs. Clones share it.
#[derive(Clone)]
pub(crate) struct Producer(Arc<Inner>);

struct Inner {
    http: Http,
    sender: Sender,
    replays: Replays,
    max_body_bytes: usize,
}

/// An accepted event
// Keys in sorted order.
#[derive(Serialize, ToSchema)]
pub(crate) struct Accepted {
    /// The environment that took it
    #[schema(example = "pool-1")]
    environment: String,
    /// What it is stored under
    message_id: Uuid,
    /// The service
    microservice: &'static str,
    /// Whose event it is
    #[schema(value_type = String)]
    tenant_id: TenantId,
    /// The service's version
    version: &'static str,
}

/// The tier the request claims; an unknown one is a 400, before anything else is looked at.
pub(crate) struct ClaimedTier(Option<Tier>);

impl Producer {
    pub(crate) fn new(http: Http, sender: Sender, max_body_bytes: usize) -> Self {
        Self(Arc::new(Inner {
            http,
            sender,
            replays: Replays::default(),
            max_body_bytes,
        }))
    }

    /// Looks the tenant up and checks the claimed tier against its own.
    async fn registered(
        &self,
        tenant: &TenantId,
        claimed: Option<Tier>,
    ) -> Result<Arc<Tenant>, ApiError> {
        let registered = self.0.http.access().registered(tenant).await?;
        match (claimed, registered.tier) {
            (Some(claimed), Some(actual)) if claimed != actual => {
                Err(ApiError::wrong_tier(tenant, actual))
            }
            _ => Ok(registered),
        }
    }

    /// Sends the event; ends once its queue has confirmed it, or this time is over.
    async fn send(
        &self,
        within: Duration,
        registered: &Tenant,
        message: Outgoing,
    ) -> Result<(), ApiError> {
        let queue = registered.queue.as_ref().ok_or_else(|| {
            let msg =
                "Unavailable: the tenant's queue is still being created; try again after Retry-After seconds";
            ApiError::unavailable("queue_missing", msg)
        })?;
        Ok(self.0.sender.send_within(within, queue, message).await?)
    }
}

/// Put an event onto the tenant's queue
///
/// Answered once the queue has confirmed it. The same `Idempotency-Key` never yields a second stored message. A body is
/// read as JSON, whatever its `Content-Type`; none is an event without a payload.
#[utoipa::path(
    post,
    path = "/producer",
    params(TenantHeader, TierHeader, OptionalKeyHeader, TraceHeader),
    request_body = AnyJson,
    responses((status = 200, description = "The queue has it", body = Accepted), Errors, BodyErrors)
)]
pub(crate) async fn accept(
    State(producer): State<Producer>,
    ClaimedTier(claimed): ClaimedTier,
    CallingTenant(tenant): CallingTenant,
    key: Option<IdempotencyKey>,
    context: RequestContext,
    request: Body,
) -> Result<Json<Accepted>, ApiError> {
    let http = &producer.0.http;
    let asked = Instant::now();
    let registered = producer.registered(&tenant, claimed).await?;
    let left = ANSWER_WITHIN.saturating_sub(asked.elapsed());
    http.access().check_rate(&tenant)?;
    let payload = payload(
        &http
            .bodies()
            .read(request, producer.0.max_body_bytes)
            .await?,
    )?;
    let _taken_on = http.access().take_on(&tenant)?;
    let message_id = key
        .as_ref()
        .map_or_else(Uuid::now_v7, |key| id_of_key(&tenant, key.as_str()));
    let replay = match &key {
        Some(_) => {
            producer
                .0
                .replays
                .find(message_id, payload.as_ref())
                .await?
        }
        None => Replay::New,
    };
    context.set_message_id(message_id);
    if let Replay::New = replay {
        let event = Event {
            tenant: tenant.clone(),
            message_id,
            payload: payload.clone(),
        };
        let mut message = event.into_message(http.environment());
        message.trace(traceparent(&tracing::Span::current()));
        producer.send(left, &registered, message).await?;
        if key.is_some() {
            producer
                .0
                .replays
                .remember(message_id, payload.as_ref())
                .await;
        }
    }
    Ok(Json(Accepted {
        environment: http.environment().to_string(),
        message_id,
        microservice: http.service(),
        tenant_id: tenant,
        version: http.version(),
    }))
}

/// The caller's payload; an empty body is none.
fn payload(body: &[u8]) -> Result<Option<Payload>, ApiError> {
    if body.is_empty() {
        return Ok(None);
    }
    Payload::parse(body)
        .map(Some)
        .map_err(|error| ApiError::bad_request("malformed_json", format!("BadRequest: {error}")))
}

fn claimed_tier(headers: &HeaderMap) -> Result<Option<Tier>, ApiError> {
    let mut values = headers.get_all(TIER_HEADER).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    let tier = value
        .to_str()
        .ok()
        .and_then(|text| text.parse().ok())
        .filter(|_| values.next().is_none());
    tier.map(Some).ok_or_else(ApiError::invalid_tier)
}

impl<S: Sync> FromRequestParts<S> for ClaimedTier {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, ApiError> {
        claimed_tier(&parts.headers).map(Self)
    }
}
