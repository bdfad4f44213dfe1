//! `onboarding-service` as it runs on a cluster: tokens, roles, callbacks, memory. The cluster's API and the load balancer are
//! stand-ins that apply the newest commit at once.

mod callbacks;
mod cluster;
#[path = "../isolation/issuer.rs"]
#[expect(dead_code, reason = "the isolation tests use the rest")]
mod issuer;
mod memory;
mod namespaces;
mod pages;
mod roles;
mod take_back;

use std::time::Duration;

use kit::http::{Answer, Request};
use kit::process::Process;
use kit::service::{Service, command};
use kit::wait::until;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::cluster::Cluster;
use crate::issuer::{Issuer, Key};

/// Longest wait for the end of an operation.
const END: Duration = Duration::from_secs(60);
/// Secret that signs the callbacks.
const SECRET: &str = "a-secret-of-the-tests";

/// A running control plane over a stand-in cluster.
struct ControlPlane {
    service: Service,
    cluster: Cluster,
    _cache: TempDir,
}

impl ControlPlane {
    async fn new(variables: &[(&str, &str)]) -> Self {
        Self::over(Cluster::new(0).await, variables).await
    }

    async fn over(cluster: Cluster, variables: &[(&str, &str)]) -> Self {
        let cache = tempfile::tempdir().expect("a scratch folder");
        // No test needs an answer of AWS; nothing listens on this port.
        let mut command = command("onboarding-service", "control-plane", "http://127.0.0.1:9");
        command
            .env("GITOPS_CACHE_DIR", cache.path())
            .env("GITOPS_REPOSITORY", cluster.repository())
            .env("HOME", cache.path())
            .env("KUBERNETES_PROXY_URL", cluster.url())
            .env("LOAD_BALANCER_URL", cluster.url())
            .env("READ_SECONDS", "1")
            .envs(variables.iter().copied());
        let process = Process::start("onboarding-service", command);
        let service = Service::of("onboarding-service", process).await;
        let plane = Self {
            service,
            cluster,
            _cache: cache,
        };
        until("sources are read", END, async || {
            let ready = Request::get("/readyz").send(plane.service.admin).await;
            ready.is_ok_and(|answer| answer.status == 200)
        })
        .await;
        plane
    }

    async fn ask(&self, request: &Request) -> Answer {
        self.service.ask(request).await
    }
}

/// A control plane that accepts the tokens of an issuer.
struct Guarded {
    plane: ControlPlane,
    issuer: Issuer,
    key: Key,
}

impl Guarded {
    async fn new() -> Self {
        let key = Key::new("k");
        let issuer = Issuer::publishing(&[&key]).await;
        let variables = issuer.variables();
        let mut variables: Vec<(&str, &str)> = variables
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        variables.push(("LOG_LEVEL", "debug"));
        Self {
            plane: ControlPlane::new(&variables).await,
            issuer,
            key,
        }
    }

    /// A token of a person with these roles.
    fn token(&self, roles: &Value) -> String {
        let claims = json!({ "sub": "ann", "roles": roles, "tenant_id": null });
        self.key.token(&self.issuer.claims("", &claims))
    }
}

fn bearer(request: Request, token: &str) -> Request {
    request.header("authorization", format!("Bearer {token}"))
}

fn with_json(method: &str, path: &str, body: &Value) -> Request {
    Request::new(method, path)
        .header("content-type", "application/json")
        .body(body.to_string())
}

fn acme() -> Value {
    json!({ "id": "acme", "tier": "basic", "release": "0.0" })
}
