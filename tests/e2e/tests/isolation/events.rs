//! Security events in the log: who asked, from where. And routes that tell no caller anything about a tenant.

use kit::http::{ANSWER_TIMEOUT, Request};
use kit::world::World;
use serde_json::{Value, json};
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::issuer::{Issuer, Key};
use crate::tokens::bound;

/// Request of a tenant with this token.
fn with(token: &str, tenant: &str) -> Request {
    Request::get("/producer")
        .tenant(tenant)
        .header("authorization", format!("Bearer {token}"))
}

#[tokio::test]
async fn a_refused_request_is_logged_with_the_subject_of_its_token_and_the_clients_address() {
    let (world, key, stranger) = (World::new().await, Key::new("k"), Key::new("k"));
    let issuer = Issuer::publishing(&[&key]).await;
    let rate = [("TENANT_RATE_PER_SECOND", "1")];
    let service = bound(&world, "producer", &issuer, &rate).await;
    let own = key.token(&issuer.claims("tenant-2", &json!({"sub": "user-7"})));
    let expired = key.token(&issuer.claims("tenant-2", &json!({"sub": "user-8", "exp": 1})));
    let forged = stranger.token(&issuer.claims("tenant-2", &json!({"sub": "user-9"})));
    let cases = [
        (with(&own, "Tenant"), 400, Value::Null),
        (
            Request::get("/producer").tenant("tenant-2"),
            401,
            Value::Null,
        ),
        // A subject that the issuer did not sign is no actor.
        (with(&forged, "tenant-2"), 401, Value::Null),
        (with(&expired, "tenant-2"), 401, json!("user-8")),
        (with(&own, "tenant-4"), 403, json!("user-7")),
    ];
    for (at, (request, status, actor)) in cases.into_iter().enumerate() {
        // Untrusted: no proxy is configured.
        let request = request
            .header("x-request-id", format!("req-{at}"))
            .header("x-forwarded-for", "192.0.2.1")
            .header("forwarded", "for=192.0.2.1");
        assert_eq!(service.ask(&request).await.status, status, "{request:?}");
        let line = service.log_line("request_id", &format!("req-{at}")).await;
        assert_eq!(
            (&line["actor"], &line["source"]),
            (&actor, &json!("127.0.0.1")),
            "{line}"
        );
    }
    let limited = async {
        loop {
            let answer = service.ask(&with(&own, "tenant-2")).await;
            if answer.status == 429 {
                return answer;
            }
        }
    };
    let limited = tokio::time::timeout(ANSWER_TIMEOUT, limited).await;
    let id = limited
        .expect("the rate is one per second")
        .field("request_id");
    let line = service.log_line("request_id", &id).await;
    assert_eq!(
        (&line["actor"], &line["source"]),
        (&json!("user-7"), &json!("127.0.0.1")),
        "{line}"
    );
}

#[tokio::test]
async fn the_word_of_a_trusted_proxy_about_the_clients_address_is_logged() {
    let world = World::new().await;
    let trusted = ("TRUSTED_PROXIES", "10.0.0.0/8,127.0.0.0/8");
    let standard = ("TRUSTED_PROXY_HEADER", "forwarded");
    let others = ("TRUSTED_PROXIES", "10.0.0.0/8");
    for (variables, expected) in [
        (&[trusted][..], "198.51.100.7"),
        (&[trusted, standard], "2001:db8::7"),
        (&[others], "127.0.0.1"),
    ] {
        let service = world.service("producer", "pool-1", variables).await;
        let request = Request::get("/producer")
            .tenant("Tenant")
            .header("x-request-id", "req-1")
            .header("x-forwarded-for", "192.0.2.1, 198.51.100.7, 10.1.2.3")
            .header("forwarded", "for=192.0.2.1, for=\"[2001:db8::7]:99\"");
        assert_eq!(service.ask(&request).await.status, 400);
        let line = service.log_line("request_id", "req-1").await;
        assert_eq!(line["source"], json!(expected), "{variables:?}: {line}");
    }
}

/// The whole answer without its time. The server closes.
async fn text(of: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(of).await.expect("it listens");
    let mut text = String::new();
    let exchange = async {
        stream
            .write_all(request.as_bytes())
            .await
            .expect("it reads");
        stream.read_to_string(&mut text).await.expect("text");
    };
    tokio::time::timeout(ANSWER_TIMEOUT, exchange)
        .await
        .expect("in time");
    let lines = text.lines().filter(|line| !line.starts_with("date:"));
    lines.collect::<Vec<_>>().join("\n")
}

#[tokio::test]
async fn open_routes_tell_no_caller_which_tenants_there_are_and_use_up_no_rate() {
    let (world, key) = (World::new().await, Key::new("k"));
    world.aws.put("/tenant-4/status", "suspended").await;
    let issuer = Issuer::publishing(&[&key]).await;
    let mut variables = issuer.variables();
    variables.push(("TENANT_RATE_PER_SECOND", "1".to_owned()));
    let variables: Vec<_> = variables
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    for name in ["producer", "consumer", "payments"] {
        for (environment, tenant) in [("pool-1", "tenant-2"), ("tenant-1", "tenant-1")] {
            let service = world.service(name, environment, &variables).await;
            for path in ["openapi.json", "readiness-probe", "nothing"] {
                for method in ["GET", "HEAD", "POST", "OPTIONS"] {
                    let request = |more: &str| {
                        format!(
                            "{method} /{name}/{path} HTTP/1.1\r\nhost: test\r\nx-request-id: one\r\n\
                             connection: close\r\n{more}\r\n"
                        )
                    };
                    let without = text(service.address, &request("")).await;
                    for id in [tenant, "tenant-4", "tenant-9", "Tenant", "pool-1", ""] {
                        let header = format!("tenantID: {id}\r\n");
                        for more in [&header, &header.repeat(2)] {
                            let with = text(service.address, &request(more)).await;
                            assert_eq!(with, without, "{method} {path} of {name} as {id:?}");
                        }
                    }
                }
            }
            let token = key.token(&issuer.claims(tenant, &json!({})));
            let own = Request::get(&format!("/{name}"))
                .tenant(tenant)
                .header("authorization", format!("Bearer {token}"));
            let answer = service.ask(&own).await;
            assert_eq!(answer.status, 200, "{name}: {}", answer.text());
        }
    }
}
