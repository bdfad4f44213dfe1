//! The short version of `make chaos`: every kind of fault, every outage and some kills against the real processes, and the
//! same driver against the reference, whose losses and duplicates it must notice.

use chaos::faults::{Kind, RATE};
use chaos::plan::{Plan, Schedule};
use chaos::report::{Report, progress};
use chaos::run::run;
use chaos::side::{Acknowledge, Side};

const SHORT: Plan = Plan {
    messages: 1_500,
    tenants: 12,
    clients: 4,
    kills: 5,
    terminations: 2,
    outage_seconds: 1,
    parameters_seconds: 2,
    visibility_seconds: 5,
    schedule: Schedule::Full,
    kinds: Vec::new(),
    rate: RATE,
};

/// Asserts that every promise was kept, and that every fault struck.
async fn keeps_every_promise(seed: u64) {
    progress(&format!(
        "run it again with: chaos run --messages 1500 --tenants 12 --kills 5 --seed {seed}"
    ));
    let report = run(SHORT, Side::Ours, seed)
        .await
        .expect("the machine permits it");
    assert!(report.is_clean(), "\n{report}");
    assert!(
        report.verdict.accepted > SHORT.messages / 2,
        "most events are accepted\n{report}"
    );
    assert_eq!(
        (report.kills, report.terminations),
        (5, 2 + report.services),
        "\n{report}"
    );
    assert_eq!(
        report.clean, report.terminations,
        "every service ends in time\n{report}"
    );
    for kind in Kind::ALL {
        assert!(
            report
                .strikes
                .get(kind.name())
                .is_some_and(|count| *count > 0),
            "{kind:?}\n{report}"
        );
    }
}

#[tokio::test]
async fn faults_outages_and_kills_lose_double_and_misroute_nothing() {
    keeps_every_promise(7).await;
}

#[tokio::test]
async fn faults_of_a_random_seed_lose_double_and_misroute_nothing() {
    keeps_every_promise(fastrand::u64(..)).await;
}

async fn reference(acknowledge: Acknowledge, kinds: Vec<Kind>) -> Report {
    let plan = Plan {
        messages: 300,
        tenants: 3,
        kills: 0,
        terminations: 0,
        schedule: Schedule::All,
        kinds,
        rate: 0.2,
        ..SHORT
    };
    let report = run(plan, Side::Reference(acknowledge), 7)
        .await
        .expect("the machine permits it");
    assert!(!report.is_clean(), "\n{report}");
    report
}

#[tokio::test]
async fn the_judge_notices_an_item_that_is_stored_twice() {
    let report = reference(
        Acknowledge::After,
        vec![Kind::LostAnswers, Kind::Duplicates],
    )
    .await;
    assert!(report.verdict.duplicated > 0, "\n{report}");
}

#[tokio::test]
async fn the_judge_notices_a_lost_message() {
    let report = reference(Acknowledge::Before, vec![Kind::Errors500]).await;
    assert!(report.verdict.lost > 0, "\n{report}");
}
