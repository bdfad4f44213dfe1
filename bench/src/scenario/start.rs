//! Time from the start of the process to its first 200.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::bail;
use kit::process::fixed_port;
use tokio::time::Instant;

use crate::candidate::{Role, Side, program};
use crate::load::fetch;
use crate::plan::Plan;
use crate::process::Child;
use crate::report::row::{Bound, Row, Unit};
use crate::report::{Report, progress};
use crate::stub::Stub;

/// Starts of each.
const STARTS: usize = 15;
/// Pause between two requests.
const POLL_PAUSE: Duration = Duration::from_micros(500);
/// Time limit of a start.
const START_TIMEOUT: Duration = Duration::from_secs(10);

pub(super) async fn run(plan: &Plan, report: &mut Report) -> anyhow::Result<()> {
    let stub = Stub::start(0).await?;
    let sides = [
        (Side::Ours, Role::Producer),
        (Side::Ours, Role::Consumer),
        (Side::OneCall, Role::Producer),
    ];
    let mut took_ms = [Vec::new(), Vec::new(), Vec::new()];
    progress(&format!("{STARTS} starts of each"));
    for _ in 0..STARTS {
        for ((side, role), took_ms) in sides.into_iter().zip(&mut took_ms) {
            took_ms.push(start(side, role, &stub, plan).await?);
        }
    }
    let [producer, consumer, reference] = took_ms;
    let row = |name: &str, rounds| {
        Row::new(
            format!("{name}: start to first 200"),
            Unit::Milliseconds,
            rounds,
        )
        .against(Side::OneCall.label(), reference.clone())
        .bound(Bound::AtMost(30.0))
    };
    report
        .rows
        .extend([row("producer", producer), row("consumer", consumer)]);
    Ok(())
}

/// Starts a program; returns the time to its first 200 in milliseconds.
async fn start(side: Side, role: Role, stub: &Stub, plan: &Plan) -> anyhow::Result<f64> {
    let port = fixed_port();
    let command = program(side, role, &stub.url(), port, &plan.binaries)?;
    let path = if role == Role::Producer {
        "/producer"
    } else {
        "/consumer"
    };
    let started = Instant::now();
    let _process = Child::start(side.label(), command)?;
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    while fetch(address, path).await.is_err() {
        if started.elapsed() > START_TIMEOUT {
            bail!("{} does not answer {path}", side.label());
        }
        tokio::time::sleep(POLL_PAUSE).await;
    }
    Ok(started.elapsed().as_secs_f64() * 1e3)
}
