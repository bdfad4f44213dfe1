//! The tables of tenants' payments, and refused tenants.

use kit::http::Request;
use kit::wait::{PATIENCE, until};

use crate::support::{Bank, charge, euros, text};

#[tokio::test]
async fn a_pool_keeps_basic_and_advanced_tenants_payments_and_a_silo_its_owners() {
    let bank = Bank::open().await;
    let (pool, silo) = (
        bank.payments().await,
        bank.world.service("payments", "tenant-1", &[]).await,
    );
    for (service, tenant, status, code) in [
        (&pool, "tenant-2", 201, ""),
        (&pool, "tenant-3", 201, ""),
        // Registered without a parameter of its own: its tier leads to the pool's table.
        (&pool, "tenant-4", 201, ""),
        (&pool, "tenant-1", 403, "tenant_not_served"),
        (&pool, "tenant-9", 404, "tenant_unknown"),
        (&pool, "Tenant", 400, "invalid_tenant_id"),
        (&silo, "tenant-1", 201, ""),
        (&silo, "tenant-2", 403, "foreign_tenant"),
    ] {
        let answer = service.ask(&charge(tenant, "k", &euros(5))).await;
        assert_eq!(
            (answer.status, &*answer.field("code")),
            (status, code),
            "{tenant}"
        );
        for path in [
            "/payments/charges",
            "/payments/charges/01a2066a-d34e-77fd-ba12-9db3e3b4528a",
        ] {
            let read = service.ask(&Request::get(path).tenant(tenant)).await;
            let expected = if status == 201 {
                if path.ends_with('a') { 404 } else { 200 }
            } else {
                status
            };
            assert_eq!(read.status, expected, "{tenant} {path}");
        }
    }
    let anonymous = Request::new("POST", "/payments/charges")
        .key("k")
        .body(euros(1).to_string());
    assert_eq!(pool.ask(&anonymous).await.status, 404);
    for (table, owners) in [
        (&bank.pool, &["tenant-2", "tenant-3", "tenant-4"][..]),
        (&bank.silo, &["tenant-1"]),
    ] {
        let items = bank.world.aws.scan(table).await;
        assert!(
            items
                .iter()
                .all(|item| owners.contains(&text(item, "tenant_id"))),
            "{table}: {items:?}"
        );
        assert!(!items.is_empty());
    }
}

#[tokio::test]
async fn another_tenants_charge_is_a_404_on_every_route() {
    let bank = Bank::open().await;
    let payments = bank.payments().await;
    let id = payments
        .ask(&charge("tenant-2", "k", &euros(5)))
        .await
        .field("id");
    let path = format!("/payments/charges/{id}");
    for request in [
        Request::get(&path).tenant("tenant-3"),
        Request::refund("tenant-3", "r", &id, 1),
    ] {
        let answer = payments.ask(&request).await;
        assert_eq!(
            (answer.status, &*answer.field("code")),
            (404, "charge_unknown")
        );
    }
    let upper = Request::get(
        &path
            .to_uppercase()
            .replace("/PAYMENTS/CHARGES", "/payments/charges"),
    );
    assert_eq!(
        payments.ask(&upper.tenant("tenant-2")).await.status,
        404,
        "an id is spelled one way"
    );
}

#[tokio::test]
async fn identity_and_probe_need_no_table_and_charges_begin_once_there_is_one() {
    let bank = Bank::open().await;
    let aws = &bank.world.aws;
    aws.ssm
        .delete_parameter()
        .name("/pool-1/payments_ddb")
        .send()
        .await
        .expect("it was there");
    let payments = bank.payments().await;
    let identity = payments
        .ask(&Request::get("/payments").tenant("tenant-2"))
        .await;
    let expected = r#"{"environment":"pool-1","microservice":"payments","tenant_id":"tenant-2","version":"0.0.1"}"#;
    assert_eq!((identity.status, identity.text()), (200, expected));
    let refused = payments.ask(&charge("tenant-2", "k", &euros(5))).await;
    assert_eq!(
        (refused.status, &*refused.field("code")),
        (503, "table_missing")
    );
    assert!(refused.header("retry-after").is_some());
    aws.point_payments("pool-1", &bank.pool).await;
    until("charges are recorded", PATIENCE, async || {
        payments
            .ask(&charge("tenant-2", "k", &euros(5)))
            .await
            .status
            == 201
    })
    .await;
}
