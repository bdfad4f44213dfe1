//! Scenarios of the receiver: a backlog and arrivals; handlers that are slow, fail, panic or find poison; any faults; and a
//! stop in the middle. A second receiver finishes the work after the faults have ended.

mod checker;
mod handler;
mod self_tests;

use std::sync::Arc;
use std::time::Duration;

use tenantry_process::health::Readiness;
use tenantry_process::metrics::Metrics;
use tenantry_queue::receiver::{Receiver, ReceiverLimits, SourceQueue};
use tokio_util::sync::CancellationToken;

use self::handler::{Kind, Plan, Scripted, StorePolicy, StoresDone};
use crate::seeds::{self, Scenario};
use crate::trace::{Event, Trace};
use crate::world::faults::FaultRates;
use crate::world::queue::Queue;
use crate::world::{World, arn};

/// Seeds run by default.
const SEEDS: u64 = 500;
/// The queue that is drained.
const SOURCE: &str = "source";
/// Its dead-letter queue.
const DEAD: &str = "dead";
/// Longest duration of a scenario after the faults have ended: every redelivery takes up to 15 minutes.
const SETTLES_WITHIN: Duration = Duration::from_secs(6 * 3600);
/// Time after which the extra polls of a busy queue have ended.
const EXTRA_POLLS: Duration = Duration::from_secs(10);
/// Long polls of the idle period.
const IDLE_POLLS: u32 = 3;

struct ReceiverScenario {
    seed: u64,
    world: World,
    terms: Terms,
    plans: Arc<Vec<Plan>>,
    faults_end_at: Duration,
    stops_at: Duration,
}

/// Parameters of a scenario that the checker needs.
#[derive(Debug, Clone, Copy)]
struct Terms {
    limits: ReceiverLimits,
    has_dead_letters: bool,
    /// True if no fault occurs in the whole run.
    is_faultless: bool,
    /// Longest the handler takes.
    handler_takes: Duration,
}

impl Scenario for ReceiverScenario {
    const NAME: &'static str = "the_receiver_keeps_its_promises";

    fn new(seed: u64) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        let is_faultless = rng.u8(..3) == 0;
        let faults = match rng.u8(..3) {
            _ if is_faultless => FaultRates::none([0, 1, 5, 50][rng.usize(..4)]),
            0 => FaultRates::transient([1, 5, 50][rng.usize(..3)]),
            _ => FaultRates::any(&mut rng),
        };
        let is_orderly = rng.bool();
        let world = World::new(rng.fork(), faults, is_orderly);
        let has_dead_letters = rng.u8(..5) > 0;
        let dead_letters = arn(DEAD);
        world.create(DEAD, Queue::default());
        world.create(
            SOURCE,
            if has_dead_letters {
                Queue::with_dead_letters(dead_letters.as_str())
            } else {
                Queue::default()
            },
        );
        let limits = limits(&mut rng);
        let plans = plans(&mut rng, limits.visibility);
        let handler_takes = plans
            .iter()
            .map(|plan| plan.takes)
            .max()
            .unwrap_or_default();
        let terms = Terms {
            limits,
            has_dead_letters,
            is_faultless,
            handler_takes,
        };
        let seconds =
            |rng: &mut fastrand::Rng, most: u64| Duration::from_millis(rng.u64(..most * 1000));
        let (faults_end_at, stops_at) = (seconds(&mut rng, 60), seconds(&mut rng, 60));
        Self {
            seed,
            world,
            terms,
            plans: Arc::new(plans),
            faults_end_at,
            stops_at,
        }
    }

    fn world(&self) -> World {
        self.world.clone()
    }

    async fn run(&self) {
        tokio::join!(self.feed(), self.end_faults(), self.receive_twice());
    }

    fn check(&self, trace: &Trace) -> Vec<String> {
        checker::check(trace, &self.terms)
    }
}

impl ReceiverScenario {
    /// Adds every message to the queue at its planned time.
    async fn feed(&self) {
        let mut order: Vec<_> = self.plans.iter().enumerate().collect();
        order.sort_by_key(|(_, plan)| plan.at);
        for (number, plan) in order {
            if plan.at > self.world.now() {
                self.world.sleep(plan.at - self.world.now()).await;
            }
            self.world.put(SOURCE, plan.entry(number));
        }
    }

    async fn end_faults(&self) {
        self.world.sleep(self.faults_end_at).await;
        self.world.end_faults();
    }

    async fn receive_twice(&self) {
        let client = self.world.client();
        let source = loop {
            match SourceQueue::find(&client, &arn(SOURCE)).await {
                Ok(source) => break source,
                Err(_) => self.world.sleep(Duration::from_secs(1)).await,
            }
        };
        let handler = Scripted::new(self.world.clone(), Arc::clone(&self.plans), StoresDone);
        self.receive(&client, &source, &handler, self.world.sleep(self.stops_at))
            .await;
        self.receive(&client, &source, &handler, self.settle())
            .await;
    }

    /// Runs a receiver until the future ends, then stops the receiver.
    async fn receive<M: StorePolicy>(
        &self,
        client: &aws_sdk_sqs::Client,
        source: &SourceQueue,
        handler: &Scripted<M>,
        until: impl Future<Output = ()>,
    ) {
        let (readiness, stop) = (Readiness::default(), CancellationToken::new());
        let receiver = Receiver::new(
            client.clone(),
            source.clone(),
            handler.clone(),
            self.terms.limits,
            &Metrics::new("test", "simulated"),
            readiness.condition("queue"),
        );
        self.world.note(Event::Started);
        let running = tokio::spawn(receiver.run(stop.clone()));
        until.await;
        self.world.note(Event::Stopping);
        stop.cancel();
        match running.await {
            Ok(()) => self.world.note(Event::Stopped),
            Err(error) => self.world.note(Event::Stuck {
                why: format!("run: {error}"),
            }),
        }
    }

    /// Waits until all messages are settled, then for an idle period.
    async fn settle(&self) {
        let begin = self.world.now();
        while self
            .world
            .bodies(SOURCE)
            .iter()
            .any(|body| self.must_go(body))
            || !self.is_over()
        {
            if self.world.now() > begin + SETTLES_WITHIN {
                let left = self.world.bodies(SOURCE).join(", ");
                return self.world.note(Event::Stuck {
                    why: format!("never handled: {left}"),
                });
            }
            self.world.sleep(Duration::from_secs(1)).await;
        }
        // Until extra polls and retried deletes have ended.
        self.world
            .sleep(self.terms.limits.poll_wait + EXTRA_POLLS)
            .await;
        if self.world.bodies(SOURCE).is_empty() {
            self.world.note(Event::Idle);
            self.world
                .sleep(self.terms.limits.poll_wait * IDLE_POLLS)
                .await;
            self.world.note(Event::Busy);
        }
    }

    fn must_go(&self, body: &str) -> bool {
        self.terms.has_dead_letters || !body.ends_with(Kind::Poison.name())
    }

    /// Returns true once the faults have ended and the last message has arrived.
    fn is_over(&self) -> bool {
        let last = self
            .plans
            .iter()
            .map(|plan| plan.at)
            .max()
            .unwrap_or_default();
        self.world.now() > last.max(self.faults_end_at)
    }
}

/// Limits small enough to be reached.
fn limits(rng: &mut fastrand::Rng) -> ReceiverLimits {
    let seconds = Duration::from_secs;
    let max_in_hand = [1, 3, 10, 15, 40][rng.usize(..5)];
    let visibility = seconds([2, 5, 10, 30, 60][rng.usize(..5)]);
    ReceiverLimits {
        poll_wait: seconds([2, 10, 20, 20, 20][rng.usize(..5)]),
        max_polls: rng.usize(1..=5),
        max_in_hand,
        max_of_one_group: if rng.bool() {
            max_in_hand
        } else {
            rng.usize(1..=max_in_hand)
        },
        visibility,
        max_lease: if rng.u8(..5) == 0 {
            visibility * 3
        } else {
            seconds(3600)
        },
        unready_after: seconds(15),
    }
}

fn plans(rng: &mut fastrand::Rng, visibility: Duration) -> Vec<Plan> {
    let count = [0, 1, 5, 20, 40][rng.usize(..5)];
    let kinds = [Kind::Flaky, Kind::Poison, Kind::Panics, Kind::Silent];
    let (odd, slow) = (rng.f64() * 0.5, rng.f64() * 0.3);
    let is_backlog = rng.bool();
    let groups = rng.usize(1..=3);
    let mut plan = |_| {
        let kind = if rng.f64() < odd {
            kinds[rng.usize(..kinds.len())]
        } else {
            Kind::Good
        };
        let longest = if rng.f64() < slow {
            visibility * 3
        } else {
            Duration::from_millis(20)
        };
        Plan {
            at: if is_backlog {
                Duration::ZERO
            } else {
                Duration::from_millis(rng.u64(..30_000))
            },
            kind,
            takes: longest.mul_f64(rng.f64()),
            group: format!("group-{}", rng.usize(..groups)),
        }
    };
    (0..count).map(&mut plan).collect()
}

#[test]
fn the_receiver_keeps_its_promises() {
    seeds::run::<ReceiverScenario>(SEEDS);
}

#[test]
fn a_scenario_of_the_receiver_is_repeatable() {
    seeds::check_repeatable::<ReceiverScenario>();
}
