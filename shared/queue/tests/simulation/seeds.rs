//! Runs scenarios by seed, each in its own runtime with virtual time, and reports failures.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use tokio::time::timeout;

use crate::trace::{Event, Trace};
use crate::world::World;

/// Variable: number of seeds; each scenario has its own default.
const COUNT_VARIABLE: &str = "SIMULATION_SEEDS";
/// Variable: the only seed to run.
const SEED_VARIABLE: &str = "SIMULATION_SEED";
/// Runs of a seed that runs alone.
const REPEATS: usize = 50;
/// Seeds that run twice to compare their traces, and the number of seeds that may differ (measured: one in a hundred).
const REPLAYED: u64 = 20;
const MAX_UNSTEADY: usize = 3;
/// Virtual time after which a run is stuck.
const LONGEST: Duration = Duration::from_secs(24 * 3600);
/// The run stops after this many failing seeds. The report has the trace of the first seed and the violations of all.
const FAILURES: usize = 20;

/// A scenario: the work under a seed, and the checks of its trace.
pub(crate) trait Scenario {
    /// Name of the test, for the command that repeats a seed.
    const NAME: &'static str;

    /// Creates the scenario of a seed.
    fn new(seed: u64) -> Self;

    /// The service of this scenario.
    fn world(&self) -> World;

    /// Runs the scenario to its end.
    fn run(&self) -> impl Future<Output = ()>;

    /// Returns the violations in a trace, one sentence each.
    fn check(&self, trace: &Trace) -> Vec<String>;
}

/// Runs a scenario under every requested seed; panics if any has a violation.
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

/// Runs one seed; returns its violations and its trace, if there are violations.
fn failure<S: Scenario>(seed: u64) -> Option<(String, Trace)> {
    let (violations, trace) = catch_unwind(AssertUnwindSafe(|| {
        let (scenario, trace) = run_seed::<S>(seed);
        (scenario.check(&trace), trace)
    }))
    .unwrap_or_else(|_| {
        (
            vec!["the run panicked, see above".to_owned()],
            Trace::default(),
        )
    });
    (!violations.is_empty()).then(|| {
        let again = format!(
            "{SEED_VARIABLE}={seed} cargo test -p tenantry-queue --test simulation {}",
            S::NAME
        );
        (
            format!(
                "seed {seed} (again: {again}):\n- {}",
                violations.join("\n- ")
            ),
            trace,
        )
    })
}

/// Runs one seed; returns the scenario and its trace.
pub(crate) fn run_seed<S: Scenario>(seed: u64) -> (S, Trace) {
    in_virtual_time(seed, async || {
        let scenario = S::new(seed);
        let world = scenario.world();
        if timeout(LONGEST, scenario.run()).await.is_err() {
            world.note(Event::Stuck {
                why: format!("not over after {LONGEST:?}"),
            });
        }
        let trace = world.take_trace();
        (scenario, trace)
    })
}

/// Runs a future in its own runtime, whose clock jumps from timer to timer, with a seed's jitter.
pub(crate) fn in_virtual_time<T>(seed: u64, work: impl AsyncFnOnce() -> T) -> T {
    fastrand::seed(seed);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime needs no more than memory");
    runtime.block_on(work())
}

/// Runs a few seeds twice each: except for the order of `select!` branches, the traces must be equal.
pub(crate) fn check_repeatable<S: Scenario>() {
    let digest = |seed| run_seed::<S>(seed).1.digest();
    let unsteady: Vec<_> = (0..REPLAYED)
        .filter(|seed| digest(*seed) != digest(*seed))
        .collect();
    assert!(
        unsteady.len() <= MAX_UNSTEADY,
        "these seeds differ between two runs: {unsteady:?}"
    );
}
