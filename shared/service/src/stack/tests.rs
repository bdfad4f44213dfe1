//! The common routes and a service's own routes, with an in-memory registry.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{Method, Request, StatusCode, header};
use axum::response::Response;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use http_body_util::BodyExt;
use tenantry_process::health::{Condition, Readiness};
use tenantry_process::server::Refused;
use tenantry_registry::{ParameterSource, RegistryLimits, SourceError, TenantRegistry};
use tower::ServiceExt;

use super::*;
use crate::admission::Admission;
use crate::auth::Authenticator;
use crate::overload::{LIMIT, Permit};
use crate::source::Proxies;

/// Registers `tenant-2`, and `tenant-3` as suspended. The lookup of `tenant-down` fails.
struct Parameters;

impl ParameterSource for Parameters {
    fn get(
        &self,
        names: Vec<String>,
    ) -> BoxFuture<'_, Result<HashMap<String, String>, SourceError>> {
        Box::pin(async move {
            if names.iter().any(|name| name.starts_with("/tenant-down/")) {
                return Err(SourceError("down".to_owned()));
            }
            let stored = [
                ("/tenant-1/tier", "premium"),
                ("/tenant-2/tier", "basic"),
                ("/tenant-3/tier", "basic"),
                ("/tenant-3/status", "suspended"),
            ];
            let stored = stored.map(|(name, value)| (name.to_owned(), value.to_owned()));
            Ok(stored
                .into_iter()
                .filter(|(name, _)| names.contains(name))
                .collect())
        })
    }
}

struct Surface {
    http: Http,
    router: Router,
    condition: Condition,
    metrics: Metrics,
}

/// Takes the whole limit of requests in progress for a tenant.
fn use_up(surface: &Surface, tenant: &str) -> Vec<Permit> {
    let tenant = tenant.parse().expect("valid");
    let admit = |_| {
        surface
            .http
            .overload()
            .admit(&tenant)
            .expect("below the limit")
    };
    (0..LIMIT).map(admit).collect()
}

fn surface(environment: &str, rate: Option<u32>) -> Surface {
    let metrics = Metrics::new("producer", environment);
    let readiness = Readiness::default();
    let condition = readiness.condition("registry");
    let limits = RegistryLimits::default();
    let registry = TenantRegistry::new(Arc::new(Parameters), limits, &metrics, None);
    let admission = Admission::new(
        environment.parse().expect("valid"),
        registry,
        rate.and_then(NonZeroU32::new),
    );
    let identity = ("producer", "9.9.9");
    let http = Http::new(
        identity,
        Authenticator::off(),
        admission,
        readiness,
        metrics.clone(),
        Proxies::default(),
    );
    let own = Routes::new()
        .tenant(Method::POST, "/producer", posted)
        .tenant(Method::POST, "/claim", claimed)
        .open(Method::GET, "/panic", panics);
    let router = http.assemble(own, http.clone(), utoipa::openapi::OpenApi::default());
    Surface {
        http,
        router,
        condition,
        metrics,
    }
}

async fn posted(admitted: Admitted) -> String {
    admitted.tenant.to_string()
}

/// A route's own check of the head: the header `x-claim` must be absent.
struct NoClaim;

impl<S: Sync> FromRequestParts<S> for NoClaim {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        if parts.headers.contains_key("x-claim") {
            return Err(ApiError::bad_request("claimed", "BadRequest: claimed"));
        }
        Ok(Self)
    }
}

async fn claimed(
    mut admitted: Admitted<NoClaim>,
    State(http): State<Http>,
    body: Body,
) -> Result<(), ApiError> {
    let NoClaim = admitted.claim;
    admitted.read_body(&http, body, 1).await.map(drop)
}

async fn panics() -> &'static str {
    panic!("a defect")
}

impl Surface {
    async fn ask(
        &self,
        method: Method,
        path: &str,
        tenants: &[&[u8]],
    ) -> (StatusCode, String, Response) {
        let mut request = Request::builder().method(method).uri(path);
        for tenant in tenants {
            request = request.header("tenantID", *tenant);
        }
        let response = self
            .router
            .clone()
            .oneshot(request.body(Body::empty()).unwrap())
            .await
            .unwrap();
        let (parts, body) = response.into_parts();
        let text = String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap();
        (
            parts.status,
            text,
            Response::from_parts(parts, Body::empty()),
        )
    }

    async fn get(&self, path: &str, tenants: &[&[u8]]) -> (StatusCode, String) {
        let (status, text, _) = self.ask(Method::GET, path, tenants).await;
        (status, text)
    }
}

/// The stable code of an error body.
fn code(text: &str) -> String {
    let body: serde_json::Value = serde_json::from_str(text).expect(text);
    assert!(
        body["msg"].is_string() && body["request_id"].is_string(),
        "{text}"
    );
    body["code"].as_str().expect(text).to_owned()
}

#[tokio::test]
async fn identity_has_sorted_keys_and_a_null_tenant_without_the_header() {
    let pool = surface("pool-1", None);
    let expected = r#"{"environment":"pool-1","microservice":"producer","tenant_id":"tenant-2","version":"9.9.9"}"#;
    assert_eq!(
        pool.get("/producer", &[b"tenant-2"]).await,
        (StatusCode::OK, expected.to_owned())
    );
    let expected = expected.replace(r#""tenant-2""#, "null");
    assert_eq!(pool.get("/producer", &[]).await, (StatusCode::OK, expected));
}

#[tokio::test]
async fn a_request_that_is_not_admitted_gets_the_code_of_the_first_failed_check() {
    let (pool, silo) = (surface("pool-1", None), surface("tenant-1", None));
    for (surface, tenants, status, expected) in [
        (&pool, &[b"Tenant".as_slice()][..], 400, "invalid_tenant_id"),
        (&pool, &[b"t\xff\xfe"], 400, "invalid_tenant_id"),
        (&pool, &[b""], 400, "invalid_tenant_id"),
        (&pool, &[b"tenant-2", b"tenant-2"], 400, "tenant_repeated"),
        (&pool, &[b"tenant-9"], 404, "tenant_unknown"),
        (&pool, &[b"tenant-3"], 403, "tenant_suspended"),
        (&pool, &[b"tenant-down"], 503, "registry_unavailable"),
        (&silo, &[b"tenant-2"], 403, "foreign_tenant"),
    ] {
        let (actual, text) = surface.get("/producer", tenants).await;
        assert_eq!(
            (actual.as_u16(), code(&text).as_str()),
            (status, expected),
            "{tenants:?}"
        );
    }
    assert_eq!(
        silo.get("/producer", &[b"tenant-1"]).await.0,
        StatusCode::OK,
        "its owner"
    );
}

#[tokio::test]
async fn each_tenant_has_its_own_rate_and_a_refusal_has_retry_after() {
    let pool = surface("pool-1", Some(2));
    let silo = surface("tenant-1", Some(1));
    for _ in 0..2 {
        assert_eq!(
            pool.get("/producer", &[b"tenant-2"]).await.0,
            StatusCode::OK
        );
    }
    let (status, text, response) = pool.ask(Method::GET, "/producer", &[b"tenant-2"]).await;
    assert_eq!(
        (status.as_u16(), code(&text).as_str()),
        (429, "rate_exceeded")
    );
    assert_eq!(response.headers()[header::RETRY_AFTER], "1");
    assert_eq!(
        silo.get("/producer", &[b"tenant-1"]).await.0,
        StatusCode::OK
    );
}

#[tokio::test]
async fn the_probe_answers_from_cached_state() {
    let pool = surface("pool-1", None);
    let probe = "/producer/readiness-probe";
    assert_eq!(
        pool.get(probe, &[]).await,
        (
            StatusCode::INTERNAL_SERVER_ERROR,
            r#"{"Status":"NotReady"}"#.to_owned()
        )
    );
    pool.condition.set(true);
    assert_eq!(
        pool.get(probe, &[]).await,
        (StatusCode::OK, r#"{"Status":"OK"}"#.to_owned())
    );
}

#[tokio::test]
async fn unknown_routes_and_methods_are_json_errors() {
    let pool = surface("pool-1", None);
    for path in ["/", "/metrics", "/producer/", "/producer/x", "/%ff"] {
        let (status, text) = pool.get(path, &[]).await;
        assert_eq!(
            (status.as_u16(), code(&text).as_str()),
            (404, "no_route"),
            "{path}"
        );
    }
    let (status, text, response) = pool.ask(Method::DELETE, "/producer", &[]).await;
    assert_eq!(
        (status.as_u16(), code(&text).as_str()),
        (405, "method_not_allowed")
    );
    let allow = response.headers()[header::ALLOW].to_str().unwrap();
    assert!(allow.contains("GET") && allow.contains("POST"), "{allow}");
}

#[tokio::test]
async fn a_panic_is_a_500_with_an_id_and_the_next_request_is_answered() {
    let pool = surface("pool-1", None);
    let (status, text) = pool.get("/panic", &[]).await;
    assert_eq!((status.as_u16(), code(&text).as_str()), (500, "internal"));
    assert_eq!(pool.get("/producer", &[]).await.0, StatusCode::OK);
}

#[tokio::test]
async fn a_valid_request_id_is_kept_and_any_other_is_replaced() {
    let pool = surface("pool-1", None);
    let long = "x".repeat(129);
    for (given, is_kept) in [
        ("abc-123", true),
        ("a b", false),
        (long.as_str(), false),
        ("", false),
    ] {
        let request = Request::get("/nowhere")
            .header("x-request-id", given)
            .body(Body::empty())
            .unwrap();
        let response = pool.router.clone().oneshot(request).await.unwrap();
        let id = response.headers()["x-request-id"]
            .to_str()
            .unwrap()
            .to_owned();
        assert_eq!(id == given, is_kept, "{given:?} became {id:?}");
        let body = response.into_body().collect().await.unwrap().to_bytes();
        let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(body["request_id"], id.as_str());
    }
}

#[tokio::test]
async fn requests_are_counted_by_route_never_by_path() {
    let pool = surface("pool-1", None);
    pool.get("/producer", &[]).await;
    pool.get("/made/up/by/a/client", &[]).await;
    let text = pool.metrics.render();
    assert!(
        text.contains(r#"route="/producer",method="GET",status="200"} 1"#),
        "{text}"
    );
    assert!(
        text.contains(r#"route="none",method="GET",status="404"} 1"#) && !text.contains("made"),
        "{text}"
    );
}

#[tokio::test]
async fn a_request_that_the_server_refused_reaches_no_route() {
    let pool = surface("pool-1", None);
    for path in ["/panic", "*"] {
        let request = Request::get(path).extension(Refused::Malformed);
        let request = request.body(Body::empty()).unwrap();
        let response = pool.router.clone().oneshot(request).await.unwrap();
        assert_eq!(response.status(), StatusCode::BAD_REQUEST);
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(code(core::str::from_utf8(&body).unwrap()), "head_malformed");
    }
}

#[tokio::test]
async fn each_step_is_before_the_next() {
    let (pool, silo) = (surface("pool-1", Some(1)), surface("tenant-1", None));
    let post = async |surface: &Surface, headers: &[(&str, &str)]| {
        let mut request = Request::post("/claim");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Body::from("too large")).unwrap();
        let response = surface.router.clone().oneshot(request).await.unwrap();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        code(core::str::from_utf8(&body).unwrap())
    };
    // Each request breaks the rule of its step and of every later one.
    let twice = [("tenantID", "tenant-2"), ("tenantID", "tenant-2")];
    assert_eq!(
        post(&silo, &[("x-claim", "yes"), twice[0], twice[1]]).await,
        "claimed"
    );
    assert_eq!(post(&silo, &twice).await, "tenant_repeated");
    let _of_silo = use_up(&silo, "tenant-1");
    assert_eq!(
        post(&silo, &[("tenantID", "tenant-9")]).await,
        "foreign_tenant"
    );
    assert_eq!(
        post(&pool, &[("tenantID", "tenant-2")]).await,
        "body_too_large"
    );
    let _of_pool = use_up(&pool, "tenant-2");
    assert_eq!(
        post(&pool, &[("tenantID", "tenant-9")]).await,
        "tenant_unknown"
    );
    assert_eq!(
        post(&pool, &[("tenantID", "tenant-3")]).await,
        "tenant_suspended"
    );
    assert_eq!(
        post(&pool, &[("tenantID", "tenant-2")]).await,
        "rate_exceeded",
        "the rate is used up"
    );
    assert_eq!(post(&silo, &[("tenantID", "tenant-1")]).await, "too_busy");
}

#[tokio::test]
async fn a_request_that_waits_for_its_body_takes_no_place_and_needs_one_once_it_has_arrived() {
    let pool = surface("pool-1", None);
    let (status, _) = pool.get("/producer", &[b"tenant-2"]).await;
    assert_eq!(status, StatusCode::OK);
    let waiting = || {
        let (send, body) = tokio::sync::oneshot::channel::<bytes::Bytes>();
        let body = Body::from_stream(futures_util::stream::once(body));
        let request = Request::post("/claim").header("tenantID", "tenant-2");
        let router = pool.router.clone();
        let response = router.oneshot(request.body(body).unwrap());
        (send, Box::pin(response))
    };
    let mut held: Vec<_> = (0..=LIMIT).map(|_| waiting()).collect();
    for (_, response) in &mut held {
        for _ in 0..3 {
            assert!(response.as_mut().now_or_never().is_none());
        }
    }
    let others = use_up(&pool, "tenant-2");
    let (send, response) = held.pop().unwrap();
    send.send(bytes::Bytes::from_static(b"1")).unwrap();
    let response = response.await.unwrap();
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    drop(others);
    let (send, response) = held.pop().unwrap();
    send.send(bytes::Bytes::from_static(b"1")).unwrap();
    assert_eq!(response.await.unwrap().status(), StatusCode::OK);
}
