//! `AUTH=jwt`: the header must be the tenant of a token that the issuer signed.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use kit::http::{Answer, Request};
use kit::service::Service;
use kit::wait::{PATIENCE, until};
use kit::world::World;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::issuer::{Issuer, Key, now};
use crate::routes::every_route;

/// A service that accepts the issuer's tokens.
pub(crate) async fn bound(
    world: &World,
    name: &str,
    issuer: &Issuer,
    more: &[(&str, &str)],
) -> Service {
    let variables = issuer.variables();
    let mut variables: Vec<_> = variables
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    variables.extend_from_slice(more);
    world.service(name, "pool-1", &variables).await
}

fn bearer(request: Request, token: &str) -> Request {
    request.header("authorization", format!("Bearer {token}"))
}

fn assert_refused(answer: &Answer, expected: (u16, &str), what: &str) {
    assert_eq!(
        (answer.status, &*answer.field("code")),
        expected,
        "{what}: {}",
        answer.text()
    );
    assert_eq!(
        answer.header("www-authenticate").is_some(),
        expected.0 == 401,
        "{what}"
    );
}

#[tokio::test]
async fn every_route_that_takes_a_tenant_accepts_only_its_token() {
    let (world, key) = (World::new().await, Key::new("k"));
    let issuer = Issuer::publishing(&[&key]).await;
    let [own, others] =
        ["tenant-2", "tenant-4"].map(|tenant| key.token(&issuer.claims(tenant, &json!({}))));
    for name in ["producer", "consumer", "payments"] {
        let service = bound(&world, name, &issuer, &[]).await;
        for route in every_route(&service, name).await {
            let request = || route.request("tenant-2");
            if route.is_open() {
                assert!(service.ask(&request()).await.status < 300, "{route:?}");
                continue;
            }
            let without = service.ask(&request()).await;
            assert_refused(&without, (401, "token_missing"), &format!("{route:?}"));
            assert_eq!(without.header("www-authenticate"), Some("Bearer"));
            assert_refused(
                &service.ask(&bearer(request(), &others)).await,
                (403, "tenant_mismatch"),
                &format!("{route:?}"),
            );
            let with = service.ask(&bearer(request(), &own)).await;
            assert!(
                ![401, 403].contains(&with.status) && with.status < 500,
                "{route:?}: {}",
                with.text()
            );
        }
        if name == "producer" {
            let depth = world.aws.depth(&world.pool.queue).await;
            assert_eq!(
                depth.visible, 1,
                "one event was accepted: the one with its tenant's token"
            );
        }
        // A request without a tenant gets no data.
        assert_eq!(
            service.ask(&Request::get(&format!("/{name}"))).await.status,
            200
        );
        let twice = bearer(
            bearer(Request::get(&format!("/{name}")).tenant("tenant-2"), &own),
            &others,
        );
        assert_refused(
            &service.ask(&twice).await,
            (401, "token_invalid"),
            "two tokens",
        );
    }
    assert_eq!(
        world.aws.depth(&world.pool.queue).await.visible,
        1,
        "one event was accepted: the one with a token"
    );
}

#[tokio::test]
async fn a_token_that_is_not_the_issuers_for_now_and_here_is_a_401_and_is_in_no_log() {
    let (world, key, stranger) = (World::new().await, Key::new("k"), Key::new("k"));
    let issuer = Issuer::publishing(&[&key]).await;
    let producer = bound(
        &world,
        "producer",
        &issuer,
        &[("LOG_LEVEL", "trace"), ("AUTH_LEEWAY_SECONDS", "0")],
    )
    .await;
    let said = |changes: Value| key.token(&issuer.claims("tenant-2", &changes));
    let good = issuer.claims("tenant-2", &json!({}));
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let message = |algorithm: &str| {
        format!(
            "{}.{}",
            part(&json!({"alg": algorithm, "kid": "k"})),
            part(&good)
        )
    };
    // The public key as a shared secret.
    let secret = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, key.pem().as_bytes());
    let forged = URL_SAFE_NO_PAD
        .encode(aws_lc_rs::hmac::sign(&secret, message("HS256").as_bytes()).as_ref());
    let (head, signature) = said(json!({"tenant_id": "tenant-4"}))
        .rsplit_once('.')
        .map(|(h, s)| (h.to_owned(), s.to_owned()))
        .expect("parts");
    let changed = format!(
        "{}.{}.{signature}",
        head.split('.').next().expect("a header"),
        part(&good)
    );
    let tokens = [
        ("expired", said(json!({"exp": now() - 1}))),
        ("without an end", said(json!({"exp": null}))),
        ("not yet valid", said(json!({"nbf": now() + 60}))),
        (
            "of another issuer",
            said(json!({"iss": "https://other.test"})),
        ),
        ("for another audience", said(json!({"aud": "elsewhere"}))),
        ("signed by a stranger", stranger.token(&good)),
        ("unsigned", format!("{}.", message("none"))),
        (
            "signed with the public key",
            format!("{}.{forged}", message("HS256")),
        ),
        ("changed", changed),
        ("of an unknown key", key.token_as("other", &good)),
        ("no token", "tenant-2".to_owned()),
    ];
    for (what, token) in &tokens {
        let answer = producer
            .ask(&bearer(Request::event().tenant("tenant-2"), token))
            .await;
        assert_refused(&answer, (401, "token_invalid"), what);
        assert_eq!(
            answer.header("www-authenticate"),
            Some(r#"Bearer error="invalid_token""#),
            "{what}"
        );
        assert!(
            !answer.text().contains(token),
            "{what}: the answer repeats it"
        );
    }
    let accepted = said(json!({}));
    assert_eq!(
        producer
            .ask(&bearer(Request::event().tenant("tenant-2"), &accepted))
            .await
            .status,
        200
    );
    let log = producer.process.stdout().join("\n");
    for (what, token) in tokens
        .iter()
        .chain([&("accepted", accepted)])
        .filter(|(what, _)| *what != "no token")
    {
        let signature = token
            .rsplit('.')
            .next()
            .filter(|signature| !signature.is_empty());
        assert!(
            signature.is_none_or(|signature| !log.contains(signature)) && !log.contains(token),
            "{what}"
        );
    }
    let refused = producer.metrics().await.sum("auth_refused_total", &[]);
    assert_eq!(refused, 11.0, "each is counted, by its reason");
    assert_eq!(
        producer
            .metrics()
            .await
            .sum("auth_refused_total", &[("reason", "expired")]),
        2.0
    );
}

#[tokio::test]
async fn keys_are_rotated_kept_while_the_issuer_is_down_and_seldom_requested() {
    let (world, old, new) = (World::new().await, Key::new("old"), Key::new("new"));
    let issuer = Issuer::publishing(&[&old]).await;
    let producer = bound(&world, "producer", &issuer, &[]).await;
    let status = async |token: &str| {
        producer
            .ask(&bearer(Request::get("/producer").tenant("tenant-2"), token))
            .await
            .status
    };
    let claims = issuer.claims("tenant-2", &json!({}));
    let (of_old, of_new) = (old.token(&claims), new.token(&claims));
    assert_eq!(status(&of_old).await, 200);
    issuer.publish(&[&old, &new]);
    assert_eq!(
        status(&of_new).await,
        200,
        "read once more for a key that is not known"
    );
    assert_eq!(status(&of_old).await, 200);
    let (reads, started) = (issuer.reads(), Instant::now());
    for n in 0..200 {
        assert_eq!(
            status(&new.token_as(&format!("made-up-{n}"), &claims)).await,
            401
        );
    }
    // One request per five seconds, however many tokens ask for it, and one that may be due at once.
    let allowed = 1 + started.elapsed().as_secs() / 5;
    let more = issuer.reads() - reads;
    assert!(
        u64::try_from(more).expect("few") <= allowed,
        "{more} reads for 200 made-up keys, {allowed} allowed"
    );
    issuer.publish(&[&new]);
    until("the old key is gone", PATIENCE, async || {
        // A token with an unknown key has the keys read again, once the pause is over.
        status(&new.token_as("any", &claims)).await;
        status(&of_old).await == 401
    })
    .await;
    issuer.set_down(true);
    let reads = issuer.reads();
    until("a read has failed", PATIENCE, async || {
        status(&new.token_as("any", &claims)).await;
        issuer.reads() > reads
    })
    .await;
    assert_eq!(status(&of_new).await, 200, "a known key stays in use");
    assert!(producer.is_ready().await);
}

#[tokio::test]
async fn keys_are_refreshed_in_the_background() {
    let (world, old, new) = (World::new().await, Key::new("old"), Key::new("new"));
    let issuer = Issuer::publishing(&[&old]).await;
    let producer = bound(
        &world,
        "producer",
        &issuer,
        &[("AUTH_JWKS_REFRESH_SECONDS", "1")],
    )
    .await;
    issuer.publish(&[&new]);
    let of_old = old.token(&issuer.claims("tenant-2", &json!({})));
    until(
        "a key that was withdrawn counts no longer",
        PATIENCE,
        async || {
            producer
                .ask(&bearer(
                    Request::get("/producer").tenant("tenant-2"),
                    &of_old,
                ))
                .await
                .status
                == 401
        },
    )
    .await;
}

#[tokio::test]
async fn no_tenant_is_served_before_the_first_keys_are_read() {
    let (world, key) = (World::new().await, Key::new("k"));
    let issuer = Issuer::publishing(&[&key]).await;
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("jwks.json");
    let variables = issuer.variables();
    let mut variables: Vec<_> = variables
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    variables.push(("AUTH_JWKS", file.to_str().expect("a path")));
    let producer = Service::start("producer", "pool-1", &world.endpoint.url(), &variables).await;
    let request = bearer(
        Request::get("/producer").tenant("tenant-2"),
        &key.token(&issuer.claims("tenant-2", &json!({}))),
    );
    let early = producer.ask(&request).await;
    assert_refused(&early, (503, "auth_unavailable"), "without keys");
    assert!(early.header("retry-after").is_some());
    let waiting = Request::get("/readyz").ask(producer.admin).await;
    assert!(waiting.text().contains("auth_keys"), "{}", waiting.text());
    std::fs::write(&file, key.set().to_string()).expect("written");
    let producer = producer.ready().await;
    assert_eq!(producer.ask(&request).await.status, 200);
}

#[tokio::test]
async fn an_unauthenticated_header_is_logged_at_the_start_and_only_then() {
    let (world, key) = (World::new().await, Key::new("k"));
    let issuer = Issuer::publishing(&[&key]).await;
    for name in ["producer", "consumer", "payments"] {
        let believing = world.service(name, "pool-1", &[]).await;
        let is_warning = |line: &Value| {
            line["level"] == "WARN"
                && line["message"]
                    .as_str()
                    .is_some_and(|text| text.starts_with("AUTH=none"))
        };
        assert_eq!(
            believing
                .log()
                .iter()
                .filter(|line| is_warning(line))
                .count(),
            1,
            "{name}"
        );
        let bound = bound(&world, name, &issuer, &[]).await;
        assert!(!bound.log().iter().any(is_warning), "{name}");
    }
}
