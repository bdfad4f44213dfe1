//! What happens around every request: its id, its span, its metrics, its log line; a panic becomes an error.

use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{self, Poll};
use std::time::{Duration, Instant};

use axum::extract::{MatchedPath, Request};
use axum::http::header::{CACHE_CONTROL, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use futures_util::future::CatchUnwind;
use pin_project_lite::pin_project;
use tower::{Layer, Service};
use tracing::Instrument;
use tracing::instrument::Instrumented;
use uuid::Uuid;

use super::error::ApiError;
use super::request_metrics::RequestMetrics;
use crate::telemetry::continue_trace;
use crate::tenant::TenantId;

/// Request and response header of the id.
pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// An answer is one tenant's, and the header that says whose is in no cache's key.
const NOT_STORED: HeaderValue = HeaderValue::from_static("no-store");
/// An answer repeats what clients sent: no browser is to take it for anything but JSON.
const AS_IT_SAYS: HeaderValue = HeaderValue::from_static("nosniff");
/// Longest id taken over from a client.
const MAX_REQUEST_ID_BYTES: usize = 128;
/// Label of requests that matched no route.
const NO_ROUTE: &str = "none";

/// What is known of a request while it is handled; handlers add to it what its log line should say. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct RequestContext(Arc<Fields>);

#[derive(Debug, Default)]
struct Fields {
    tenant: OnceLock<TenantId>,
    message_id: OnceLock<Uuid>,
}

impl RequestContext {
    /// Whose request it is.
    pub fn set_tenant(&self, tenant: &TenantId) {
        // Set once: the header is one.
        let _ = self.0.tenant.set(tenant.clone());
    }

    /// Which message it became.
    pub fn set_message_id(&self, id: Uuid) {
        let _ = self.0.message_id.set(id);
    }
}

/// Puts what happens around every request around a service. Written as a service and a future of their own, because
/// they are on the way of every request: ready-made ones box the future, the body or both.
#[derive(Clone)]
pub(super) struct ObserveLayer(pub(super) RequestMetrics);

/// A service with it around.
#[derive(Clone)]
pub(super) struct Observed<S> {
    service: S,
    metrics: RequestMetrics,
}

impl<S> Layer<S> for ObserveLayer {
    type Service = Observed<S>;

    fn layer(&self, service: S) -> Observed<S> {
        Observed {
            service,
            metrics: self.0.clone(),
        }
    }
}

impl<S> Service<Request> for Observed<S>
where
    S: Service<Request, Response = Response, Error = Infallible>,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Observing<S::Future>;

    fn poll_ready(&mut self, context: &mut task::Context<'_>) -> Poll<Result<(), Infallible>> {
        self.service.poll_ready(context)
    }

    fn call(&mut self, mut request: Request) -> Self::Future {
        let started = Instant::now();
        let context = RequestContext::default();
        request.extensions_mut().insert(context.clone());
        let method = request.method().clone();
        let route = request.extensions().get::<MatchedPath>().cloned();
        let name = route.as_ref().map_or(NO_ROUTE, MatchedPath::as_str);
        let span = tracing::info_span!("request", otel.name = %format_args!("{method} {name}"), otel.kind = "server");
        let traceparent = request
            .headers()
            .get("traceparent")
            .and_then(|value| value.to_str().ok());
        continue_trace(&span, traceparent);
        let request_id = request_id(request.headers());
        Observing {
            answer: AssertUnwindSafe(self.service.call(request))
                .catch_unwind()
                .instrument(span),
            seen: Seen {
                metrics: self.metrics.clone(),
                context,
                method,
                route,
                request_id,
                started,
            },
        }
    }
}

pin_project! {
    /// A request on its way to its answer.
    pub(super) struct Observing<F> {
        #[pin]
        answer: Instrumented<CatchUnwind<AssertUnwindSafe<F>>>,
        seen: Seen,
    }
}

/// What is known of a request before it is answered.
struct Seen {
    metrics: RequestMetrics,
    context: RequestContext,
    method: Method,
    route: Option<MatchedPath>,
    request_id: HeaderValue,
    started: Instant,
}

impl<F: Future<Output = Result<Response, Infallible>>> Future for Observing<F> {
    type Output = Result<Response, Infallible>;

    fn poll(self: Pin<&mut Self>, context: &mut task::Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let answer = std::task::ready!(this.answer.poll(context));
        // A panic was told by the panic hook already.
        let response = answer.unwrap_or_else(|_| Ok(ApiError::internal().into_response()));
        Poll::Ready(response.map(|response| this.seen.answered(response)))
    }
}

impl Seen {
    fn answered(&self, mut response: Response) -> Response {
        let code = complete(&mut response, &self.request_id);
        let request_id = self.request_id.to_str().unwrap_or_default();
        let (status, took) = (response.status(), self.started.elapsed());
        let route = self.route.as_ref().map_or(NO_ROUTE, MatchedPath::as_str);
        self.metrics.answered(route, &self.method, status, took);
        log(
            &self.context,
            request_id,
            &self.method,
            route,
            status,
            code,
            took,
        );
        response
    }
}

/// Writes what every answer has: its id, and the body of an error, whose code this gives.
pub(super) fn complete(response: &mut Response, request_id: &HeaderValue) -> Option<&'static str> {
    let code = ApiError::write_body(response, request_id.to_str().unwrap_or_default());
    let headers = response.headers_mut();
    headers.insert(REQUEST_ID, request_id.clone());
    headers.insert(CACHE_CONTROL, NOT_STORED);
    headers.insert(X_CONTENT_TYPE_OPTIONS, AS_IT_SAYS);
    code
}

/// One line per event handled and per request refused; identity and probes only where they are being looked into.
fn log(
    context: &RequestContext,
    request_id: &str,
    method: &Method,
    route: &str,
    status: StatusCode,
    code: Option<&str>,
    took: Duration,
) {
    let tenant_id = context.0.tenant.get().map(TenantId::as_str);
    let message_id = context.0.message_id.get().map(tracing::field::display);
    let elapsed_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
    let (method, status) = (method.as_str(), status.as_u16());
    macro_rules! line {
        ($level:ident, $text:literal) => {
            tracing::$level!(
                request_id, tenant_id, message_id, method, route, status, code, elapsed_us, $text
            )
        };
    }
    match code {
        // There may be tens of thousands a second; the shedder tells how many there were.
        Some(ApiError::TOO_BUSY) => line!(debug, "request refused"),
        Some(_) if status >= 500 => line!(warn, "request failed"),
        Some(_) => line!(info, "request refused"),
        // The line of every event: it says only what differs, because a line costs an eighth of a POST.
        None if message_id.is_some() => {
            tracing::info!(
                request_id,
                tenant_id,
                message_id,
                elapsed_us,
                "event accepted"
            );
        }
        None => line!(debug, "request answered"),
    }
}

/// The client's id where it is fit to be repeated in headers and logs, else a new one.
pub(super) fn request_id(headers: &HeaderMap) -> HeaderValue {
    let is_fit = |id: &&HeaderValue| {
        (1..=MAX_REQUEST_ID_BYTES).contains(&id.len())
            && id.as_bytes().iter().all(u8::is_ascii_graphic)
    };
    headers
        .get(REQUEST_ID)
        .filter(is_fit)
        .cloned()
        .unwrap_or_else(|| {
            let mut text = Uuid::encode_buffer();
            let id = Uuid::now_v7().hyphenated().encode_lower(&mut text);
            HeaderValue::from_str(id).expect("a UUID is digits, letters and hyphens")
        })
}
