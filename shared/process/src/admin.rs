//! The admin port: `/livez`, `/readyz` and `/metrics`. Deployments never route it from outside.

use std::convert::Infallible;

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::service::service_fn;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::health::Readiness;
use crate::metrics::Metrics;
use crate::request_id::{REQUEST_ID, request_id};
use crate::server::{self, Refused, RequestBody};

/// Connections of the admin port. Probes and scrapers need only a few; the rest is so that a probe finds a free slot
/// although others hold a thousand.
const MAX_CONNECTIONS: usize = 1024;

/// Answers probes and scrapers from cached state. Clones share that state.
#[derive(Clone)]
pub struct Admin {
    readiness: Readiness,
    metrics: Metrics,
}

impl Admin {
    pub fn new(readiness: Readiness, metrics: Metrics) -> Self {
        Self { readiness, metrics }
    }

    /// Serves the port until the token is canceled.
    pub async fn serve(self, listener: TcpListener, shutdown: CancellationToken) {
        let service = service_fn(move |request: Request<RequestBody>| {
            let response = self.answer(&request, request.uri().path());
            async { Ok::<_, Infallible>(response) }
        });
        server::serve(listener, service, MAX_CONNECTIONS, shutdown).await;
    }

    /// Answers a request for a path, which lacks a prefix that the request may have.
    pub fn answer<B>(&self, request: &Request<B>, path: &str) -> Response<Full<Bytes>> {
        if !matches!(path, "/livez" | "/readyz" | "/metrics") {
            return Self::not_found(request);
        }
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            let msg = "MethodNotAllowed: this path supports only the methods in the Allow header";
            let status = StatusCode::METHOD_NOT_ALLOWED;
            let mut refusal = error(request, status, "method_not_allowed", msg);
            refusal
                .headers_mut()
                .insert(ALLOW, HeaderValue::from_static("GET,HEAD"));
            return refusal;
        }
        match path {
            "/livez" => response(
                StatusCode::OK,
                "text/plain; charset=utf-8",
                "ok\n".to_owned(),
            ),
            "/readyz" => self.ready(),
            _ => response(
                StatusCode::OK,
                "text/plain; version=0.0.4",
                self.metrics.render(),
            ),
        }
    }

    /// The error for every other path. The path of a request with a refused head is among them: its error has the reason.
    pub fn not_found<B>(request: &Request<B>) -> Response<Full<Bytes>> {
        match request.extensions().get::<Refused>() {
            Some(refused) => error(request, refused.status(), refused.code(), refused.msg()),
            None => {
                let msg = "NotFound: no route has this path";
                error(request, StatusCode::NOT_FOUND, "no_route", msg)
            }
        }
    }

    fn ready(&self) -> Response<Full<Bytes>> {
        let unmet = self.readiness.unmet();
        let status = if unmet.is_empty() {
            StatusCode::OK
        } else {
            StatusCode::SERVICE_UNAVAILABLE
        };
        let text =
            serde_json::json!({ "ready": unmet.is_empty(), "waiting_for": unmet }).to_string();
        response(status, "application/json", text)
    }
}

fn response(status: StatusCode, content_type: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(body));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// An error as the service's port has it.
fn error<B>(
    request: &Request<B>,
    status: StatusCode,
    code: &str,
    msg: &str,
) -> Response<Full<Bytes>> {
    let id = request_id(request.headers());
    let text = id.to_str().unwrap_or_default();
    let body = serde_json::json!({ "code": code, "msg": msg, "request_id": text }).to_string();
    let mut response = response(status, "application/json", body);
    response.headers_mut().insert(REQUEST_ID, id);
    response
}
