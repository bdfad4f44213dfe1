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
            let response = match request.extensions().get::<Refused>() {
                Some(refused) => response(refused.status(), "text/plain", String::new()),
                None => self.answer(request.method(), request.uri().path()),
            };
            async { Ok::<_, Infallible>(response) }
        });
        server::serve(listener, service, MAX_CONNECTIONS, shutdown).await;
    }

    pub fn answer(&self, method: &Method, path: &str) -> Response<Full<Bytes>> {
        if !matches!(path, "/livez" | "/readyz" | "/metrics") {
            return Self::not_found();
        }
        if !matches!(*method, Method::GET | Method::HEAD) {
            let mut refusal = response(StatusCode::METHOD_NOT_ALLOWED, "text/plain", String::new());
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

    /// The response for every other path.
    pub fn not_found() -> Response<Full<Bytes>> {
        response(StatusCode::NOT_FOUND, "text/plain", String::new())
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
