//! An id that is free again: its next owner finds nothing of the last one, and the last one's data is gone.

use std::fs;
use std::path::Path;

use kit::http::Request;
use kit::wait::{PATIENCE, until};
use serde_json::{Value, json};

use crate::Installation;

/// Time within which an id that had another owner is served again: until no service uses the old registration.
const FREE_WITHIN: std::time::Duration = std::time::Duration::from_secs(60);

#[tokio::test]
async fn an_id_that_is_onboarded_anew_has_nothing_of_its_last_owner() {
    let installation = Installation::new().await;
    for tier in ["basic", "advanced", "premium"] {
        let tenant = format!("reused-{tier}");
        installation.tenantctl(&["onboard", &tenant, "--tier", tier, "--release", "0.0"]);
        is_served(&installation, &tenant).await;
        let event = Request::event().tenant(&tenant).key("order-7").body("1");
        assert_eq!(installation.local.ask(&event).await.status, 200);
        installation.posts_and_lists(&tenant).await;
        let charged = installation
            .local
            .ask(&Request::charge(&tenant, "pay-7", 100))
            .await;
        assert_eq!(charged.status, 201, "{}", charged.text());
        let first = installation
            .parameter(&format!("/{tenant}/generation"))
            .await;

        installation.tenantctl(&["offboard", &tenant, "--delete-data"]);
        installation.is_gone(&tenant).await;
        installation.tenantctl(&["forget", &tenant]);
        installation.tenantctl(&["onboard", &tenant, "--tier", tier, "--release", "0.0"]);
        is_served(&installation, &tenant).await;
        let second = installation
            .parameter(&format!("/{tenant}/generation"))
            .await;
        assert!(first.is_some() && second.is_some() && first != second);

        // Listed, refunded, replayed, swallowed: nothing.
        let ask = async |request: Request| installation.local.ask(&request.tenant(&tenant)).await;
        let messages = ask(Request::get("/consumer/messages")).await.json();
        assert_eq!(
            (&messages["messages"], &messages["next_cursor"]),
            (&json!([]), &Value::Null)
        );
        let charges = ask(Request::get("/payments/charges")).await.json();
        assert_eq!(charges["charges"], json!([]));
        let path = format!("/payments/charges/{}/refunds", charged.field("id"));
        let refund = Request::new("POST", &path)
            .key("refund")
            .body(r#"{"amount":1}"#);
        assert_eq!(ask(refund).await.status, 404);
        let again = installation
            .local
            .ask(&Request::charge(&tenant, "pay-7", 100))
            .await;
        assert_eq!(again.status, 201, "{}", again.text());
        assert_eq!(installation.local.ask(&event).await.status, 200);
        until(
            "the event and the charge's are listed",
            PATIENCE,
            async || {
                let list = ask(Request::get("/consumer/messages")).await.json();
                list["messages"]
                    .as_array()
                    .is_some_and(|all| all.len() == 2)
            },
        )
        .await;
    }
}

#[tokio::test]
async fn a_file_by_hand_without_a_generation_is_a_new_owners_each_time_it_comes() {
    let mut installation = Installation::new().await;
    let tenant = "by-hand";
    installation.push(|clone| write_by_hand(clone, tenant));
    is_served(&installation, tenant).await;
    installation.posts_and_lists(tenant).await;
    let charge = Request::charge(tenant, "pay-7", 100);
    let charged = installation.local.ask(&charge).await;
    assert_eq!(charged.status, 201, "{}", charged.text());
    let generation = format!("/{tenant}/generation");
    let first = installation.parameter(&generation).await;

    // The owner stays the same with another commit and after a restart.
    installation.push(|clone| {
        let list = clone.join(crate::TENANTS).join("basic/by-hand.yaml");
        kit::git::replace(
            &list,
            "    infra:\n",
            "    commonLabels:\n      a: b\n    infra:\n",
        );
    });
    installation = installation.restart().await;
    is_served(&installation, tenant).await;
    assert_eq!(installation.parameter(&generation).await, first);
    assert_eq!(listed(&installation, tenant).await, 2);

    // Removed and pushed anew, while `local` runs.
    installation.push(|clone| remove_by_hand(clone, tenant));
    installation.is_gone(tenant).await;
    installation.push(|clone| write_by_hand(clone, tenant));
    is_served(&installation, tenant).await;
    let second = installation.parameter(&generation).await;
    assert!(second.is_some() && second != first, "{second:?}");
    assert_eq!(listed(&installation, tenant).await, 0);
    let again = installation.local.ask(&charge).await;
    assert_eq!(again.status, 201, "{}", again.text());
    assert_ne!(again.field("id"), charged.field("id"));

    // Removed while it does not run: the registration is suspended at the next start, and the next owner is new.
    installation.local.process.signal("TERM");
    installation.local.process.exit(PATIENCE).await;
    installation.push(|clone| remove_by_hand(clone, tenant));
    installation = installation.restart().await;
    let status = installation.parameter(&format!("/{tenant}/status")).await;
    assert_eq!(status.as_deref(), Some("suspended"));
    installation.push(|clone| write_by_hand(clone, tenant));
    is_served(&installation, tenant).await;
    let third = installation.parameter(&generation).await;
    assert!(third.is_some() && third != second, "{third:?}");
    assert_eq!(listed(&installation, tenant).await, 0);
}

#[tokio::test]
async fn an_older_tenant_without_a_generation_stays_the_first_owner() {
    let mut installation = Installation::new().await;
    installation.posts_and_lists("tenant-2").await;
    installation = installation.restart().await;
    is_served(&installation, "tenant-2").await;
    assert_eq!(installation.parameter("/tenant-2/generation").await, None);
    assert_eq!(listed(&installation, "tenant-2").await, 1);
    installation.push(|clone| remove_by_hand(clone, "tenant-2"));
    installation.is_gone("tenant-2").await;
    // A file that names the first owner brings it back.
    installation.push(|clone| {
        write_by_hand(clone, "tenant-2");
        let file = clone.join(crate::TENANTS).join("basic/tenant-2.yaml");
        let named = "    infra:\n      vars:\n        generation: \"\"\n";
        kit::git::replace(&file, "    infra:\n", named);
    });
    is_served(&installation, "tenant-2").await;
    assert_eq!(listed(&installation, "tenant-2").await, 1);
}

/// Writes the file of a basic tenant from the template, and its entry in the list.
fn write_by_hand(clone: &Path, tenant: &str) {
    let template = "application-plane/production/tier-templates/basic_tenant_template.yaml";
    let text = fs::read_to_string(clone.join(template)).expect("the template is there");
    let folder = clone.join(crate::TENANTS).join("basic");
    let file = folder.join(format!("{tenant}.yaml"));
    fs::write(file, text.replace("tenant-template", tenant)).expect("written");
    let list = folder.join("kustomization.yaml");
    let listed = fs::read_to_string(&list).expect("the list is there");
    let listed = listed.replace("resources: []\n", "resources:\n");
    fs::write(list, format!("{listed}- {tenant}.yaml\n")).expect("written");
}

fn remove_by_hand(clone: &Path, tenant: &str) {
    let folder = clone.join(crate::TENANTS).join("basic");
    fs::remove_file(folder.join(format!("{tenant}.yaml"))).expect("it is there");
    let list = folder.join("kustomization.yaml");
    let listed = fs::read_to_string(&list).expect("the list is there");
    let mut listed = listed.replace(&format!("- {tenant}.yaml\n"), "");
    if !listed.contains("- ") {
        listed = listed.replace("resources:\n", "resources: []\n");
    }
    fs::write(list, listed).expect("written");
}

/// The number of messages that a tenant lists.
async fn listed(installation: &Installation, tenant: &str) -> usize {
    let list = Request::get("/consumer/messages").tenant(tenant);
    let list = installation.local.ask(&list).await.json();
    list["messages"].as_array().expect("a list").len()
}

/// Waits until each of the services answers the tenant.
async fn is_served(installation: &Installation, tenant: &str) {
    for service in ["producer", "consumer", "payments"] {
        until(
            &format!("{service} serves {tenant}"),
            FREE_WITHIN,
            async || {
                let identity = Request::get(&format!("/{service}")).tenant(tenant);
                installation.local.ask(&identity).await.status == 200
            },
        )
        .await;
    }
}

#[tokio::test]
async fn data_that_may_be_deleted_is_deleted_from_the_pools_tables_too() {
    let installation = Installation::new().await;
    for tenant in ["tenant-2", "tenant-3"] {
        installation.posts_and_lists(tenant).await;
        let charged = installation
            .local
            .ask(&Request::charge(tenant, "pay-7", 100))
            .await;
        assert_eq!(charged.status, 201, "{}", charged.text());
    }
    assert!(items(&installation, "tenant-2").await > 0);
    let others = items(&installation, "tenant-3").await;
    installation.tenantctl(&["offboard", "tenant-2", "--delete-data"]);
    until("its items are gone", FREE_WITHIN, async || {
        items(&installation, "tenant-2").await == 0
    })
    .await;
    assert!(items(&installation, "tenant-3").await >= others);
}

#[tokio::test]
async fn a_purge_deletes_what_an_offboarded_tenant_left_in_the_pools_tables() {
    let installation = Installation::new().await;
    let others = {
        installation.posts_and_lists("tenant-3").await;
        let charged = installation
            .local
            .ask(&Request::charge("tenant-3", "pay-7", 100))
            .await;
        assert_eq!(charged.status, 201, "{}", charged.text());
        items(&installation, "tenant-3").await
    };
    installation.tenantctl(&["offboard", "tenant-2", "--delete-data"]);
    until("the registration is deleted", PATIENCE, async || {
        installation.parameter("/tenant-2/tier").await.is_none()
    })
    .await;
    until("its items are gone", FREE_WITHIN, async || {
        items(&installation, "tenant-2").await == 0
    })
    .await;
    // A late message is stored after all.
    let table = installation.tables("pool-1").await;
    let table = table.iter().find(|name| name.starts_with("consumer-"));
    let text = |value: &str| aws_sdk_dynamodb::types::AttributeValue::S(value.to_owned());
    for n in 0..60 {
        let put = installation.local.aws().dynamodb.put_item();
        put.table_name(table.expect("the pool has a table"))
            .item("tenant_id", text("tenant-2"))
            .item("message_id", text(&format!("late-{n}")))
            .send()
            .await
            .expect("written");
    }
    assert_eq!(items(&installation, "tenant-2").await, 60);
    installation.tenantctl(&["forget", "tenant-2", "--purge"]);
    assert_eq!(items(&installation, "tenant-2").await, 0);
    assert!(items(&installation, "tenant-3").await >= others);
}

/// Items of a tenant in the pool's tables.
async fn items(installation: &Installation, tenant: &str) -> usize {
    let dynamodb = installation.local.aws().dynamodb;
    let mut count = 0;
    for table in installation.tables("pool-1").await {
        let query = dynamodb
            .query()
            .table_name(&table)
            .consistent_read(true)
            .key_condition_expression("tenant_id = :tenant")
            .expression_attribute_values(
                ":tenant",
                aws_sdk_dynamodb::types::AttributeValue::S(tenant.to_owned()),
            );
        count += query
            .send()
            .await
            .expect("the table is there")
            .items()
            .len();
    }
    count
}
