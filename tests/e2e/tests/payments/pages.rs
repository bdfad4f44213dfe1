//! Listing of charges: newest first, in pages, for each tenant its own.

use kit::http::Request;
use kit::service::Service;
use serde_json::{Value, json};

use crate::support::{Bank, charge, euros};

/// A page's ids and the next cursor.
async fn page(payments: &Service, tenant: &str, query: &str) -> (Vec<String>, Option<String>) {
    let answer = payments
        .ask(&Request::get(&format!("/payments/charges{query}")).tenant(tenant))
        .await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let listed = answer.json();
    let id = |charge: &Value| {
        assert_eq!(charge["tenant_id"], json!(tenant));
        charge["id"].as_str().expect("an id").to_owned()
    };
    let ids = listed["charges"]
        .as_array()
        .expect("charges")
        .iter()
        .map(id)
        .collect();
    (ids, listed["next_cursor"].as_str().map(ToOwned::to_owned))
}

#[tokio::test]
async fn paging_shows_every_charge_once_newest_first_and_no_other_tenants() {
    let bank = Bank::open().await;
    let payments = bank.payments().await;
    let mut recorded = Vec::new();
    for n in 0..7 {
        recorded.insert(
            0,
            payments
                .ask(&charge("tenant-2", &n.to_string(), &euros(n + 1)))
                .await
                .field("id"),
        );
        payments
            .ask(&charge("tenant-3", &n.to_string(), &euros(n + 1)))
            .await;
    }
    let (mut shown, mut query) = (Vec::new(), "?limit=3".to_owned());
    let mut sizes = Vec::new();
    loop {
        let (ids, next) = page(&payments, "tenant-2", &query).await;
        sizes.push(ids.len());
        shown.extend(ids);
        let Some(next) = next else { break };
        query = format!("?limit=3&cursor={next}");
    }
    assert_eq!((shown, sizes), (recorded.clone(), vec![3, 3, 1]));
    assert_eq!(
        page(&payments, "tenant-2", "").await,
        (recorded.clone(), None)
    );
    assert_eq!(
        page(&payments, "tenant-2", "?limit=7").await,
        (recorded, None),
        "no page after the last"
    );
}

#[tokio::test]
async fn another_tenants_cursor_and_an_invalid_one_are_a_400() {
    let bank = Bank::open().await;
    let payments = bank.payments().await;
    for n in 0..2 {
        payments
            .ask(&charge("tenant-2", &n.to_string(), &euros(1)))
            .await;
    }
    let (_, next) = page(&payments, "tenant-2", "?limit=1").await;
    let next = next.expect("there is more");
    for (tenant, query, code) in [
        ("tenant-3", format!("?cursor={next}"), "invalid_cursor"),
        ("tenant-2", "?cursor=nonsense".to_owned(), "invalid_cursor"),
        ("tenant-2", "?limit=0".to_owned(), "invalid_limit"),
        ("tenant-2", "?limit=101".to_owned(), "invalid_limit"),
        ("tenant-2", "?limit=x".to_owned(), "invalid_query"),
        ("tenant-2", "?offset=1".to_owned(), "invalid_query"),
    ] {
        let request = Request::get(&format!("/payments/charges{query}")).tenant(tenant);
        let answer = payments.ask(&request).await;
        assert_eq!(
            (answer.status, &*answer.field("code")),
            (400, code),
            "{tenant} {query}"
        );
    }
}
