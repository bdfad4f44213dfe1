//! Scenarios of the sender: bursts, trickles, and sends at the moment at which an idle queue closes, to a few queues. Some
//! callers give up early, any fault may occur, and the sender drains in the middle or at the end.

mod checker;
mod self_tests;

use std::time::Duration;

use tenantry_process::arn::QueueArn;
use tenantry_process::metrics::Metrics;
use tenantry_queue::message::Outgoing;
use tenantry_queue::sender::{SendError, Sender, SenderLimits};
use tokio::task::JoinSet;

use crate::seeds::{self, Scenario};
use crate::trace::{Event, Outcome, Trace};
use crate::world::faults::FaultRates;
use crate::world::queue::Queue;
use crate::world::{REFUSED_CONTENT, World, arn};

/// Seeds run by default.
const SEEDS: u64 = 1_500;
/// Time after which a call has ended on both sides of the socket: time-outs and the slowest latencies.
const SETTLED: Duration = Duration::from_secs(30);
/// Attribute of every message.
const ATTRIBUTE: &str = "group_key";
/// Group of every message.
const GROUP: &str = "group-01";

/// One caller's plan.
#[derive(Debug, Clone)]
struct Plan {
    at: Duration,
    queue: String,
    body: String,
    /// Deadline of this send; `None` for the sender's own.
    within: Option<Duration>,
    leaves_after: Option<Duration>,
    must_arrive: bool,
}

struct SenderScenario {
    world: World,
    limits: SenderLimits,
    sender: Sender,
    queues: Vec<String>,
    plans: Vec<Plan>,
    /// Messages of a caller that sends whenever its queue is about to close.
    paced: usize,
    drains_early: Option<Duration>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    NoFaults,
    Transient,
    AnyFaults,
}

impl Scenario for SenderScenario {
    const NAME: &'static str = "the_sender_keeps_its_promises";

    fn new(seed: u64) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mode = [
            Mode::NoFaults,
            Mode::Transient,
            Mode::AnyFaults,
            Mode::AnyFaults,
        ][rng.usize(..4)];
        let faults = match mode {
            Mode::NoFaults => FaultRates::none([0, 1, 5, 80][rng.usize(..4)]),
            Mode::Transient => FaultRates::transient([1, 5, 50][rng.usize(..3)]),
            Mode::AnyFaults => FaultRates::any(&mut rng),
        };
        let limits = limits(&mut rng, mode);
        let is_orderly = rng.bool();
        let world = World::new(rng.fork(), faults, is_orderly);
        let queues: Vec<_> = (0..rng.usize(1..=5))
            .map(|number| format!("queue-{number}"))
            .collect();
        for queue in &queues {
            let refuses_groups = rng.u8(..10) == 0;
            // A queue may be missing: every send to it fails.
            if mode != Mode::AnyFaults || rng.u8(..12) != 0 {
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
        let plans = plans(&mut rng, mode, &queues, &limits);
        let last = plans.iter().map(|plan| plan.at).max().unwrap_or_default();
        let drains_early = (rng.u8(..3) == 0).then(|| last + Duration::from_millis(rng.u64(..50)));
        let paced = if drains_early.is_none() && rng.bool() {
            rng.usize(..8)
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

    async fn run(&self) {
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
            self.world.end_faults();
            tokio::time::sleep(SETTLED + self.limits.close_after).await;
            self.probe().await;
            self.drain().await;
        }
        tokio::time::sleep(SETTLED).await;
    }

    fn check(&self, trace: &Trace) -> Vec<String> {
        checker::check(trace, &self.limits)
    }
}

impl SenderScenario {
    async fn drain(&self) {
        self.world.note(Event::Draining);
        self.sender.drain().await;
        self.world.note(Event::Drained);
    }

    /// Sends messages one after the other, each at about the moment at which the idle queue closes.
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

    /// Checks that all limits are free again: sends to as many queues, and as many bytes, as allowed.
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

/// Limits small enough to be reached.
fn limits(rng: &mut fastrand::Rng, mode: Mode) -> SenderLimits {
    let ms = Duration::from_millis;
    let max_batch_bytes = [150, 400, 3_000, 100_000][rng.usize(..4)];
    SenderLimits {
        max_queues: rng.usize(1..=6),
        max_entries: [1, 3, 10, 50, 500][rng.usize(..5)],
        max_bytes: max_batch_bytes * rng.usize(1..=20),
        max_batch_bytes,
        max_in_flight: rng.usize(1..=6),
        // Long enough for every transient failure, if all messages must arrive.
        deadline: if mode == Mode::AnyFaults {
            ms(rng.u64(300..8_000))
        } else {
            ms(60_000)
        },
        close_after: ms([1, 50, 1_000, 60_000][rng.usize(..4)]),
    }
}

fn plans(
    rng: &mut fastrand::Rng,
    mode: Mode,
    queues: &[String],
    limits: &SenderLimits,
) -> Vec<Plan> {
    let (count, spread_ms) = (rng.usize(1..=25), [0, 5, 300, 5_000][rng.usize(..4)]);
    let (leaving, refused, large) = (rng.f64() * 0.3, rng.f64() * 0.2, rng.f64() * 0.3);
    let mut at = Duration::ZERO;
    let mut plan = |number| {
        at += Duration::from_millis(rng.u64(0..=spread_ms));
        let (is_refused, is_leaving) = (rng.f64() < refused, rng.f64() < leaving);
        let is_hurried = mode == Mode::AnyFaults && rng.u8(..10) == 0;
        // Sometimes more than a batch takes.
        let size = if rng.f64() < large {
            rng.usize(..limits.max_batch_bytes + 20)
        } else {
            0
        };
        let body = body(number, if is_refused { REFUSED_CONTENT } else { ':' }, size);
        let fits = bytes(&body) <= limits.max_batch_bytes;
        Plan {
            at,
            queue: queues[rng.usize(..queues.len())].clone(),
            within: is_hurried.then(|| Duration::from_millis(rng.u64(..3_000))),
            leaves_after: is_leaving.then(|| Duration::from_millis(rng.u64(0..=2_000))),
            must_arrive: mode != Mode::AnyFaults && fits && !is_refused,
            body,
        }
    };
    (0..count).map(&mut plan).collect()
}

/// A body with the number of its send, padded so that the message has this size.
fn body(number: usize, mark: char, size: usize) -> String {
    let text = format!("{number}{mark}");
    let padding = size.saturating_sub(bytes(&text));
    text + &"x".repeat(padding)
}

/// The message with this body.
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
        Ok(answer) => Event::Returned {
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
    seeds::run::<SenderScenario>(SEEDS);
}

#[test]
fn a_scenario_of_the_sender_is_repeatable() {
    seeds::check_repeatable::<SenderScenario>();
}
