//! The telemetry layer: request id, span, metrics and log line of every request; a panic becomes an error.
//!
//! A request with a head that breaks RFC 9112 ends here: the layer answers with the server's reason, and calls no route.

use std::convert::Infallible;
use std::net::IpAddr;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{self, Poll};
use std::time::{Duration, Instant};

use axum::extract::{FromRequestParts, MatchedPath, Request};
use axum::http::header::{CACHE_CONTROL, X_CONTENT_TYPE_OPTIONS};
use axum::http::request::Parts;
use axum::http::{HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use futures_util::future::CatchUnwind;
use pin_project_lite::pin_project;
use tenantry_process::metrics::Metrics;
use tenantry_process::request_id::{REQUEST_ID, request_id};
use tenantry_process::server::{Peer, Refused};
use tenantry_process::telemetry::continue_trace;
use tenantry_tenancy::tenant::TenantId;
use tower::{Layer, Service};
use tracing::Instrument;
use tracing::instrument::Instrumented;
use uuid::Uuid;

use crate::error::ApiError;
use crate::request_metrics::RequestMetrics;
use crate::source::Proxies;

/// A response belongs to one tenant, and no cache has the tenant header in its key.
const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");
/// A response repeats what clients sent: no browser may take it for anything but JSON.
const NO_SNIFF: HeaderValue = HeaderValue::from_static("nosniff");
/// Longest subject of a token in a log line, in bytes; longer ones are cut.
const MAX_ACTOR_BYTES: usize = 256;
/// Label of requests that matched no route.
const NO_ROUTE: &str = "none";

/// Fields of a request's log line that are known only while it is handled. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct RequestContext(Arc<Fields>);

#[derive(Debug, Default)]
struct Fields {
    tenant: OnceLock<TenantId>,
    actor: OnceLock<Box<str>>,
    message_id: OnceLock<Uuid>,
}

impl RequestContext {
    pub fn set_tenant(&self, tenant: &TenantId) {
        // Fails where it is set already: the header is one.
        let _ = self.0.tenant.set(tenant.clone());
    }

    /// The subject of the request's token, whose signature is verified.
    pub fn set_actor(&self, subject: &str) {
        let end = subject.floor_char_boundary(MAX_ACTOR_BYTES);
        // Fails where it is set already: a request has one token.
        let _ = self.0.actor.set(subject[..end].into());
    }

    /// The message that the request became.
    pub fn set_message_id(&self, id: Uuid) {
        let _ = self.0.message_id.set(id);
    }
}

impl<S: Sync> FromRequestParts<S> for RequestContext {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Infallible> {
        Ok(parts.extensions.get::<Self>().cloned().unwrap_or_default())
    }
}

/// The layer. A service and a future of its own, because every request passes them: ready-made layers box the future, the
/// body or both.
#[derive(Clone)]
pub(crate) struct TelemetryLayer {
    metrics: RequestMetrics,
    proxies: Arc<Proxies>,
}

impl TelemetryLayer {
    pub(crate) fn new(metrics: Metrics, proxies: Proxies) -> Self {
        Self {
            metrics: RequestMetrics::new(metrics),
            proxies: Arc::new(proxies),
        }
    }
}

#[derive(Clone)]
pub(crate) struct TelemetryService<S> {
    inner: S,
    layer: TelemetryLayer,
}

impl<S> Layer<S> for TelemetryLayer {
    type Service = TelemetryService<S>;

    fn layer(&self, inner: S) -> TelemetryService<S> {
        TelemetryService {
            inner,
            layer: self.clone(),
        }
    }
}

impl<S> Service<Request> for TelemetryService<S>
where
    S: Service<Request, Response = Response, Error = Infallible>,
{
    type Response = Response;
    type Error = Infallible;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, context: &mut task::Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
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
        let peer = request.extensions().get::<Peer>();
        let source = peer.map(|Peer(peer)| self.layer.proxies.source(*peer, request.headers()));
        let refused = request.extensions().get::<Refused>().copied();
        ResponseFuture {
            refused,
            response: AssertUnwindSafe(self.inner.call(request))
                .catch_unwind()
                .instrument(span),
            request: RequestSummary {
                metrics: self.layer.metrics.clone(),
                context,
                source,
                method,
                route,
                request_id,
                started,
            },
        }
    }
}

pin_project! {
    /// The response future of a request.
    pub(crate) struct ResponseFuture<F> {
        refused: Option<Refused>,
        #[pin]
        response: Instrumented<CatchUnwind<AssertUnwindSafe<F>>>,
        request: RequestSummary,
    }
}

/// The data of a request for its metrics and its log line.
struct RequestSummary {
    metrics: RequestMetrics,
    context: RequestContext,
    source: Option<IpAddr>,
    method: Method,
    route: Option<MatchedPath>,
    request_id: HeaderValue,
    started: Instant,
}

impl<F: Future<Output = Result<Response, Infallible>>> Future for ResponseFuture<F> {
    type Output = Result<Response, Infallible>;

    fn poll(self: Pin<&mut Self>, context: &mut task::Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let response = match this.refused {
            Some(refused) => Ok(ApiError::from(*refused).into_response()),
            // The panic hook has logged a panic already.
            None => std::task::ready!(this.response.poll(context))
                .unwrap_or_else(|_| Ok(ApiError::internal().into_response())),
        };
        Poll::Ready(response.map(|response| this.request.complete(response)))
    }
}

impl RequestSummary {
    /// Adds the common headers and the error's body to a response, counts the response and logs it.
    fn complete(&self, mut response: Response) -> Response {
        let request_id = self.request_id.to_str().unwrap_or_default();
        let code = ApiError::write_body(&mut response, request_id);
        let headers = response.headers_mut();
        headers.insert(REQUEST_ID, self.request_id.clone());
        // Only a file that is the same for every client has a lifetime of its own.
        headers.entry(CACHE_CONTROL).or_insert(NO_STORE);
        headers.insert(X_CONTENT_TYPE_OPTIONS, NO_SNIFF);
        let (status, elapsed) = (response.status(), self.started.elapsed());
        let route = self.route.as_ref().map_or(NO_ROUTE, MatchedPath::as_str);
        self.metrics.record(route, &self.method, status, elapsed);
        self.log(route, status, code, elapsed);
        response
    }

    /// One line for each event accepted and each request refused; other requests at debug level only.
    fn log(&self, route: &str, status: StatusCode, code: Option<&str>, elapsed: Duration) {
        let request_id = self.request_id.to_str().unwrap_or_default();
        let tenant_id = self.context.0.tenant.get().map(TenantId::as_str);
        let actor = self.context.0.actor.get().map(AsRef::as_ref);
        let source = self.source.map(tracing::field::display);
        let message_id = self.context.0.message_id.get().map(tracing::field::display);
        let elapsed_us = u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX);
        let (method, status) = (self.method.as_str(), status.as_u16());
        macro_rules! line {
            ($level:ident, $text:literal) => {
                tracing::$level!(
                    request_id, tenant_id, actor, source, message_id, method, route, status, code,
                    elapsed_us, $text
                )
            };
        }
        match code {
            // There may be tens of thousands per second; overload control logs their number.
            Some(ApiError::TOO_BUSY) => line!(debug, "request refused"),
            Some(_) if status >= 500 => line!(warn, "request failed"),
            Some(_) => line!(info, "request refused"),
            // The line of every event has only the fields that differ: a line costs an eighth of a POST.
            None if message_id.is_some() => {
                tracing::info!(
                    request_id,
                    tenant_id,
                    actor,
                    message_id,
                    elapsed_us,
                    "event accepted"
                );
            }
            None => line!(debug, "request answered"),
        }
    }
}
