//! The receiver's stories: a backlog and arrivals, handlers that are slow, fail, panic or find poison, in any weather; a
//! stop in the middle of it, and a second receiver that finishes the work once the weather has cleared.

mod handler;
mod judge;
mod self_tests;

use std::sync::Arc;
use std::time::Duration;

use tenantry_process::health::Readiness;
use tenantry_process::metrics::Metrics;
use tenantry_queue::receiver::{Receiver, ReceiverLimits, Source};
use tokio_util::sync::CancellationToken;

use self::handler::{Honest, Kind, Manner, Plan, Scripted};
use crate::seeds::{self, Scenario};
use crate::trace::{Event, Trace};
use crate::world::faults::Weather;
use crate::world::queue::Queue;
use crate::world::{World, arn};

/// Seeds run by default.
const SEEDS: u64 = 500;
/// The queue that is drained.
const SOURCE: &str = "source";
/// Its dead-letter queue.
const DEAD: &str = "dead";
/// Longest a story goes on after the weather has cleared: every redelivery takes up to 15 minutes.
const SETTLES_WITHIN: Duration = Duration::from_secs(6 * 3600);
/// After this the extra polls of a busy queue have ended.
const EXTRA_POLLS: Duration = Duration::from_secs(10);
/// Long polls an idle receiver is watched for.
const IDLE_POLLS: u32 = 3;

struct Story {
    seed: u64,
    world: World,
    terms: Terms,
    plans: Arc<Vec<Plan>>,
    clears_at: Duration,
    stops_at: Duration,
}

/// What the judge must know of the scene.
#[derive(Debug, Clone, Copy)]
struct Terms {
    limits: ReceiverLimits,
    has_dead_letters: bool,
    /// Nothing fails from beginning to end.
    is_calm: bool,
    /// Longest the handler takes.
    handler_takes: Duration,
}

impl Scenario for Story {
    const NAME: &'static str = "the_receiver_keeps_its_promises";

    fn new(seed: u64) -> Self {
        let mut dice = fastrand::Rng::with_seed(seed);
        let is_calm = dice.u8(..3) == 0;
        let weather = match dice.u8(..3) {
            _ if is_calm => Weather::calm([0, 1, 5, 50][dice.usize(..4)]),
            0 => Weather::mild([1, 5, 50][dice.usize(..3)]),
            _ => Weather::stormy(&mut dice),
        };
        let is_orderly = dice.bool();
        let world = World::new(dice.fork(), weather, is_orderly);
        let has_dead_letters = dice.u8(..5) > 0;
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
        let limits = limits(&mut dice);
        let plans = plans(&mut dice, limits.visibility);
        let handler_takes = plans
            .iter()
            .map(|plan| plan.takes)
            .max()
            .unwrap_or_default();
        let terms = Terms {
            limits,
            has_dead_letters,
            is_calm,
            handler_takes,
        };
        let seconds =
            |dice: &mut fastrand::Rng, most: u64| Duration::from_millis(dice.u64(..most * 1000));
        let (clears_at, stops_at) = (seconds(&mut dice, 60), seconds(&mut dice, 60));
        Self {
            seed,
            world,
            terms,
            plans: Arc::new(plans),
            clears_at,
            stops_at,
        }
    }

    fn world(&self) -> World {
        self.world.clone()
    }

    async fn play(&self) {
        tokio::join!(self.feed(), self.clear(), self.receive_twice());
    }

    fn judge(&self, trace: &Trace) -> Vec<String> {
        judge::judge(trace, &self.terms)
    }
}

impl Story {
    /// Puts every message into the queue when its time has come.
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

    async fn clear(&self) {
        self.world.sleep(self.clears_at).await;
        self.world.clear();
    }

    async fn receive_twice(&self) {
        let client = self.world.client();
        let source = loop {
            match Source::find(&client, &arn(SOURCE)).await {
                Ok(source) => break source,
                Err(_) => self.world.sleep(Duration::from_secs(1)).await,
            }
        };
        let handler = Scripted::new(self.world.clone(), Arc::clone(&self.plans), Honest);
        self.receive(&client, &source, &handler, self.world.sleep(self.stops_at))
            .await;
        self.receive(&client, &source, &handler, self.settle())
            .await;
    }

    /// Runs a receiver until something is over, then stops it.
    async fn receive<M: Manner>(
        &self,
        client: &aws_sdk_sqs::Client,
        source: &Source,
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

    /// Until nothing is left to be done; then watches an idle receiver for a while.
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
        // Extra polls end, and deletes that are tried again.
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

    /// Whether the weather has cleared and the last message has come.
    fn is_over(&self) -> bool {
        let last = self
            .plans
            .iter()
            .map(|plan| plan.at)
            .max()
            .unwrap_or_default();
        self.world.now() > last.max(self.clears_at)
    }
}

/// Bounds small enough to be reached.
fn limits(dice: &mut fastrand::Rng) -> ReceiverLimits {
    let seconds = Duration::from_secs;
    let max_in_hand = [1, 3, 10, 15, 40][dice.usize(..5)];
    let visibility = seconds([2, 5, 10, 30, 60][dice.usize(..5)]);
    ReceiverLimits {
        poll_wait: seconds([2, 10, 20, 20, 20][dice.usize(..5)]),
        max_polls: dice.usize(1..=5),
        max_in_hand,
        max_of_one_group: if dice.bool() {
            max_in_hand
        } else {
            dice.usize(1..=max_in_hand)
        },
        visibility,
        max_lease: if dice.u8(..5) == 0 {
            visibility * 3
        } else {
            seconds(3600)
        },
        unready_after: seconds(15),
    }
}

fn plans(dice: &mut fastrand::Rng, visibility: Duration) -> Vec<Plan> {
    let count = [0, 1, 5, 20, 40][dice.usize(..5)];
    let kinds = [Kind::Flaky, Kind::Poison, Kind::Panics, Kind::Silent];
    let (odd, slow) = (dice.f64() * 0.5, dice.f64() * 0.3);
    let is_backlog = dice.bool();
    let groups = dice.usize(1..=3);
    let mut plan = |_| {
        let kind = if dice.f64() < odd {
            kinds[dice.usize(..kinds.len())]
        } else {
            Kind::Good
        };
        let longest = if dice.f64() < slow {
            visibility * 3
        } else {
            Duration::from_millis(20)
        };
        Plan {
            at: if is_backlog {
                Duration::ZERO
            } else {
                Duration::from_millis(dice.u64(..30_000))
            },
            kind,
            takes: longest.mul_f64(dice.f64()),
            group: format!("group-{}", dice.usize(..groups)),
        }
    };
    (0..count).map(&mut plan).collect()
}

#[test]
fn the_receiver_keeps_its_promises() {
    seeds::run::<Story>(SEEDS);
}

#[test]
fn a_receivers_story_is_the_same_each_time_it_is_played() {
    seeds::check_steady::<Story>();
}
