//! Who reaches the control plane on a laptop, and what bad input gets.

use kit::http::Request;
use serde_json::json;

use crate::Installation;

#[tokio::test]
async fn a_page_of_another_site_changes_nothing() {
    let installation = Installation::new().await;
    let console = installation.local.console();
    let before = installation.commits().len();
    let body = json!({ "id": "acme", "tier": "basic", "release": "0.0" }).to_string();
    let post = || {
        Request::new("POST", "/tenants")
            .header("content-type", "application/json")
            .body(body.clone())
    };
    for (name, value, status) in [
        ("origin", "http://evil.example", 403),
        ("origin", "http://127.0.0.1:1", 403),
        ("sec-fetch-site", "cross-site", 403),
        ("sec-fetch-site", "same-site", 403),
    ] {
        let answer = post().header(name, value).ask(console).await;
        assert_eq!(answer.status, status, "{name}: {value}: {}", answer.text());
    }
    let named = Request::for_host("GET", "/tenants", "evil.example")
        .ask(console)
        .await;
    assert_eq!(named.status, 421, "{}", named.text());
    let form = Request::new("POST", "/tenants")
        .header("content-type", "text/plain")
        .body(body.clone());
    assert_eq!(form.ask(console).await.status, 415);
    assert_eq!(installation.commits().len(), before);
}

#[tokio::test]
async fn bad_input_is_a_sentence_and_changes_nothing() {
    let installation = Installation::new().await;
    let before = installation.commits().len();
    for (body, status, code) in [
        (
            json!({ "id": "Acme", "tier": "basic", "release": "0.0" }),
            400,
            "invalid_field",
        ),
        (
            json!({ "id": "acme", "tier": "gold", "release": "0.0" }),
            400,
            "invalid_field",
        ),
        (
            json!({ "id": "acme", "tier": "basic", "release": "latest" }),
            400,
            "invalid_field",
        ),
        (
            json!({ "id": "acme", "tier": "basic" }),
            400,
            "invalid_body",
        ),
        (
            json!({ "id": "kube-system", "tier": "basic", "release": "0.0" }),
            400,
            "invalid_field",
        ),
        (
            json!({ "id": "7up", "tier": "basic", "release": "0.0" }),
            422,
            "leading_digit",
        ),
        (
            json!({ "id": "tenant-1", "tier": "basic", "release": "0.0" }),
            409,
            "other_tier",
        ),
        (
            json!({ "id": "acme", "tier": "basic", "release": "0.0", "labels": { "a b": "c" } }),
            400,
            "invalid_label",
        ),
        (json!([1]), 400, "invalid_body"),
    ] {
        let answer = installation.send("POST", "/tenants", &body).await;
        assert_eq!(
            (answer.status, answer.field("code").as_str()),
            (status, code),
            "{body}: {}",
            answer.text()
        );
        assert!(answer.field("msg").len() > 20 && !answer.field("request_id").is_empty());
    }
    let unknown = installation
        .patch("nobody", &json!({ "suspended": true }))
        .await;
    assert_eq!(
        (unknown.status, unknown.field("code").as_str()),
        (404, "tenant_unknown"),
        "{}",
        unknown.text()
    );
    assert_eq!(installation.get("/operations/none").await.status, 404);
    assert_eq!(installation.get("/tenants?limit=0").await.status, 400);
    assert_eq!(installation.get("/tenants?cursor=%00").await.status, 400);
    for url in [
        "http://example.com/",
        "https://user@example.com/",
        "nonsense",
    ] {
        let body = json!({ "id": "acme", "tier": "basic", "release": "0.0" }).to_string();
        let request = Request::new("POST", "/tenants")
            .header("content-type", "application/json")
            .header("callback-url", url);
        let answer = request.body(body).ask(installation.local.console()).await;
        assert_eq!(
            (answer.status, answer.field("code").as_str()),
            (400, "invalid_callback"),
            "{url}"
        );
    }
    assert_eq!(installation.commits().len(), before);
}
