//! Who may do what, by the role in the token.

use kit::http::Request;
use serde_json::{Value, json};

use crate::{Guarded, acme, bearer, with_json};

/// Roles from the weakest to the strongest.
const ROLES: [&str; 3] = ["viewer", "operator", "owner"];

/// A request, and the position of the role that it needs.
struct Action {
    needs: usize,
    request: Request,
    name: String,
}

fn action(needs: usize, method: &str, path: &str, body: Option<&Value>) -> Action {
    let request = match body {
        Some(body) => with_json(method, path, body),
        None => Request::new(method, path),
    };
    Action {
        needs,
        request,
        name: format!(
            "{method} {path} {}",
            body.map(Value::to_string).unwrap_or_default()
        ),
    }
}

/// Every route, and each verb of a route with several. The changes are previews, so that an allowed one changes nothing.
fn actions() -> Vec<Action> {
    let (viewer, operator, owner) = (0, 1, 2);
    let wave = json!({ "tier": "basic", "release": "0.0", "waves": ["rest"], "bake_seconds": 0 });
    let mut actions = vec![
        action(viewer, "GET", "/tenants", None),
        action(viewer, "GET", "/tenants/tenant-1", None),
        action(viewer, "GET", "/tenants/tenant-1/queue", None),
        action(viewer, "GET", "/pools", None),
        action(viewer, "GET", "/deployments", None),
        action(viewer, "GET", "/deployments/none", None),
        action(viewer, "GET", "/operations", None),
        action(viewer, "GET", "/operations/none", None),
        action(viewer, "GET", "/activity", None),
        action(viewer, "GET", "/health", None),
        action(operator, "GET", "/tenants/tenant-1/queue/messages", None),
        action(operator, "POST", "/tenants/tenant-1/queue/redrive", None),
        action(operator, "POST", "/tenants?preview=true", Some(&acme())),
        action(operator, "POST", "/deployments", Some(&wave)),
        action(operator, "POST", "/deployments/none/continue", None),
        action(operator, "POST", "/deployments/none/revert", None),
        action(owner, "DELETE", "/tenants/tenant-1?preview=true", None),
        action(
            owner,
            "DELETE",
            "/tenants/tenant-1?delete_data=true&preview=true",
            None,
        ),
        action(
            owner,
            "DELETE",
            "/tenants/tenant-1?forget=true&preview=true",
            None,
        ),
    ];
    for change in [
        json!({ "tier": "basic" }),
        json!({ "release": "0.1" }),
        json!({ "suspended": true }),
        json!({ "suspended": false }),
        json!({ "held": "audit" }),
        json!({ "held": null }),
    ] {
        actions.push(action(
            operator,
            "PATCH",
            "/tenants/tenant-1?preview=true",
            Some(&change),
        ));
    }
    actions
}

#[tokio::test]
async fn each_verb_needs_its_role_and_a_refusal_changes_nothing() {
    let guarded = Guarded::new().await;
    let before = guarded.plane.cluster.commits();
    for Action {
        needs,
        request,
        name,
    } in actions()
    {
        let without = guarded.plane.ask(&request).await;
        assert_eq!(
            (without.status, &*without.field("code")),
            (401, "token_missing"),
            "{name}"
        );
        let stranger = bearer(request.clone(), &guarded.token(&json!(["driver"])));
        let answer = guarded.plane.ask(&stranger).await;
        assert_eq!(
            (answer.status, &*answer.field("code")),
            (403, "role_missing"),
            "{name}"
        );
        for (rank, role) in ROLES.into_iter().enumerate().take(needs) {
            let weaker = bearer(request.clone(), &guarded.token(&json!([role])));
            let answer = guarded.plane.ask(&weaker).await;
            assert_eq!(
                (answer.status, &*answer.field("code")),
                (403, "role_missing"),
                "{role}: {name}"
            );
            let msg = answer.field("msg");
            assert!(
                msg.contains(ROLES[needs]) && msg.contains(ROLES[rank]),
                "{msg}"
            );
        }
        assert_eq!(guarded.plane.cluster.commits(), before, "{name}");
    }
}

#[tokio::test]
async fn each_verb_is_allowed_with_its_role_and_with_each_stronger_one() {
    let guarded = Guarded::new().await;
    for Action {
        needs,
        request,
        name,
    } in actions()
    {
        for role in &ROLES[needs..] {
            let request = bearer(request.clone(), &guarded.token(&json!([role])));
            let answer = guarded.plane.ask(&request).await;
            assert!(
                ![401, 403].contains(&answer.status),
                "{role}: {name}: {}",
                answer.text()
            );
        }
    }
}

#[tokio::test]
async fn a_change_names_its_actor_in_the_commit_and_no_log_has_the_token() {
    let guarded = Guarded::new().await;
    let token = guarded.token(&json!("operator"));
    let request = bearer(with_json("POST", "/tenants", &acme()), &token);
    let answer = guarded.plane.ask(&request).await;
    assert_eq!(answer.status, 202, "{}", answer.text());
    let message = guarded.plane.cluster.message();
    assert!(message.contains("\nActor: ann\n"), "{message}");
    let log = guarded.plane.service.process.stdout().join("\n");
    assert!(log.contains(r#""actor":"ann""#));
    let signature = token.rsplit('.').next().expect("three parts");
    assert!(!log.contains(signature));
}
