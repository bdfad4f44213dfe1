//! Deployments with gates.

use kit::http::Request;
use kit::wait::{PATIENCE, until};
use serde_json::{Value, json};

use crate::Installation;

async fn in_state(installation: &Installation, id: &str, state: &str) -> Value {
    let mut last = Value::Null;
    until(
        &format!("deployment {id} is {state}"),
        PATIENCE,
        async || {
            last = installation.get(&format!("/deployments/{id}")).await.json();
            last["state"] == state
        },
    )
    .await;
    last
}

fn release_of(tenants: &Value, id: &str) -> Value {
    let tenants = tenants["tenants"].as_array().expect("tenants");
    tenants
        .iter()
        .find(|tenant| tenant["id"] == id)
        .expect("it is there")["release"]
        .clone()
}

#[tokio::test]
async fn good_waves_follow_one_another_and_a_restart_goes_on() {
    let installation = Installation::new().await;
    for tenant in ["acme", "bolt"] {
        installation
            .ended(&installation.onboard(tenant, "basic").await)
            .await;
    }
    let plan = json!({ "tier": "basic", "release": "0.1", "bake_seconds": 1,
        "waves": [{ "canary": ["acme"] }, { "percent": 50 }, "rest"] });
    let started = installation.send("POST", "/deployments", &plan).await;
    assert_eq!(started.status, 202, "{}", started.text());
    let id = started.field("id");
    until("the first wave is good", PATIENCE, async || {
        installation.get(&format!("/deployments/{id}")).await.json()["waves"][0]["state"] == "good"
    })
    .await;
    let installation = installation.restart().await;
    let done = in_state(&installation, &id, "done").await;
    assert!(
        done["waves"]
            .as_array()
            .expect("waves")
            .iter()
            .all(|wave| wave["state"] == "good"),
        "{done}"
    );
    let tenants = installation.get("/tenants").await.json();
    for tenant in ["acme", "bolt", "tenant-2"] {
        assert_eq!(release_of(&tenants, tenant), "0.1.x");
    }
    assert_eq!(release_of(&tenants, "tenant-1"), "0.0.x", "another tier");
}

#[tokio::test]
async fn a_bad_wave_is_held_and_one_commit_reverts_it() {
    let installation = Installation::new().await;
    installation
        .ended(&installation.onboard("acme", "basic").await)
        .await;
    let plan = json!({ "tier": "basic", "release": "0.1", "bake_seconds": 600,
        "waves": [{ "canary": ["acme"] }, "rest"] });
    let id = installation
        .send("POST", "/deployments", &plan)
        .await
        .field("id");
    until("the wave is watched", PATIENCE, async || {
        installation.get(&format!("/deployments/{id}")).await.json()["waves"][0]["state"]
            == "baking"
    })
    .await;
    let fault = json!([{ "action": "SQS.SendMessageBatch", "drop": true, "rate": 1.0 }]);
    installation.local.controls().inject(fault).await;
    let mut held = Value::Null;
    until("the deployment is held", PATIENCE, async || {
        installation
            .local
            .ask(&Request::event().tenant("acme"))
            .await;
        held = installation.get(&format!("/deployments/{id}")).await.json();
        held["state"] == "held"
    })
    .await;
    installation.local.controls().inject(json!([])).await;
    assert_eq!(held["problem"]["code"], "error_ratio", "{held}");
    assert_eq!(held["waves"][1]["state"], "waiting", "{held}");
    let installation = installation.restart().await;
    in_state(&installation, &id, "held").await;
    let before = installation.commits().len();
    let reverted = installation
        .send("POST", &format!("/deployments/{id}/revert"), &json!({}))
        .await;
    assert_eq!(installation.ended(&reverted).await["state"], "serving");
    in_state(&installation, &id, "reverted").await;
    assert_eq!(installation.commits().len(), before + 1, "one commit");
    let tenants = installation.get("/tenants").await.json();
    assert_eq!(release_of(&tenants, "acme"), "0.0.x");
    let again = installation
        .send("POST", &format!("/deployments/{id}/revert"), &json!({}))
        .await;
    assert_eq!(
        (again.status, again.field("code").as_str()),
        (409, "already_reverted")
    );
}

#[tokio::test]
async fn a_plan_that_would_be_refused_later_is_refused_at_once() {
    let installation = Installation::new().await;
    let before = installation.commits().len();
    for (waves, status) in [
        (json!([{ "canary": ["nobody"] }]), 404),
        (json!([{ "canary": ["tenant-1"] }]), 409),
        (json!([{ "canary": ["../x"] }]), 400),
        (json!([{ "percent": 0 }]), 400),
        (json!(["rest", { "canary": ["nobody"] }]), 404),
    ] {
        let plan = json!({ "tier": "basic", "release": "0.1", "waves": waves });
        let answer = installation.send("POST", "/deployments", &plan).await;
        assert_eq!(answer.status, status, "{plan}: {}", answer.text());
    }
    assert_eq!(installation.commits().len(), before);
}
