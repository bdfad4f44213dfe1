//! GET at 32 clients: the cost of our tenancy, metrics and request ids, compared with a bare handler.

use kit::http::Request;
use kit::load::Clients;

use crate::candidate::{Candidate, Role, Side};
use crate::measure::{Load, Rounds, load};
use crate::plan::Plan;
use crate::report::row::{Bound, Row, Unit};
use crate::report::{Report, progress};
use crate::stub::TENANT;

const CLIENTS: usize = 32;

pub(super) async fn run(plan: &Plan, report: &mut Report) -> anyhow::Result<()> {
    let request = Request::get("/producer").tenant(TENANT);
    let mut candidates = Vec::new();
    for side in [Side::Ours, Side::Bare] {
        let candidate = Candidate::start(side, Role::Producer, 0, &plan.binaries).await?;
        candidate.must_answer(&request).await?;
        let clients = Clients::new(candidate.address, &request, CLIENTS);
        candidates.push((candidate, clients));
    }
    let mut rounds: Rounds<Load> = Rounds::new();
    for round in 1..=plan.rounds {
        progress(&format!(
            "GET, {CLIENTS} clients, round {round} of {}",
            plan.rounds
        ));
        for (candidate, clients) in &mut candidates {
            rounds.push(
                candidate.side,
                load(candidate, clients, (plan.warm_up(), plan.window()), false).await?,
            );
        }
    }
    let row = |what: &str, unit, figure: fn(&Load) -> f64| {
        Row::new(
            format!("{what}, {CLIENTS} clients"),
            unit,
            rounds.values(Side::Ours, figure),
        )
        .against(Side::Bare.label(), rounds.values(Side::Bare, figure))
        .fault(rounds.fault([Side::Ours, Side::Bare], |load| load.fault.as_ref()))
    };
    report.rows.extend([
        row("GET", Unit::PerSecond, |load| load.rate).bound(Bound::RatioAtLeast(0.85)),
        row("CPU per GET", Unit::Microseconds, |load| load.cpu_us),
    ]);
    Ok(())
}
