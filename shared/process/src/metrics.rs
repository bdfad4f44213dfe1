//! Prometheus metrics of one service.
//!
//! Each service owns a recorder instead of the process-wide one. So several services in one process (as in `local`) and
//! several tests in one process do not share counts. Labels come from bounded sets only (routes, statuses, operations),
//! never from ids.

use std::sync::Arc;
use std::time::Duration;

use metrics::{Counter, Gauge, Histogram, Label, with_local_recorder};
use metrics_exporter_prometheus::{
    Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder,
};

/// Upper bounds, in seconds, of every duration histogram: from a cached response to a message that is a day old.
const DURATION_BUCKETS_SECONDS: [f64; 16] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 30.0, 300.0,
    86_400.0,
];

/// Interval of [`Metrics::upkeep`]; without upkeep the recorder's memory grows between scrapes.
pub const UPKEEP_INTERVAL: Duration = Duration::from_secs(5);

/// Recorder of one service's metrics. Clones share the same recorder.
#[derive(Clone)]
pub struct Metrics {
    recorder: Arc<PrometheusRecorder>,
    handle: PrometheusHandle,
}

impl Metrics {
    /// Creates a recorder whose samples all carry the labels `service` and `environment`.
    pub fn new(service: &str, environment: &str) -> Self {
        let recorder = PrometheusBuilder::new()
            .add_global_label("service", service)
            .add_global_label("environment", environment)
            .set_buckets_for_metric(
                Matcher::Suffix("_seconds".to_owned()),
                &DURATION_BUCKETS_SECONDS,
            )
            .expect("the list of buckets is not empty")
            .build_recorder();
        let handle = recorder.handle();
        Self {
            recorder: Arc::new(recorder),
            handle,
        }
    }

    /// Returns the counter of this name and labels, created at first use. Names end in `_total`.
    pub fn counter(&self, name: &'static str, labels: Vec<Label>) -> Counter {
        with_local_recorder(&*self.recorder, || metrics::counter!(name, labels))
    }

    /// Returns the gauge of this name and labels, created at first use.
    pub fn gauge(&self, name: &'static str, labels: Vec<Label>) -> Gauge {
        with_local_recorder(&*self.recorder, || metrics::gauge!(name, labels))
    }

    /// Returns the histogram of this name and labels, created at first use. Names of durations end in `_seconds`.
    pub fn histogram(&self, name: &'static str, labels: Vec<Label>) -> Histogram {
        with_local_recorder(&*self.recorder, || metrics::histogram!(name, labels))
    }

    /// Sets the help line of a counter.
    pub fn describe_counter(&self, name: &'static str, help: &'static str) {
        with_local_recorder(&*self.recorder, || metrics::describe_counter!(name, help));
    }

    /// Sets the help line of a gauge.
    pub fn describe_gauge(&self, name: &'static str, help: &'static str) {
        with_local_recorder(&*self.recorder, || metrics::describe_gauge!(name, help));
    }

    /// Sets the help line of a histogram.
    pub fn describe_histogram(&self, name: &'static str, help: &'static str) {
        with_local_recorder(&*self.recorder, || metrics::describe_histogram!(name, help));
    }

    /// Renders the text exposition, version 0.0.4.
    pub fn render(&self) -> String {
        self.handle.render()
    }

    /// Merges buffered histogram samples; call it every [`UPKEEP_INTERVAL`].
    pub fn upkeep(&self) {
        self.handle.run_upkeep();
    }
}

pub fn label(key: &'static str, value: impl Into<std::borrow::Cow<'static, str>>) -> Label {
    match value.into() {
        std::borrow::Cow::Borrowed(value) => Label::from_static_parts(key, value),
        std::borrow::Cow::Owned(value) => Label::new(key, value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_services_in_one_process_count_separately() {
        let (one, two) = (
            Metrics::new("producer", "pool-1"),
            Metrics::new("consumer", "pool-1"),
        );
        one.counter("sent_total", vec![label("outcome", "ok")])
            .increment(3);
        one.histogram("lag_seconds", vec![]).record(0.2);
        one.upkeep();
        let text = one.render();
        assert!(
            text.contains(r#"sent_total{service="producer",environment="pool-1",outcome="ok"} 3"#),
            "{text}"
        );
        assert!(
            text.contains(
                r#"lag_seconds_bucket{service="producer",environment="pool-1",le="0.25"} 1"#
            ),
            "{text}"
        );
        assert!(!two.render().contains("sent_total"));
    }
}
