//! A trace collector for OTLP over HTTP.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::routing::post;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::ResourceSpans;
use prost::Message;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// A collector that keeps every span until it is dropped.
pub(crate) struct Collector {
    pub(crate) address: SocketAddr,
    spans: Arc<Mutex<Vec<Span>>>,
    server: JoinHandle<()>,
}

/// An exported span; ids in hexadecimal, as in a `traceparent`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Span {
    /// The service that exported it.
    pub(crate) service: String,
    pub(crate) name: String,
    pub(crate) trace_id: String,
    pub(crate) span_id: String,
    /// The parent span; empty for a root.
    pub(crate) parent_id: String,
}

impl Collector {
    /// Starts a collector on a free port.
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a port is free");
        let address = listener.local_addr().expect("it listens");
        let spans = Arc::<Mutex<Vec<Span>>>::default();
        let take = async |State(spans): State<Arc<Mutex<Vec<Span>>>>, body: Bytes| {
            let request =
                ExportTraceServiceRequest::decode(body).expect("an exporter sends what OTLP says");
            spans
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .extend(request.resource_spans.into_iter().flat_map(read));
        };
        let routes = Router::new()
            .route("/v1/traces", post(take))
            .with_state(Arc::clone(&spans));
        let server = tokio::spawn(async move {
            axum::serve(listener, routes)
                .await
                .expect("it serves until dropped");
        });
        Self {
            address,
            spans,
            server,
        }
    }

    /// Its URL, for `OTEL_EXPORTER_OTLP_ENDPOINT`.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn spans(&self) -> Vec<Span> {
        self.spans
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.server.abort();
    }
}

fn read(of_resource: ResourceSpans) -> Vec<Span> {
    let attributes = of_resource
        .resource
        .map(|resource| resource.attributes)
        .unwrap_or_default();
    let service = attributes
        .into_iter()
        .find(|attribute| attribute.key == "service.name");
    let service = match service.and_then(|attribute| attribute.value?.value) {
        Some(Value::StringValue(name)) => name,
        _ => String::new(),
    };
    let spans = of_resource
        .scope_spans
        .into_iter()
        .flat_map(|scope| scope.spans);
    spans
        .map(|span| Span {
            service: service.clone(),
            name: span.name,
            trace_id: hexadecimal(&span.trace_id),
            span_id: hexadecimal(&span.span_id),
            parent_id: hexadecimal(&span.parent_span_id),
        })
        .collect()
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
