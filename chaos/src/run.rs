//! `chaos run`: clients post while faults strike and services are killed; at the end the judge counts.

use std::collections::BTreeMap;
use std::rc::Rc;

use kit::endpoint::Endpoint;
use kit::process::Exit;
use serde_json::Value;
use tokio::task::{JoinHandle, LocalSet};
use tokio::time::Instant;

use crate::clients::Clients;
use crate::faults::{Kind, expired_credentials, no_parameters, sow};
use crate::fleet::Fleet;
use crate::judge::judge;
use crate::plan::{Outage, Part, Plan};
use crate::recovery::Recovery;
use crate::report::{Report, progress};
use crate::side::Side;
use crate::stage::{Installation, fill_disk};
use crate::tenants::Cast;

/// Further events for a fault that has not struck yet.
const MORE_EVENTS: usize = 10;

/// State that the tasks of a run share.
struct Shared {
    plan: Plan,
    cast: Cast,
    fleet: Fleet,
    clients: Clients,
    recovery: Recovery,
}

/// Strikes of each fault by its name.
type Strikes = BTreeMap<&'static str, u64>;

/// The ended services.
#[derive(Debug, Clone, Copy, Default)]
struct Ends {
    kills: usize,
    terminations: usize,
    /// Terminations that ended in time with exit code 0.
    clean: usize,
}

/// Runs a plan on processes of its own. The same seed makes the same random choices.
///
/// # Errors
/// The machine does not permit a temporary folder, or a limit on a process.
///
/// # Panics
/// A process does not start, or no event is finished for too long.
pub async fn run(plan: Plan, side: Side, seed: u64) -> anyhow::Result<Report> {
    LocalSet::new().run_until(play(plan, side, seed)).await
}

async fn play(plan: Plan, side: Side, seed: u64) -> anyhow::Result<Report> {
    let began = Instant::now();
    let mut random = fastrand::Rng::with_seed(seed);
    let folder = tempfile::tempdir()?;
    let mut endpoint = Endpoint::kept(folder.path().to_owned()).await;
    let cast = Cast::of(plan.tenants.into());
    let installation = Installation::create(&cast, &endpoint).await;
    let fleet = Fleet::start(&cast, side, &endpoint.url(), plan.visibility_seconds).await;
    progress(&format!(
        "{} services are ready, seed {seed}",
        fleet.slots.len()
    ));
    let clients = Clients::new(plan.messages);
    let shared = Rc::new(Shared {
        plan,
        cast,
        fleet,
        clients,
        recovery: Recovery::default(),
    });

    let mut tasks = start_clients(&shared, &mut random);
    let ending = tokio::task::spawn_local(end_services(Rc::clone(&shared), random.fork()));
    let strikes = conduct(&shared, &mut endpoint, &mut tasks, &mut random).await?;
    endpoint.inject(Value::Array(Vec::new())).await;
    let posted = began.elapsed();
    for task in tasks {
        task.await?;
    }
    let ends = ending.await?;

    progress("waiting for the queues");
    let first = installation.drained().await;
    if first.dead_lettered > 0 {
        installation.redrive().await?;
    }
    let left = installation.drained().await;
    let verdict = judge(&shared.clients.sent(), &installation.found().await);
    let stopped = shared.fleet.stop().await;
    Ok(Report {
        seed,
        services: shared.fleet.slots.len(),
        tiers: ["basic", "advanced", "premium"].map(|tier| shared.cast.of_tier(tier)),
        verdict,
        contradicted: shared.clients.contradicted(),
        statuses: shared.clients.statuses(),
        unanswered: shared.clients.unanswered(),
        dead_lettered: first.dead_lettered,
        left,
        strikes,
        kills: ends.kills,
        terminations: ends.terminations + shared.fleet.slots.len(),
        clean: ends.clean + stopped,
        recovery: shared.recovery.longest(),
        posted,
        took: began.elapsed(),
    })
}

fn start_clients(shared: &Rc<Shared>, random: &mut fastrand::Rng) -> Vec<JoinHandle<()>> {
    let mut tasks = Vec::new();
    for tenant in 0..shared.cast.tenants.len() {
        for _ in 0..shared.plan.clients {
            let (shared, random) = (Rc::clone(shared), random.fork());
            tasks.push(tokio::task::spawn_local(async move {
                let tenant = &shared.cast.tenants[tenant];
                shared
                    .clients
                    .run(&shared.cast, &shared.fleet, tenant, random)
                    .await;
            }));
        }
    }
    tasks
}

/// Ends services at random, one after the other, while clients post, and starts them again.
async fn end_services(shared: Rc<Shared>, mut random: fastrand::Rng) -> Ends {
    let (mut ends, mut watches) = (Ends::default(), Vec::new());
    for (after, is_asked) in shared.plan.ends() {
        shared.clients.reach(after).await;
        let at = random.usize(..shared.fleet.slots.len());
        let slot = &shared.fleet.slots[at];
        let fault = if is_asked {
            let exit = slot.replace().await;
            ends.terminations += 1;
            ends.clean += usize::from(exit == Some(Exit::Code(0)));
            "SIGTERM"
        } else {
            ends.kills += usize::from(slot.kill().await);
            "SIGKILL"
        };
        watches.push(watch(&shared, fault, at, true).await);
    }
    for watch in watches {
        watch.await.expect("the measurement does not panic");
    }
    ends
}

/// Starts to measure the recovery of one service.
async fn watch(
    shared: &Rc<Shared>,
    fault: &'static str,
    at: usize,
    is_new: bool,
) -> JoinHandle<()> {
    let before = Recovery::done(&shared.fleet.slots[at], is_new).await;
    let shared = Rc::clone(shared);
    tokio::task::spawn_local(async move {
        let slot = &shared.fleet.slots[at];
        shared
            .recovery
            .watch(fault, slot, before, &shared.clients)
            .await;
    })
}

/// Runs the parts in order, until all events are finished.
async fn conduct(
    shared: &Rc<Shared>,
    endpoint: &mut Endpoint,
    tasks: &mut Vec<JoinHandle<()>>,
    random: &mut fastrand::Rng,
) -> anyhow::Result<Strikes> {
    let mut strikes = Strikes::new();
    for part in shared.plan.parts() {
        match part {
            Part::Faults(kinds, until) => {
                strike(shared, endpoint, &kinds, until, random, &mut strikes).await;
            }
            Part::Outage(outage, length) => {
                progress(&format!("{}: {} s", outage.name(), length.as_secs()));
                shared.recovery.outage_begins();
                begin(outage, endpoint).await?;
                tokio::time::sleep(length).await;
                end(outage, endpoint).await;
                shared.recovery.outage_ends();
                *strikes.entry(outage.name()).or_default() += 1;
                for at in 0..shared.fleet.slots.len() {
                    tasks.push(watch(shared, outage.name(), at, false).await);
                }
            }
        }
    }
    shared.clients.reach(usize::MAX).await;
    Ok(strikes)
}

/// Injects these kinds of faults until `until` events are finished and one of the faults has struck.
async fn strike(
    shared: &Shared,
    endpoint: &Endpoint,
    kinds: &[Kind],
    until: usize,
    random: &mut fastrand::Rng,
    strikes: &mut Strikes,
) {
    let (mut rules, mut owners) = (Vec::new(), Vec::new());
    for kind in kinds {
        let of_kind = kind.rules(shared.plan.rate);
        owners.extend(std::iter::repeat_n(kind.name(), of_kind.len()));
        rules.extend(of_kind);
    }
    sow(&mut rules, random);
    let names = if let [one] = kinds {
        one.name()
    } else {
        "all together"
    };
    progress(&format!("{names}, until {until} events are finished"));
    endpoint.inject(Value::Array(rules)).await;
    let mut until = until;
    let injected = loop {
        shared.clients.reach(until).await;
        let injected = endpoint.injected().await;
        if injected.iter().any(|count| *count > 0) || until >= shared.plan.messages {
            break injected;
        }
        // No fault has struck: the part has tested nothing yet.
        until = (until + MORE_EVENTS).min(shared.plan.messages);
    };
    for (name, count) in owners.into_iter().zip(injected) {
        *strikes.entry(name).or_default() += count;
    }
}

async fn begin(outage: Outage, endpoint: &mut Endpoint) -> anyhow::Result<()> {
    endpoint.inject(Value::Array(Vec::new())).await;
    match outage {
        Outage::Frozen => endpoint.process.freeze().await,
        Outage::Killed => endpoint.process.kill(),
        Outage::NoParameters => endpoint.inject(Value::Array(no_parameters())).await,
        Outage::ExpiredCredentials => endpoint.inject(Value::Array(expired_credentials())).await,
        Outage::FullDisk => fill_disk(endpoint)?,
    }
    Ok(())
}

async fn end(outage: Outage, endpoint: &mut Endpoint) {
    match outage {
        Outage::Frozen => endpoint.process.resume(),
        Outage::Killed => endpoint.start_again().await,
        Outage::NoParameters | Outage::ExpiredCredentials => {
            endpoint.inject(Value::Array(Vec::new())).await;
        }
        Outage::FullDisk => {
            endpoint.process.kill();
            endpoint.start_again().await;
        }
    }
}
