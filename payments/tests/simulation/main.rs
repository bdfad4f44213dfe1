//! Simulation of the whole service with a modeled table and queue, under virtual time. Each seed is one simulation run.
//!
//! Everything from the router down to the SDK's serialization is production code; only the socket is replaced. The socket
//! leads to a model of the AWS services (`simulated_aws`). The model delays and refuses calls, and loses responses before
//! and after their effect, as the seed decides. Replicas are killed between any two calls and restarted; clients time out
//! and repeat. Then `checker` checks table and queue: sums, one charge per key, one item per event, no data of another
//! tenant.
//!
//! `SIMULATION_SEEDS=10000` runs more seeds, `SIMULATION_SEED=17` runs one seed.

mod checker;
mod run;
mod simulated_aws;
mod socket;

/// Seeds that run by default.
const SEEDS: u64 = 60;

#[test]
fn any_interleaving_of_charges_refunds_repeats_kills_and_faults_leaves_a_sound_ledger() {
    let number = |name| {
        std::env::var(name)
            .ok()
            .map(|text| text.parse::<u64>().expect("a number"))
    };
    let seeds = match number("SIMULATION_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("SIMULATION_SEEDS").unwrap_or(SEEDS),
    };
    let mut totals = checker::RunCounts::default();
    for seed in seeds {
        let (counts, violations) = run::run_seed(seed);
        let again = format!("SIMULATION_SEED={seed} cargo test -p payments --test simulation");
        assert!(
            violations.is_empty(),
            "seed {seed} (again: {again}):\n- {}\n{counts:?}",
            violations.join("\n- ")
        );
        totals.add(&counts);
    }
    println!("{totals:?}");
    // Every case must have happened at least once: a case that never happens is not tested.
    assert!(
        totals.charges > 0 && totals.refunds > 0 && totals.replays > 0 && totals.kills > 0,
        "{totals:?}"
    );
    assert!(
        totals.sent_again > 0 && totals.refused > 0 && totals.lost_responses > 0,
        "{totals:?}"
    );
}
