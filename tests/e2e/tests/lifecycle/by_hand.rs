//! Commits that people push: applied like any other, or reported and not applied.

use std::fs;
use std::path::Path;

use kit::git::{git, replace};
use kit::http::Request;
use kit::local::{ANYWHERE, Local, command};
use kit::process::{Exit, Process};
use kit::wait::{PATIENCE, until};
use serde_json::json;

use crate::{Installation, TENANTS};

#[tokio::test]
async fn a_file_changed_by_hand_is_applied() {
    let installation = Installation::new().await;
    installation.push(own_producer);
    installation
        .answers("tenant-3", ["tenant-3", "tenant-3", "pool-1"])
        .await;
    installation.posts_and_lists("tenant-3").await;
}

#[tokio::test]
async fn a_broken_commit_is_reported_and_the_last_good_state_survives_a_restart() {
    let mut installation = Installation::new().await;
    installation.push(|clone| {
        replace(
            &clone.join(TENANTS).join("premium/tenant-1.yaml"),
            "    apps:\n",
            "   apps:\n",
        );
        fs::remove_file(clone.join(TENANTS).join("basic/tenant-2.yaml")).expect("it is there");
    });
    assert_told(&installation).await;
    installation.answers("tenant-1", ["tenant-1"; 3]).await;
    installation.answers("tenant-2", ["pool-1"; 3]).await;

    installation = installation.restart().await;
    assert_told(&installation).await;
    installation.answers("tenant-1", ["tenant-1"; 3]).await;
    installation.answers("tenant-2", ["pool-1"; 3]).await;

    installation.push(|clone| {
        git(clone, &["checkout", "--quiet", "HEAD~1", "--", "."]);
        own_producer(clone);
    });
    installation
        .answers("tenant-3", ["tenant-3", "tenant-3", "pool-1"])
        .await;
    installation.answers("tenant-2", ["pool-1"; 3]).await;
}

/// Gives tenant-3 a producer of its own.
fn own_producer(clone: &Path) {
    let file = clone.join(TENANTS).join("advanced/tenant-3.yaml");
    let pooled = "producer:\n        enabled: false\n        envId: pool-1";
    replace(&file, pooled, "producer:\n        enabled: true");
}

/// Waits until the log names both broken files.
async fn assert_told(installation: &Installation) {
    until("the broken files are named", PATIENCE, async || {
        let log = installation.local.process.stdout().join("\n");
        log.contains("premium/tenant-1.yaml:") && log.contains("tenant-2.yaml")
    })
    .await;
}

#[tokio::test]
async fn a_commit_revoked_before_it_could_be_applied_leaves_no_tenant_half_changed() {
    let installation = Installation::new().await;
    let failed = json!({"code": "InternalFailure", "status": 500});
    let faults = json!([{"action": "SQS.CreateQueue", "error": failed, "rate": 1.0}]);
    installation.local.controls().inject(faults).await;
    // The new tenant cannot be provisioned, so no commit can be applied as a whole.
    let onboard = [
        "onboard",
        "blocked",
        "--tier",
        "premium",
        "--release",
        "0.0",
    ];
    installation.tenantctl(&onboard);
    installation.tenantctl(&["offboard", "tenant-2"]);
    until("tenant-2 is suspended", PATIENCE, async || {
        let status = installation.parameter("/tenant-2/status").await;
        status.as_deref() == Some("suspended")
    })
    .await;
    installation.push(|clone| {
        git(clone, &["revert", "--no-edit", "--no-commit", "HEAD"]);
    });
    installation.local.controls().inject(json!([])).await;
    installation.answers("blocked", ["blocked"; 3]).await;
    until("tenant-2 is active", PATIENCE, async || {
        let status = installation.parameter("/tenant-2/status").await;
        status.as_deref() == Some("active")
    })
    .await;
}

#[tokio::test]
async fn a_tenant_removed_by_hand_is_not_served_and_keeps_its_data() {
    let installation = Installation::new().await;
    installation.posts_and_lists("tenant-1").await;
    installation.push(|clone| {
        let folder = clone.join(TENANTS).join("premium");
        replace(
            &folder.join("kustomization.yaml"),
            "resources:\n- tenant-1.yaml\n",
            "resources: []\n",
        );
        fs::remove_file(folder.join("tenant-1.yaml")).expect("it is there");
    });
    installation.is_gone("tenant-1").await;
    assert_eq!(installation.tables("tenant-1").await.len(), 2);
    assert_eq!(
        installation.parameter("/tenant-1/status").await.as_deref(),
        Some("suspended")
    );
    installation
        .answers("tenant-3", ["pool-1", "tenant-3", "pool-1"])
        .await;
}

#[tokio::test]
async fn a_move_keeps_the_tenants_queue_and_table() {
    let installation = Installation::new().await;
    installation.posts_and_lists("tenant-1").await;
    let queue = installation.parameter("/tenant-1/consumer_sqs").await;
    installation.tenantctl(&["move", "tenant-1", "--to", "advanced"]);
    installation
        .answers("tenant-1", ["pool-1", "tenant-1", "pool-1"])
        .await;
    assert_eq!(
        installation.parameter("/tenant-1/consumer_sqs").await,
        queue
    );
    assert_eq!(
        installation.parameter("/tenant-1/tier").await.as_deref(),
        Some("advanced")
    );
    installation.posts_and_lists("tenant-1").await;
}

#[tokio::test]
async fn a_suspended_tenant_is_refused_until_it_is_resumed() {
    let installation = Installation::new().await;
    installation.tenantctl(&["suspend", "tenant-2"]);
    installation.is_gone("tenant-2").await;
    installation.tenantctl(&["resume", "tenant-2"]);
    installation.answers("tenant-2", ["pool-1"; 3]).await;
    installation.posts_and_lists("tenant-2").await;
}

#[tokio::test]
async fn local_exits_while_it_reconciles() {
    let mut installation = Installation::new().await;
    installation.onboard("hasty", "premium").await;
    installation.local.process.signal("TERM");
    assert_eq!(
        installation.local.process.exit(PATIENCE).await,
        Exit::Code(0)
    );
}

#[tokio::test]
async fn without_git_or_a_folder_for_it_the_sample_tenants_are_served() {
    for (variable, value) in [("PATH", "/nowhere"), ("TMPDIR", "/nowhere")] {
        let mut command = command(ANYWHERE, ANYWHERE, None);
        command.env(variable, value);
        let local = Local::of(Process::start("local", command)).await;
        let log = local.process.stdout().join("\n");
        assert!(
            log.contains("only the sample tenants are served"),
            "{variable}: {log}"
        );
        for tenant in ["tenant-1", "tenant-2", "tenant-3"] {
            let answer = local.ask(&Request::get("/consumer").tenant(tenant)).await;
            assert_eq!(answer.status, 200, "{variable}: {}", answer.text());
        }
    }
}
