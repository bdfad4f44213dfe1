//! The sender over a real socket: the same SDK path as production, against the embedded endpoint.

use std::time::Duration;

use crate::support::{Aws, arn};
use futures_util::future::join_all;
use tenantry_process::metrics::Metrics;
use tenantry_queue::message::Outgoing;
use tenantry_queue::sender::{SendError, Sender, SenderLimits};

fn sender(aws: &Aws, limits: SenderLimits) -> Sender {
    Sender::new(aws.sqs.clone(), limits, &Metrics::new("test", "pool-1"))
}

fn message(body: impl ToString) -> Outgoing {
    let mut message = Outgoing::new(body.to_string(), "tenant-1".to_owned());
    message.attribute("tenant_id", "tenant-1");
    message
}

#[tokio::test]
async fn a_lone_caller_costs_one_call_per_message_and_waits_for_nothing() {
    let aws = Aws::start().await;
    let queue = aws.queue("one").await;
    let sender = sender(&aws, SenderLimits::default());
    for number in 0..20 {
        sender.send(&queue, message(number)).await.unwrap();
    }
    assert_eq!(aws.controls.calls().await.of("SQS.SendMessageBatch"), 20);
    assert_eq!(aws.count("one").await, (20, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_callers_share_calls_and_each_message_arrives_once() {
    let aws = Aws::start().await;
    let queue = aws.queue("many").await;
    aws.faults(r#"[{"action":"SQS.SendMessageBatch","rate":1.0,"seed":1,"delay_ms":5}]"#)
        .await;
    let sender = sender(&aws, SenderLimits::default());
    let callers = (0..256).map(|caller| {
        let (sender, queue) = (sender.clone(), queue.clone());
        tokio::spawn(async move {
            for number in 0..8 {
                sender
                    .send(&queue, message(format!("{caller}-{number}")))
                    .await
                    .unwrap();
            }
        })
    });
    join_all(callers)
        .await
        .into_iter()
        .for_each(|done| done.unwrap());
    assert_eq!(aws.count("many").await, (2048, 0));
    let calls = aws.controls.calls().await.of("SQS.SendMessageBatch");
    assert!(
        calls <= 2048 / 10 * 15 / 10,
        "{calls} calls for 2048 messages"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn entries_that_fail_are_sent_again_alone_and_every_caller_is_answered() {
    let aws = Aws::start().await;
    let queue = aws.queue("partial").await;
    aws.faults(
        r#"[{"action":"SQS.SendMessageBatch","rate":0.5,"seed":7,"partial":{"code":"InternalError"}}]"#,
    )
    .await;
    let sender = sender(
        &aws,
        SenderLimits {
            deadline: Duration::from_secs(15),
            ..SenderLimits::default()
        },
    );
    let answers = join_all((0..200).map(|number| sender.send(&queue, message(number)))).await;
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    assert_eq!(
        aws.count("partial").await,
        (200, 0),
        "none twice: only what failed was repeated"
    );
}

#[tokio::test]
async fn throttles_are_tried_again_and_an_outage_ends_with_the_deadline() {
    let aws = Aws::start().await;
    let queue = aws.queue("throttled").await;
    let sender = sender(
        &aws,
        SenderLimits {
            deadline: Duration::from_secs(2),
            ..SenderLimits::default()
        },
    );
    let throttle = r#"{"action":"SQS.SendMessageBatch","rate":1.0,"seed":1,"error":{"code":"ThrottlingException","status":400}"#;
    aws.faults(&format!(r#"[{throttle},"limit":3}}]"#)).await;
    sender.send(&queue, message("later")).await.unwrap();
    aws.faults(&format!("[{throttle}}}]")).await;
    assert_eq!(
        sender.send(&queue, message("never")).await,
        Err(SendError::TimedOut)
    );
}

#[tokio::test]
async fn a_missing_queue_and_a_refused_message_are_told_apart() {
    let aws = Aws::start().await;
    let queue = aws.queue("there").await;
    let sender = sender(&aws, SenderLimits::default());
    let missing = sender.send(&arn("missing"), message("x")).await;
    assert!(
        matches!(missing, Err(SendError::Unavailable(_))),
        "{missing:?}"
    );
    let refused = sender.send(&queue, message("\u{1}")).await;
    assert!(
        matches!(refused, Err(SendError::Rejected { .. })),
        "{refused:?}"
    );
    let large = sender
        .send(&queue, message("x".repeat(1024 * 1024 + 1)))
        .await;
    assert!(
        matches!(large, Err(SendError::Rejected { .. })),
        "{large:?}"
    );
}

#[tokio::test]
async fn a_refused_message_costs_its_neighbors_nothing() {
    let aws = Aws::start().await;
    let queue = aws.queue("neighbors").await;
    let sender = sender(&aws, SenderLimits::default());
    let bodies = ["a", "b", "\u{1}", "c"];
    let answers = join_all(bodies.map(|body| sender.send(&queue, message(body)))).await;
    let refused: Vec<_> = answers.iter().map(Result::is_err).collect();
    assert_eq!(refused, [false, false, true, false]);
    assert_eq!(aws.count("neighbors").await, (3, 0));
}

#[tokio::test]
async fn every_bound_is_an_error_at_once_and_free_again_afterwards() {
    let aws = Aws::start().await;
    let (one, two) = (aws.queue("one").await, aws.queue("two").await);
    aws.faults(r#"[{"action":"SQS.SendMessageBatch","rate":1.0,"seed":1,"delay_ms":300}]"#)
        .await;
    let cases = [
        (
            "entries",
            SenderLimits {
                max_entries: 4,
                max_in_flight: 1,
                ..SenderLimits::default()
            },
        ),
        (
            "bytes",
            SenderLimits {
                max_bytes: 200,
                ..SenderLimits::default()
            },
        ),
    ];
    for (name, limits) in cases {
        let sender = sender(&aws, limits);
        let answers = join_all((0..40).map(|number| sender.send(&one, message(number)))).await;
        let full = answers
            .iter()
            .filter(|answer| **answer == Err(SendError::Full))
            .count();
        assert!(
            full > 0 && answers.iter().any(Result::is_ok),
            "{name}: {full} refused"
        );
        sender.send(&one, message("again")).await.unwrap();
    }
    let sender = sender(
        &aws,
        SenderLimits {
            max_queues: 1,
            ..SenderLimits::default()
        },
    );
    let (first, second) =
        tokio::join!(sender.send(&one, message(1)), sender.send(&two, message(2)));
    assert_eq!(
        (first, second),
        (Ok(()), Err(SendError::Full)),
        "queues held open"
    );
}

#[tokio::test]
async fn a_drain_ends_once_everything_accepted_was_answered() {
    let aws = Aws::start().await;
    let queue = aws.queue("drain").await;
    aws.faults(r#"[{"action":"SQS.SendMessageBatch","rate":1.0,"seed":1,"delay_ms":100}]"#)
        .await;
    let sender = sender(&aws, SenderLimits::default());
    let sends: Vec<_> = (0..50)
        .map(|number| {
            let (sender, queue) = (sender.clone(), queue.clone());
            tokio::spawn(async move { sender.send(&queue, message(number)).await })
        })
        .collect();
    crate::support::eventually("the first batch is on the wire", async || {
        aws.controls.calls().await.of("SQS.SendMessageBatch") > 0
    })
    .await;
    sender.drain().await;
    assert!(
        sends.iter().all(tokio::task::JoinHandle::is_finished) || aws.count("drain").await.0 == 50
    );
    for send in sends {
        send.await.unwrap().unwrap();
    }
    assert_eq!(aws.count("drain").await, (50, 0));
}
