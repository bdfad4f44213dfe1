//! The receiver over a real socket: the same SDK path as production, against the embedded endpoint.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::support::{Aws, eventually};
use tenantry_process::health::Readiness;
use tenantry_process::metrics::Metrics;
use tenantry_queue::message::{Outgoing, Received};
use tenantry_queue::receiver::{Handler, Receiver, ReceiverLimits, SourceQueue, Verdict};
use tenantry_queue::sender::{Sender, SenderLimits};
use tokio_util::sync::CancellationToken;

type Decide = dyn Fn(&Received) -> Verdict + Send + Sync;

/// Notes every delivery and decides by a function.
#[derive(Clone)]
struct Notes {
    seen: Arc<Mutex<HashMap<String, u32>>>,
    decide: Arc<Decide>,
    takes: Duration,
}

impl Notes {
    fn new(decide: impl Fn(&Received) -> Verdict + Send + Sync + 'static) -> Self {
        Self {
            seen: Arc::default(),
            decide: Arc::new(decide),
            takes: Duration::ZERO,
        }
    }

    fn deliveries(&self) -> u32 {
        self.seen.lock().unwrap().values().sum()
    }

    fn of(&self, body: &str) -> u32 {
        self.seen.lock().unwrap().get(body).copied().unwrap_or(0)
    }
}

impl Handler for Notes {
    async fn handle(&self, batch: &[Received]) -> Vec<Verdict> {
        assert!((1..=10).contains(&batch.len()));
        for message in batch {
            *self
                .seen
                .lock()
                .unwrap()
                .entry(message.body.clone())
                .or_default() += 1;
        }
        tokio::time::sleep(self.takes).await;
        batch.iter().map(|message| (self.decide)(message)).collect()
    }
}

struct Running {
    stop: CancellationToken,
    task: tokio::task::JoinHandle<()>,
    readiness: Readiness,
}

impl Running {
    async fn start(aws: &Aws, queue: &str, notes: &Notes, limits: ReceiverLimits) -> Self {
        Self::start_with(aws, queue, notes.clone(), limits).await
    }

    async fn start_with(
        aws: &Aws,
        queue: &str,
        handler: impl Handler,
        limits: ReceiverLimits,
    ) -> Self {
        let source = SourceQueue::find(&aws.sqs, &crate::support::arn(queue))
            .await
            .unwrap();
        let readiness = Readiness::default();
        let receiver = Receiver::new(
            aws.sqs.clone(),
            source,
            handler,
            limits,
            &Metrics::new("test", "pool-1"),
            readiness.condition("queue"),
        );
        let stop = CancellationToken::new();
        Self {
            task: tokio::spawn(receiver.run(stop.clone())),
            stop,
            readiness,
        }
    }

    async fn end(self) {
        self.stop.cancel();
        tokio::time::timeout(kit::wait::PATIENCE, self.task)
            .await
            .expect("the drain ends")
            .unwrap();
    }
}

/// Short waits, so that a drain is short.
fn limits() -> ReceiverLimits {
    ReceiverLimits {
        poll_wait: Duration::from_secs(1),
        ..ReceiverLimits::default()
    }
}

async fn fill(aws: &Aws, queue: &str, count: usize) {
    let url = aws
        .sqs
        .get_queue_url()
        .queue_name(queue)
        .send()
        .await
        .unwrap()
        .queue_url
        .unwrap();
    for first in (0..count).step_by(10) {
        let entries = (first..count.min(first + 10)).map(|number| {
            aws_sdk_sqs::types::SendMessageBatchRequestEntry::builder()
                .id(number.to_string())
                .message_body(format!("m{number}"))
                .build()
                .unwrap()
        });
        let send = aws
            .sqs
            .send_message_batch()
            .queue_url(&url)
            .set_entries(Some(entries.collect()));
        assert!(send.send().await.unwrap().failed.is_empty());
    }
}

async fn is_empty(aws: &Aws, queue: &str) -> bool {
    aws.count(queue).await == (0, 0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backlog_is_handled_once_each_at_three_calls_for_ten_messages() {
    let aws = Aws::start().await;
    aws.queue("backlog").await;
    fill(&aws, "backlog", 500).await;
    let notes = Notes::new(|_| Verdict::Done);
    let running = Running::start(
        &aws,
        "backlog",
        &notes,
        ReceiverLimits {
            max_polls: 4,
            ..limits()
        },
    )
    .await;
    eventually("the queue is empty", async || {
        is_empty(&aws, "backlog").await
    })
    .await;
    assert_eq!(notes.deliveries(), 500);
    assert!(running.readiness.is_ready());
    running.end().await;
    let calls = aws.controls.calls().await;
    assert!(calls.of("SQS.ReceiveMessage") <= 50 + 4 + 6, "{calls:?}");
    assert_eq!(calls.of("SQS.DeleteMessageBatch"), 50);
}

#[tokio::test]
async fn an_idle_queue_is_polled_by_one_long_poll_at_a_time() {
    let aws = Aws::start().await;
    aws.queue("idle").await;
    let running = Running::start(&aws, "idle", &Notes::new(|_| Verdict::Done), limits()).await;
    eventually("ready at once", async || running.readiness.is_ready()).await;
    let started = tokio::time::Instant::now();
    let before = aws.controls.calls().await.of("SQS.ReceiveMessage");
    eventually("three more polls", async || {
        aws.controls.calls().await.of("SQS.ReceiveMessage") >= before + 3
    })
    .await;
    assert!(
        started.elapsed() >= Duration::from_secs(2),
        "polls of one second, one after the other"
    );
    running.end().await;
}

#[tokio::test]
async fn a_message_that_cannot_succeed_is_dead_lettered_with_its_reason_and_its_neighbors_are_handled()
 {
    let aws = Aws::start().await;
    aws.queue("poison").await;
    fill(&aws, "poison", 10).await;
    let notes = Notes::new(|message| match message.body.as_str() {
        "m4" => Verdict::DeadLetter("no use".to_owned()),
        _ => Verdict::Done,
    });
    let running = Running::start(&aws, "poison", &notes, limits()).await;
    eventually("the queue is empty", async || {
        is_empty(&aws, "poison").await
    })
    .await;
    running.end().await;
    assert_eq!(notes.deliveries(), 10);
    let url = aws
        .sqs
        .get_queue_url()
        .queue_name("poison-dlq")
        .send()
        .await
        .unwrap()
        .queue_url
        .unwrap();
    let receive = aws
        .sqs
        .receive_message()
        .queue_url(url)
        .message_attribute_names("All");
    let set_aside = receive.send().await.unwrap().messages.unwrap();
    assert_eq!(set_aside[0].body.as_deref(), Some("m4"));
    let reason = &set_aside[0].message_attributes.as_ref().unwrap()["set_aside_reason"];
    assert_eq!(reason.string_value.as_deref(), Some("no use"));
}

#[tokio::test]
async fn without_a_dead_letter_queue_poison_is_left_to_redelivery() {
    let aws = Aws::start().await;
    aws.sqs
        .create_queue()
        .queue_name("alone")
        .send()
        .await
        .unwrap();
    fill(&aws, "alone", 2).await;
    let notes = Notes::new(|message| match message.body.as_str() {
        "m0" => Verdict::DeadLetter("no use".to_owned()),
        _ => Verdict::Done,
    });
    let running = Running::start(&aws, "alone", &notes, limits()).await;
    eventually("redelivered", async || notes.of("m0") >= 2).await;
    running.end().await;
    assert_eq!(notes.of("m1"), 1, "its neighbor was deleted");
    assert_ne!(aws.count("alone").await, (0, 0), "it is still there");
}

#[tokio::test]
async fn a_message_without_success_comes_again_and_is_deleted_when_it_has_it() {
    let aws = Aws::start().await;
    aws.queue("again").await;
    fill(&aws, "again", 1).await;
    let notes = Notes::new(|message| {
        if message.receive_count < 2 {
            Verdict::Retry
        } else {
            Verdict::Done
        }
    });
    let running = Running::start(&aws, "again", &notes, limits()).await;
    eventually("the queue is empty", async || is_empty(&aws, "again").await).await;
    running.end().await;
    assert_eq!(notes.of("m0"), 2);
}

#[tokio::test]
async fn a_lease_is_kept_while_the_handler_works() {
    let aws = Aws::start().await;
    aws.queue("slow").await;
    fill(&aws, "slow", 3).await;
    let notes = Notes {
        takes: Duration::from_secs(5),
        ..Notes::new(|_| Verdict::Done)
    };
    let limits = ReceiverLimits {
        visibility: Duration::from_secs(2),
        ..limits()
    };
    let running = Running::start(&aws, "slow", &notes, limits).await;
    eventually("the queue is empty", async || is_empty(&aws, "slow").await).await;
    running.end().await;
    assert_eq!(notes.deliveries(), 3, "none was handed over twice");
}

#[tokio::test]
async fn messages_in_progress_never_exceed_the_permits() {
    let aws = Aws::start().await;
    aws.queue("bounded").await;
    fill(&aws, "bounded", 60).await;
    let notes = Notes {
        takes: Duration::from_millis(100),
        ..Notes::new(|_| Verdict::Done)
    };
    let limits = ReceiverLimits {
        max_in_hand: 7,
        ..limits()
    };
    let running = Running::start(&aws, "bounded", &notes, limits).await;
    let most = Arc::new(Mutex::new(0));
    eventually("the queue is empty", async || {
        let (waiting, leased) = aws.count("bounded").await;
        let mut most = most.lock().unwrap();
        *most = leased.max(*most);
        (waiting, leased) == (0, 0)
    })
    .await;
    running.end().await;
    assert!(
        (1..=7).contains(&*most.lock().unwrap()),
        "{most:?} leased at once"
    );
    assert_eq!(notes.deliveries(), 60);
}

#[tokio::test]
async fn failed_deletes_and_receives_are_tried_again() {
    let aws = Aws::start().await;
    aws.queue("failing").await;
    fill(&aws, "failing", 50).await;
    aws.faults(
        r#"[{"action":"SQS.DeleteMessageBatch","rate":0.3,"seed":3,"partial":{"code":"InternalError"}},
            {"action":"SQS.DeleteMessageBatch","rate":0.2,"seed":4,"error":{"code":"InternalError","status":500}},
            {"action":"SQS.ReceiveMessage","rate":0.3,"seed":5,"drop":true}]"#,
    )
    .await;
    let notes = Notes::new(|_| Verdict::Done);
    let running = Running::start(&aws, "failing", &notes, limits()).await;
    eventually("the queue is empty", async || {
        is_empty(&aws, "failing").await
    })
    .await;
    running.end().await;
    assert_eq!(notes.deliveries(), 50, "no delivery was needed twice");
}

#[tokio::test]
async fn a_stop_finishes_what_is_in_hand_and_leaves_the_rest_visible() {
    let aws = Aws::start().await;
    aws.queue("stop").await;
    fill(&aws, "stop", 100).await;
    let notes = Notes {
        takes: Duration::from_millis(300),
        ..Notes::new(|_| Verdict::Done)
    };
    let limits = ReceiverLimits {
        max_in_hand: 20,
        ..limits()
    };
    let running = Running::start(&aws, "stop", &notes, limits).await;
    eventually("something is in hand", async || notes.deliveries() > 0).await;
    running.end().await;
    let (waiting, leased) = aws.count("stop").await;
    assert_eq!(leased, 0, "nothing is stranded");
    assert_eq!(
        waiting + u64::from(notes.deliveries()),
        100,
        "handled messages are deleted, the others stay"
    );
}

/// Cannot finish a batch with a message of the group `noisy` before the test permits it.
struct Stuck {
    notes: Notes,
    released: CancellationToken,
}

impl Handler for Stuck {
    async fn handle(&self, batch: &[Received]) -> Vec<Verdict> {
        let verdicts = self.notes.handle(batch).await;
        if batch
            .iter()
            .any(|message| message.group.as_deref() == Some("noisy"))
        {
            self.released.cancelled().await;
        }
        verdicts
    }
}

#[tokio::test]
async fn a_group_that_cannot_be_worked_off_leaves_room_for_the_others_and_loses_nothing() {
    let aws = Aws::start().await;
    let queue = aws.queue("shares").await;
    let sender = Sender::new(
        aws.sqs.clone(),
        SenderLimits::default(),
        &Metrics::new("test", "pool-1"),
    );
    let send = async |group: &str, body: String| {
        sender
            .send(&queue, Outgoing::new(body, group.to_owned()))
            .await
            .unwrap();
    };
    for number in 0..60 {
        send("noisy", format!("noisy-{number}")).await;
    }
    let stuck = Stuck {
        notes: Notes::new(|_| Verdict::Done),
        released: CancellationToken::new(),
    };
    let (notes, released) = (stuck.notes.clone(), stuck.released.clone());
    let limits = ReceiverLimits {
        max_in_hand: 40,
        max_of_one_group: 20,
        ..limits()
    };
    let running = Running::start_with(&aws, "shares", stuck, limits).await;
    eventually("the share is used up", async || notes.deliveries() == 20).await;
    send("quiet", "quiet".to_owned()).await;
    eventually("the quiet message is handled", async || {
        notes.of("quiet") == 1
    })
    .await;
    assert_eq!(notes.deliveries(), 21, "and no further noisy one");
    eventually("the quiet message is deleted", async || {
        aws.count("shares").await == (0, 60)
    })
    .await;
    released.cancel();
    // At most 40 are left: a message that still waits for a share gets it now, and is deleted, too.
    eventually("those in hand are deleted", async || {
        matches!(aws.count("shares").await, (0, ..=40))
    })
    .await;
    running.end().await;
}
