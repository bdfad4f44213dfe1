//! `GET /events`: server-sent events of operations, tenants, deployments and commits.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::extract::State;
use axum::response::sse::{Event as Sent, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use tenantry_service::error::{ApiError, ErrorBody};
use tokio::sync::broadcast::error::RecvError;

use super::App;
use super::parameters::{Errors, Parameters};
use crate::access::{Actor, Verb};
use crate::model::Event;

/// Streams at a time.
const MAX_STREAMS: usize = 256;
const KEEP_ALIVE: Duration = Duration::from_secs(15);

static STREAMS: AtomicUsize = AtomicUsize::new(0);

/// Counts an open stream.
struct Open;

impl Open {
    fn new() -> Option<Self> {
        let taken = STREAMS.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |count| {
            (count < MAX_STREAMS).then_some(count + 1)
        });
        taken.is_ok().then_some(Self)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        STREAMS.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Event {
    /// The name of the event in a stream.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Operation(_) => "operation",
            Self::Tenant(_) => "tenant",
            Self::Deployment(_) => "deployment",
            Self::Commit(_) => "commit",
            Self::TenantGone { .. } => "tenant_gone",
        }
    }

    /// Whether the event is of this tenant or pool.
    pub fn is_of(&self, tenant: &str) -> bool {
        let among = |tenants: &[String]| tenants.iter().any(|one| one == tenant);
        match self {
            Self::Operation(operation) => among(&operation.tenants),
            Self::Tenant(view) => view.id == tenant,
            Self::Deployment(view) => view.waves.iter().any(|wave| among(&wave.tenants)),
            Self::Commit(activity) => among(&activity.tenants),
            Self::TenantGone { id } => id == tenant,
        }
    }
}

/// Events from now on
///
/// Server-sent events with the names `operation`, `tenant`, `tenant_gone`, `deployment` and `commit`; the data is JSON. After
/// `reload` some were lost: read the state anew. A client that connects again reads the state anew, too.
#[utoipa::path(
    get,
    path = "/events",
    params(
        ("tenant" = Option<String>, Query, description = "Only events of this tenant or pool"),
        ("operation" = Option<String>, Query, description = "Only events of this operation"),
    ),
    responses(
        (status = 200, description = "The stream", content_type = "text/event-stream", body = String),
        (status = 503, description = "Too many streams are open", body = ErrorBody<'static>),
        Errors,
    )
)]
pub(super) async fn events(
    actor: Actor,
    State(app): State<App>,
    parameters: Parameters,
) -> Result<Response, ApiError> {
    actor.check(Verb::Read)?;
    let open = Open::new().ok_or_else(|| {
        let msg = "Unavailable: too many streams of events are open; close one, and try again after Retry-After seconds";
        ApiError::unavailable("too_many_streams", msg)
    })?;
    let (tenant, operation) = (parameters.text("tenant"), parameters.text("operation"));
    let is_wanted = move |event: &Event| {
        let is_operation = operation
            .as_ref()
            .is_none_or(|id| matches!(event, Event::Operation(operation) if operation.id == *id));
        is_operation && tenant.as_ref().is_none_or(|tenant| event.is_of(tenant))
    };
    let state = (
        app.control.subscribe(),
        app.shutdown.clone(),
        Arc::new(open),
        Some(()),
    );
    let events = stream::unfold(state, move |(mut receiver, shutdown, open, first)| {
        let is_wanted = is_wanted.clone();
        async move {
            if first.is_some() {
                // Sent at once: the client gets every event after this comment.
                return Some((
                    Ok::<_, Infallible>(Sent::default().comment("listening")),
                    (receiver, shutdown, open, None),
                ));
            }
            loop {
                let received = shutdown.run_until_cancelled(receiver.recv()).await?;
                let sent = match received {
                    Ok(event) if is_wanted(&event) => of(&event),
                    Ok(_) => continue,
                    Err(RecvError::Lagged(_)) => Sent::default().event("reload").data("{}"),
                    Err(RecvError::Closed) => return None,
                };
                return Some((Ok(sent), (receiver, shutdown, open, None)));
            }
        }
    });
    let sse = Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE));
    Ok(sse.into_response())
}

fn of(event: &Event) -> Sent {
    let data = match event {
        Event::Operation(operation) => serde_json::to_string(operation),
        Event::Tenant(view) => serde_json::to_string(&**view),
        Event::Deployment(view) => serde_json::to_string(view),
        Event::Commit(activity) => serde_json::to_string(activity),
        Event::TenantGone { id } => serde_json::to_string(&serde_json::json!({ "id": id })),
    };
    Sent::default()
        .event(event.name())
        .data(data.unwrap_or_default())
}
