//! The pages where tokens are required: signing in, what each role sees, what a refusal says.

use kit::http::{Answer, Request};
use serde_json::json;

use crate::{Guarded, bearer, with_json};

fn form(path: &str, body: &str) -> Request {
    Request::new("POST", path)
        .header("content-type", "application/x-www-form-urlencoded")
        .body(body)
}

/// The cookie that an answer sets, as a browser sends it.
fn cookie(answer: &Answer) -> String {
    let set = answer.header("set-cookie").expect("a cookie");
    set.split(';').next().unwrap_or_default().to_owned()
}

impl Guarded {
    async fn signed_in(&self, role: &str) -> String {
        let token = self.token(&json!([role]));
        let answer = self
            .plane
            .ask(&form("/console/sign-in", &format!("token={token}")))
            .await;
        assert_eq!(answer.status, 303, "{}", answer.text());
        cookie(&answer)
    }

    async fn page(&self, path: &str, cookie: &str) -> Answer {
        self.plane
            .ask(&Request::get(path).header("cookie", cookie))
            .await
    }
}

#[tokio::test]
async fn a_browser_without_a_token_gets_a_page_to_sign_in_and_comes_to_the_page_it_asked_for() {
    let guarded = Guarded::new().await;
    let asked = "/console/tenants?tier=basic";
    for path in [
        asked,
        "/console/tenants/tenant-1",
        "/console/onboard",
        "/console/activity",
    ] {
        let answer = guarded.plane.ask(&Request::get(path)).await;
        assert_eq!(answer.status, 401, "{path}");
        assert!(
            answer
                .header("content-type")
                .is_some_and(|kind| kind.starts_with("text/html"))
        );
        assert!(
            answer.text().contains("Sign in") && answer.text().contains(r#"name="token""#),
            "{path}"
        );
        assert!(!answer.text().contains("tenant-2"), "{path}");
    }
    let token = guarded.token(&json!(["viewer"]));
    let body = format!("token=Bearer+{token}&page=%2Fconsole%2Ftenants%3Ftier%3Dbasic");
    let answer = guarded.plane.ask(&form("/console/sign-in", &body)).await;
    assert_eq!(
        (answer.status, answer.header("location")),
        (303, Some(asked))
    );
    let set = answer.header("set-cookie").expect("a cookie");
    for attribute in [
        "__Secure-",
        "Path=/console;",
        "HttpOnly",
        "Secure",
        "SameSite=Strict",
    ] {
        assert!(set.contains(attribute), "{set}");
    }
    let page = guarded.page(asked, &cookie(&answer)).await;
    assert_eq!(page.status, 200);
    assert!(page.text().contains("tenant-2") && page.text().contains("Sign out"));
    let out = form("/console/sign-out", "").header("cookie", cookie(&answer));
    let out = guarded.plane.ask(&out).await;
    assert!(
        out.header("set-cookie")
            .is_some_and(|set| set.contains("Max-Age=0")),
        "{}",
        out.text()
    );
}

#[tokio::test]
async fn only_a_valid_token_with_a_role_signs_in_and_leads_nowhere_else() {
    let guarded = Guarded::new().await;
    let expired = guarded
        .issuer
        .claims("", &json!({ "roles": "owner", "exp": 1 }));
    let expired = guarded.key.token(&expired);
    for (token, status, says) in [
        (expired.as_str(), 401, "has expired"),
        (&guarded.token(&json!(["driver"])), 403, "has no role"),
        ("nonsense", 401, "malformed"),
        ("a%3B+Domain%3Dexample.com", 400, "no token"),
        (&"x".repeat(5000), 400, "no token"),
        ("", 400, "no token"),
    ] {
        let answer = guarded
            .plane
            .ask(&form("/console/sign-in", &format!("token={token}")))
            .await;
        assert_eq!(answer.status, status, "{says}: {}", answer.text());
        assert!(
            answer.text().contains(says) && answer.header("set-cookie").is_none(),
            "{}",
            answer.text()
        );
    }
    // A session that has ended leads to the form, with the reason.
    let ended = guarded
        .page(
            "/console/tenants",
            &format!("__Secure-tenantry-token={expired}"),
        )
        .await;
    assert_eq!(ended.status, 401);
    assert!(ended.text().contains("has expired") && ended.text().contains(r#"name="token""#));
    assert!(
        ended
            .header("set-cookie")
            .is_some_and(|set| set.contains("Max-Age=0"))
    );
    let token = guarded.token(&json!(["viewer"]));
    for elsewhere in [
        "https%3A%2F%2Fevil.example%2F",
        "%2F%2Fevil.example",
        "%2Ftenants",
        "%2Fconsole%2F..%2Ftenants",
    ] {
        let answer = guarded
            .plane
            .ask(&form(
                "/console/sign-in",
                &format!("token={token}&page={elsewhere}"),
            ))
            .await;
        assert_eq!(
            answer.header("location"),
            Some("/console/tenants"),
            "{elsewhere}"
        );
    }
    let foreign = form("/console/sign-in", &format!("token={token}"))
        .header("origin", "https://evil.example");
    assert_eq!(guarded.plane.ask(&foreign).await.status, 403);
}

#[tokio::test]
async fn the_cookie_opens_the_pages_alone_and_another_sites_form_changes_nothing() {
    let guarded = Guarded::new().await;
    let session = guarded.signed_in("owner").await;
    let before = guarded.plane.cluster.commits();
    for request in [
        Request::get("/tenants"),
        with_json("PATCH", "/tenants/tenant-1", &json!({ "suspended": true })),
    ] {
        let answer = guarded.plane.ask(&request.header("cookie", &session)).await;
        assert_eq!(
            (answer.status, &*answer.field("code")),
            (401, "token_missing")
        );
    }
    for (name, value) in [
        ("origin", "https://evil.example"),
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "same-site"),
    ] {
        let request =
            form("/console/changes", "action=suspend&tenant=tenant-1").header("cookie", &session);
        assert_eq!(
            guarded.plane.ask(&request.header(name, value)).await.status,
            403,
            "{name}: {value}"
        );
    }
    assert_eq!(guarded.plane.cluster.commits(), before);
    let own = form("/console/changes", "action=suspend&tenant=tenant-2").header("cookie", &session);
    let answer = guarded
        .plane
        .ask(&own.header("sec-fetch-site", "same-origin"))
        .await;
    assert_eq!(answer.status, 303, "{}", answer.text());
    assert_eq!(guarded.plane.cluster.commits(), before + 1);
}

#[tokio::test]
async fn a_page_offers_what_the_role_may_and_says_what_the_rest_needs() {
    let guarded = Guarded::new().await;
    for (role, may_change, may_offboard) in [
        ("viewer", false, false),
        ("operator", true, false),
        ("owner", true, true),
    ] {
        let session = guarded.signed_in(role).await;
        let page = guarded.page("/console/tenants/tenant-1", &session).await;
        assert_eq!(page.status, 200, "{role}");
        let page = page.text();
        for action in ["move", "release", "suspend", "hold"] {
            assert_eq!(
                page.contains(&format!("change?action={action}\"")),
                may_change,
                "{role}: {action}"
            );
        }
        assert_eq!(
            page.contains("change?action=offboard\""),
            may_offboard,
            "{role}"
        );
        assert_eq!(
            page.contains("needs the role operator"),
            !may_change,
            "{role}"
        );
        assert_eq!(
            page.contains("needs the role owner"),
            !may_offboard,
            "{role}"
        );
        assert_eq!(
            page.contains(r#"value="send" disabled"#),
            !may_change,
            "{role}"
        );
        let list = guarded.page("/console/tenants", &session).await;
        assert_eq!(
            list.text().contains("/console/onboard"),
            may_change,
            "{role}"
        );
        let deployments = guarded.page("/console/deployments", &session).await;
        assert_eq!(
            deployments
                .text()
                .contains(r#"action="/console/deployments""#),
            may_change,
            "{role}"
        );
    }
}

#[tokio::test]
async fn a_form_that_the_role_may_not_use_is_refused_with_a_page_that_names_the_role() {
    let guarded = Guarded::new().await;
    let before = guarded.plane.cluster.commits();
    let viewer = guarded.signed_in("viewer").await;
    let operator = guarded.signed_in("operator").await;
    for (session, path, body, needed) in [
        (
            &viewer,
            "/console/changes",
            "action=onboard&tenant=acme&tier=basic&release=0.0",
            "operator",
        ),
        (
            &viewer,
            "/console/changes",
            "action=suspend&tenant=tenant-1",
            "operator",
        ),
        (
            &operator,
            "/console/changes",
            "action=offboard&tenant=tenant-1&confirm=tenant-1",
            "owner",
        ),
        (
            &operator,
            "/console/changes",
            "action=forget&tenant=tenant-1&confirm=tenant-1",
            "owner",
        ),
        (
            &viewer,
            "/console/tenants/tenant-1/requests",
            "request=send",
            "operator",
        ),
        (&viewer, "/console/tenants/tenant-1/redrive", "", "operator"),
        (
            &viewer,
            "/console/deployments",
            "tier=basic&release=0.0&bake_seconds=0&max_error_percent=1&max_oldest_seconds=60&max_restarts=0",
            "operator",
        ),
        (&viewer, "/console/deployments/none/revert", "", "operator"),
    ] {
        let answer = guarded
            .plane
            .ask(&form(path, body).header("cookie", session))
            .await;
        assert_eq!(answer.status, 403, "{path} {body}: {}", answer.text());
        assert!(
            answer
                .header("content-type")
                .is_some_and(|kind| kind.starts_with("text/html"))
        );
        assert!(
            answer.text().contains(&format!("needs the role {needed}")),
            "{path} {body}: {}",
            answer.text()
        );
    }
    for (session, path, needed) in [
        (&viewer, "/console/onboard", "operator"),
        (
            &viewer,
            "/console/tenants/tenant-1/change?action=move",
            "operator",
        ),
        (
            &operator,
            "/console/tenants/tenant-1/change?action=offboard",
            "owner",
        ),
    ] {
        let answer = guarded.page(path, session).await;
        assert_eq!(answer.status, 403, "{path}");
        assert!(
            answer.text().contains(&format!("needs the role {needed}")),
            "{path}"
        );
    }
    assert_eq!(guarded.plane.cluster.commits(), before);
}

#[tokio::test]
async fn a_request_that_the_services_want_a_token_for_says_so_beside_its_answer() {
    let guarded = Guarded::new().await;
    guarded.plane.cluster.require_tokens();
    let session = guarded.signed_in("operator").await;
    let sent = form("/console/tenants/tenant-1/requests", "request=ask-producer")
        .header("cookie", &session);
    let sent = guarded.plane.ask(&sent).await;
    let page = sent
        .header("location")
        .expect("a redirect")
        .split('#')
        .next()
        .expect("a path")
        .to_owned();
    let page = guarded.page(&page, &session).await;
    assert_eq!(page.status, 200);
    assert!(
        page.text().contains("401 Unauthorized")
            && page.text().contains("ask for a token of the tenant"),
        "{}",
        page.text()
    );
    assert!(
        page.text()
            .contains("The consumer asks for a token of the tenant")
    );
    // A program's request of the API is answered as JSON.
    let answer = guarded
        .plane
        .ask(&bearer(
            Request::get("/tenants/tenant-1"),
            &guarded.token(&json!("viewer")),
        ))
        .await;
    assert_eq!(answer.status, 200);
}

#[tokio::test]
async fn a_form_that_is_not_the_previewed_one_any_more_changes_nothing() {
    let guarded = Guarded::new().await;
    let session = guarded.signed_in("owner").await;
    let before = guarded.plane.cluster.commits();
    let previewed = "previewed=tenant-1%7C%7C%7C%7C%7C";
    for changed in ["&delete_data=yes", ""] {
        let other = if changed.is_empty() { "yes" } else { "" };
        let body =
            format!("action=offboard&tenant=tenant-1&confirm=tenant-1{changed}&{previewed}{other}");
        let request = form("/console/changes", &body).header("cookie", &session);
        let answer = guarded.plane.ask(&request).await;
        assert_eq!(answer.status, 409, "{body}: {}", answer.text());
        assert!(answer.text().contains("form_changed"), "{}", answer.text());
    }
    assert_eq!(guarded.plane.cluster.commits(), before);
    let body = format!("action=offboard&tenant=tenant-1&confirm=tenant-1&{previewed}");
    let request = form("/console/changes", &body).header("cookie", &session);
    assert_eq!(guarded.plane.ask(&request).await.status, 303);
}
