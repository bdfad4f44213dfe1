//! Counts in the metrics of an app. Pure.

use crate::topology::App;

/// Requests that an app has answered and those with 5xx, in its metrics. `app` is its path: the probe asks for it by GET.
pub(crate) fn requests_in(metrics: &str, app: App) -> (u64, u64) {
    let own = format!("route=\"/{}\"", app.as_str());
    let probe = format!("route=\"/{}/readiness-probe\"", app.as_str());
    let (mut requests, mut errors) = (0, 0);
    for line in metrics.lines().filter(|line| is_request(line)) {
        let is_probe =
            line.contains(&probe) || (line.contains(&own) && line.contains("method=\"GET\""));
        let count = value(line).filter(|_| !is_probe).unwrap_or_default();
        requests += count;
        if line.contains("status=\"5") {
            errors += count;
        }
    }
    (requests, errors)
}

/// Messages that a consumer has stored, in its metrics.
pub(crate) fn stored_in(metrics: &str) -> u64 {
    total(metrics, |line| line.starts_with("stored_total"))
}

/// POST requests that an app has answered, in its metrics.
pub(crate) fn posts_in(metrics: &str) -> u64 {
    total(metrics, |line| {
        is_request(line) && line.contains("method=\"POST\"")
    })
}

fn total(metrics: &str, is_counted: impl Fn(&str) -> bool) -> u64 {
    let lines = metrics.lines().filter(|line| is_counted(line));
    lines.filter_map(value).sum()
}

fn is_request(line: &str) -> bool {
    line.starts_with("http_requests_total{")
}

/// The value at the end of a metric's line.
fn value(line: &str) -> Option<u64> {
    line.rsplit(' ').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_of_tenants_are_counted_and_those_of_the_probe_are_not() {
        let metrics = "\
            # TYPE http_requests_total counter\n\
            http_requests_total{service=\"producer\",environment=\"pool-1\",route=\"/producer\",method=\"GET\",status=\"200\"} 50\n\
            http_requests_total{service=\"producer\",environment=\"pool-1\",route=\"/producer\",method=\"POST\",status=\"200\"} 7\n\
            http_requests_total{service=\"producer\",environment=\"pool-1\",route=\"/producer\",method=\"POST\",status=\"503\"} 2\n";
        assert_eq!(requests_in(metrics, App::Producer), (9, 2));
    }

    #[test]
    fn writes_are_counted() {
        let metrics = "\
            # TYPE stored_total counter\n\
            stored_total{service=\"consumer\",environment=\"pool-1\"} 41\n\
            stored_bytes{service=\"consumer\"} 7\n\
            http_requests_total{service=\"payments\",route=\"/payments/charges\",method=\"GET\",status=\"200\"} 5\n\
            http_requests_total{service=\"payments\",route=\"/payments/charges\",method=\"POST\",status=\"201\"} 3\n";
        assert_eq!((stored_in(metrics), posts_in(metrics)), (41, 3));
    }
}
