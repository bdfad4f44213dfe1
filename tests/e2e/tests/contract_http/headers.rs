//! Headers that every answer has, and secrets that no answer or log line has.

use kit::http::{Answer, Request};
use kit::world::World;

use crate::routes::{ROUTES, Service, start};

fn assert_sane(answer: &Answer, what: &str) {
    assert_eq!(
        answer.header("content-type"),
        Some("application/json"),
        "{what}"
    );
    assert_eq!(
        answer.header("x-content-type-options"),
        Some("nosniff"),
        "{what}"
    );
    assert_eq!(answer.header("cache-control"), Some("no-store"), "{what}");
    assert!(answer.header("x-request-id").is_some(), "{what}");
    for software_header in ["server", "x-powered-by", "via"] {
        assert_eq!(
            answer.header(software_header),
            None,
            "{what} exposes its software"
        );
    }
    let mut names: Vec<_> = answer.headers.iter().map(|(name, _)| name).collect();
    names.sort();
    names.dedup();
    assert_eq!(
        names.len(),
        answer.headers.len(),
        "{what}: a header is there twice: {:?}",
        answer.headers
    );
}

#[tokio::test]
async fn every_answer_is_json_without_caching_or_sniffing_and_names_no_software() {
    let world = World::new().await;
    let services = start(&world).await;
    for route in ROUTES {
        let service = route.of(&services);
        for request in [
            route.request().tenant("tenant-2"),
            route.request(),
            route.request().tenant("*"),
        ] {
            assert_sane(&service.ask(&request).await, &format!("{request:?}"));
        }
    }
    for service in &services {
        for request in [
            Request::get("/nothing"),
            Request::new("DELETE", "/"),
            Request::get("/%ff"),
        ] {
            assert_sane(&service.ask(&request).await, &format!("{request:?}"));
        }
    }
}

#[tokio::test]
async fn no_log_line_has_the_credentials_or_a_token_a_client_sent() {
    const SECRETS: [&str; 4] = [
        "s3cret-of-the-installation",
        "session-of-the-installation",
        "eyJhbGciOiJFUzI1NiJ9.client",
        "cookie-of-a-client",
    ];
    let world = World::new().await;
    let variables = [
        ("AWS_SECRET_ACCESS_KEY", SECRETS[0]),
        ("AWS_SESSION_TOKEN", SECRETS[1]),
        // The most verbose log level.
        ("LOG_LEVEL", "trace"),
    ];
    let mut said = String::new();
    for name in ["producer", "consumer", "payments"] {
        let service: Service = world.service(name, "pool-1", &variables).await;
        for route in ROUTES.iter().filter(|route| route.service == name) {
            let request = route.request().tenant("tenant-2").key("k").body(route.body);
            let request = request
                .header("authorization", format!("Bearer {}", SECRETS[2]))
                .header("cookie", SECRETS[3]);
            assert!(service.ask(&request).await.status < 500);
        }
        let process = service.stop().await;
        said.push_str(&process.stdout().join("\n"));
        said.push_str(&process.stderr().join("\n"));
    }
    assert!(
        said.contains(r#""level":"TRACE""#),
        "everything was said that there is to say"
    );
    for secret in SECRETS {
        let line = said.lines().find(|line| line.contains(secret));
        assert_eq!(line, None, "{secret} is in the log");
    }
}
