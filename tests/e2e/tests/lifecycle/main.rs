//! The tenant lifecycle on `local`: the processes match the GitOps repository, whether a message or a person changed it.

mod by_hand;
mod by_message;
mod by_start;
mod many;
mod moves;
mod new_owner;

use std::path::Path;

use kit::git::{git, run};
use kit::http::Request;
use kit::local::{ANYWHERE, Local, command};
use kit::process::{Process, binary, command_with_clean_env};
use kit::wait::{PATIENCE, until};
use serde_json::{Value, json};
use tempfile::TempDir;

const ACCOUNT: &str = "000000000000";
/// The tenants' folder in the repository.
const TENANTS: &str = "application-plane/production/tenants";

/// An installation and its operator.
struct Installation {
    local: Local,
    folder: TempDir,
}

impl Installation {
    async fn new() -> Self {
        Self::with(&[]).await
    }

    /// Starts `local` with these variables in its environment.
    async fn with(variables: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().expect("a scratch folder");
        let mut command = command(ANYWHERE, ANYWHERE, Some(folder.path()));
        command.envs(variables.iter().copied());
        Self {
            local: Local::of(Process::start("local", command)).await,
            folder,
        }
    }

    /// Ends `local` if it runs, and starts it again over the same folder.
    async fn restart(self) -> Self {
        let Self { mut local, folder } = self;
        if local.process.is_running() {
            local.process.signal("TERM");
            local.process.exit(PATIENCE).await;
        }
        Self {
            local: Local::start(Some(folder.path())).await,
            folder,
        }
    }

    /// Sends a message onto one of the lifecycle queues.
    async fn send(&self, kind: &str, message: &Value) {
        self.local
            .aws()
            .send(&self.queue(kind), &message.to_string(), &[])
            .await;
    }

    /// The URL of a lifecycle queue.
    fn queue(&self, kind: &str) -> String {
        format!(
            "{}/{ACCOUNT}/argoworkflows-{kind}-queue",
            self.local.endpoint_url()
        )
    }

    async fn onboard(&self, tenant: &str, tier: &str) {
        let message = json!({"tenant_id": tenant, "tenant_tier": tier, "release_version": "0.0"});
        self.send("onboarding", &message).await;
    }

    /// Waits until each of the services answers the tenant from this environment.
    async fn answers(&self, tenant: &str, environments: [&str; 3]) {
        for (service, environment) in ["producer", "consumer", "payments"]
            .into_iter()
            .zip(environments)
        {
            let what = format!("{service} answers {tenant} from {environment}");
            until(&what, PATIENCE, async || {
                let answer = self
                    .local
                    .ask(&Request::get(&format!("/{service}")).tenant(tenant))
                    .await;
                // A service may know a resumed tenant as suspended until it reads the registration again.
                let is_expected = matches!(answer.status, 200 | 404)
                    || answer.field("code") == "tenant_suspended";
                assert!(is_expected, "{}", answer.text());
                answer.status == 200 && answer.field("environment") == environment
            })
            .await;
        }
    }

    /// Waits until no service answers the tenant.
    async fn is_gone(&self, tenant: &str) {
        for service in ["producer", "consumer", "payments"] {
            until(
                &format!("{service} knows no {tenant}"),
                PATIENCE,
                async || {
                    self.local
                        .ask(&Request::get(&format!("/{service}")).tenant(tenant))
                        .await
                        .status
                        == 404
                },
            )
            .await;
        }
    }

    /// Posts an event and waits until the tenant's consumer lists it as its newest.
    async fn posts_and_lists(&self, tenant: &str) {
        let posted = self.local.ask(&Request::event().tenant(tenant)).await;
        assert_eq!(posted.status, 200, "{}", posted.text());
        until(
            &format!("{tenant}'s event is listed"),
            PATIENCE,
            async || {
                let list = self
                    .local
                    .ask(&Request::get("/consumer/messages").tenant(tenant))
                    .await;
                list.status == 200
                    && list.json()["messages"][0]["message_id"] == *posted.field("message_id")
            },
        )
        .await;
    }

    /// Names of the tenant's own tables.
    async fn tables(&self, tenant: &str) -> Vec<String> {
        let tables = self
            .local
            .aws()
            .dynamodb
            .list_tables()
            .send()
            .await
            .expect("tables are listed");
        let mut names = tables.table_names.unwrap_or_default();
        names.retain(|name| name.contains(&format!("-{tenant}-")));
        names
    }

    /// The value of a parameter, if it exists.
    async fn parameter(&self, name: &str) -> Option<String> {
        let found = self
            .local
            .aws()
            .ssm
            .get_parameter()
            .name(name)
            .send()
            .await
            .ok()?;
        found.parameter?.value
    }

    /// The URL of the GitOps repository.
    fn repository(&self) -> String {
        format!("file://{}", self.folder.path().join("gitops.git").display())
    }

    /// Subjects and bodies of the commits, newest first.
    fn commits(&self) -> Vec<String> {
        let repository = self.folder.path().join("gitops.git");
        let log = git(&repository, &["log", "--format=%B%x00", "main"]);
        log.split('\0')
            .map(|text| text.trim().to_owned())
            .filter(|text| !text.is_empty())
            .collect()
    }

    /// Clones the repository, lets the function change files, commits and pushes.
    fn push(&self, change: impl FnOnce(&Path)) {
        let clone = tempfile::tempdir().expect("a scratch folder");
        git(clone.path(), &["clone", "--quiet", &self.repository(), "."]);
        change(clone.path());
        git(clone.path(), &["add", "--all"]);
        git(clone.path(), &["commit", "--quiet", "--message", "By hand"]);
        git(clone.path(), &["push", "--quiet", "origin", "HEAD:main"]);
    }

    /// Runs tenantctl on the repository, with rights in AWS.
    fn tenantctl(&self, arguments: &[&str]) {
        let cache = tempfile::tempdir().expect("a scratch folder");
        let endpoint = self.local.endpoint_url();
        let mut command = command_with_clean_env(binary("tenantctl"));
        command
            .envs([
                ("AWS_REGION", "us-east-1"),
                ("AWS_ENDPOINT_URL", endpoint.as_str()),
                ("AWS_ACCESS_KEY_ID", "test"),
                ("AWS_SECRET_ACCESS_KEY", "test"),
            ])
            .args(["--repository", &self.repository(), "--cache-dir"])
            .arg(cache.path())
            .args(arguments);
        run(command);
    }
}
