//! The contract through the load balancer of `local`, which routes by path and `TenantID`.

use futures_util::future::join_all;
use kit::VERSION;
use kit::http::Request;
use kit::local::{ANYWHERE, Local, command};
use kit::process::Process;
use kit::wait::{PATIENCE, eventually, until};
use serde_json::json;

#[tokio::test]
async fn each_tenant_reaches_the_environment_of_its_tier() {
    let local = Local::start(None).await;
    for (tenant, environments) in [
        ("tenant-1", ["tenant-1", "tenant-1", "tenant-1"]),
        ("tenant-2", ["pool-1", "pool-1", "pool-1"]),
        ("tenant-3", ["pool-1", "tenant-3", "pool-1"]),
    ] {
        for (service, environment) in ["producer", "consumer", "payments"]
            .into_iter()
            .zip(environments)
        {
            let answer = local
                .ask(&Request::get(&format!("/{service}")).header("TenantID", tenant))
                .await;
            let expected = format!(
                r#"{{"environment":"{environment}","microservice":"{service}","tenant_id":"{tenant}","version":"{VERSION}"}}"#
            );
            assert_eq!((answer.status, answer.text()), (200, &*expected));
            let probe = local
                .ask(&Request::get(&format!("/{service}/readiness-probe")).tenant(tenant))
                .await;
            assert_eq!((probe.status, probe.text()), (200, r#"{"Status":"OK"}"#));
        }
    }
}

#[tokio::test]
async fn a_request_that_no_rule_matches_is_404_and_says_which_header_to_set() {
    let local = Local::start(None).await;
    let no_match = [
        Request::get("/producer"),
        Request::event(),
        Request::get("/producer").tenant(""),
        Request::get("/producer").tenant("tenant-9"),
        Request::get("/producer").tenant("tenant-*"),
        Request::get("/producer").tenant("pool-1"),
        Request::get("/producer").tenant(b"\xff\x80"),
        Request::get("/producer").tenant("a".repeat(20 * 1024)),
        Request::get("/").tenant("tenant-1"),
        Request::get("/producers").tenant("tenant-1"),
        Request::get("/metrics").tenant("tenant-1"),
        Request::get("/livez").tenant("tenant-1"),
    ];
    for request in no_match {
        let answer = local.ask(&request).await;
        assert_eq!(answer.status, 404, "{request:?}: {}", answer.text());
        assert!(
            answer.field("msg").contains("tenantID"),
            "{}",
            answer.text()
        );
        assert_eq!(
            Some(&*answer.field("request_id")),
            answer.header("x-request-id")
        );
        assert!(!answer.field("code").is_empty());
    }
}

#[tokio::test]
async fn a_tenant_in_another_case_is_routed_as_an_alb_does_and_its_service_decides() {
    let local = Local::start(None).await;
    for tenant in ["TENANT-2", "Tenant-1", "tenant-3"] {
        for service in ["producer", "consumer", "payments"] {
            let request = Request::get(&format!("/{service}")).tenant(tenant);
            let answer = local.ask(&request).await;
            if tenant == "tenant-3" {
                assert_eq!(answer.status, 200, "{service}");
                continue;
            }
            assert_eq!(
                (answer.status, &*answer.field("code")),
                (400, "invalid_tenant_id"),
                "{tenant} {service}: {}",
                answer.text()
            );
        }
    }
    let unknown = Request::get("/producer").tenant("TENANT-9");
    assert_eq!(local.ask(&unknown).await.field("code"), "no_rule");
}

#[tokio::test]
async fn the_services_refuse_through_the_load_balancer_what_they_refuse_alone() {
    let local = Local::start(None).await;
    let event = || Request::event().tenant("tenant-3");
    let cases = [
        (event().header("tier", "gold"), 400, "invalid_tier"),
        (event().header("tier", "basic"), 400, "wrong_tier"),
        (event().tenant("tenant-3"), 400, "tenant_repeated"),
        (
            Request::event().tenant("tenant-2").tenant("tenant-1"),
            400,
            "tenant_repeated",
        ),
        (event().body("{"), 400, "malformed_json"),
        (event().body(vec![b'1'; 300 * 1024]), 413, "body_too_large"),
        (
            Request::new("DELETE", "/producer").tenant("tenant-1"),
            405,
            "method_not_allowed",
        ),
        (
            Request::get("/producer/nothing").tenant("tenant-1"),
            404,
            "no_route",
        ),
        (
            Request::get("/consumer/messages?limit=0").tenant("tenant-1"),
            400,
            "invalid_limit",
        ),
    ];
    for (request, status, code) in cases {
        let answer = local.ask(&request).await;
        assert_eq!(
            (answer.status, &*answer.field("code")),
            (status, code),
            "{}",
            answer.text()
        );
        assert_eq!(
            Some(&*answer.field("request_id")),
            answer.header("x-request-id")
        );
        assert_eq!(answer.header("allow").is_some(), status == 405);
    }
}

#[tokio::test]
async fn no_bytes_in_the_tenants_header_cause_a_5xx() {
    let local = Local::start(None).await;
    let bytes = (0x80..=0xff_u8).chain([b'\t', b'*', b'%']);
    let requests: Vec<_> = bytes
        .flat_map(|byte| [vec![byte], [b"tenant-1", &[byte][..]].concat()])
        .map(|value| Request::event().tenant(value))
        .collect();
    let answers = join_all(requests.iter().map(|request| local.ask(request))).await;
    for (request, answer) in requests.iter().zip(answers) {
        assert!(
            [200, 404].contains(&answer.status),
            "{request:?}: {}",
            answer.status
        );
    }
}

#[tokio::test]
async fn every_tenant_posts_and_lists_only_its_own_messages() {
    let local = Local::start(None).await;
    for tenant in ["tenant-1", "tenant-2", "tenant-3"] {
        let body = format!(r#"{{"of":"{tenant}"}}"#);
        let posted = local
            .ask(&Request::event().tenant(tenant).body(&*body))
            .await;
        assert_eq!(posted.status, 200, "{}", posted.text());
        let list = Request::get("/consumer/messages").tenant(tenant);
        until("the message is listed", PATIENCE, async || {
            let listed = local.ask(&list).await.json();
            listed["messages"].as_array().is_some_and(|messages| {
                messages.len() == 1
                    && messages[0]["message_id"] == posted.json()["message_id"]
                    && messages[0]["payload"]["of"] == tenant
            })
        })
        .await;
    }
}

#[tokio::test]
async fn a_repeat_under_a_key_is_one_message() {
    let local = Local::start(None).await;
    let event = Request::event().tenant("tenant-3").key("order-1").body("1");
    let (first, again) = (local.ask(&event).await, local.ask(&event).await);
    assert_eq!((first.status, first.text()), (200, again.text()));
    let other = local
        .ask(&Request::event().tenant("tenant-3").key("order-1").body("2"))
        .await;
    assert_eq!(other.status, 422, "{}", other.text());
    // One more, so that a second message of the key would have been consumed before it is listed.
    local
        .ask(&Request::event().tenant("tenant-3").body("3"))
        .await;
    let list = Request::get("/consumer/messages").tenant("tenant-3");
    let mut payloads = eventually("both are listed", PATIENCE, async || {
        let listed = local.ask(&list).await.json();
        let messages = listed["messages"].as_array().cloned().unwrap_or_default();
        (messages.len() >= 2).then(|| {
            messages
                .iter()
                .map(|message| message["payload"].to_string())
                .collect::<Vec<_>>()
        })
    })
    .await;
    payloads.sort();
    assert_eq!(payloads, ["1", "3"]);
}

#[tokio::test]
async fn a_queue_that_is_down_is_503_and_a_tenant_past_its_rate_429() {
    let mut command = command(ANYWHERE, ANYWHERE, None);
    command.env("TENANT_RATE_PER_SECOND", "1");
    let local = Local::of(Process::start("local", command)).await;
    local
        .controls()
        .inject(
            json!([{"action": "SQS.SendMessageBatch", "error": {"code": "AccessDenied", "status": 403}}]),
        )
        .await;
    let down = local.ask(&Request::event().tenant("tenant-1")).await;
    assert_eq!(
        (down.status, down.header("retry-after").is_some()),
        (503, true),
        "{}",
        down.text()
    );
    local.controls().inject(json!([])).await;
    let request = Request::event().tenant("tenant-2");
    let answers = join_all((0..10).map(|_| local.ask(&request))).await;
    assert!(answers.iter().any(|answer| answer.status == 200));
    let limited = answers
        .iter()
        .find(|answer| answer.status == 429)
        .expect("ten at once are too many");
    assert!(limited.header("retry-after").is_some());
    assert_eq!(
        local.ask(&Request::event().tenant("tenant-3")).await.status,
        200,
        "another tenant is not limited"
    );
}
