//! Which seeds run, each in a runtime and a virtual time of its own, and what a failing one says.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use tokio::time::timeout;

use crate::trace::{Event, Trace};
use crate::world::World;

/// How many seeds run, each scenario its own; see there for the default.
const COUNT_VARIABLE: &str = "SIMULATION_SEEDS";
/// The one seed to run.
const SEED_VARIABLE: &str = "SIMULATION_SEED";
/// Runs of a seed that is run alone.
const REPEATS: usize = 50;
/// Seeds played twice to see whether the same happens, and those that may differ: measured, one in a hundred does.
const REPLAYED: u64 = 20;
const MOST_UNSTEADY: usize = 3;
/// Virtual time after which a run is given up.
const LONGEST: Duration = Duration::from_secs(24 * 3600);
/// Failing seeds after which the rest is not run; the first is told in full, the others by what they break.
const FAILURES: usize = 20;

/// A scenario: what is played under a seed, and what must hold of the trace.
pub(crate) trait Scenario {
    /// The test's name, for the line that says how to run a seed again.
    const NAME: &'static str;

    /// Sets the scene for a seed.
    fn new(seed: u64) -> Self;

    /// The service it is played against.
    fn world(&self) -> World;

    /// Plays it to its end.
    fn play(&self) -> impl Future<Output = ()>;

    /// The promises that the trace breaks, one sentence each.
    fn judge(&self, trace: &Trace) -> Vec<String>;
}

/// Runs a scenario under every seed asked for; panics with those that break a promise.
pub(crate) fn run<S: Scenario>(default_count: u64) {
    let number = |name| {
        std::env::var(name)
            .ok()
            .map(|text| text.parse::<u64>().expect("a number"))
    };
    let seeds: Vec<u64> = match number(SEED_VARIABLE) {
        Some(seed) => vec![seed; REPEATS],
        None => (0..number(COUNT_VARIABLE).unwrap_or(default_count)).collect(),
    };
    let mut failures = seeds.into_iter().filter_map(failure::<S>).take(FAILURES);
    if let Some((said, trace)) = failures.next() {
        let others: Vec<_> = failures.map(|(said, _)| said).collect();
        panic!("{}\n{}\n{said}", trace.tail(), others.join("\n"));
    }
}

/// Plays one seed; what it breaks, and what happened.
fn failure<S: Scenario>(seed: u64) -> Option<(String, Trace)> {
    let (broken, trace) = catch_unwind(AssertUnwindSafe(|| {
        let (scenario, trace) = play::<S>(seed);
        (scenario.judge(&trace), trace)
    }))
    .unwrap_or_else(|_| {
        (
            vec!["the run panicked, see above".to_owned()],
            Trace::default(),
        )
    });
    (!broken.is_empty()).then(|| {
        let again = format!(
            "{SEED_VARIABLE}={seed} cargo test -p shared --test simulation {}",
            S::NAME
        );
        (
            format!("seed {seed} (again: {again}):\n- {}", broken.join("\n- ")),
            trace,
        )
    })
}

/// Plays one seed; the scenario and what happened.
pub(crate) fn play<S: Scenario>(seed: u64) -> (S, Trace) {
    in_virtual_time(seed, async || {
        let scenario = S::new(seed);
        let world = scenario.world();
        if timeout(LONGEST, scenario.play()).await.is_err() {
            world.note(Event::Stuck {
                why: format!("not over after {LONGEST:?}"),
            });
        }
        let trace = world.take_trace();
        (scenario, trace)
    })
}

/// Runs something in a runtime of its own, whose clock jumps from timer to timer, with a seed's jitter.
pub(crate) fn in_virtual_time<T>(seed: u64, play: impl AsyncFnOnce() -> T) -> T {
    fastrand::seed(seed);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime needs no more than memory");
    runtime.block_on(play())
}

/// Plays a few seeds twice each: but for the order of `select!` branches, the same happens at the same time.
pub(crate) fn check_steady<S: Scenario>() {
    let digest = |seed| play::<S>(seed).1.digest();
    let unsteady: Vec<_> = (0..REPLAYED)
        .filter(|seed| digest(*seed) != digest(*seed))
        .collect();
    assert!(
        unsteady.len() <= MOST_UNSTEADY,
        "played twice, these differ: {unsteady:?}"
    );
}
