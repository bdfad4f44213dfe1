//! Charges: rate, latency, and AWS calls per charge. The calls for the charge's event are included.

use std::time::Duration;

use kit::http::Request;
use kit::load::{Clients, Prepared};

use crate::candidate::{Candidate, Role, Side};
use crate::load::{FULL_LOAD, post};
use crate::measure::{Load, Rounds, load};
use crate::plan::Plan;
use crate::report::row::{Bound, Row, Unit};
use crate::report::{Report, progress};
use crate::stub::TENANT;

/// Milliseconds per call.
const LATENCY_MS: u64 = 5;
/// Bound of a charge's p99, in multiples of a call's latency.
const CALLS_TO_ANSWER: f64 = 3.0;
/// Clients: one, a load that leaves two cores idle time, and a full load.
const CLIENTS: [usize; 3] = [1, 8, FULL_LOAD];
/// Pause after the start.
const SETTLE: Duration = Duration::from_secs(3);

fn charge() -> Request {
    let body =
        r#"{"amount":1250,"currency":"EUR","reference":"order-7","metadata":{"shop":"north"}}"#;
    post("/payments/charges", TENANT, body)
}

pub(super) async fn run(plan: &Plan, report: &mut Report) -> anyhow::Result<()> {
    let payments = Candidate::start(Side::Ours, Role::Payments, LATENCY_MS, &plan.binaries).await?;
    tokio::time::sleep(SETTLE).await;
    payments.must_answer(&charge().key("first")).await?;
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
        let mut loading = Clients::new(payments.address, Prepared::once_each(charge()), clients);
        let mut rounds: Rounds<Load> = Rounds::new();
        for round in 1..=plan.rounds {
            progress(&format!(
                "charges, {clients} clients, {LATENCY_MS} ms per call, round {round} of {}",
                plan.rounds
            ));
            // An event is sent after the answer to its charge, so some events of this window are counted in the next.
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
                "{what}, {clients} client{}, {LATENCY_MS} ms per call",
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
        row("CPU per charge", Unit::Microseconds, |load| load.cpu_us),
        row("AWS calls per charge", Unit::Number, calls_per_charge),
        if is_full {
            memory.bound(Bound::AtMost(32.0))
        } else {
            memory
        },
    ]);
}

/// Returns the calls per recorded charge: the transaction, and shares of a send and of a clear.
fn calls_per_charge(load: &Load) -> f64 {
    load.counts.all() as f64 / load.counts.of("TransactWriteItems") as f64
}
