//! `POST /producer`: sends the event to the tenant's queue, and answers once the queue has confirmed it.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::{FromRequestParts, State};
use axum::http::HeaderMap;
use axum::http::request::Parts;
use serde::Serialize;
use tenantry_process::telemetry::traceparent;
use tenantry_queue::message::Outgoing;
use tenantry_queue::sender::{SendError, Sender};
use tenantry_registry::Tenant;
use tenantry_service::Http;
use tenantry_service::admission::Admitted;
use tenantry_service::error::ApiError;
use tenantry_service::idempotency::IdempotencyKey;
use tenantry_service::openapi::{
    AnyJson, BodyErrors, Errors, OptionalKeyHeader, TenantHeader, TraceHeader,
};
use tenantry_service::telemetry::RequestContext;
use tenantry_tenancy::event::{Event, Payload, id_of_key};
use tenantry_tenancy::tenant::{TenantId, Tier};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use crate::idempotency::{Replay, Replays};

/// Request header with the tier that the client expects the tenant to have.
const TIER_HEADER: &str = "tier";
/// Deadline of lookup and send together: the request is answered within 5 s.
const REQUEST_TIMEOUT: Duration = Duration::from_millis(4500);

/// State of the route. Clones share it.
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
    /// The environment that accepted the event
    #[schema(example = "pool-1")]
    environment: String,
    /// Id under which the event is stored
    message_id: Uuid,
    /// Name of the service
    microservice: &'static str,
    /// The tenant that owns the event
    #[schema(value_type = String)]
    tenant_id: TenantId,
    /// Version of the service
    version: &'static str,
}

/// The tier in the request's header. An unknown tier is a 400, which precedes every other check.
pub(crate) struct ClaimedTier(Option<Tier>);

/// The tier that the client expects the tenant to have
#[derive(IntoParams)]
#[expect(dead_code, reason = "describes the header that `ClaimedTier` parses")]
#[into_params(parameter_in = Header)]
pub(crate) struct TierHeader {
    /// The tenant's registered tier; any other tier is refused
    #[param(
        required = false,
        pattern = "^(basic|advanced|premium)$",
        example = "basic"
    )]
    tier: String,
}

impl AsRef<Http> for Producer {
    fn as_ref(&self) -> &Http {
        &self.0.http
    }
}

impl Producer {
    pub(crate) fn new(http: Http, sender: Sender, max_body_bytes: usize) -> Self {
        Self(Arc::new(Inner {
            http,
            sender,
            replays: Replays::default(),
            max_body_bytes,
        }))
    }

    /// Sends the event. Returns once the queue has confirmed it, or the time-out is over.
    async fn send(
        &self,
        timeout: Duration,
        registration: &Tenant,
        event: Event,
    ) -> Result<(), ApiError> {
        let queue = registration.queue.as_ref().ok_or_else(|| {
            let msg =
                "Unavailable: the tenant's queue is still being created; try again after Retry-After seconds";
            ApiError::unavailable("queue_missing", msg)
        })?;
        let message = event.into_message(self.0.http.environment());
        let mut message = Outgoing::from_parts(message.body, message.group, message.attributes);
        message.trace(traceparent(&tracing::Span::current()));
        self.0
            .sender
            .send_within(timeout, queue, message)
            .await
            .map_err(send_error)
    }
}

fn send_error(error: SendError) -> ApiError {
    match error {
        SendError::Full => ApiError::unavailable(
            "overloaded",
            "Unavailable: the send buffer is full; try again after Retry-After seconds",
        ),
        SendError::TimedOut => ApiError::unavailable(
            "queue_timed_out",
            "Unavailable: the queue did not confirm the message in time, it may have arrived; repeat it with the same Idempotency-Key, if it had one",
        ),
        SendError::Unavailable(_) => ApiError::unavailable(
            "queue_unavailable",
            "Unavailable: the queue cannot be used now; try again after Retry-After seconds",
        ),
        SendError::Rejected { code, message } => ApiError::bad_request(
            "message_rejected",
            format!("BadRequest: the queue rejected the message: {code}: {message}"),
        ),
    }
}

/// Compares the claimed tier with the registered one, if both are known.
fn check_tier(registration: &Tenant, claimed: Option<Tier>) -> Result<(), ApiError> {
    match (claimed, registration.tier) {
        (Some(claimed), Some(actual)) if claimed != actual => {
            Err(ApiError::wrong_tier(&registration.id, actual))
        }
        _ => Ok(()),
    }
}

/// Send an event to the tenant's queue
///
/// The request is answered once the queue has confirmed the event. The same `Idempotency-Key` never yields a second
/// stored message. The body is parsed as JSON for every `Content-Type`. An empty body is an event without a payload.
#[utoipa::path(
    post,
    path = "/producer",
    params(TenantHeader, TierHeader, OptionalKeyHeader, TraceHeader),
    request_body = AnyJson,
    responses(
        (status = 200, description = "The queue has confirmed the event", body = Accepted),
        Errors,
        BodyErrors,
    )
)]
pub(crate) async fn accept(
    mut admitted: Admitted<ClaimedTier>,
    State(producer): State<Producer>,
    key: Option<IdempotencyKey>,
    context: RequestContext,
    body: Body,
) -> Result<Json<Accepted>, ApiError> {
    check_tier(&admitted.registration, admitted.claim.0)?;
    let timeout = REQUEST_TIMEOUT.saturating_sub(admitted.since.elapsed());
    let Inner {
        http,
        replays,
        max_body_bytes,
        ..
    } = &*producer.0;
    let body = admitted.read_body(http, body, *max_body_bytes).await?;
    let payload = parse_payload(&body)?;
    let Admitted {
        tenant,
        registration,
        ..
    } = &admitted;
    let owner = registration.owner();
    let message_id = key
        .as_ref()
        .map_or_else(Uuid::now_v7, |key| id_of_key(&owner, key.as_str()));
    let replay = match &key {
        Some(_) => replays.find(message_id, payload.as_ref()).await?,
        None => Replay::New,
    };
    context.set_message_id(message_id);
    if replay == Replay::New {
        let event = Event {
            owner,
            message_id,
            payload: payload.clone(),
        };
        producer.send(timeout, registration, event).await?;
        if key.is_some() {
            replays.remember(message_id, payload.as_ref()).await;
        }
    }
    Ok(Json(Accepted {
        environment: http.environment().to_string(),
        message_id,
        microservice: http.service(),
        tenant_id: tenant.clone(),
        version: http.version(),
    }))
}

/// Parses the payload. An empty body has none.
fn parse_payload(body: &[u8]) -> Result<Option<Payload>, ApiError> {
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
