//! Telemetry: traces, log lines, metrics.

mod collector;

use std::collections::HashMap;
use std::net::SocketAddr;

use aws_sdk_sqs::types::MessageAttributeValue;

use crate::collector::{Collector, Span};
use kit::aws::event_ids;
use kit::http::Request;
use kit::local::{ANYWHERE, Local, command};
use kit::process::{Process, fixed_port};
use kit::service::Service;
use kit::wait::{PATIENCE, eventually, until};
use kit::world::World;
use serde_json::{Value, json};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CLIENT: &str = "00f067aa0ba902b7";

fn traceparent() -> String {
    format!("00-{TRACE}-{CLIENT}-01")
}

/// Variables of a service that exports its spans to this collector soon.
fn exporting_to(url: &str) -> [(&str, &str); 2] {
    [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", url),
        ("OTEL_BSP_SCHEDULE_DELAY", "100"),
    ]
}

/// The attributes of the one message in the hybrid tenant's queue.
async fn attributes(world: &World) -> HashMap<String, MessageAttributeValue> {
    let [message] = &mut world.aws.receive(&world.hybrid.queue, 0).await[..] else {
        panic!("one message")
    };
    message
        .message_attributes
        .take()
        .expect("it has attributes")
}

/// The trace context of the one message in the hybrid tenant's queue.
async fn carried(world: &World) -> Option<String> {
    let attributes = attributes(world).await;
    let context = attributes.get("traceparent")?;
    context.string_value().map(ToOwned::to_owned)
}

/// The first span of a service in our trace.
async fn span_of(collector: &Collector, service: &str, what: &str) -> Span {
    let fits =
        |span: &Span| span.service == service && span.trace_id == TRACE && span.name.contains(what);
    eventually(
        &format!("a span {what:?} of {service}"),
        PATIENCE,
        async || collector.spans().into_iter().find(fits),
    )
    .await
}

#[tokio::test]
async fn one_trace_leads_from_the_post_through_the_queue_to_the_stored_item() {
    let (world, collector) = (World::new().await, Collector::start().await);
    let url = collector.url();
    let variables = exporting_to(&url);
    let producer = world.service("producer", "pool-1", &variables).await;
    let request = Request::event()
        .tenant("tenant-3")
        .header("traceparent", traceparent());
    assert_eq!(producer.ask(&request).await.status, 200);
    let posted = span_of(&collector, "producer", "POST /producer").await;
    assert_eq!(posted.parent_id, CLIENT, "part of the client's own span");

    assert_eq!(
        carried(&world).await,
        Some(format!("00-{TRACE}-{}-01", posted.span_id)),
        "the queue carries it on"
    );

    let consumer = world.service("consumer", "tenant-3", &variables).await;
    world.stored(1, &world.hybrid).await;
    let stored = span_of(&collector, "consumer", "").await;
    assert_eq!(stored.parent_id, posted.span_id);
    consumer.stop().await;
}

#[tokio::test]
async fn each_event_of_a_batch_keeps_its_own_trace() {
    let (world, collector) = (World::new().await, Collector::start().await);
    let url = collector.url();
    let variables = exporting_to(&url);
    let producer = world.service("producer", "pool-1", &variables).await;
    let traces: Vec<_> = (1..=8).map(|n| format!("{n:032x}")).collect();
    for trace in &traces {
        let request = Request::event()
            .tenant("tenant-2")
            .header("traceparent", format!("00-{trace}-{CLIENT}-01"));
        assert_eq!(producer.ask(&request).await.status, 200);
    }
    world.endpoint.forget_calls().await;
    let _consumer = world.service("consumer", "pool-1", &variables).await;
    world.stored(8, &world.pool).await;
    assert_eq!(
        world.endpoint.calls().await.of("DynamoDB.BatchWriteItem"),
        1,
        "they came as one batch"
    );
    until("each trace reaches the consumer", PATIENCE, async || {
        let spans = collector.spans();
        let of = |service: &str, trace: &str| {
            spans
                .iter()
                .find(|span| span.service == service && span.trace_id == trace)
                .cloned()
        };
        traces.iter().all(
            |trace| match (of("producer", trace), of("consumer", trace)) {
                (Some(posted), Some(stored)) => stored.parent_id == posted.span_id,
                _ => false,
            },
        )
    })
    .await;
}

#[tokio::test]
async fn an_invalid_trace_context_is_ignored() {
    let (world, collector) = (World::new().await, Collector::start().await);
    let url = collector.url();
    let variables = exporting_to(&url);
    let producer = world.service("producer", "pool-1", &variables).await;
    let zeros = format!("00-{}-{}-01", "0".repeat(32), "0".repeat(16));
    let long = "0".repeat(4000);
    let nonsense = [
        b"".as_slice(),
        b"\xff\xfe",
        b"00-xyz-abc-01",
        zeros.as_bytes(),
        long.as_bytes(),
    ];
    for value in nonsense {
        let answer = producer
            .ask(
                &Request::event()
                    .tenant("tenant-2")
                    .header("traceparent", value),
            )
            .await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    until("each has a trace of its own", PATIENCE, async || {
        let spans = collector
            .spans()
            .into_iter()
            .filter(|span| span.name == "POST /producer");
        let roots: std::collections::BTreeSet<_> = spans
            .filter(|span| span.parent_id.is_empty())
            .map(|span| span.trace_id)
            .collect();
        roots.len() == nonsense.len()
    })
    .await;
}

#[tokio::test]
async fn a_client_decides_neither_that_its_request_is_traced_nor_that_it_is_not() {
    let (world, collector) = (World::new().await, Collector::start().await);
    let url = collector.url();
    let exported = exporting_to(&url);
    let event = |tenant: &str, flags: &str| {
        Request::event()
            .tenant(tenant)
            .header("traceparent", format!("00-{TRACE}-{CLIENT}-{flags}"))
    };
    let none = [exported[0], exported[1], ("TRACE_RATIO", "0")];
    let untraced = world.service("producer", "pool-1", &none).await;
    assert_eq!(untraced.ask(&event("tenant-2", "01")).await.status, 200);
    // A span that waits for its export would be exported at the end.
    untraced.stop().await;
    assert_eq!(collector.spans(), []);

    let traced = world.service("producer", "pool-1", &exported).await;
    assert_eq!(traced.ask(&event("tenant-3", "00")).await.status, 200);
    let posted = span_of(&collector, "producer", "POST /producer").await;
    assert_eq!(posted.parent_id, CLIENT, "part of the client's own span");
    assert_eq!(
        carried(&world).await,
        Some(format!("00-{TRACE}-{}-01", posted.span_id)),
        "the consumer's span is traced, too"
    );
}

#[tokio::test]
async fn remaining_spans_are_exported_at_the_end() {
    let (world, collector) = (World::new().await, Collector::start().await);
    let url = collector.url();
    let variables = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", url.as_str()),
        ("OTEL_BSP_SCHEDULE_DELAY", "3600000"),
    ];
    let producer = world.service("producer", "pool-1", &variables).await;
    let request = Request::event()
        .tenant("tenant-2")
        .header("traceparent", traceparent());
    assert_eq!(producer.ask(&request).await.status, 200);
    producer.stop().await;
    span_of(&collector, "producer", "POST /producer").await;
}

#[tokio::test]
async fn without_the_variable_nothing_is_exported_or_propagated() {
    let (world, collector) = (World::new().await, Collector::start().await);
    // Another of OpenTelemetry's variables is not enough.
    let traces = format!("{}/v1/traces", collector.url());
    let variables = [
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", traces.as_str()),
        ("OTEL_BSP_SCHEDULE_DELAY", "1"),
    ];
    let producer = world.service("producer", "pool-1", &variables).await;
    let request = Request::event()
        .tenant("tenant-3")
        .header("traceparent", traceparent());
    assert_eq!(producer.ask(&request).await.status, 200);
    let attributes = attributes(&world).await;
    assert!(!attributes.contains_key("traceparent"), "{attributes:?}");
    // A span that waits for its export would be exported at the end.
    producer.stop().await;
    assert_eq!(collector.spans(), []);
}

#[tokio::test]
async fn a_collector_that_is_down_delays_no_request() {
    let world = World::new().await;
    let variables = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1"),
        ("OTEL_BSP_SCHEDULE_DELAY", "50"),
    ];
    let producer = world.service("producer", "pool-1", &variables).await;
    let consumer = world.service("consumer", "pool-1", &variables).await;
    for _ in 0..20 {
        producer.post("tenant-2", "").await;
    }
    world.stored(20, &world.pool).await;
    producer.stop().await;
    consumer.stop().await;
}

#[tokio::test]
async fn an_event_has_one_line_in_each_log_with_its_ids() {
    let world = World::new().await;
    let (producer, consumer) = (world.producer().await, world.consumer().await);
    let request = Request::event()
        .tenant("tenant-2")
        .header("x-request-id", "req-1")
        .body(r#"{"secret":"s3cr3t"}"#);
    let id = producer.ask(&request).await.field("message_id");
    let accepted = producer.log_line("message_id", &id).await;
    assert_eq!(
        (&accepted["request_id"], &accepted["tenant_id"]),
        (&json!("req-1"), &json!("tenant-2"))
    );
    assert_eq!(accepted["level"], json!("INFO"));
    let stored = consumer.log_line("message_id", &id).await;
    assert_eq!(
        (&stored["tenant_id"], &stored["level"]),
        (&json!("tenant-2"), &json!("INFO"))
    );
    world.stored(1, &world.pool).await;
    for (service, name) in [(producer, "producer"), (consumer, "consumer")] {
        let of_event = |line: &&Value| line["message_id"] == json!(id);
        assert_eq!(
            service.log().iter().filter(of_event).count(),
            1,
            "{name}: one line an event"
        );
        let all = service.stop().await.stdout().join("\n");
        assert!(!all.contains("s3cr3t"), "{name}: a payload is never logged");
    }
}

#[tokio::test]
async fn probes_and_identity_requests_are_not_logged() {
    let world = World::new().await;
    let producer = world.producer().await;
    let lines = producer.log().len();
    for _ in 0..20 {
        assert!(producer.is_ready().await);
        assert_eq!(
            producer
                .ask(&Request::get("/producer").tenant("tenant-2"))
                .await
                .status,
            200
        );
    }
    assert_eq!(producer.log().len(), lines);
}

#[tokio::test]
async fn the_producers_metrics_count_its_work() {
    let world = World::new().await;
    let producer = world.producer().await;
    let twice = json!([{"action": "SQS.SendMessageBatch", "partial": {"code": "InternalError"}, "limit": 2}]);
    world.endpoint.inject(twice).await;
    for _ in 0..5 {
        producer.post("tenant-2", "").await;
    }
    for _ in 0..3 {
        assert_eq!(
            producer
                .ask(&Request::event().tenant("tenant-9"))
                .await
                .status,
            404
        );
    }
    for path in ["/nothing", "/tenant-2/secret", "/producer/x"] {
        assert_eq!(producer.ask(&Request::get(path)).await.status, 404);
    }
    assert_eq!(
        producer
            .ask(&Request::new("MADEUP", "/producer"))
            .await
            .status,
        405
    );
    let metrics = producer.metrics().await;
    let requests = |labels: &[(&str, &str)]| metrics.sum("http_requests_total", labels);
    assert_eq!(
        requests(&[
            ("route", "/producer"),
            ("method", "POST"),
            ("status", "200")
        ]),
        5.0
    );
    assert_eq!(
        requests(&[
            ("route", "/producer"),
            ("method", "POST"),
            ("status", "404")
        ]),
        3.0
    );
    assert_eq!(requests(&[("route", "none"), ("status", "404")]), 3.0);
    assert_eq!(requests(&[("status", "405")]), 1.0);
    assert_eq!(metrics.sum("sent_total", &[]), 5.0);
    assert_eq!(metrics.sum("send_retries_total", &[]), 2.0);
    assert_eq!(
        requests(&[("service", "producer"), ("environment", "pool-1")]),
        requests(&[]),
        "each says whose it is"
    );
    for secret in ["tenant-2", "tenant-9", "MADEUP", "/nothing"] {
        assert!(
            !metrics.text().contains(secret),
            "{secret} would let clients make up labels:\n{}",
            metrics.text()
        );
    }
}

#[tokio::test]
async fn the_consumers_metrics_count_its_work() {
    let world = World::new().await;
    world
        .aws
        .send_events(&world.pool.queue, "tenant-2", &event_ids(12))
        .await;
    world.aws.send(&world.pool.queue, "poison", &[]).await;
    let twice = json!([{"action": "SQS.DeleteMessageBatch", "partial": {"code": "InternalError"}, "limit": 2}]);
    world.endpoint.inject(twice).await;
    let consumer = world.consumer().await;
    until("the delete was tried again", PATIENCE, async || {
        consumer.metrics().await.sum("deleted_total", &[]) >= 13.0
    })
    .await;
    world.stored(12, &world.pool).await;
    let metrics = consumer.metrics().await;
    for (name, expected) in [
        ("received_total", 13.0),
        ("stored_total", 12.0),
        ("deleted_total", 13.0),
        ("dead_lettered_total", 1.0),
        // The former name, for one release.
        ("set_aside_total", 1.0),
        ("receive_retries_total", 2.0),
        ("queue_lag_seconds_count", 13.0),
    ] {
        assert_eq!(
            metrics.sum(name, &[]),
            expected,
            "{name}\n{}",
            metrics.text()
        );
    }
    assert!(metrics.sum("queue_lag_seconds_sum", &[]) > 0.0);
    assert!(
        !metrics.text().contains("tenant-2"),
        "no label grows with the tenants"
    );
}

#[tokio::test]
async fn metrics_and_probes_are_not_on_the_service_port() {
    let world = World::new().await;
    for name in ["producer", "consumer", "payments"] {
        let service: Service = world.service(name, "pool-1", &[]).await;
        for page in ["/metrics", "/livez", "/readyz"] {
            assert_eq!(
                Request::get(page).ask(service.admin).await.status,
                200,
                "{name} {page}"
            );
            for path in [page.to_owned(), format!("/{name}{page}")] {
                let answer = service.ask(&Request::get(&path).tenant("tenant-2")).await;
                assert_eq!(answer.status, 404, "{name} {path}");
            }
        }
        assert!(service.metrics().await.has("http_requests_total"), "{name}");
    }
    let admin = SocketAddr::from(([127, 0, 0, 1], fixed_port()));
    let mut command = command(ANYWHERE, ANYWHERE, None);
    command.arg(format!("--admin-listen={admin}"));
    let local = Local::of(Process::start("local", command)).await;
    for (environment, service) in [
        ("pool-1", "payments"),
        ("tenant-1", "producer"),
        ("tenant-3", "consumer"),
    ] {
        for page in ["metrics", "livez", "readyz"] {
            let path = format!("/{environment}/{service}/{page}");
            assert_eq!(Request::get(&path).ask(admin).await.status, 200, "{path}");
            assert_eq!(
                local
                    .ask(&Request::get(&path).tenant("tenant-1"))
                    .await
                    .status,
                404,
                "{path}"
            );
        }
    }
    for path in ["/metrics", "/producer/metrics", "/pool-1/producer/metrics"] {
        assert_eq!(
            local
                .ask(&Request::get(path).tenant("tenant-1"))
                .await
                .status,
            404,
            "{path}"
        );
    }
}
