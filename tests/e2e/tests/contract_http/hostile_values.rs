//! Thousands of hostile header values at every route: no 5xx, no injection into logs or answers, no panic, no exit.
//!
//! `HOSTILE_VALUES` sets the number per route (10,000 for the figure in docs), `HOSTILE_SEED` the seed.

use std::net::SocketAddr;

use futures_util::future::join_all;
use kit::http::{Answer, Connection, Request};
use kit::local::Local;
use kit::world::World;

use crate::routes::{ROUTES, Route, start};

/// Default number of values per route.
const VALUES: usize = 1_000;
/// Clients at once, each with a connection.
const CLIENTS: usize = 8;
/// Headers that a service, its server or its tracing reads, and one that nothing reads.
const HEADERS: &[&str] = &[
    "tenantID",
    "tier",
    "Idempotency-Key",
    "x-request-id",
    "traceparent",
    "authorization",
    "x-amzn-oidc-data",
    "content-type",
    "accept",
    "accept-encoding",
    "cookie",
    "x-forwarded-for",
    "tracestate",
    "range",
    "x-unknown",
];
/// Seeds of the values.
const SEEDS: &[&str] = &[
    "tenant-2",
    "tenant-1",
    "basic",
    "order-7",
    "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    "\",\"level\":\"ERROR\",\"message\":\"forged",
    "\r\nx-injected: 1",
    "\r\n\r\nGET /producer HTTP/1.1\r\nhost: x\r\n\r\n",
    "\n{\"level\":\"ERROR\"}",
    "\u{1b}[31m\u{1b}[2J",
    "\u{1b}]0;title\u{7}",
    "%0d%0a",
    "${jndi:ldap://127.0.0.1/a}",
    "{{7*7}}",
    "%s%n%x",
    "' OR '1'='1",
    "../../../etc/passwd",
    "<script>alert(1)</script>",
    "\u{202e}txt",
    "\u{2028}",
    "\u{85}",
    "\u{0}",
    "\u{feff}tenant-2",
    "tenant-2, tenant-4",
    "\"tenant-2\"",
    "*",
    "Bearer eyJhbGciOiJub25lIn0.e30.",
    "2147483648",
    "-1",
    "NaN",
    "null",
    "\\u000a",
];

fn variable(name: &str, default: usize) -> usize {
    std::env::var(name)
        .ok()
        .map_or(default, |text| text.parse().expect("a number"))
}

/// A value: a seed or noise, mostly with further noise in it.
fn value(random: &mut fastrand::Rng) -> Vec<u8> {
    let mut value = match random.u8(0..10) {
        0 => (0..random.usize(0..40)).map(|_| random.u8(..)).collect(),
        1 => vec![random.u8(0x21..); random.usize(100..9_000)],
        _ => SEEDS[random.usize(..SEEDS.len())].as_bytes().to_vec(),
    };
    for _ in 0..random.usize(0..4) {
        let at = random.usize(..=value.len());
        match random.u8(0..4) {
            0 => value.insert(at, random.u8(..)),
            1 => value.insert(at, random.u8(0x80..)),
            2 => drop(
                value
                    .splice(at..at, SEEDS[random.usize(..SEEDS.len())].bytes())
                    .count(),
            ),
            _ => value.truncate(at),
        }
    }
    value
}

/// A request of the route with one hostile value, and whether the value is one that HTTP allows.
fn request(route: &Route, header: &str, value: &[u8]) -> (Vec<u8>, bool) {
    let mut request = Request::new(route.method, &route.concrete());
    // The request is complete and names a tenant, so that the server reads every header.
    for (name, own) in [("tenantID", "tenant-2"), ("Idempotency-Key", "k")] {
        if name != header {
            request = request.header(name, own);
        }
    }
    let bytes = request.header(header, value).body(route.body).bytes();
    let is_allowed = value
        .iter()
        .all(|byte| *byte == b'\t' || (*byte >= 0x20 && *byte != 0x7f));
    (bytes, is_allowed)
}

/// Sends every value, divided among clients; returns how many were answered and how many connections were closed.
async fn attack(to: SocketAddr, route: &Route, count: usize, seed: u64) -> (usize, usize) {
    let client = async |client: usize| {
        let mut random = fastrand::Rng::with_seed(seed ^ (client as u64) << 32);
        let (mut connection, mut answered, mut closed) = (None, 0, 0);
        for at in (client..count).step_by(CLIENTS) {
            let value = value(&mut random);
            let header = HEADERS[at % HEADERS.len()];
            let (bytes, is_allowed) = request(route, header, &value);
            let shown = || {
                format!(
                    "{} {} {header}: {:?}",
                    route.method,
                    route.path,
                    String::from_utf8_lossy(&value)
                )
            };
            let mut open = match connection.take() {
                Some(open) => open,
                None => Connection::open(to).await.expect("it listens"),
            };
            match open.exchange(&bytes).await {
                Ok(answer) => {
                    assert_harmless(&answer, is_allowed, &shown());
                    answered += 1;
                    // An invalid request may leave bytes on the connection.
                    connection = (is_allowed && answer.header("connection") != Some("close"))
                        .then_some(open);
                }
                Err(error) => {
                    assert!(!is_allowed, "{error}: {}", shown());
                    closed += 1;
                }
            }
        }
        (answered, closed)
    };
    let of_clients = join_all((0..CLIENTS).map(client)).await;
    of_clients
        .into_iter()
        .fold((0, 0), |sum, (answered, closed)| {
            (sum.0 + answered, sum.1 + closed)
        })
}

fn assert_harmless(answer: &Answer, is_allowed: bool, shown: &str) {
    assert!(
        (200..500).contains(&answer.status),
        "{shown}: {} {}",
        answer.status,
        answer.text()
    );
    assert_eq!(answer.header("x-injected"), None, "{shown}");
    if answer.status >= 400 && is_allowed {
        assert_eq!(
            Some(&*answer.field("request_id")),
            answer.header("x-request-id"),
            "{shown}"
        );
        assert!(
            !answer.field("code").is_empty(),
            "{shown}: {}",
            answer.text()
        );
    }
}

/// Log lines with characters that a terminal or a collector interprets.
fn forged(lines: &[String]) -> Vec<&String> {
    lines
        .iter()
        .filter(|line| {
            line.chars()
                .any(|character| character.is_control() && character != '\t')
        })
        .collect()
}

#[tokio::test]
async fn no_value_of_any_header_at_any_route_causes_a_5xx_forges_a_line_or_ends_a_service() {
    let (count, seed) = (
        variable("HOSTILE_VALUES", VALUES),
        variable("HOSTILE_SEED", 1) as u64,
    );
    let world = World::new().await;
    let mut services = start(&world).await;
    let mut sum = (0, 0);
    for route in ROUTES {
        let (answered, closed) = attack(route.of(&services).address, route, count, seed).await;
        assert_eq!(answered + closed, count, "{} {}", route.method, route.path);
        assert!(
            answered > count / 2,
            "most values are ones that HTTP allows: {answered} of {count}"
        );
        sum = (sum.0 + answered, sum.1 + closed);
    }
    for service in &mut services {
        assert!(service.process.is_running());
        assert_eq!(service.process.stderr(), Vec::<String>::new());
        let lines = service.process.stdout();
        assert_eq!(forged(&lines), Vec::<&String>::new());
        // Each line is one JSON object, or this panics; and no line has a message that the service does not log.
        for line in service.log() {
            let (level, said) = (
                line["level"].as_str(),
                line["message"].as_str().unwrap_or_default(),
            );
            assert!(matches!(level, Some("INFO" | "WARN")), "{line}");
            assert!(
                !said.contains("panic") && !said.contains("forged"),
                "{line}"
            );
        }
    }
    services[0].post("tenant-2", "").await;
    println!(
        "hostile values: {} routes, seed {seed}: {} answered, {} cut off, 0 of them 5xx",
        ROUTES.len(),
        sum.0,
        sum.1
    );
}

#[tokio::test]
async fn no_value_of_any_header_passes_the_load_balancer_changed() {
    let (count, seed) = (
        variable("HOSTILE_VALUES", VALUES) / 4,
        variable("HOSTILE_SEED", 1) as u64,
    );
    let mut local = Local::start(None).await;
    for route in ROUTES {
        attack(local.gateway, route, count, seed).await;
    }
    assert!(local.process.is_running());
    let (stdout, stderr) = (local.process.stdout(), local.process.stderr());
    for lines in [&stdout, &stderr] {
        assert!(
            lines
                .iter()
                .all(|line| !line.contains("a panic: this is a defect")),
            "{lines:?}"
        );
        let forged: Vec<_> = lines
            .iter()
            .filter(|line| line.contains("[31m") || line.contains("x-injected"))
            .collect();
        assert_eq!(forged, Vec::<&String>::new());
    }
    assert_eq!(
        local
            .ask(&Request::get("/producer").tenant("tenant-2"))
            .await
            .status,
        200
    );
}
