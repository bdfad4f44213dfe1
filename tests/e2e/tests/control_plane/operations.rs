//! Changes of tenants, from the request to the tenant's answer.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;

use kit::http::Request;
use kit::wait::{PATIENCE, until};
use serde_json::{Value, json};

use crate::{ACCOUNT, Installation};

#[tokio::test]
async fn an_onboarding_ends_when_the_tenant_answers() {
    let installation = Installation::new().await;
    let accepted = installation.onboard("acme", "premium").await;
    assert_eq!(accepted.status, 202, "{}", accepted.text());
    let location = format!("/operations/{}", accepted.field("id"));
    assert_eq!(accepted.header("location"), Some(location.as_str()));
    let operation = installation.ended(&accepted).await;
    assert_eq!(operation["state"], "serving", "{operation}");
    for time in ["accepted", "committed", "applied", "ended"] {
        assert!(operation["times"][time].is_string(), "{time}: {operation}");
    }
    let answer = installation
        .local
        .ask(&Request::get("/producer").tenant("acme"))
        .await;
    assert_eq!(
        (answer.status, answer.field("environment").as_str()),
        (200, "acme")
    );
    let tenant = installation.in_state("acme", "serving").await;
    assert_eq!(tenant["desired"]["commit"], operation["commit"]);
    assert_eq!(tenant["desired"]["actor"], "local");
    assert_eq!(tenant["applied"]["ready"], true);
    assert_eq!(tenant["serving"]["apps"]["consumer"]["environment"], "acme");
    assert!(
        installation.commits()[0].contains("Actor: local"),
        "{:?}",
        installation.commits()[0]
    );
}

#[tokio::test]
async fn a_repeat_under_one_key_is_one_operation_over_a_restart() {
    let installation = Installation::new().await;
    let ask = async |installation: &Installation, tier: &str| {
        let body = json!({ "id": "acme", "tier": tier, "release": "0.0" });
        let request = Request::new("POST", "/tenants")
            .header("content-type", "application/json")
            .key("order-7");
        request
            .body(body.to_string())
            .ask(installation.local.console())
            .await
    };
    let first = ask(&installation, "basic").await;
    let again = ask(&installation, "basic").await;
    assert_eq!((first.status, again.status), (202, 202), "{}", again.text());
    assert_eq!(first.field("id"), again.field("id"));
    let other = ask(&installation, "premium").await;
    assert_eq!(
        (other.status, other.field("code").as_str()),
        (422, "idempotency_key_reused")
    );
    let before = installation.commits().len();
    let installation = installation.restart().await;
    let later = ask(&installation, "basic").await;
    assert_eq!(later.field("id"), first.field("id"));
    assert_eq!(
        installation.commits().len(),
        before,
        "nothing is committed twice"
    );
    assert_eq!(
        installation.ended_by_id(&first.field("id")).await["state"],
        "serving"
    );
}

#[tokio::test]
async fn a_tenant_moves_pauses_resumes_and_leaves() {
    let installation = Installation::new().await;
    let end = async |answer| installation.ended(&answer).await["state"].clone();
    assert_eq!(
        end(installation.onboard("acme", "basic").await).await,
        "serving"
    );
    let moved = installation
        .patch("acme", &json!({ "tier": "advanced" }))
        .await;
    assert_eq!(end(moved).await, "serving");
    let tenant = installation.in_state("acme", "serving").await;
    assert_eq!(tenant["apps"]["consumer"]["environment"], "acme");
    assert_eq!(
        end(installation
            .patch("acme", &json!({ "held": "audit" }))
            .await)
        .await,
        "serving"
    );
    assert_eq!(
        installation.in_state("acme", "serving").await["held"],
        "audit"
    );
    let held = installation
        .patch("acme", &json!({ "release": "0.1" }))
        .await;
    assert_eq!(
        (held.status, held.field("code").as_str()),
        (409, "held"),
        "{}",
        held.text()
    );
    assert_eq!(
        end(installation.patch("acme", &json!({ "held": null })).await).await,
        "serving"
    );
    assert_eq!(
        end(installation
            .patch("acme", &json!({ "release": "0.1" }))
            .await)
        .await,
        "serving"
    );
    assert_eq!(
        installation.in_state("acme", "serving").await["release"],
        "0.1.x"
    );
    assert_eq!(
        end(installation
            .patch("acme", &json!({ "suspended": true }))
            .await)
        .await,
        "gone"
    );
    installation.in_state("acme", "suspended").await;
    let again = installation
        .patch("acme", &json!({ "suspended": true }))
        .await;
    assert_eq!(
        (again.status, again.field("state").as_str()),
        (200, "gone"),
        "{}",
        again.text()
    );
    assert_eq!(
        end(installation
            .patch("acme", &json!({ "suspended": false }))
            .await)
        .await,
        "serving"
    );
    assert_eq!(
        end(installation.delete("/tenants/acme").await).await,
        "gone"
    );
    installation.in_state("acme", "offboarded").await;
    let early = installation.delete("/tenants/acme?forget=true").await;
    assert_eq!(
        (early.status, early.field("code").as_str()),
        (409, "data_protected"),
        "{}",
        early.text()
    );
    assert_eq!(
        end(installation.delete("/tenants/acme?delete_data=true").await).await,
        "gone"
    );
    assert_eq!(
        end(installation.delete("/tenants/acme?forget=true").await).await,
        "gone"
    );
    until("the tenant is forgotten", PATIENCE, async || {
        installation.get("/tenants/acme").await.status == 404
    })
    .await;
}

#[tokio::test]
async fn a_preview_shows_the_commit_and_makes_none() {
    let installation = Installation::new().await;
    let before = installation.commits().len();
    let body =
        json!({ "id": "acme", "tier": "basic", "release": "0.0", "labels": { "team": "blue" } });
    let preview = installation
        .send("POST", "/tenants?preview=true", &body)
        .await;
    assert_eq!(preview.status, 200, "{}", preview.text());
    let diff = preview.field("diff");
    assert!(
        diff.contains("+++ b/application-plane/production/tenants/basic/acme.yaml"),
        "{diff}"
    );
    assert!(diff.contains("label.tenantry.dev/team: blue"), "{diff}");
    assert_eq!(installation.commits().len(), before);
    assert_eq!(installation.get("/tenants/acme").await.status, 404);
    assert_eq!(
        installation
            .ended(&installation.send("POST", "/tenants", &body).await)
            .await["state"],
        "serving"
    );
    assert_eq!(
        installation.in_state("acme", "serving").await["labels"]["team"],
        "blue"
    );
}

#[tokio::test]
async fn events_tell_each_state_in_order() {
    let installation = Installation::new().await;
    let mut stream = TcpStream::connect(installation.local.console()).expect("it listens");
    stream
        .set_read_timeout(Some(PATIENCE))
        .expect("a time limit");
    write!(
        stream,
        "GET /events?tenant=acme HTTP/1.1\r\nHost: {}\r\n\r\n",
        installation.local.console()
    )
    .expect("it reads");
    let mut lines = BufReader::new(stream)
        .lines()
        .map(|line| line.expect("a line"));
    lines
        .by_ref()
        .find(|line| line.starts_with(": listening"))
        .expect("the stream begins");
    let accepted = installation.onboard("acme", "basic").await;
    let id = accepted.field("id");
    let mut states: Vec<String> = Vec::new();
    for line in lines {
        let Some(data) = line.strip_prefix("data: ") else {
            continue;
        };
        let data: Value = serde_json::from_str(data).expect("JSON");
        if data["id"] != id.as_str() {
            continue;
        }
        let state = data["state"].as_str().expect("a state").to_owned();
        let is_end = state == "serving";
        if states.last() != Some(&state) {
            states.push(state);
        }
        if is_end {
            break;
        }
    }
    assert_eq!(states, ["committed", "applied", "serving"]);
}

#[tokio::test]
async fn a_lifecycle_message_is_an_operation_and_its_sender_gets_the_events() {
    let installation = Installation::new().await;
    let aws = installation.local.aws();
    aws.sqs
        .create_queue()
        .queue_name("replies")
        .send()
        .await
        .expect("a queue");
    let message = json!({ "tenant_id": "acme", "tenant_tier": "basic", "release_version": "0.0", "request_id": "order-7",
        "reply_to": "replies" });
    installation.message("onboarding", &message).await;
    let operation = installation.ended_by_id("order-7").await;
    assert_eq!(
        (&operation["state"], &operation["kind"]),
        (&json!("serving"), &json!("onboard"))
    );
    let url = format!("{}/{ACCOUNT}/replies", installation.local.endpoint_url());
    let mut states = Vec::new();
    until("the sender gets the end", PATIENCE, async || {
        let received = aws
            .sqs
            .receive_message()
            .queue_url(&url)
            .max_number_of_messages(10)
            .send()
            .await;
        for message in received.expect("messages").messages.unwrap_or_default() {
            let body: Value =
                serde_json::from_str(message.body().unwrap_or_default()).expect("JSON");
            states.push(body["state"].as_str().expect("a state").to_owned());
        }
        states.iter().any(|state| state == "serving")
    })
    .await;
}

#[tokio::test]
async fn messages_are_shown_without_receiving_them() {
    let installation = Installation::new().await;
    let tenant = installation.in_state("tenant-1", "serving").await;
    assert_eq!(tenant["tier"], "premium");
    let queue = installation.get("/tenants/tenant-1/queue").await.json();
    let name = queue["dead_letter"]["name"]
        .as_str()
        .expect("a dead-letter queue")
        .to_owned();
    let url = format!("{}/{ACCOUNT}/{name}", installation.local.endpoint_url());
    installation
        .local
        .aws()
        .send(&url, "{\"a\":1}", &[("tenant_id", "tenant-1")])
        .await;
    for _ in 0..3 {
        let shown = installation
            .get("/tenants/tenant-1/queue/messages?dead=true")
            .await
            .json();
        assert_eq!(shown["messages"][0]["body"], "{\"a\":1}", "{shown}");
        assert_eq!(shown["messages"][0]["receive_count"], 0);
    }
    let redriven = Request::new("POST", "/tenants/tenant-1/queue/redrive")
        .ask(installation.local.console())
        .await;
    assert_eq!(redriven.status, 202, "{}", redriven.text());
    until(
        "the message has left the dead-letter queue",
        PATIENCE,
        async || {
            installation.get("/tenants/tenant-1/queue").await.json()["dead_letter"]["messages"] == 0
        },
    )
    .await;
}

#[tokio::test]
async fn a_restart_does_not_rewrite_how_operations_ended() {
    let installation = Installation::new().await;
    let onboarded = installation.onboard("acme", "basic").await;
    installation.ended(&onboarded).await;
    let offboarded = installation.delete("/tenants/acme").await;
    installation.ended(&offboarded).await;
    let installation = installation.restart().await;
    assert_eq!(installation.ended(&offboarded).await["state"], "gone");
    let operation = installation.ended(&onboarded).await;
    assert_eq!(
        (&operation["state"], &operation["problem"]),
        (&json!("serving"), &Value::Null)
    );
}
