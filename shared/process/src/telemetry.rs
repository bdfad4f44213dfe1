//! Logs and traces, started once per process. Each service has its own metrics ([`crate::metrics`]).
//!
//! If `OTEL_EXPORTER_OTLP_ENDPOINT` is set, traces are exported by OTLP over HTTP; otherwise no span is created. The
//! trace context has the W3C form: one header or message attribute. A client's context continues its trace, and never
//! decides whether a request is traced (`Sampler`).

use std::collections::HashMap;
use std::io::IsTerminal;

use opentelemetry::propagation::TextMapPropagator;
use opentelemetry::trace::{Link, SpanContext, SpanKind, TraceContextExt, TraceId, TracerProvider};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{SamplingDecision, SamplingResult, SdkTracerProvider, ShouldSample};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;
use tracing_subscriber::filter::{FilterExt, LevelFilter, filter_fn};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

use crate::config::LogFormat;

/// OpenTelemetry's variable for the endpoint of the exporter.
const OTLP_VARIABLE: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
/// OpenTelemetry's variable for the protocol of the exporter.
const OTLP_PROTOCOL_VARIABLE: &str = "OTEL_EXPORTER_OTLP_PROTOCOL";
/// W3C name of the trace context's header.
const TRACEPARENT: &str = "traceparent";

/// Telemetry cannot start.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    #[error(
        "{OTLP_PROTOCOL_VARIABLE} is {0:?}; set it to http/protobuf, the only protocol supported"
    )]
    Protocol(String),
    #[error("{OTLP_VARIABLE} cannot be used: {0}")]
    Exporter(String),
    /// The process already has a global subscriber.
    #[error("logging was already started")]
    Started,
}

/// Running telemetry; call [`Telemetry::end`] to flush traces.
pub struct Telemetry {
    traces: Option<SdkTracerProvider>,
}

/// Starts logging, and tracing if it is configured.
///
/// # Errors
/// [`TelemetryError`], one line that names the variable.
pub fn start(
    service: &'static str,
    format: LogFormat,
    filter: &str,
    trace_ratio: f64,
) -> Result<Telemetry, TelemetryError> {
    let traces = has_exporter()
        .then(|| tracer_provider(service, Sampler(trace_ratio)))
        .transpose()?;
    let filter = EnvFilter::try_new(filter).unwrap_or_else(|_| EnvFilter::new("info"));
    // Log lines carry their own fields; spans are for the exporter alone.
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
    // Even an absent layer (`None`) would make tracing create every span.
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
    /// Exports the remaining traces. Blocks for up to the exporter's time-out: call it last.
    pub fn end(self) {
        if let Some(Err(error)) = self.traces.map(|provider| provider.shutdown()) {
            tracing::warn!(%error, "export of the last traces failed");
        }
    }
}

/// Makes the span a child of the caller's trace context, if there is one.
pub fn continue_trace(span: &Span, traceparent: Option<&str>) {
    if let Some(traceparent) = traceparent {
        let carrier = HashMap::from([(TRACEPARENT.to_owned(), traceparent.to_owned())]);
        // Fails only without an exporter; then there is no trace to continue.
        let _ = span.set_parent(TraceContextPropagator::new().extract(&carrier));
    }
}

/// Returns the span's trace context in W3C form; `None` if traces are not exported.
pub fn traceparent(span: &Span) -> Option<String> {
    let context = span.context();
    if !context.span().span_context().is_valid() {
        return None;
    }
    let mut carrier = HashMap::new();
    TraceContextPropagator::new().inject_context(&context, &mut carrier);
    carrier.remove(TRACEPARENT)
}

fn has_exporter() -> bool {
    std::env::var_os(OTLP_VARIABLE).is_some_and(|value| !value.is_empty())
}

/// Decides which requests are traced, each with this probability.
///
/// Clients choose neither the decision nor, by the trace id, its outcome. Spans below a request's have its decision,
/// also in the consumer: only services write a message's context.
#[derive(Debug, Clone)]
struct Sampler(f64);

impl ShouldSample for Sampler {
    fn should_sample(
        &self,
        parent: Option<&Context>,
        _trace_id: TraceId,
        _name: &str,
        kind: &SpanKind,
        _attributes: &[KeyValue],
        _links: &[Link],
    ) -> SamplingResult {
        let parent = parent.map(|parent| parent.span().span_context().clone());
        let parent = parent.filter(SpanContext::is_valid);
        let is_sampled = match &parent {
            Some(parent) if *kind != SpanKind::Server || !parent.is_remote() => parent.is_sampled(),
            _ => fastrand::f64() < self.0,
        };
        SamplingResult {
            decision: if is_sampled {
                SamplingDecision::RecordAndSample
            } else {
                SamplingDecision::Drop
            },
            attributes: Vec::new(),
            trace_state: parent
                .map_or_else(Default::default, |parent| parent.trace_state().clone()),
        }
    }
}

fn tracer_provider(
    service: &'static str,
    sampler: Sampler,
) -> Result<SdkTracerProvider, TelemetryError> {
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
        .with_sampler(sampler)
        .with_resource(resource)
        .build())
}
