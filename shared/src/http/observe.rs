//! What happens around every request: its id, its span, its metrics, its log line.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::time::{Duration, Instant};

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::Response;
use metrics::{Counter, Histogram};
use tracing::Instrument;
use uuid::Uuid;

use super::error::ApiError;
use crate::metrics::{Metrics, label};
use crate::telemetry::continue_trace;
use crate::tenant::TenantId;

/// Request and response header of the id.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
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

/// Counts and times requests; clones share the figures.
#[derive(Clone)]
pub(super) struct RequestMetrics(Arc<Known>);

/// The handles made so far, by route: making one costs more than the request it counts.
struct Known {
    metrics: Metrics,
    routes: RwLock<HashMap<Box<str>, RouteMetrics>>,
}

struct RouteMetrics {
    seconds: Histogram,
    answered: HashMap<(&'static str, StatusCode), Counter>,
}

impl RequestMetrics {
    pub(super) fn new(metrics: Metrics) -> Self {
        metrics.describe_counter("http_requests_total", "Requests answered, by route, method and status");
        metrics.describe_histogram("http_request_seconds", "Time to answer, by route");
        Self(Arc::new(Known { metrics, routes: RwLock::default() }))
    }

    fn answered(&self, route: &str, method: &'static str, status: StatusCode, took: Duration) {
        let (count, seconds) =
            self.known(route, method, status).unwrap_or_else(|| self.make(route, method, status));
        count.increment(1);
        seconds.record(took);
    }

    fn known(&self, route: &str, method: &'static str, status: StatusCode) -> Option<(Counter, Histogram)> {
        let routes = self.0.routes.read().unwrap_or_else(PoisonError::into_inner);
        let known = routes.get(route)?;
        Some((known.answered.get(&(method, status))?.clone(), known.seconds.clone()))
    }

    fn make(&self, route: &str, method: &'static str, status: StatusCode) -> (Counter, Histogram) {
        let metrics = &self.0.metrics;
        let of_route = label("route", route.to_owned());
        let labels =
            vec![of_route.clone(), label("method", method), label("status", status.as_str().to_owned())];
        let count = metrics.counter("http_requests_total", labels);
        let seconds = metrics.histogram("http_request_seconds", vec![of_route]);
        let mut routes = self.0.routes.write().unwrap_or_else(PoisonError::into_inner);
        let entry = routes.entry(route.into());
        let known =
            entry.or_insert_with(|| RouteMetrics { seconds: seconds.clone(), answered: HashMap::new() });
        known.answered.insert((method, status), count.clone());
        (count, seconds)
    }
}

pub(super) async fn observe(
    State(metrics): State<RequestMetrics>,
    mut request: Request,
    next: Next,
) -> Response {
    let started = Instant::now();
    let request_id = request_id(request.headers());
    let context = RequestContext::default();
    request.extensions_mut().insert(context.clone());
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().cloned();
    let route = route.as_ref().map_or(NO_ROUTE, MatchedPath::as_str);
    let span =
        tracing::info_span!("request", otel.name = %format_args!("{method} {route}"), otel.kind = "server");
    continue_trace(&span, request.headers().get("traceparent").and_then(|value| value.to_str().ok()));

    let mut response = next.run(request).instrument(span).await;

    let code = ApiError::write_body(&mut response, &request_id);
    if let Ok(value) = HeaderValue::try_from(&request_id) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    let status = response.status();
    let took = started.elapsed();
    metrics.answered(route, known_method(&method), status, took);
    log(&context, &request_id, &method, route, status, code, took);
    response
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
        Some(_) if status >= 500 => line!(warn, "request failed"),
        Some(_) => line!(info, "request refused"),
        None if message_id.is_some() => line!(info, "event accepted"),
        None => line!(debug, "request answered"),
    }
}

/// The client's id where it is fit to be repeated in headers and logs, else a new one.
fn request_id(headers: &HeaderMap) -> String {
    let given = headers.get(REQUEST_ID).and_then(|value| value.to_str().ok());
    given
        .filter(|id| {
            (1..=MAX_REQUEST_ID_BYTES).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic())
        })
        .map_or_else(|| Uuid::now_v7().to_string(), ToOwned::to_owned)
}

/// The method as a label: clients can make up any number of them.
fn known_method(method: &Method) -> &'static str {
    const KNOWN: [Method; 7] = [
        Method::GET,
        Method::POST,
        Method::HEAD,
        Method::PUT,
        Method::DELETE,
        Method::PATCH,
        Method::OPTIONS,
    ];
    const NAMES: [&str; 7] = ["GET", "POST", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS"];
    KNOWN.iter().position(|known| known == method).map_or("other", |at| NAMES[at])
}
