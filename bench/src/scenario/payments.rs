//! Charges: how many a second, how long one takes, and how many calls it costs to record one and to tell of it.

use std::time::Duration;

use crate::candidate::{Candidate, Role, Side};
use crate::load::{Clients, FULL_LOAD, Request};
use crate::measure::{Load, Rounds, load};
use crate::plan::Plan;
use crate::report::row::{Bound, Row, Unit};
use crate::report::{Report, progress};
use crate::stub::TENANT;

/// Milliseconds a call.
const LATENCY_MS: u64 = 5;
/// Calls' time within which 99 of 100 charges are answered.
const CALLS_TO_ANSWER: f64 = 3.0;
/// Clients: one, as many as leave two cores room, and a full load.
const CLIENTS: [usize; 3] = [1, 8, FULL_LOAD];
/// How long a start takes to settle.
const SETTLE: Duration = Duration::from_secs(3);

fn charge() -> Request {
    let body =
        r#"{"amount":1250,"currency":"EUR","reference":"order-7","metadata":{"shop":"north"}}"#;
    Request::post_once_each("/payments/charges", TENANT, body)
}

pub(super) async fn run(plan: &Plan, report: &mut Report) -> anyhow::Result<()> {
    let payments = Candidate::start(Side::Ours, Role::Payments, LATENCY_MS, &plan.binaries).await?;
    tokio::time::sleep(SETTLE).await;
    payments.must_answer(&charge()).await?;
    let idle = payments.usage()?;
    report.rows.push(
        Row::new(
            "payments' memory, idle",
            Unit::Mebibytes,
            vec![idle.rss_mib],
        )
        .bound(Bound::AtMost(16.0)),
    );
    for clients in CLIENTS {
        let mut loading = Clients::new(payments.address, charge(), clients);
        let mut rounds: Rounds<Load> = Rounds::new();
        for round in 1..=plan.rounds {
            progress(&format!(
                "charges, {clients} clients, {LATENCY_MS} ms a call, round {round} of {}",
                plan.rounds
            ));
            // Events are sent after their charge was answered: some of a window's are sent in the next.
            rounds.push(
                Side::Ours,
                load(
                    &payments,
                    &mut loading,
                    (plan.warm_up(), plan.window()),
                    false,
                )
                .await?,
            );
        }
        rows(&rounds, clients, report);
    }
    Ok(())
}

fn rows(rounds: &Rounds<Load>, clients: usize, report: &mut Report) {
    let row = |what: &str, unit, figure: fn(&Load) -> f64| {
        Row::new(
            format!(
                "{what}, {clients} client{}, {LATENCY_MS} ms a call",
                if clients == 1 { "" } else { "s" }
            ),
            unit,
            rounds.values(Side::Ours, figure),
        )
        .fault(rounds.fault([Side::Ours, Side::Ours], |load| load.fault.as_ref()))
    };
    let p99 = row("p99 of a charge", Unit::Milliseconds, |load| load.p99_ms);
    let memory = row("payments' peak memory", Unit::Mebibytes, |load| {
        load.peak_rss_mib
    });
    let is_full = clients == FULL_LOAD;
    report.rows.extend([
        row("charges", Unit::PerSecond, |load| load.rate),
        // Under full load the processors are the limit, not the calls.
        if is_full {
            p99
        } else {
            p99.bound(Bound::AtMost(CALLS_TO_ANSWER * LATENCY_MS as f64))
        },
        row("CPU a charge", Unit::Microseconds, |load| load.cpu_us),
        row("AWS calls a charge", Unit::Number, calls_per_charge),
        if is_full {
            memory.bound(Bound::AtMost(32.0))
        } else {
            memory
        },
    ]);
}

/// All calls for each charge recorded: the transaction, and its share of a send and of a clear.
fn calls_per_charge(load: &Load) -> f64 {
    load.counts.all() as f64 / load.counts.of("TransactWriteItems") as f64
}
