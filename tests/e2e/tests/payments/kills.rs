//! The service killed at each point between write, send and clear: no charge is lost or duplicated.

use std::time::Duration;

use kit::http::{Answer, Request};
use kit::process::Exit;
use kit::service::Service;
use kit::wait::{PATIENCE, eventually, until};
use serde_json::json;

use crate::support::{Bank, charge, euros};

/// The call that writes a charge.
const WRITE: &str = "DynamoDB.TransactWriteItems";
/// The point of the kill: a call, before or after its effect.
const POINTS: [(&str, &str, &str); 6] = [
    ("before the write", WRITE, "before"),
    ("between the write and its answer", WRITE, "after"),
    ("between write and send", "SQS.SendMessageBatch", "before"),
    (
        "between the send and its answer",
        "SQS.SendMessageBatch",
        "after",
    ),
    (
        "between send and clear",
        "DynamoDB.BatchWriteItem",
        "before",
    ),
    (
        "between the clear and its answer",
        "DynamoDB.BatchWriteItem",
        "after",
    ),
];
/// Delay of the call during which the service is killed.
const HELD_MS: u64 = 3000;
/// Time limit of an answer that does not wait for that call.
const ANSWER_WITHIN: Duration = Duration::from_millis(HELD_MS - 500);

/// Repeats a request until its answer is final.
async fn insist(service: &Service, request: &Request) -> Answer {
    eventually("an answer for good", PATIENCE, async || {
        let answer = request.send(service.address).await.ok()?;
        (answer.status != 503).then_some(answer)
    })
    .await
}

/// Sends a request to a service that is killed during a call; returns the answer, if one came.
async fn killed_in(
    bank: &Bank,
    mut service: Service,
    request: &Request,
    action: &str,
    when: &str,
) -> Option<Answer> {
    let endpoint = &bank.world.endpoint;
    endpoint
        .inject(json!([{"action": action, "when": when, "delay_ms": HELD_MS}]))
        .await;
    endpoint.forget_calls().await;
    let asking = request.send(service.address);
    let in_the_middle = || {
        until("it is in the middle", PATIENCE, async || {
            endpoint.calls().await.of(action) > 0
        })
    };
    let answer = if action == WRITE {
        // No request is answered before the write is done.
        let killing = async {
            in_the_middle().await;
            service.process.kill();
        };
        tokio::join!(asking, killing).0.ok()
    } else {
        // The answer and the next call are in flight together: the kill must not lose the answer.
        let (answer, ()) =
            tokio::join!(tokio::time::timeout(ANSWER_WITHIN, asking), in_the_middle());
        service.process.kill();
        answer.ok().and_then(Result::ok)
    };
    endpoint.inject(json!([])).await;
    answer
}

#[tokio::test]
async fn killed_at_any_point_a_charge_and_a_refund_are_recorded_and_sent_once() {
    let bank = Bank::open().await;
    let _consumers = bank.consumers().await;
    for (place, (point, action, when)) in POINTS.into_iter().enumerate() {
        // Of both kinds of tenant: one whose queue is the pool's, one with its own.
        let tenant = ["tenant-2", "tenant-3"][place % 2];
        let request = charge(
            tenant,
            &format!("charge {point}").replace(' ', "-"),
            &euros(1000),
        );
        let before = killed_in(&bank, bank.payments().await, &request, action, when).await;
        let payments = bank.payments().await;
        let after = insist(&payments, &request).await;
        assert_answers(point, before.as_ref(), &after, action);
        bank.audited().await;

        let request = Request::refund(
            tenant,
            &format!("refund {point}").replace(' ', "-"),
            &after.field("id"),
            400,
        );
        let before = killed_in(&bank, payments, &request, action, when).await;
        let payments = bank.payments().await;
        let after = insist(&payments, &request).await;
        assert_answers(point, before.as_ref(), &after, action);
        let ledger = bank.audited().await;
        assert_eq!(
            (ledger.charges.len(), ledger.refunds.len()),
            (place + 1, place + 1),
            "{point}"
        );
        payments.stop().await;
    }
}

/// A client is answered before its event is sent, and a repeat gets the same answer.
fn assert_answers(point: &str, before: Option<&Answer>, after: &Answer, action: &str) {
    assert!(
        matches!(after.status, 200 | 201),
        "{point}: {}",
        after.text()
    );
    assert_eq!(
        before.is_none(),
        action == WRITE,
        "{point}: the answer waits for the write alone"
    );
    if let Some(before) = before {
        assert_eq!(
            (before.status, after.status, &before.body),
            (201, 200, &after.body),
            "{point}"
        );
    }
}

#[tokio::test]
async fn sigterm_finishes_what_is_in_hand_events_included() {
    let bank = Bank::open().await;
    let mut payments = bank.world.service("payments", "pool-1", &[]).await;
    let endpoint = &bank.world.endpoint;
    endpoint
        .inject(json!([
            {"action": "DynamoDB.TransactWriteItems", "delay_ms": 700},
            {"action": "SQS.SendMessageBatch", "delay_ms": 700}
        ]))
        .await;
    endpoint.forget_calls().await;
    let request = charge("tenant-2", "k", &euros(5));
    let to = payments.address;
    let ending = async {
        let writing = async || endpoint.calls().await.of("DynamoDB.TransactWriteItems") > 0;
        until("it is being written", PATIENCE, writing).await;
        payments.process.signal("TERM");
        payments.process.exit(PATIENCE).await
    };
    let (answer, exit) = tokio::join!(request.ask(to), ending);
    assert_eq!(
        (answer.status, exit),
        (201, Exit::Code(0)),
        "{}",
        answer.text()
    );
    assert_eq!(bank.outbox().await.len(), 0, "nothing is left to a sweeper");
    assert_eq!(
        bank.world.aws.depth(&bank.world.pool.queue).await.visible,
        1
    );
}

#[tokio::test]
async fn the_event_of_a_charge_is_sent_although_its_client_disconnects() {
    let bank = Bank::open().await;
    // A service that sweeps only after an hour.
    let payments = bank
        .world
        .service("payments", "pool-1", &[("OUTBOX_SWEEP_SECONDS", "3600")])
        .await;
    let endpoint = &bank.world.endpoint;
    endpoint
        .inject(json!([{"action": "DynamoDB.TransactWriteItems", "delay_ms": 500}]))
        .await;
    endpoint.forget_calls().await;
    let request = charge("tenant-2", "k", &euros(5));
    let leaving = async {
        let writing = async || endpoint.calls().await.of("DynamoDB.TransactWriteItems") > 0;
        until("it is being written", PATIENCE, writing).await;
    };
    tokio::select! {
        answer = request.send(payments.address) => panic!("it was answered: {answer:?}"),
        () = leaving => {}
    }
    let _consumers = bank.consumers().await;
    until("the charge is there", PATIENCE, async || {
        !bank.events(&bank.world.pool).await.is_empty()
    })
    .await;
    assert_eq!(bank.audited().await.charges.len(), 1);
}
