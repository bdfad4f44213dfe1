//! The short version of `make chaos`: every kind of fault, every outage, some kills and some moves against the real
//! processes. The same driver runs the reference, and the checker must notice its losses and duplicates.

use chaos::faults::{Kind, RATE};
use chaos::plan::{Plan, Schedule};
use chaos::report::{Report, progress};
use chaos::run::run;
use chaos::side::{Acknowledge, Side};

const SHORT: Plan = Plan {
    events: 1_500,
    tenants: 12,
    clients: 4,
    kills: 5,
    terminations: 2,
    moves: 6,
    outage_seconds: 1,
    parameters_seconds: 2,
    visibility_seconds: 5,
    schedule: Schedule::Full,
    kinds: Vec::new(),
    rate: RATE,
};

/// Asserts that every promise was kept, and that every kind of fault was injected.
async fn assert_every_promise(seed: u64) {
    progress(&format!(
        "to repeat this run: chaos run --events 1500 --tenants 12 --kills 5 --seed {seed}"
    ));
    let report = run(SHORT, Side::Ours, seed)
        .await
        .expect("a temporary folder and a limit on a child process need no privilege");
    assert!(report.is_clean(), "\n{report}");
    assert!(
        report.verdict.accepted > SHORT.events / 2,
        "most events are accepted\n{report}"
    );
    assert_eq!(
        (report.kills, report.terminations),
        (5, 2 + report.services),
        "\n{report}"
    );
    assert_eq!(report.moved.took.len(), 6, "every move ends\n{report}");
    assert_eq!(
        report.clean, report.terminations,
        "every service ends in time\n{report}"
    );
    for kind in Kind::ALL {
        assert!(
            report
                .injected
                .get(kind.name())
                .is_some_and(|count| *count > 0),
            "{kind:?}\n{report}"
        );
    }
}

#[tokio::test]
async fn no_event_is_lost_stranded_duplicated_or_misrouted() {
    assert_every_promise(7).await;
}

#[tokio::test]
async fn no_event_is_lost_duplicated_or_misrouted_with_a_random_seed() {
    assert_every_promise(fastrand::u64(..)).await;
}

async fn reference(acknowledge: Acknowledge, kinds: Vec<Kind>) -> Report {
    let plan = Plan {
        events: 300,
        tenants: 3,
        kills: 0,
        terminations: 0,
        moves: 0,
        schedule: Schedule::All,
        kinds,
        rate: 0.2,
        ..SHORT
    };
    let report = run(plan, Side::Reference(acknowledge), 7)
        .await
        .expect("a temporary folder needs no privilege");
    assert!(!report.is_clean(), "\n{report}");
    report
}

#[tokio::test]
async fn checker_counts_an_item_that_is_stored_twice() {
    let report = reference(
        Acknowledge::After,
        vec![Kind::LostAnswers, Kind::Duplicates],
    )
    .await;
    assert!(report.verdict.duplicated > 0, "\n{report}");
}

#[tokio::test]
async fn checker_counts_a_lost_message() {
    let report = reference(Acknowledge::Before, vec![Kind::Errors500]).await;
    assert!(report.verdict.lost > 0, "\n{report}");
}
