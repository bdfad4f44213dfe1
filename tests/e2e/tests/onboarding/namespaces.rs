//! Namespaces of the cluster are no ids of new tenants.

use kit::http::Request;
use serde_json::json;

use crate::cluster::FOREIGN;
use crate::{ControlPlane, acme, with_json};

#[tokio::test]
async fn an_id_that_is_a_namespace_of_the_cluster_is_refused() {
    let plane = ControlPlane::new(&[]).await;
    let commits = plane.cluster.commits();
    let foreign = json!({ "id": FOREIGN, "tier": "basic", "release": "0.0" });
    for path in ["/tenants", "/tenants?preview=true"] {
        let answer = plane.ask(&with_json("POST", path, &foreign)).await;
        assert_eq!(answer.status, 422, "{}", answer.text());
        assert_eq!(answer.field("code"), "namespace_taken");
        assert!(
            answer.text().contains("choose another id"),
            "{}",
            answer.text()
        );
    }
    let preview =
        format!("/console/onboard?action=onboard&tenant={FOREIGN}&tier=basic&release=0.0");
    let page = plane.ask(&Request::get(&preview)).await;
    assert!(
        page.text().contains("is a namespace of the cluster"),
        "{}",
        page.text()
    );
    assert_eq!(plane.cluster.commits(), commits);

    // A tenant's own namespace is none of the others'.
    let there = json!({ "id": "tenant-1", "tier": "premium", "release": "0.0" });
    let answer = plane.ask(&with_json("POST", "/tenants", &there)).await;
    assert!(answer.status < 300, "{}", answer.text());
    let answer = plane.ask(&with_json("POST", "/tenants", &acme())).await;
    assert_eq!(answer.status, 202, "{}", answer.text());
    assert_eq!(plane.cluster.commits(), commits + 1);
}
