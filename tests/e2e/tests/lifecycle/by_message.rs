//! Step 3 of the walk-through: a message on a lifecycle queue becomes a commit, and the commit is applied.

use aws_sdk_sqs::types::Message;
use kit::aws::Depth;
use kit::http::Request;
use kit::wait::{PATIENCE, eventually, until};
use serde_json::json;

use crate::Installation;

/// Environments of producer, consumer and payments by tier; `own` is the tenant's silo.
const TIERS: [(&str, [&str; 3]); 3] = [
    ("basic", ["pool-1", "pool-1", "pool-1"]),
    ("advanced", ["pool-1", "own", "pool-1"]),
    ("premium", ["own", "own", "own"]),
];

#[tokio::test]
async fn an_onboarding_message_becomes_a_commit_and_a_tenant_that_is_served() {
    let installation = Installation::new().await;
    for (tier, environments) in TIERS {
        let tenant = format!("new-{tier}");
        installation.onboard(&tenant, tier).await;
        installation
            .answers(
                &tenant,
                environments.map(|at| if at == "own" { &*tenant } else { at }),
            )
            .await;
        installation.posts_and_lists(&tenant).await;
        assert_eq!(
            installation
                .parameter(&format!("/{tenant}/tier"))
                .await
                .as_deref(),
            Some(tier)
        );
        let commit = &installation.commits()[0];
        assert!(
            commit.contains(&tenant) && commit.contains("Request-Id: "),
            "{commit}"
        );
    }
    // The other tenants are not affected.
    installation.answers("tenant-1", ["tenant-1"; 3]).await;
    installation
        .answers("tenant-3", ["pool-1", "tenant-3", "pool-1"])
        .await;
}

#[tokio::test]
async fn offboarding_removes_the_routes_first_and_the_data_only_on_request() {
    let installation = Installation::new().await;
    installation.posts_and_lists("tenant-1").await;
    installation
        .send(
            "offboarding",
            &json!({"tenant_id": "tenant-1", "tenant_tier": "premium"}),
        )
        .await;
    installation.is_gone("tenant-1").await;
    assert_eq!(
        installation.tables("tenant-1").await.len(),
        2,
        "consumer's and payments' tables stay"
    );
    assert_eq!(
        installation.parameter("/tenant-1/status").await.as_deref(),
        Some("suspended")
    );

    let delete = json!({"tenant_id": "tenant-1", "tenant_tier": "premium", "delete_data": true});
    installation.send("offboarding", &delete).await;
    until("its tables are deleted", PATIENCE, async || {
        installation.tables("tenant-1").await.is_empty()
    })
    .await;
    assert_eq!(installation.parameter("/tenant-1/consumer_sqs").await, None);
    // No other tenant's data was deleted.
    installation.posts_and_lists("tenant-3").await;

    // The id stays reserved.
    let before = installation.commits();
    installation.onboard("tenant-1", "premium").await;
    let refused = dead_letter(&installation, "onboarding").await;
    assert!(reason(&refused).contains("tenant-1"), "{refused:?}");
    assert_eq!(installation.commits(), before);
    installation.is_gone("tenant-1").await;
}

#[tokio::test]
async fn a_message_that_can_never_be_applied_is_dead_lettered_with_the_reason() {
    let installation = Installation::new().await;
    let before = installation.commits();
    let hostile =
        json!({"tenant_id": "../../clusters", "tenant_tier": "premium", "release_version": "0.0"});
    for message in [
        hostile,
        json!({"tenant_id": "tenant-9", "tenant_tier": "../../../clusters/production", "release_version": "0.0"}),
        json!({"tenant_id": "tenant-2", "tenant_tier": "premium", "release_version": "0.0"}),
        json!({"tenant_id": "tenant-9"}),
    ] {
        installation.send("onboarding", &message).await;
        let refused = dead_letter(&installation, "onboarding").await;
        assert!(!reason(&refused).is_empty(), "{message}");
        assert_eq!(refused.body.as_deref(), Some(message.to_string().as_str()));
    }
    assert_eq!(installation.commits(), before);
    installation.answers("tenant-2", ["pool-1"; 3]).await;
}

#[tokio::test]
async fn a_message_in_hand_at_a_kill_is_applied_by_the_next_process() {
    // The lease of the killed process has to end first.
    let mut installation = Installation::with(&[("VISIBILITY_SECONDS", "2")]).await;
    // While the main branch is locked, no push succeeds: the message waits.
    let lock = installation
        .folder
        .path()
        .join("gitops.git/refs/heads/main.lock");
    std::fs::write(&lock, "").expect("the repository is ours");
    installation.onboard("late", "advanced").await;
    let queue = installation.queue("onboarding");
    until("the message is in hand", PATIENCE, async || {
        installation.local.aws().depth(&queue).await
            == Depth {
                visible: 0,
                in_flight: 1,
            }
    })
    .await;
    installation.local.process.kill();
    std::fs::remove_file(&lock).expect("it is still there");
    installation = installation.restart().await;
    installation
        .answers("late", ["pool-1", "late", "pool-1"])
        .await;
    assert_eq!(
        installation
            .commits()
            .iter()
            .filter(|commit| commit.contains("late"))
            .count(),
        1
    );
}

#[tokio::test]
async fn a_deployment_changes_the_release_and_every_tenant_stays_served() {
    let installation = Installation::new().await;
    let before = installation.commits().len();
    installation
        .send(
            "deployment",
            &json!({"tenant_tier": "premium", "release_version": "0.1"}),
        )
        .await;
    until("the release is committed", PATIENCE, async || {
        installation.commits().len() > before
    })
    .await;
    installation.answers("tenant-1", ["tenant-1"; 3]).await;
    installation.posts_and_lists("tenant-1").await;
}

/// Receives and deletes the next message of a lifecycle queue's dead-letter queue.
async fn dead_letter(installation: &Installation, kind: &str) -> Message {
    let url = format!("{}-dlq", installation.queue(kind));
    let aws = installation.local.aws();
    let message = eventually("it is dead-lettered", PATIENCE, async || {
        aws.receive(&url, 60).await.pop()
    })
    .await;
    let handle = message.receipt_handle.clone().unwrap_or_default();
    aws.sqs
        .delete_message()
        .queue_url(&url)
        .receipt_handle(handle)
        .send()
        .await
        .expect("it is deleted");
    message
}

/// The reason of a dead-lettered message.
fn reason(message: &Message) -> String {
    let attributes = message.message_attributes.clone().unwrap_or_default();
    attributes
        .get("dead_letter_reason")
        .and_then(|value| value.string_value.clone())
        .unwrap_or_default()
}

#[tokio::test]
async fn the_lifecycle_queues_have_metrics_and_probes_like_any_service() {
    let folder = tempfile::tempdir().expect("a scratch folder");
    let admin = std::net::SocketAddr::from(([127, 0, 0, 1], kit::process::fixed_port()));
    let mut command = kit::local::command(
        kit::local::ANYWHERE,
        kit::local::ANYWHERE,
        Some(folder.path()),
    );
    command.arg(format!("--admin-listen={admin}"));
    let local = kit::local::Local::of(kit::process::Process::start("local", command)).await;
    until("the worker is ready", PATIENCE, async || {
        Request::get("/control-plane/tenantctl/readyz")
            .ask(admin)
            .await
            .status
            == 200
    })
    .await;
    assert_eq!(
        Request::get("/pool-1/producer/readyz")
            .ask(admin)
            .await
            .status,
        200
    );
    assert_eq!(
        local
            .ask(&Request::get("/control-plane/tenantctl/metrics"))
            .await
            .status,
        404
    );
}
