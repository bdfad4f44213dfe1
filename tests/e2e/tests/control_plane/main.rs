//! The control plane on `local`: its API, operations, events and deployments, as a client sees them.

mod access;
mod broken;
mod deployments;
mod interleavings;
mod many;
mod operations;

use std::path::Path;
use std::time::Duration;

use kit::git::git;
use kit::http::{Answer, Request};
use kit::local::{ANYWHERE, Local, command};
use kit::process::{Process, binary, command_with_clean_env};
use kit::wait::{PATIENCE, until};
use serde_json::{Value, json};
use tempfile::TempDir;

const ACCOUNT: &str = "000000000000";
/// The tenants' folder in the repository.
const TENANTS: &str = "application-plane/production/tenants";

/// An installation and a client of its control plane.
struct Installation {
    local: Local,
    folder: TempDir,
}

impl Installation {
    async fn new() -> Self {
        Self::over(tempfile::tempdir().expect("a scratch folder")).await
    }

    async fn over(folder: TempDir) -> Self {
        let command = command(ANYWHERE, ANYWHERE, Some(folder.path()));
        Self {
            local: Local::of(Process::start("local", command)).await,
            folder,
        }
    }

    async fn restart(self) -> Self {
        let Self { mut local, folder } = self;
        local.process.signal("TERM");
        local.process.exit(PATIENCE).await;
        Self::over(folder).await
    }

    async fn get(&self, path: &str) -> Answer {
        Request::get(path).ask(self.local.console()).await
    }

    /// Sends a request with a JSON body.
    async fn send(&self, method: &str, path: &str, body: &Value) -> Answer {
        let request = Request::new(method, path).header("content-type", "application/json");
        request
            .body(body.to_string())
            .ask(self.local.console())
            .await
    }

    async fn onboard(&self, tenant: &str, tier: &str) -> Answer {
        let body = json!({ "id": tenant, "tier": tier, "release": "0.0" });
        self.send("POST", "/tenants", &body).await
    }

    async fn patch(&self, tenant: &str, change: &Value) -> Answer {
        self.send("PATCH", &format!("/tenants/{tenant}"), change)
            .await
    }

    async fn delete(&self, path: &str) -> Answer {
        Request::new("DELETE", path).ask(self.local.console()).await
    }

    /// Waits until an operation has ended, and returns it.
    async fn ended(&self, accepted: &Answer) -> Value {
        assert!(matches!(accepted.status, 200 | 202), "{}", accepted.text());
        self.ended_by_id(&accepted.field("id")).await
    }

    async fn ended_by_id(&self, id: &str) -> Value {
        let path = format!("/operations/{id}");
        let mut last = Value::Null;
        until(&format!("operation {id} ends"), END, async || {
            let answer = self.get(&path).await;
            if answer.status == 404 {
                return false;
            }
            last = answer.json();
            ["serving", "gone", "failed"].contains(&last["state"].as_str().expect("a state"))
        })
        .await;
        last
    }

    /// Waits until the tenant is in this state, and returns it.
    async fn in_state(&self, tenant: &str, state: &str) -> Value {
        let path = format!("/tenants/{tenant}");
        let mut last = Value::Null;
        until(&format!("{tenant} is {state}"), PATIENCE, async || {
            let answer = self.get(&path).await;
            last = if answer.status == 200 {
                answer.json()
            } else {
                Value::Null
            };
            last["state"] == state
        })
        .await;
        last
    }

    /// Sends a message onto one of the lifecycle queues.
    async fn message(&self, kind: &str, message: &Value) {
        let queue = format!(
            "{}/{ACCOUNT}/argoworkflows-{kind}-queue",
            self.local.endpoint_url()
        );
        self.local
            .aws()
            .send(&queue, &message.to_string(), &[])
            .await;
    }

    fn repository(&self) -> String {
        format!("file://{}", self.folder.path().join("gitops.git").display())
    }

    /// Clones the repository, lets the function change files, commits and pushes; false if another push came first.
    fn push(&self, change: impl FnOnce(&Path)) -> bool {
        let clone = tempfile::tempdir().expect("a scratch folder");
        git(clone.path(), &["clone", "--quiet", &self.repository(), "."]);
        change(clone.path());
        git(clone.path(), &["add", "--all"]);
        git(
            clone.path(),
            &["commit", "--quiet", "--allow-empty", "--message", "By hand"],
        );
        let push =
            kit::git::command(clone.path(), &["push", "--quiet", "origin", "HEAD:main"]).output();
        push.expect("git starts").status.success()
    }

    /// Runs `tenantctl lint` on the repository.
    fn lints(&self) {
        let cache = tempfile::tempdir().expect("a scratch folder");
        let mut command = command_with_clean_env(binary("tenantctl"));
        command
            .args(["--repository", &self.repository(), "--cache-dir"])
            .arg(cache.path())
            .arg("lint");
        let output = command.output().expect("tenantctl starts");
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stdout)
        );
    }

    fn commits(&self) -> Vec<String> {
        let repository = self.folder.path().join("gitops.git");
        let log = git(&repository, &["log", "--format=%B%x00", "main"]);
        log.split('\0')
            .map(|text| text.trim().to_owned())
            .filter(|text| !text.is_empty())
            .collect()
    }
}

/// Longest wait for the end of an operation: a move copies data, and waits until no process knows the former home.
const END: Duration = Duration::from_secs(120);
/// A pause between two looks, where a condition cannot be waited for.
const TICK: Duration = Duration::from_millis(50);
