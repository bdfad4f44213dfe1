//! Any interleaving of API calls, lifecycle messages and pushes by hand leaves a tree that lints, and operations that all end.

use kit::wait::until;
use serde_json::{Value, json};

use crate::{END, Installation, TENANTS, TICK};

const STEPS: usize = 24;
const SEEDS: [u64; 2] = [1, 7];
const IDS: [&str; 3] = ["acme", "bolt", "cone"];
const TIERS: [&str; 3] = ["basic", "advanced", "premium"];

#[tokio::test]
async fn any_interleaving_leaves_a_tree_that_lints_and_operations_that_all_end() {
    for seed in SEEDS {
        let installation = Installation::new().await;
        let mut random = fastrand::Rng::with_seed(seed);
        let mut accepted: Vec<String> = Vec::new();
        for step in 0..STEPS {
            let tenant = IDS[random.usize(..IDS.len())];
            let tier = TIERS[random.usize(..TIERS.len())];
            let answer = match random.u8(..12) {
                0..=2 => installation.onboard(tenant, tier).await,
                3 => installation.patch(tenant, &json!({ "tier": tier })).await,
                4 => {
                    installation
                        .patch(tenant, &json!({ "suspended": random.bool() }))
                        .await
                }
                5 => {
                    installation
                        .patch(tenant, &json!({ "release": "0.1" }))
                        .await
                }
                6 => installation.patch(tenant, &json!({ "held": "test" })).await,
                7 => installation.patch(tenant, &json!({ "held": null })).await,
                8 => installation.delete(&format!("/tenants/{tenant}")).await,
                9 => {
                    let message = json!({ "tenant_id": tenant, "tenant_tier": tier, "release_version": "0.0",
                        "request_id": format!("m-{seed}-{step}") });
                    installation.message("onboarding", &message).await;
                    continue;
                }
                10 => {
                    let message = json!({ "tenant_tier": tier, "release_version": "0.1" });
                    installation.message("deployment", &message).await;
                    continue;
                }
                _ => {
                    installation.push(|clone| {
                        let file = clone.join(TENANTS).join("basic/tenant-2.yaml");
                        let text = std::fs::read_to_string(&file).expect("it is there");
                        std::fs::write(&file, format!("{text}# {step}\n")).expect("it is ours");
                    });
                    continue;
                }
            };
            assert!(answer.status < 500, "{seed}/{step}: {}", answer.text());
            if answer.status == 202 {
                accepted.push(answer.field("id"));
            }
            if random.bool() {
                tokio::time::sleep(TICK).await;
            }
        }
        for id in &accepted {
            let operation = installation.ended_by_id(id).await;
            let is_replaced = operation["problem"]["code"] == "replaced";
            assert!(
                operation["state"] != "failed" || is_replaced,
                "{seed}: {operation}"
            );
        }
        until("every operation has ended", END, async || {
            let operations = installation.get("/operations?limit=1000").await.json();
            let operations = operations["operations"].as_array().expect("a list").clone();
            let is_end = |one: &Value| {
                ["serving", "gone", "failed"].contains(&one["state"].as_str().unwrap_or_default())
            };
            operations.iter().all(is_end)
        })
        .await;
        installation.lints();
    }
}
