//! Counts and latencies of requests, by route, method and status. Clients cannot add label values.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use axum::http::{Method, StatusCode};
use metrics::{Counter, Histogram};
use parking_lot::RwLock;

use tenantry_process::metrics::{Metrics, label};

/// Counts and times requests. Clones share the metrics.
#[derive(Clone)]
pub(crate) struct RequestMetrics(Arc<Handles>);

/// Cached metric handles, by route: to make one costs more than the request it counts.
struct Handles {
    metrics: Metrics,
    routes: RwLock<HashMap<Box<str>, RouteMetrics>>,
}

struct RouteMetrics {
    seconds: Histogram,
    answered: HashMap<(&'static str, StatusCode), Counter>,
}

impl RequestMetrics {
    pub(crate) fn new(metrics: Metrics) -> Self {
        metrics.describe_counter(
            "http_requests_total",
            "Requests answered, by route, method and status",
        );
        metrics.describe_histogram("http_request_seconds", "Time to answer, by route");
        Self(Arc::new(Handles {
            metrics,
            routes: RwLock::default(),
        }))
    }

    pub(crate) fn record(
        &self,
        route: &str,
        method: &Method,
        status: StatusCode,
        elapsed: Duration,
    ) {
        let method = known_method(method);
        let (count, seconds) = self
            .cached(route, method, status)
            .unwrap_or_else(|| self.register(route, method, status));
        count.increment(1);
        seconds.record(elapsed);
    }

    fn cached(
        &self,
        route: &str,
        method: &'static str,
        status: StatusCode,
    ) -> Option<(Counter, Histogram)> {
        let routes = self.0.routes.read();
        let cached = routes.get(route)?;
        Some((
            cached.answered.get(&(method, status))?.clone(),
            cached.seconds.clone(),
        ))
    }

    fn register(
        &self,
        route: &str,
        method: &'static str,
        status: StatusCode,
    ) -> (Counter, Histogram) {
        let metrics = &self.0.metrics;
        let of_route = label("route", route.to_owned());
        let labels = vec![
            of_route.clone(),
            label("method", method),
            label("status", status.as_str().to_owned()),
        ];
        let count = metrics.counter("http_requests_total", labels);
        let seconds = metrics.histogram("http_request_seconds", vec![of_route]);
        let mut routes = self.0.routes.write();
        let entry = routes.entry(route.into());
        let cached = entry.or_insert_with(|| RouteMetrics {
            seconds: seconds.clone(),
            answered: HashMap::new(),
        });
        cached.answered.insert((method, status), count.clone());
        (count, seconds)
    }
}

/// The method as a label. Unknown methods share one, because clients can invent any number of them.
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
    KNOWN
        .iter()
        .position(|known| known == method)
        .map_or("other", |at| NAMES[at])
}
