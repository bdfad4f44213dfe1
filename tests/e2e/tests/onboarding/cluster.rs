//! Stand-ins for the Kubernetes API and for the load balancer, over a repository with some tenants. The newest commit is applied
//! as soon as it is asked for.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::get;
use axum::{Json, extract};
use kit::git::git;
use kit::process::repository;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// The tenants' folder in the repository.
const TENANTS: &str = "application-plane/production/tenants";
const POOL: &str = "pool-1";
/// A namespace that another team has made.
pub(crate) const FOREIGN: &str = "rook-ceph";

pub(crate) struct Cluster {
    _folder: TempDir,
    url: String,
    shared: Arc<Shared>,
    server: JoinHandle<()>,
}

struct Shared {
    bare: PathBuf,
    /// Whether the tenants' services ask for tokens.
    needs_tokens: AtomicBool,
    /// A commit that kustomize cannot build, and the one before, which stays applied.
    unbuildable: Mutex<Option<[String; 2]>>,
}

/// A tenant as the newest commit has it.
struct Tenant {
    id: String,
    tier: String,
    is_routed: bool,
}

impl Cluster {
    /// A cluster with the seed's tenants and this many more, `many-0000` and so on, all in the pool.
    pub(crate) async fn new(more: usize) -> Self {
        let folder = tempfile::tempdir().expect("a scratch folder");
        seed(folder.path(), more);
        let shared = Arc::new(Shared {
            bare: folder.path().join("gitops.git"),
            needs_tokens: AtomicBool::new(false),
            unbuildable: Mutex::default(),
        });
        let routes = Router::new()
            .route("/{app}", get(answer))
            .route("/consumer/messages", get(nothing))
            .route("/payments/charges", get(nothing))
            .fallback(list)
            .with_state(Arc::clone(&shared));
        let listener = TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a port is free");
        let url = format!("http://{}", listener.local_addr().expect("it listens"));
        let server = tokio::spawn(async move {
            axum::serve(listener, routes)
                .await
                .expect("it serves until dropped");
        });
        Self {
            _folder: folder,
            url,
            shared,
            server,
        }
    }

    /// From now on the tenants' services answer 401.
    pub(crate) fn require_tokens(&self) {
        self.shared.needs_tokens.store(true, Ordering::Relaxed);
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    pub(crate) fn repository(&self) -> String {
        format!("file://{}", self.bare().display())
    }

    pub(crate) fn commits(&self) -> usize {
        let count = git(self.bare(), &["rev-list", "--count", "main"]);
        count.trim().parse().expect("a number")
    }

    /// The message of the newest commit.
    pub(crate) fn message(&self) -> String {
        git(self.bare(), &["log", "-1", "--format=%B", "main"])
    }

    /// Pushes a file of a tenant that kustomize cannot build.
    pub(crate) fn push_unbuildable(&self, file: &str, text: &str) {
        let applied = head(self.bare());
        let clone = tempfile::tempdir().expect("a scratch folder");
        git(clone.path(), &["clone", "--quiet", &self.repository(), "."]);
        std::fs::write(clone.path().join(TENANTS).join(file), text).expect("it is ours");
        git(clone.path(), &["add", "--all"]);
        git(clone.path(), &["commit", "--quiet", "--message", "By hand"]);
        let commit = head(clone.path());
        *self.shared.unbuildable.lock().expect("not poisoned") = Some([commit, applied]);
        git(clone.path(), &["push", "--quiet", "origin", "HEAD:main"]);
    }

    /// A file of a tenant, as the newest commit has it.
    pub(crate) fn file(&self, file: &str) -> String {
        git(self.bare(), &["show", &format!("main:{TENANTS}/{file}")])
    }

    fn bare(&self) -> &Path {
        &self.shared.bare
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.server.abort();
    }
}

fn head(repository: &Path) -> String {
    git(repository, &["rev-parse", "main"]).trim().to_owned()
}

fn seed(folder: &Path, more: usize) {
    let work = folder.join("work");
    let copied = Command::new("cp")
        .arg("-r")
        .args([&repository().join("gitops"), &work])
        .status();
    assert!(copied.expect("cp starts").success());
    let basic = work.join(TENANTS).join("basic");
    let model = std::fs::read_to_string(basic.join("tenant-2.yaml")).expect("the seed's tenant");
    let mut listed = std::fs::read_to_string(basic.join("kustomization.yaml")).expect("a list");
    for number in 0..more {
        let id = format!("many-{number:04}");
        let file = basic.join(format!("{id}.yaml"));
        std::fs::write(file, model.replace("tenant-2", &id)).expect("it is ours");
        listed.push_str(&format!("- {id}.yaml\n"));
    }
    std::fs::write(basic.join("kustomization.yaml"), listed).expect("it is ours");
    git(&work, &["init", "--quiet", "--initial-branch", "main", "."]);
    git(&work, &["add", "--all"]);
    git(&work, &["commit", "--quiet", "--message", "Begin"]);
    git(
        folder,
        &["clone", "--quiet", "--bare", "work", "gitops.git"],
    );
}

/// The tenants of the newest commit.
fn tenants(bare: &Path) -> Vec<Tenant> {
    let files = git(bare, &["ls-tree", "-r", "--name-only", "main", TENANTS]);
    let of = |path: &str| {
        let (tier, file) = path
            .strip_prefix(TENANTS)?
            .strip_prefix('/')?
            .split_once('/')?;
        let id = file
            .strip_suffix(".yaml")
            .filter(|id| *id != "kustomization")?;
        Some(Tenant {
            id: id.to_owned(),
            tier: tier.to_owned(),
            is_routed: tier != "offboarded",
        })
    };
    files.lines().filter_map(of).collect()
}

impl Shared {
    fn check_token(&self, headers: &HeaderMap) -> Result<(), StatusCode> {
        let needs_one = self.needs_tokens.load(Ordering::Relaxed);
        if needs_one && !headers.contains_key("authorization") {
            return Err(StatusCode::UNAUTHORIZED);
        }
        Ok(())
    }
}

/// An empty list of messages or charges.
async fn nothing(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
) -> Result<Json<Value>, StatusCode> {
    shared.check_token(&headers)?;
    Ok(Json(json!({ "messages": [], "charges": [] })))
}

/// An app's identity, as through the load balancer.
async fn answer(
    State(shared): State<Arc<Shared>>,
    extract::Path(app): extract::Path<String>,
    headers: HeaderMap,
) -> Result<Json<Value>, StatusCode> {
    shared.check_token(&headers)?;
    let id = headers.get("tenantid").and_then(|id| id.to_str().ok());
    let id = id.ok_or(StatusCode::NOT_FOUND)?.to_owned();
    // The extra tenants never change, and a look at the repository for each would take long.
    let environment = if id.starts_with("many-") {
        POOL.to_owned()
    } else {
        let tenants = tenants(&shared.bare);
        let tenant = tenants.iter().find(|one| one.id == id && one.is_routed);
        match tenant.ok_or(StatusCode::NOT_FOUND)?.tier.as_str() {
            "premium" => id.clone(),
            "advanced" if app == "consumer" => id.clone(),
            _ => POOL.to_owned(),
        }
    };
    Ok(Json(
        json!({ "environment": environment, "microservice": app, "tenant_id": id }),
    ))
}

/// A page of a list of the Kubernetes API.
async fn list(
    State(shared): State<Arc<Shared>>,
    uri: axum::http::Uri,
    Query(query): Query<Vec<(String, String)>>,
) -> Json<Value> {
    let kind = uri.path().rsplit('/').next().unwrap_or_default();
    let value = |name: &str| {
        let found = query.iter().find(|(key, _)| key == name);
        found.and_then(|(_, value)| value.parse::<usize>().ok())
    };
    let (first, limit) = (
        value("continue").unwrap_or(0),
        value("limit").unwrap_or(500),
    );
    let names = names(kind, &shared.bare);
    let after = first + limit;
    let next = if after < names.len() {
        after.to_string()
    } else {
        String::new()
    };
    let page = names.iter().skip(first).take(limit);
    let items: Vec<Value> = page.map(|name| object(kind, name, &shared)).collect();
    Json(json!({ "metadata": { "continue": next }, "items": items }))
}

/// The names of all objects of a kind.
fn names(kind: &str, bare: &Path) -> Vec<String> {
    match kind {
        "kustomizations" => ["tenants", "pooled-envs"].map(str::to_owned).into(),
        "namespaces" => ["tenant-1", FOREIGN].map(str::to_owned).into(),
        "helmreleases" | "helmcharts" | "terraforms" => {
            let ids = tenants(bare).into_iter().map(|tenant| tenant.id);
            ids.chain([POOL.to_owned()]).collect()
        }
        _ => Vec::new(),
    }
}

/// An object that is as the newest commit has it.
fn object(kind: &str, name: &str, shared: &Shared) -> Value {
    let ready = json!({ "type": "Ready", "status": "True", "reason": "Done", "lastTransitionTime": "2026-01-31T12:00:00Z" });
    let mut status = json!({ "observedGeneration": 1, "conditions": [ready] });
    let (namespace, name) = match kind {
        "kustomizations" => {
            let mut applied = head(&shared.bare);
            let unbuildable = shared.unbuildable.lock().expect("not poisoned").clone();
            if let Some([_, before]) = unbuildable.filter(|[commit, _]| *commit == applied) {
                applied = before;
                status["conditions"] = json!([{ "type": "Ready", "status": "False", "reason": "BuildFailed",
                    "message": "kustomize build failed: yaml: line 1: mapping values are not allowed in this context" }]);
            }
            status["lastAppliedRevision"] = json!(format!("main@sha1:{applied}"));
            ("flux-system", name.to_owned())
        }
        "helmreleases" => {
            status["history"] = json!([{ "chartVersion": "0.0.2", "name": name }]);
            ("flux-tenants", name.to_owned())
        }
        "helmcharts" => ("flux-system", format!("flux-tenants-{name}")),
        "namespaces" => ("", name.to_owned()),
        _ => ("flux-tenants", name.to_owned()),
    };
    let mut labels = json!({ "kubernetes.io/metadata.name": name });
    if kind == "namespaces" && name != FOREIGN {
        labels["tenantry.dev/tenant"] = json!(name);
    }
    // What the API server adds to every object, about as much as of a real one.
    let managed: Value = (0..30)
        .map(|field| (format!("f:field-{field}"), json!({ "f:x": {} })))
        .collect();
    json!({
        "metadata": { "name": name, "namespace": namespace, "generation": 1, "labels": labels,
            "managedFields": [{ "manager": "helm-controller", "fieldsV1": managed }] },
        "status": status,
    })
}
