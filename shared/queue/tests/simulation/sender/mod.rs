//! The sender's stories: bursts, trickles and sends at the very moment an idle queue closes, to a few queues, with
//! callers that stay and callers that leave, in any weather; and a drain, in the middle or at the end.

mod judge;
mod self_tests;

use std::time::Duration;

use tenantry_process::arn::QueueArn;
use tenantry_process::metrics::Metrics;
use tenantry_queue::message::Outgoing;
use tenantry_queue::sender::{SendError, Sender, SenderLimits};
use tokio::task::JoinSet;

use crate::seeds::{self, Scenario};
use crate::trace::{Event, Outcome, Trace};
use crate::world::faults::Weather;
use crate::world::queue::Queue;
use crate::world::{REFUSED_CONTENT, World, arn};

/// Seeds run by default.
const SEEDS: u64 = 1_500;
/// After this a call is over on both sides of the socket: time-outs, slowest way there and back.
const SETTLED: Duration = Duration::from_secs(30);
/// The attribute each message carries.
const ATTRIBUTE: &str = "tenant_id";
/// The group each message belongs to.
const GROUP: &str = "tenant-1";

/// One caller's plan.
#[derive(Debug, Clone)]
struct Plan {
    at: Duration,
    queue: String,
    body: String,
    /// The deadline it asks for, where that is not the sender's own.
    within: Option<Duration>,
    leaves_after: Option<Duration>,
    must_arrive: bool,
}

struct Story {
    world: World,
    limits: SenderLimits,
    sender: Sender,
    queues: Vec<String>,
    plans: Vec<Plan>,
    /// A caller that sends again whenever its queue is about to close.
    paced: usize,
    drains_early: Option<Duration>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Calm,
    Mild,
    Stormy,
}

impl Scenario for Story {
    const NAME: &'static str = "the_sender_keeps_its_promises";

    fn new(seed: u64) -> Self {
        let mut dice = fastrand::Rng::with_seed(seed);
        let kind = [Kind::Calm, Kind::Mild, Kind::Stormy, Kind::Stormy][dice.usize(..4)];
        let weather = match kind {
            Kind::Calm => Weather::calm([0, 1, 5, 80][dice.usize(..4)]),
            Kind::Mild => Weather::mild([1, 5, 50][dice.usize(..3)]),
            Kind::Stormy => Weather::stormy(&mut dice),
        };
        let limits = limits(&mut dice, kind);
        let is_orderly = dice.bool();
        let world = World::new(dice.fork(), weather, is_orderly);
        let queues: Vec<_> = (0..dice.usize(1..=5))
            .map(|number| format!("queue-{number}"))
            .collect();
        for queue in &queues {
            let refuses_groups = dice.u8(..10) == 0;
            // One that is missing in a storm: every send to it fails.
            if kind != Kind::Stormy || dice.u8(..12) != 0 {
                world.create(
                    queue,
                    if refuses_groups {
                        Queue::without_groups()
                    } else {
                        Queue::default()
                    },
                );
            }
        }
        let plans = plans(&mut dice, kind, &queues, &limits);
        let last = plans.iter().map(|plan| plan.at).max().unwrap_or_default();
        let drains_early =
            (dice.u8(..3) == 0).then(|| last + Duration::from_millis(dice.u64(..50)));
        let paced = if drains_early.is_none() && dice.bool() {
            dice.usize(..8)
        } else {
            0
        };
        let sender = Sender::new(world.client(), limits, &Metrics::new("test", "simulated"));
        Self {
            world,
            limits,
            sender,
            queues,
            plans,
            paced,
            drains_early,
        }
    }

    fn world(&self) -> World {
        self.world.clone()
    }

    async fn play(&self) {
        let mut callers = JoinSet::new();
        for (number, plan) in self.plans.iter().enumerate() {
            callers.spawn(caller(
                self.world.clone(),
                self.sender.clone(),
                number,
                plan.clone(),
            ));
        }
        if let Some(at) = self.drains_early {
            self.world.sleep(at + Duration::from_millis(1)).await;
            self.drain().await;
            callers.join_all().await;
        } else {
            self.send_as_the_queue_closes().await;
            callers.join_all().await;
            self.world.clear();
            tokio::time::sleep(SETTLED + self.limits.close_after).await;
            self.probe().await;
            self.drain().await;
        }
        tokio::time::sleep(SETTLED).await;
    }

    fn judge(&self, trace: &Trace) -> Vec<String> {
        judge::judge(trace, &self.limits)
    }
}

impl Story {
    async fn drain(&self) {
        self.world.note(Event::Draining);
        self.sender.drain().await;
        self.world.note(Event::Drained);
    }

    /// One message after the other, each as its queue has been idle for just about long enough to be closed.
    async fn send_as_the_queue_closes(&self) {
        for round in 0..self.paced {
            let plan = Plan {
                at: self.world.now(),
                queue: self.queues[0].clone(),
                body: body(self.plans.len() + round, ':', 0),
                within: None,
                leaves_after: None,
                must_arrive: false,
            };
            caller(
                self.world.clone(),
                self.sender.clone(),
                self.plans.len() + round,
                plan,
            )
            .await;
            let edge = self.limits.close_after + Duration::from_millis(round as u64 % 3);
            tokio::time::sleep(edge.saturating_sub(Duration::from_millis(1))).await;
        }
    }

    /// Everything is free again: queues, and bytes up to the bound.
    async fn probe(&self) {
        let mut callers = JoinSet::new();
        let existing = self.queues.iter().filter(|queue| self.world.has(queue));
        let mut bytes_left = self.limits.max_bytes;
        for (number, queue) in
            (self.plans.len() + self.paced..).zip(existing.take(self.limits.max_queues))
        {
            let size = bytes_left.min(self.limits.max_batch_bytes);
            let plan = Plan {
                at: self.world.now(),
                queue: queue.clone(),
                body: body(number, ':', size),
                within: None,
                leaves_after: None,
                must_arrive: true,
            };
            let used = bytes(&plan.body);
            if used > size {
                break;
            }
            bytes_left -= used;
            callers.spawn(caller(
                self.world.clone(),
                self.sender.clone(),
                number,
                plan,
            ));
        }
        callers.join_all().await;
    }
}

/// Bounds small enough to be reached.
fn limits(dice: &mut fastrand::Rng, kind: Kind) -> SenderLimits {
    let ms = Duration::from_millis;
    let max_batch_bytes = [150, 400, 3_000, 100_000][dice.usize(..4)];
    SenderLimits {
        max_queues: dice.usize(1..=6),
        max_entries: [1, 3, 10, 50, 500][dice.usize(..5)],
        max_bytes: max_batch_bytes * dice.usize(1..=20),
        max_batch_bytes,
        max_in_flight: dice.usize(1..=6),
        // Patient enough for every passing failure, where all must arrive.
        deadline: if kind == Kind::Stormy {
            ms(dice.u64(300..8_000))
        } else {
            ms(60_000)
        },
        close_after: ms([1, 50, 1_000, 60_000][dice.usize(..4)]),
    }
}

fn plans(
    dice: &mut fastrand::Rng,
    kind: Kind,
    queues: &[String],
    limits: &SenderLimits,
) -> Vec<Plan> {
    let (count, spread_ms) = (dice.usize(1..=25), [0, 5, 300, 5_000][dice.usize(..4)]);
    let (leaving, refused, large) = (dice.f64() * 0.3, dice.f64() * 0.2, dice.f64() * 0.3);
    let mut at = Duration::ZERO;
    let mut plan = |number| {
        at += Duration::from_millis(dice.u64(0..=spread_ms));
        let (is_refused, is_leaving) = (dice.f64() < refused, dice.f64() < leaving);
        let is_hurried = kind == Kind::Stormy && dice.u8(..10) == 0;
        // Now and then more than a batch takes.
        let size = if dice.f64() < large {
            dice.usize(..limits.max_batch_bytes + 20)
        } else {
            0
        };
        let body = body(number, if is_refused { REFUSED_CONTENT } else { ':' }, size);
        let fits = bytes(&body) <= limits.max_batch_bytes;
        Plan {
            at,
            queue: queues[dice.usize(..queues.len())].clone(),
            within: is_hurried.then(|| Duration::from_millis(dice.u64(..3_000))),
            leaves_after: is_leaving.then(|| Duration::from_millis(dice.u64(0..=2_000))),
            must_arrive: kind != Kind::Stormy && fits && !is_refused,
            body,
        }
    };
    (0..count).map(&mut plan).collect()
}

/// A body that says which send it is, padded to bring the message to this size.
fn body(number: usize, mark: char, size: usize) -> String {
    let text = format!("{number}{mark}");
    let padding = size.saturating_sub(bytes(&text));
    text + &"x".repeat(padding)
}

/// The message of a body.
fn message(body: &str) -> Outgoing {
    let mut message = Outgoing::new(body.to_owned(), GROUP.to_owned());
    message.attribute(ATTRIBUTE, GROUP);
    message
}

fn bytes(body: &str) -> usize {
    message(body).bytes()
}

async fn caller(world: World, sender: Sender, send: usize, plan: Plan) {
    world.sleep(plan.at.saturating_sub(world.now())).await;
    let queue: QueueArn = arn(&plan.queue);
    let message = message(&plan.body);
    world.note(Event::Offered {
        send,
        queue: plan.queue,
        body: plan.body,
        within: plan.within.unwrap_or(Duration::MAX),
        must_arrive: plan.must_arrive,
    });
    let answer = async {
        match plan.within {
            None => sender.send(&queue, message).await,
            Some(within) => sender.send_within(within, &queue, message).await,
        }
    };
    let event = match tokio::time::timeout(plan.leaves_after.unwrap_or(Duration::MAX), answer).await
    {
        Ok(answer) => Event::Told {
            send,
            outcome: outcome(&answer),
        },
        Err(_) => Event::Left { send },
    };
    world.note(event);
}

const fn outcome(answer: &Result<(), SendError>) -> Outcome {
    match answer {
        Ok(()) => Outcome::Ok,
        Err(SendError::Full) => Outcome::Full,
        Err(SendError::TimedOut) => Outcome::TimedOut,
        Err(SendError::Unavailable(_)) => Outcome::Unavailable,
        Err(SendError::Rejected { .. }) => Outcome::Rejected,
    }
}

#[test]
fn the_sender_keeps_its_promises() {
    seeds::run::<Story>(SEEDS);
}

#[test]
fn a_senders_story_is_the_same_each_time_it_is_played() {
    seeds::check_steady::<Story>();
}
