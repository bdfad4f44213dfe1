//! The whole service against a simulated table and queue, under virtual time: a story a seed.
//!
//! Everything from the router down to the SDK's serialisation is what production runs; only the socket is replaced.
//! Behind it stands a model of the calls the service makes (`world`) that is late, refuses, loses answers before and
//! after they took effect, as the seed decides. Replicas are killed between any two calls and started again, clients
//! give up and repeat. Afterwards the table and the queue are judged (`judge`): sums, one charge a key, one item an
//! event, nothing of another tenant.
//!
//! `SIMULATION_SEEDS=10000` plays more, `SIMULATION_SEED=17` one alone.

mod judge;
mod socket;
mod story;
mod world;

/// Seeds played where nothing else is asked for.
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
    let mut totals = judge::Figures::default();
    for seed in seeds {
        let (figures, broken) = story::play(seed);
        let again = format!("SIMULATION_SEED={seed} cargo test -p payments --test simulation");
        assert!(
            broken.is_empty(),
            "seed {seed} (again: {again}):\n- {}\n{figures:?}",
            broken.join("\n- ")
        );
        totals.add(&figures);
    }
    println!("{totals:?}");
    // What never happens is not tested.
    assert!(
        totals.charges > 0 && totals.refunds > 0 && totals.replays > 0 && totals.kills > 0,
        "{totals:?}"
    );
    assert!(
        totals.sent_again > 0 && totals.refused > 0 && totals.lost_answers > 0,
        "{totals:?}"
    );
}
