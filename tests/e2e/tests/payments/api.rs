//! The answers of the routes.

use futures_util::future::join_all;
use kit::http::Request;
use kit::service::Service;
use kit::wait::{PATIENCE, until};
use serde_json::{Value, json};

use crate::support::{Bank, charge, euros, is_replayed};

#[tokio::test]
async fn a_charge_is_recorded_once_and_found_again() {
    let bank = Bank::open().await;
    let payments = bank.payments().await;
    let first = payments
        .ask(&charge("tenant-2", "order-7", &euros(1250)))
        .await;
    assert_eq!(first.status, 201, "{}", first.text());
    let body = first.json();
    let id = first.field("id");
    let path = format!("/payments/charges/{id}");
    assert_eq!(first.header("location"), Some(path.as_str()));
    assert_eq!(first.header("idempotent-replayed"), None);
    let expected = json!({"id": id, "amount": 1250, "currency": "EUR", "reference": "order-7",
        "metadata": {"shop": "north"}, "refunded": 0, "status": "recorded",
        "created_at": first.field("created_at"), "tenant_id": "tenant-2"});
    assert_eq!(body, expected);
    let again = payments
        .ask(&charge("tenant-2", "order-7", &euros(1250)))
        .await;
    assert_eq!(
        (again.status, &again.body, is_replayed(&again)),
        (200, &first.body, true)
    );
    assert_eq!(again.header("location"), Some(path.as_str()));
    let spelled_otherwise = Request::new("POST", "/payments/charges").tenant("tenant-2").key("order-7").body(
        r#" {"metadata" : {"shop":"n\u006frth"}, "reference":"order-7","currency":"EUR","amount":1250} "#,
    );
    let again = payments.ask(&spelled_otherwise).await;
    assert_eq!(
        (again.status, &again.body),
        (200, &first.body),
        "the same request, however it is spelled"
    );
    let other = payments
        .ask(&charge("tenant-2", "order-7", &euros(1251)))
        .await;
    assert_eq!(
        (other.status, &*other.field("code")),
        (422, "idempotency_key_reused")
    );
    let found = payments.ask(&Request::get(&path).tenant("tenant-2")).await;
    assert_eq!((found.status, &found.body), (200, &first.body));
    let theirs = payments
        .ask(&charge("tenant-3", "order-7", &euros(9)))
        .await;
    assert_eq!(theirs.status, 201, "keys are the tenant's own");
}

#[tokio::test]
async fn the_same_key_from_many_at_once_and_after_a_restart_is_one_charge_with_one_answer() {
    let bank = Bank::open().await;
    let replicas = [bank.payments().await, bank.payments().await];
    let request = charge("tenant-2", "k", &euros(5));
    let asked = join_all((0..24).map(|n| replicas[n % 2].ask(&request))).await;
    let recorded = asked.iter().filter(|answer| answer.status == 201).count();
    assert_eq!(
        recorded,
        1,
        "{:?}",
        asked.iter().map(|answer| answer.status).collect::<Vec<_>>()
    );
    for answer in &asked {
        assert_eq!(answer.body, asked[0].body);
        assert_eq!(answer.status == 200, is_replayed(answer));
    }
    for replica in replicas {
        replica.stop().await;
    }
    let again = bank.payments().await.ask(&request).await;
    assert_eq!((again.status, &again.body), (200, &asked[0].body));
}

#[tokio::test]
async fn refunds_add_up_to_their_charge_and_no_further() {
    let bank = Bank::open().await;
    let payments = bank.payments().await;
    let id = payments
        .ask(&charge("tenant-2", "c", &euros(1000)))
        .await
        .field("id");
    let first = payments
        .ask(&Request::refund("tenant-2", "r1", &id, 400))
        .await;
    assert_eq!(first.status, 201, "{}", first.text());
    let path = format!("/payments/charges/{id}");
    assert_eq!(first.header("location"), Some(path.as_str()));
    let body = first.json();
    assert_eq!(
        (&body["amount"], &body["refunded"], &body["status"]),
        (&json!(400), &json!(400), &json!("partially_refunded"))
    );
    assert_eq!(
        (&body["charge_id"], &body["currency"]),
        (&json!(id), &json!("EUR"))
    );
    let too_much = payments
        .ask(&Request::refund("tenant-2", "r2", &id, 601))
        .await;
    assert_eq!(
        (too_much.status, &*too_much.field("code")),
        (409, "refund_exceeds_charge")
    );
    assert!(
        too_much.field("msg").contains("600"),
        "the answer states the rest: {}",
        too_much.text()
    );
    let rest = payments
        .ask(&Request::refund("tenant-2", "r2", &id, 600))
        .await;
    assert_eq!(
        (rest.status, &rest.json()["status"]),
        (201, &json!("refunded")),
        "a refusal takes no key"
    );
    for (key, amount, answer) in [("r1", 400, &first), ("r2", 600, &rest)] {
        let again = payments
            .ask(&Request::refund("tenant-2", key, &id, amount))
            .await;
        assert_eq!(
            (again.status, &again.body, is_replayed(&again)),
            (200, &answer.body, true),
            "{key}"
        );
    }
    for reused in [
        Request::refund("tenant-2", "r1", &id, 401),
        charge("tenant-2", "r1", &euros(400)),
        Request::refund("tenant-2", "c", &id, 1),
    ] {
        assert_eq!(
            payments.ask(&reused).await.status,
            if format!("{reused:?}").contains("key: c") {
                409
            } else {
                422
            }
        );
    }
    let charge = payments
        .ask(&Request::get(&path).tenant("tenant-2"))
        .await
        .json();
    assert_eq!(
        (&charge["refunded"], &charge["status"]),
        (&json!(1000), &json!("refunded"))
    );
}

#[tokio::test]
async fn refunds_of_one_charge_at_once_never_exceed_it() {
    let bank = Bank::open().await;
    let replicas = [bank.payments().await, bank.payments().await];
    let id = replicas[0]
        .ask(&charge("tenant-2", "c", &euros(1000)))
        .await
        .field("id");
    let requests: Vec<_> = (0..16)
        .map(|n| Request::refund("tenant-2", &format!("r{n}"), &id, 100))
        .collect();
    let asked = join_all(requests.iter().enumerate().map(async |(n, request)| {
        // A client that gets a `Retry-After` repeats under the same key.
        let mut last = None;
        until("it is answered", PATIENCE, async || {
            let answer = replicas[n % 2].ask(request).await;
            let is_final = answer.status != 503;
            last = Some(answer);
            is_final
        })
        .await;
        last.expect("an answer").status
    }))
    .await;
    let count = |status| asked.iter().filter(|answered| **answered == status).count();
    assert_eq!((count(201) + count(200), count(409)), (10, 6), "{asked:?}");
    let _consumers = bank.consumers().await;
    let ledger = bank.audited().await;
    assert_eq!(ledger.refunds.len(), 10);
}

#[tokio::test]
async fn invalid_input_is_a_400_that_names_the_field() {
    let bank = Bank::open().await;
    let payments = bank.payments().await;
    let with = |field: &str, value: Value| {
        let mut body = euros(1250);
        body[field] = value;
        body.to_string()
    };
    let raw_amount =
        |amount: &str| format!(r#"{{"amount":{amount},"currency":"EUR","reference":"r"}}"#);
    let pairs =
        |count: usize| -> Value { (0..count).map(|n| (n.to_string(), json!("v"))).collect() };
    for (body, field, code) in [
        (raw_amount("1250.0"), "amount", "invalid_amount"),
        (raw_amount("1e3"), "amount", "invalid_amount"),
        (raw_amount("-1"), "amount", "invalid_amount"),
        (raw_amount("0"), "amount", "invalid_amount"),
        (raw_amount("\"1250\""), "amount", "invalid_amount"),
        (raw_amount("1000000000001"), "amount", "invalid_amount"),
        (
            r#"{"currency":"EUR","reference":"r"}"#.to_owned(),
            "amount",
            "invalid_amount",
        ),
        (
            with("currency", json!("eur")),
            "currency",
            "invalid_currency",
        ),
        (
            with("currency", json!("ZZZ")),
            "currency",
            "invalid_currency",
        ),
        (
            with("reference", json!("x".repeat(141))),
            "reference",
            "invalid_reference",
        ),
        (with("metadata", pairs(21)), "metadata", "invalid_metadata"),
        (
            with("metadata", json!({"a": 1})),
            "metadata",
            "invalid_metadata",
        ),
        (with("amuont", json!(1)), "amuont", "unknown_field"),
        ("[1]".to_owned(), "object", "malformed_json"),
        (String::new(), "JSON", "malformed_json"),
    ] {
        let request = Request::new("POST", "/payments/charges")
            .tenant("tenant-2")
            .key("k")
            .body(body.clone());
        let answer = payments.ask(&request).await;
        assert_eq!(
            (answer.status, &*answer.field("code")),
            (400, code),
            "{body}"
        );
        assert!(answer.field("msg").contains(field), "{}", answer.text());
    }
    let post = || {
        Request::new("POST", "/payments/charges")
            .tenant("tenant-2")
            .body(euros(1).to_string())
    };
    for (request, status, code) in [
        (post(), 400, "idempotency_key_missing"),
        (post().key(""), 400, "invalid_idempotency_key"),
        (post().key("two words"), 400, "invalid_idempotency_key"),
        (post().key(&"x".repeat(129)), 400, "invalid_idempotency_key"),
        (post().key("a").key("b"), 400, "invalid_idempotency_key"),
        (
            post().key("k").body(vec![b' '; 200 * 1024]),
            413,
            "body_too_large",
        ),
        (
            Request::refund("tenant-2", "k", "nonsense", 1),
            404,
            "charge_unknown",
        ),
        (
            Request::refund("tenant-2", "k", "01a2066a-d34e-77fd-ba12-9db3e3b4528a", 1),
            404,
            "charge_unknown",
        ),
        (
            Request::get("/payments/charges/%ff").tenant("tenant-2"),
            404,
            "charge_unknown",
        ),
        (
            Request::new("DELETE", "/payments/charges").tenant("tenant-2"),
            405,
            "method_not_allowed",
        ),
        (
            Request::get("/payments/nothing").tenant("tenant-2"),
            404,
            "no_route",
        ),
    ] {
        let answer = payments.ask(&request).await;
        assert_eq!(
            (answer.status, &*answer.field("code")),
            (status, code),
            "{request:?}"
        );
    }
    // None of these requests was written, and the longest key and largest amount are accepted.
    assert_eq!(bank.outbox().await.len(), 0);
    let widest = post()
        .key(&"~".repeat(128))
        .body(euros(1_000_000_000_000).to_string());
    assert_eq!(payments.ask(&widest).await.status, 201);
    assert_one_charge(&payments).await;
}

async fn assert_one_charge(payments: &Service) {
    let listed = payments
        .ask(&Request::get("/payments/charges").tenant("tenant-2"))
        .await
        .json();
    assert_eq!(
        listed["charges"].as_array().map(Vec::len),
        Some(1),
        "{listed}"
    );
}

#[tokio::test]
async fn the_document_is_served_and_describes_the_answers() {
    let bank = Bank::open().await;
    let payments = bank.payments().await;
    let document = payments
        .ask(&Request::get("/payments/openapi.json").tenant("tenant-2"))
        .await;
    assert_eq!(
        (document.status, document.header("content-type")),
        (200, Some("application/json"))
    );
    let document = document.json();
    assert!(
        document["openapi"]
            .as_str()
            .is_some_and(|version| version.starts_with("3."))
    );
    for (path, item) in document["paths"].as_object().expect("paths") {
        for method in item.as_object().expect("methods").keys() {
            let request = Request::new(&method.to_uppercase(), &path.replace("{id}", "none"))
                .tenant("tenant-2");
            let code = payments.ask(&request).await.json()["code"].clone();
            assert!(
                code != json!("no_route") && code != json!("method_not_allowed"),
                "{method} {path}: {code}"
            );
        }
    }
}
