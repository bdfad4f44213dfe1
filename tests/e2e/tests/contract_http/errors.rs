//! Refusals: their bodies, and the order of the checks.

use std::collections::BTreeSet;

use kit::http::{Answer, Request};
use kit::service::Service;
use kit::world::World;

/// The producer's limit by default, in bytes.
const BODY_BYTES: usize = 256 * 1024;

/// Asserts that an error is JSON with a sentence, a code, and the request id of the header and the log.
async fn assert_error(answer: &Answer, of: &Service, status: u16, code: &str) {
    assert_eq!(
        (answer.status, &*answer.field("code")),
        (status, code),
        "{}",
        answer.text()
    );
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert!(!answer.field("msg").is_empty(), "{}", answer.text());
    let id = answer
        .header("x-request-id")
        .expect("every answer has an id");
    assert_eq!(answer.field("request_id"), id);
    let line = of.log_line("request_id", id).await;
    assert_eq!(
        (&line["status"], &line["code"]),
        (&status.into(), &code.into()),
        "{line}"
    );
}

#[tokio::test]
async fn every_refusal_of_the_producer_is_json_with_msg_code_and_the_request_id_of_header_and_log()
{
    let world = World::new().await;
    let producer = world.producer().await;
    let event = || Request::event().tenant("tenant-2");
    let cases = [
        (Request::event(), 404, "tenant_missing"),
        (event().header("tier", "gold"), 400, "invalid_tier"),
        (event().header("tier", "Basic"), 400, "invalid_tier"),
        (event().header("tier", ""), 400, "invalid_tier"),
        (event().header("tier", b"b\xe4sic"), 400, "invalid_tier"),
        (
            event().header("tier", "basic").header("tier", "basic"),
            400,
            "invalid_tier",
        ),
        (event().header("tier", "advanced"), 400, "wrong_tier"),
        (event().header("tier", "premium"), 400, "wrong_tier"),
        (
            Request::event().tenant("tenant-3").header("tier", "basic"),
            400,
            "wrong_tier",
        ),
        (event().tenant("tenant-2"), 400, "tenant_repeated"),
        (event().tenant("tenant-4"), 400, "tenant_repeated"),
        (
            Request::event().tenant("Tenant-2"),
            400,
            "invalid_tenant_id",
        ),
        (Request::event().tenant("tenant-9"), 404, "tenant_unknown"),
        (
            event().body(vec![b'1'; BODY_BYTES + 1]),
            413,
            "body_too_large",
        ),
        (
            event().body(vec![b'1'; 3 * 1024 * 1024]),
            413,
            "body_too_large",
        ),
        (event().body("{"), 400, "malformed_json"),
        (event().body("{} {}"), 400, "malformed_json"),
        (event().body("plain"), 400, "malformed_json"),
        (event().body(b"\"\xff\"".as_slice()), 400, "malformed_json"),
        (event().key(""), 400, "invalid_idempotency_key"),
        (event().key("a b"), 400, "invalid_idempotency_key"),
        (
            event().key(&"k".repeat(129)),
            400,
            "invalid_idempotency_key",
        ),
        (event().key("a").key("a"), 400, "invalid_idempotency_key"),
        (Request::get("/"), 404, "no_route"),
        (Request::get("/producer/"), 404, "no_route"),
        (Request::get("/consumer"), 404, "no_route"),
        (Request::get("/producer/../producer/x"), 404, "no_route"),
    ];
    let mut ids = BTreeSet::new();
    for (request, status, code) in cases {
        let answer = producer.ask(&request).await;
        assert_error(&answer, &producer, status, code).await;
        ids.insert(answer.field("request_id"));
    }
    assert_eq!(ids.len(), 27, "each has an id of its own");
    assert_eq!(
        world.aws.depth(&world.pool.queue).await.visible,
        0,
        "nothing of it was sent"
    );
}

#[tokio::test]
async fn the_sentences_of_existing_clients_are_unchanged() {
    let world = World::new().await;
    let producer = world.producer().await;
    let tier = producer
        .ask(&Request::event().tenant("tenant-2").header("tier", "gold"))
        .await;
    assert_eq!(tier.field("msg"), "BadRequest: invalid tier");
    assert_eq!(
        producer.ask(&Request::event()).await.field("msg"),
        "NotFound"
    );
}

#[tokio::test]
async fn the_tier_is_checked_before_anything_else() {
    let world = World::new().await;
    let gold = || Request::event().header("tier", "gold");
    for environment in ["pool-1", "tenant-1"] {
        let producer = world.service("producer", environment, &[]).await;
        for request in [
            gold(),
            gold().tenant("TENANT"),
            gold().tenant("tenant-9"),
            gold().tenant("tenant-2"),
            gold().tenant("tenant-1").tenant("tenant-2"),
            gold().tenant("tenant-1").body("{"),
            gold().tenant("tenant-1").body(vec![b'1'; BODY_BYTES + 1]),
        ] {
            let answer = producer.ask(&request).await;
            assert_eq!(
                (answer.status, &*answer.field("code")),
                (400, "invalid_tier"),
                "{environment}"
            );
        }
    }
}

#[tokio::test]
async fn another_method_gets_405_with_the_methods_that_are_allowed() {
    let world = World::new().await;
    let producer = world.producer().await;
    let consumer = world.consumer().await;
    let payments = world.service("payments", "pool-1", &[]).await;
    let cases = [
        (
            &producer,
            "/producer",
            vec!["DELETE", "PUT", "PATCH", "MADEUP"],
            vec!["GET", "POST"],
        ),
        (
            &producer,
            "/producer/readiness-probe",
            vec!["POST", "DELETE"],
            vec!["GET"],
        ),
        (&consumer, "/consumer", vec!["POST", "DELETE"], vec!["GET"]),
        (
            &consumer,
            "/consumer/messages",
            vec!["POST", "DELETE"],
            vec!["GET"],
        ),
        (&payments, "/payments", vec!["POST", "PUT"], vec!["GET"]),
    ];
    for (service, path, methods, allowed) in cases {
        for method in methods {
            let answer = service
                .ask(&Request::new(method, path).tenant("tenant-2"))
                .await;
            assert_error(&answer, service, 405, "method_not_allowed").await;
            let allow = answer
                .header("allow")
                .expect("a 405 names the allowed methods")
                .to_owned();
            let allow: BTreeSet<_> = allow
                .split(',')
                .map(|method| method.trim().to_owned())
                .collect();
            assert!(
                allowed.iter().all(|method| allow.contains(*method)),
                "{method} {path}: {allow:?}"
            );
            assert!(!allow.contains(method), "{method} {path}: {allow:?}");
        }
    }
}

#[tokio::test]
async fn a_body_of_exactly_the_limit_is_accepted_and_the_limit_can_be_set() {
    let world = World::new().await;
    let producer = world.producer().await;
    let padded = |bytes: usize| format!("\"{}\"", "x".repeat(bytes - 2));
    producer.post("tenant-2", &padded(BODY_BYTES)).await;
    let small = world
        .service("producer", "pool-1", &[("MAX_BODY_BYTES", "100")])
        .await;
    small.post("tenant-2", &padded(100)).await;
    let answer = small
        .ask(&Request::event().tenant("tenant-2").body(padded(101)))
        .await;
    assert_eq!(
        (answer.status, &*answer.field("code")),
        (413, "body_too_large")
    );
}

#[tokio::test]
async fn a_valid_request_id_is_kept_and_any_other_is_replaced() {
    let world = World::new().await;
    let producer = world.producer().await;
    // No tenant: refused, so that body, header and log line all have the id.
    let with = |id: &[u8]| Request::event().header("x-request-id", id);
    for sane in [
        "abc-123",
        "Root=1-67891233-abcdef012345678912345678",
        &"i".repeat(128),
        r#"a","level":"ERROR"#,
    ] {
        let answer = producer.ask(&with(sane.as_bytes())).await;
        assert_eq!(answer.header("x-request-id"), Some(sane));
        assert_error(&answer, &producer, 404, "tenant_missing").await;
        assert_eq!(
            producer.log_line("request_id", sane).await["level"],
            "INFO",
            "a request id changes no other field of its log line"
        );
    }
    let too_long = "i".repeat(129);
    for hostile in [
        too_long.as_bytes(),
        b"",
        b"two words",
        b"caf\xc3\xa9",
        b"\xff\xfe",
        b"tab\tbed",
    ] {
        let answer = producer.ask(&with(hostile)).await;
        let id = answer
            .header("x-request-id")
            .expect("an id of our own")
            .to_owned();
        uuid::Uuid::parse_str(&id).unwrap_or_else(|_| panic!("{id:?} for {hostile:?}"));
        assert_error(&answer, &producer, 404, "tenant_missing").await;
    }
}

#[tokio::test]
async fn an_answer_that_is_no_error_has_a_request_id_too() {
    let world = World::new().await;
    let producer = world.producer().await;
    let answer = producer
        .ask(
            &Request::event()
                .tenant("tenant-2")
                .header("x-request-id", "mine"),
        )
        .await;
    assert_eq!(
        (answer.status, answer.header("x-request-id")),
        (200, Some("mine"))
    );
    let line = producer.log_line("request_id", "mine").await;
    assert_eq!(
        (&line["tenant_id"], &line["message_id"]),
        (&"tenant-2".into(), &answer.json()["message_id"])
    );
}

#[tokio::test]
async fn a_suspended_tenant_is_refused_and_what_it_sent_before_is_stored() {
    let world = World::new().await;
    let before = world.producer().await.post("tenant-2", "").await;
    world.aws.put("/tenant-2/status", "suspended").await;
    // New processes: a running one reads the status at its next refresh.
    let (producer, consumer) = (world.producer().await, world.consumer().await);
    let refused = [
        (&producer, Request::event().tenant("tenant-2")),
        (&producer, Request::get("/producer").tenant("tenant-2")),
        (
            &consumer,
            Request::get("/consumer/messages").tenant("tenant-2"),
        ),
    ];
    for (service, request) in refused {
        assert_error(
            &service.ask(&request).await,
            service,
            403,
            "tenant_suspended",
        )
        .await;
    }
    producer.post("tenant-4", "").await;
    world.stored(2, &world.pool).await;
    assert!(
        world
            .aws
            .items(&world.pool)
            .await
            .iter()
            .any(|item| item["message_id"] == before)
    );
}
