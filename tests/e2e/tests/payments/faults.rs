//! Calls that fail, are late or lose their answers.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use kit::http::Request;
use kit::wait::{PATIENCE, until};
use serde_json::json;

use crate::support::{Bank, SWEEP_SOON, charge, euros, is_replayed, text};

#[tokio::test]
async fn while_the_queue_is_down_charges_are_recorded_and_their_events_sent_later() {
    let bank = Bank::open().await;
    let payments = bank.payments().await;
    let endpoint = &bank.world.endpoint;
    endpoint
        .inject(json!([{"action": "SQS.*", "error": {"code": "AccessDenied", "status": 403}}]))
        .await;
    for n in 0..5 {
        let answer = payments
            .ask(&charge("tenant-2", &n.to_string(), &euros(5)))
            .await;
        assert_eq!(answer.status, 201, "{}", answer.text());
    }
    until("the sweeper says how long", PATIENCE, async || {
        let metrics = payments.metrics().await;
        metrics.sum("outbox_oldest_seconds", &[]) > 1.0 && metrics.sum("outbox_waiting", &[]) >= 5.0
    })
    .await;
    assert!(
        payments
            .metrics()
            .await
            .sum("outbox_failed_total", &[("reason", "queue_unavailable")])
            >= 5.0
    );
    assert!(
        payments.is_ready().await,
        "a queue that is down is no reason to refuse charges"
    );
    assert_eq!(bank.outbox().await.len(), 5);
    endpoint.inject(json!([])).await;
    let _consumers = bank.consumers().await;
    assert_eq!(bank.audited().await.charges.len(), 5);
    until("nothing waits any more", PATIENCE, async || {
        let metrics = payments.metrics().await;
        metrics.sum("outbox_oldest_seconds", &[]) + metrics.sum("outbox_waiting", &[]) == 0.0
    })
    .await;
    assert!(
        payments
            .metrics()
            .await
            .sum("outbox_published_total", &[("by", "sweep")])
            >= 5.0
    );
}

#[tokio::test]
async fn a_transaction_whose_answer_is_lost_is_found_and_answered_as_the_first() {
    let bank = Bank::open().await;
    let payments = bank.payments().await;
    let endpoint = &bank.world.endpoint;
    let effects = [
        json!({"drop": true, "when": "after"}),
        json!({"drop": true}),
        json!({"error": {"code": "InternalServerError", "status": 500}, "when": "after"}),
        json!({"error": {"code": "ThrottlingException"}}),
        json!({"error": {"code": "TransactionInProgressException"}}),
        json!({"error": {"code": "TransactionCanceledException"}}),
    ];
    for (n, effect) in effects.into_iter().enumerate() {
        let with = |mut rule: serde_json::Value| {
            rule["action"] = json!("DynamoDB.TransactWriteItems");
            rule["limit"] = json!(2);
            json!([rule])
        };
        endpoint.inject(with(effect.clone())).await;
        let answer = payments
            .ask(&charge("tenant-2", &format!("c{n}"), &euros(10)))
            .await;
        assert_eq!(
            (answer.status, is_replayed(&answer)),
            (201, false),
            "{effect}: {}",
            answer.text()
        );
        endpoint.inject(with(effect.clone())).await;
        let answer = payments
            .ask(&Request::refund(
                "tenant-2",
                &format!("r{n}"),
                &answer.field("id"),
                10,
            ))
            .await;
        assert_eq!(
            (answer.status, is_replayed(&answer)),
            (201, false),
            "{effect}: {}",
            answer.text()
        );
    }
    endpoint.inject(json!([])).await;
    let _consumers = bank.consumers().await;
    let ledger = bank.audited().await;
    assert_eq!((ledger.charges.len(), ledger.refunds.len()), (6, 6));
}

#[tokio::test]
async fn a_table_that_is_down_is_a_503_in_time_and_a_repeat_is_recorded_once() {
    let bank = Bank::open().await;
    let payments = bank.payments().await;
    let endpoint = &bank.world.endpoint;
    let request = charge("tenant-2", "k", &euros(5));
    for rule in [
        json!({"error": {"code": "InternalServerError", "status": 500}}),
        json!({"delay_ms": 8000, "when": "after"}),
        json!({"error": {"code": "AccessDeniedException"}}),
    ] {
        let mut rule = rule;
        rule["action"] = json!("DynamoDB.TransactWriteItems");
        endpoint.inject(json!([rule])).await;
        let begun = Instant::now();
        let answer = payments.ask(&request).await;
        assert_eq!(
            (answer.status, &*answer.field("code")),
            (503, "table_unavailable"),
            "{}",
            answer.text()
        );
        assert!(
            begun.elapsed() < Duration::from_secs(5),
            "{:?}",
            begun.elapsed()
        );
        assert!(answer.header("retry-after").is_some());
    }
    endpoint.inject(json!([])).await;
    let answer = payments.ask(&request).await;
    assert!(matches!(answer.status, 200 | 201), "{}", answer.text());
    let _consumers = bank.consumers().await;
    assert_eq!(bank.audited().await.charges.len(), 1);
}

#[tokio::test]
async fn events_of_an_unregistered_tenant_delay_no_other_and_are_sent_after_its_return() {
    let bank = Bank::open().await;
    let world = &bank.world;
    let payments = bank.payments().await;
    world
        .endpoint
        .inject(json!([{"action": "SQS.*", "error": {"code": "InternalError", "status": 500}}]))
        .await;
    for tenant in ["tenant-4", "tenant-2"] {
        assert_eq!(
            payments.ask(&charge(tenant, "k", &euros(5))).await.status,
            201
        );
    }
    payments.stop().await;
    world.aws.remove("tenant-4").await;
    world.endpoint.inject(json!([])).await;
    let registry = ("REGISTRY_UNKNOWN_SECONDS", "1");
    let payments = world
        .service("payments", "pool-1", &[SWEEP_SOON, registry])
        .await;
    let _consumers = bank.consumers().await;
    until("the other tenant's event is stored", PATIENCE, async || {
        bank.events(&world.pool).await.len() == 1
    })
    .await;
    until("one event waits in the outbox", PATIENCE, async || {
        payments.metrics().await.sum("outbox_waiting", &[]) == 1.0
    })
    .await;
    let left = bank.outbox().await;
    assert_eq!(
        left.iter()
            .map(|item| text(item, "tenant_id"))
            .collect::<Vec<_>>(),
        ["tenant-4"]
    );
    assert!(
        payments
            .metrics()
            .await
            .sum("outbox_failed_total", &[("reason", "tenant_unknown")])
            >= 1.0
    );
    world.aws.register("tenant-4", "basic", &world.pool).await;
    assert_eq!(bank.audited().await.charges.len(), 2);
}

#[tokio::test]
async fn many_charges_at_once_under_faults_of_every_call_are_recorded_and_sent_once() {
    let bank = Bank::open().await;
    let payments = bank.payments().await;
    let _consumers = bank.consumers().await;
    let endpoint = &bank.world.endpoint;
    endpoint
        .inject(json!([
            {"action": "DynamoDB.TransactWriteItems", "rate": 0.1, "seed": 1, "when": "after", "drop": true},
            {"action": "DynamoDB.TransactWriteItems", "rate": 0.1, "seed": 2, "error": {"code": "ThrottlingException"}},
            {"action": "DynamoDB.GetItem", "rate": 0.2, "seed": 3, "drop": true},
            {"action": "SQS.SendMessageBatch", "rate": 0.2, "seed": 4, "when": "after", "partial": {"code": "InternalError"}},
            {"action": "SQS.SendMessageBatch", "rate": 0.2, "seed": 5, "when": "after", "drop": true},
            {"action": "DynamoDB.BatchWriteItem", "rate": 0.3, "seed": 6, "unprocessed": true},
            {"action": "DynamoDB.BatchWriteItem", "rate": 0.2, "seed": 7, "when": "after", "drop": true},
            {"action": "DynamoDB.Query", "rate": 0.2, "seed": 8, "error": {"code": "InternalServerError", "status": 500}},
        ]))
        .await;
    let (one, payments) = (&bank, &payments);
    let charges = join_all((0..60).map(|n| async move {
        let tenant = ["tenant-2", "tenant-3"][n % 2];
        let request = charge(tenant, &format!("c{n}"), &euros(100));
        let mut found = String::new();
        until("it is recorded", PATIENCE, async || {
            let answer = payments.ask(&request).await;
            assert!(
                matches!(answer.status, 200 | 201 | 503),
                "{}",
                answer.text()
            );
            found = answer.field("id");
            answer.status != 503
        })
        .await;
        (tenant, found)
    }))
    .await;
    join_all(
        charges
            .iter()
            .enumerate()
            .map(|(n, (tenant, id))| async move {
                let request = Request::refund(tenant, &format!("r{n}"), id, 40);
                until("it is refunded", PATIENCE, async || {
                    payments.ask(&request).await.status != 503
                })
                .await;
            }),
    )
    .await;
    assert!(
        endpoint
            .injected()
            .await
            .iter()
            .take(6)
            .all(|acted| *acted > 0),
        "{:?}",
        endpoint.injected().await
    );
    endpoint.inject(json!([])).await;
    let ledger = one.audited().await;
    assert_eq!((ledger.charges.len(), ledger.refunds.len()), (60, 60));
}
