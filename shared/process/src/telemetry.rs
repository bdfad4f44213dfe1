//! Log lines and traces. Started once per process; metrics are each service's own ([`crate::metrics`]).
//!
//! Traces are exported by OTLP over HTTP where `OTEL_EXPORTER_OTLP_ENDPOINT` is set; without it no span is even
//! created for them. The trace context travels in W3C form, in one header or message attribute.

use std::collections::HashMap;
use std::io::IsTerminal;

use opentelemetry::propagation::TextMapPropagator;
use opentelemetry::trace::{TraceContextExt, TracerProvider};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;
use tracing_subscriber::filter::{FilterExt, LevelFilter, filter_fn};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

use crate::config::LogFormat;

/// OpenTelemetry's variable for where traces go.
const OTLP_VARIABLE: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
/// OpenTelemetry's variable for how; only one way is built in.
const OTLP_PROTOCOL_VARIABLE: &str = "OTEL_EXPORTER_OTLP_PROTOCOL";
/// The W3C header and field of the trace context.
const TRACEPARENT: &str = "traceparent";

/// Telemetry cannot start.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// Another exporter protocol was asked for.
    #[error("{OTLP_PROTOCOL_VARIABLE} is {0:?}; only http/protobuf is supported")]
    Protocol(String),
    /// The exporter refuses its settings.
    #[error("{OTLP_VARIABLE} cannot be used: {0}")]
    Exporter(String),
    /// Somebody else has set a subscriber.
    #[error("logging was already started")]
    Started,
}

/// Keeps telemetry going; flushes traces when it ends.
pub struct Telemetry {
    traces: Option<SdkTracerProvider>,
}

/// Starts logging, and tracing where it is configured.
///
/// # Errors
/// [`TelemetryError`], one line that names the variable.
pub fn start(
    service: &'static str,
    format: LogFormat,
    filter: &str,
) -> Result<Telemetry, TelemetryError> {
    let traces = exporter_wanted()
        .then(|| tracer_provider(service))
        .transpose()?;
    let filter = EnvFilter::try_new(filter).unwrap_or_else(|_| EnvFilter::new("info"));
    // Lines say all they have to in their own fields: spans are for the exporter alone.
    #[expect(
        clippy::redundant_closure_for_method_calls,
        reason = "the method is too narrow in its lifetime"
    )]
    let filter = filter.and(filter_fn(|metadata| metadata.is_event()));
    let lines = tracing_subscriber::fmt::layer().with_target(false);
    let lines = match format {
        LogFormat::Json => lines
            .json()
            .flatten_event(true)
            .with_current_span(false)
            .with_span_list(false)
            .boxed(),
        LogFormat::Pretty if std::io::stdout().is_terminal() => lines.compact().boxed(),
        LogFormat::Pretty => lines.compact().with_ansi(false).boxed(),
    };
    let subscriber = tracing_subscriber::registry().with(lines.with_filter(filter));
    // An absent layer in the stack would have every span made for nobody.
    match &traces {
        Some(provider) => {
            let export = tracing_opentelemetry::layer().with_tracer(provider.tracer(service));
            subscriber
                .with(export.with_filter(LevelFilter::INFO))
                .try_init()
        }
        None => subscriber.try_init(),
    }
    .map_err(|_| TelemetryError::Started)?;
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string);
        tracing::error!(
            place,
            reason = panic.payload_as_str(),
            "a panic: this is a defect"
        );
    }));
    Ok(Telemetry { traces })
}

impl Telemetry {
    /// Sends what is left. Blocks for up to the exporter's time-out: call it when nothing else is going on.
    pub fn end(self) {
        if let Some(Err(error)) = self.traces.map(|provider| provider.shutdown()) {
            tracing::warn!(%error, "the last traces were not exported");
        }
    }
}

/// Makes the span part of the caller's trace, where it sent one.
pub fn continue_trace(span: &Span, traceparent: Option<&str>) {
    if let Some(traceparent) = traceparent {
        let carrier = HashMap::from([(TRACEPARENT.to_owned(), traceparent.to_owned())]);
        // Fails only where no exporter listens; then there is nothing to continue.
        let _ = span.set_parent(TraceContextPropagator::new().extract(&carrier));
    }
}

/// The span's trace context in W3C form; none where traces are not exported.
pub fn traceparent(span: &Span) -> Option<String> {
    let context = span.context();
    if !context.span().span_context().is_valid() {
        return None;
    }
    let mut carrier = HashMap::new();
    TraceContextPropagator::new().inject_context(&context, &mut carrier);
    carrier.remove(TRACEPARENT)
}

fn exporter_wanted() -> bool {
    std::env::var_os(OTLP_VARIABLE).is_some_and(|value| !value.is_empty())
}

fn tracer_provider(service: &'static str) -> Result<SdkTracerProvider, TelemetryError> {
    match std::env::var(OTLP_PROTOCOL_VARIABLE) {
        Ok(protocol) if !protocol.is_empty() && protocol != "http/protobuf" => {
            return Err(TelemetryError::Protocol(protocol));
        }
        _ => {}
    }
    let exporter = opentelemetry_otlp::SpanExporter::builder()
        .with_http()
        .build()
        .map_err(|error| TelemetryError::Exporter(error.to_string()))?;
    let resource = Resource::builder().with_service_name(service).build();
    Ok(SdkTracerProvider::builder()
        .with_batch_exporter(exporter)
        .with_resource(resource)
        .build())
}
