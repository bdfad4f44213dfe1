//! Commits that are not valid, and a repository that is lost.

use kit::git::{git, replace};
use kit::wait::{PATIENCE, until};
use serde_json::json;

use crate::{Installation, TENANTS};

#[tokio::test]
async fn a_broken_commit_is_shown_with_file_and_line_until_it_is_mended() {
    let installation = Installation::new().await;
    assert!(installation.push(|clone| {
        replace(
            &clone.join(TENANTS).join("premium/tenant-1.yaml"),
            "    apps:\n",
            "   apps:\n",
        );
    }));
    let tenant = installation.in_state("tenant-1", "blocked").await;
    let reason = tenant["blocked"]["reason"].as_str().expect("a reason");
    assert_eq!(tenant["blocked"]["code"], "broken_commit");
    assert!(reason.contains("tenant-1.yaml:"), "{reason}");
    assert!(
        tenant["blocked"]["remedy"]
            .as_str()
            .expect("a remedy")
            .contains("git revert"),
        "{tenant}"
    );
    // The others are served.
    installation.in_state("tenant-2", "serving").await;
    assert!(installation.push(|clone| {
        git(clone, &["checkout", "--quiet", "HEAD~1", "--", "."]);
    }));
    installation.in_state("tenant-1", "serving").await;
}

#[tokio::test]
async fn a_change_behind_a_broken_commit_waits_and_the_commit_that_broke_is_named() {
    let installation = Installation::new().await;
    let file = |clone: &std::path::Path| clone.join(TENANTS).join("basic/tenant-2.yaml");
    assert!(installation.push(|clone| replace(&file(clone), "    apps:\n", "    apps: [\n")));
    installation.in_state("tenant-2", "blocked").await;
    let breaks = git(
        &installation.folder.path().join("gitops.git"),
        &["rev-parse", "main"],
    );
    let breaks = &breaks.trim()[..10];

    let accepted = installation.onboard("acme", "basic").await;
    assert_eq!(accepted.status, 202, "{}", accepted.text());
    let path = format!("/operations/{}", accepted.field("id"));
    let remedy = format!("git revert {breaks}");
    until(
        "the operation says what it waits for",
        PATIENCE,
        async || {
            let operation = installation.get(&path).await.json();
            let problem = &operation["problem"];
            assert_eq!(operation["state"], "committed", "{operation}");
            problem["code"] == "broken_commit"
                && problem["remedy"]
                    .as_str()
                    .is_some_and(|text| text.contains(&remedy))
        },
    )
    .await;
    until(
        "the page names the commit that broke",
        PATIENCE,
        async || {
            let answer = installation.get("/console/operations").await;
            let page = answer.text();
            page.contains(&remedy) && page.contains("1 commit since waits")
        },
    )
    .await;

    assert!(installation.push(|clone| replace(&file(clone), "    apps: [\n", "    apps:\n")));
    assert_eq!(installation.ended(&accepted).await["state"], "serving");
}

#[tokio::test]
async fn a_lost_repository_is_a_sentence_and_nothing_is_half_done() {
    let installation = Installation::new().await;
    installation.in_state("tenant-1", "serving").await;
    let repository = installation.folder.path().join("gitops.git");
    let hidden = installation.folder.path().join("hidden.git");
    std::fs::rename(&repository, &hidden).expect("it is ours");
    let answer = installation.onboard("acme", "basic").await;
    assert_eq!(answer.status, 503, "{}", answer.text());
    assert!(
        answer.field("msg").contains("nothing was changed"),
        "{}",
        answer.text()
    );
    assert!(answer.header("retry-after").is_some());
    assert_eq!(
        installation.get("/tenants/tenant-1").await.json()["state"],
        "serving",
        "the last state is shown"
    );
    std::fs::rename(&hidden, &repository).expect("it is ours");
    let mut accepted = None;
    until("the repository answers again", PATIENCE, async || {
        let answer = installation.onboard("acme", "basic").await;
        let is_done = answer.status == 202;
        accepted = Some(answer);
        is_done
    })
    .await;
    let operation = installation.ended(&accepted.expect("asked")).await;
    assert_eq!(operation["state"], "serving", "{operation}");
    let held = installation
        .patch("acme", &json!({ "held": "after" }))
        .await;
    assert_eq!(installation.ended(&held).await["state"], "serving");
}
