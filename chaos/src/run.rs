//! `chaos run`: clients post while faults are injected, services are killed and tenants move; at the end the checker counts.

use std::collections::BTreeMap;
use std::rc::Rc;

use kit::endpoint::Endpoint;
use kit::process::Exit;
use serde_json::Value;
use tokio::task::{JoinHandle, LocalSet};
use tokio::time::Instant;

use crate::checker::check;
use crate::clients::{Clients, Route};
use crate::faults::{Kind, expired_credentials, no_parameters, seed_rules};
use crate::fleet::Fleet;
use crate::installation::{Installation, fill_disk};
use crate::moves::{Moved, move_repeatedly, mover};
use crate::plan::{Outage, Part, Plan};
use crate::recovery::Recovery;
use crate::report::{Report, progress};
use crate::side::Side;
use crate::tenants::{Homes, TenantSet};

/// Further events for a part none of whose faults has been injected yet.
const MORE_EVENTS: usize = 10;

/// State that the tasks of a run share.
pub(crate) struct Shared {
    plan: Plan,
    pub(crate) tenant_set: TenantSet,
    pub(crate) homes: Homes,
    pub(crate) fleet: Fleet,
    pub(crate) clients: Clients,
    recovery: Recovery,
}

/// Injected faults, by name.
type InjectedCounts = BTreeMap<&'static str, u64>;

/// Services that were stopped.
#[derive(Debug, Clone, Copy, Default)]
struct StopCounts {
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
    LocalSet::new().run_until(run_plan(plan, side, seed)).await
}

async fn run_plan(plan: Plan, side: Side, seed: u64) -> anyhow::Result<Report> {
    let began = Instant::now();
    let mut rng = fastrand::Rng::with_seed(seed);
    let folder = tempfile::tempdir()?;
    let mut endpoint = Endpoint::kept(folder.path().to_owned()).await;
    let mut tenant_set = TenantSet::of(plan.tenants.into());
    let movers = if plan.moves > 0 {
        tenant_set.movers()
    } else {
        Vec::new()
    };
    let installation = Rc::new(Installation::create(&tenant_set, &endpoint).await);
    let fleet = Fleet::start(&tenant_set, side, &endpoint.url(), plan.visibility_seconds).await;
    progress(&format!(
        "{} services are ready, seed {seed}",
        fleet.needed().count()
    ));
    let clients = Clients::new(plan.events);
    let shared = Rc::new(Shared {
        plan,
        homes: Homes::of(&tenant_set),
        tenant_set,
        fleet,
        clients,
        recovery: Recovery::default(),
    });

    let mut tasks = start_clients(&shared, &mut rng);
    let stopping = tokio::task::spawn_local(stop_services(Rc::clone(&shared), rng.fork()));
    let moving = start_moves(&shared, &installation, &endpoint, &movers, &mut rng);
    let injected_counts = run_parts(&shared, &mut endpoint, &mut tasks, &mut rng).await?;
    endpoint.inject(Value::Array(Vec::new())).await;
    let posted = began.elapsed();
    for task in tasks {
        task.await?;
    }
    let stop_counts = stopping.await?;
    let mut moved = Moved::default();
    for task in moving {
        moved.extend(task.await?);
    }

    progress("waiting for the queues");
    let first = installation.drained().await;
    if first.dead_lettered > 0 {
        installation.redrive().await?;
    }
    let left = installation.drained().await;
    let sent = shared.clients.sent(&shared.tenant_set, &shared.homes);
    let verdict = check(&sent, &installation.found().await);
    let mut exits = shared.fleet.stop().await;
    exits.append(&mut moved.exits);
    let clean = exits.iter().filter(|exit| **exit == Exit::Code(0)).count();
    Ok(Report {
        seed,
        services: exits.len(),
        tiers: ["basic", "advanced", "premium"].map(|tier| shared.tenant_set.of_tier(tier)),
        verdict,
        contradicted: shared.clients.contradicted(),
        statuses: shared.clients.statuses(),
        unanswered: shared.clients.unanswered(),
        dead_lettered: first.dead_lettered,
        left,
        injected: injected_counts,
        kills: stop_counts.kills,
        terminations: stop_counts.terminations + exits.len(),
        clean: stop_counts.clean + clean,
        moved,
        recovery: shared.recovery.longest(),
        posted,
        took: began.elapsed(),
    })
}

fn start_clients(shared: &Rc<Shared>, rng: &mut fastrand::Rng) -> Vec<JoinHandle<()>> {
    let mut tasks = Vec::new();
    for tenant in 0..shared.tenant_set.tenants.len() {
        for _ in 0..shared.plan.clients {
            let (shared, rng) = (Rc::clone(shared), rng.fork());
            tasks.push(tokio::task::spawn_local(async move {
                let route = Route {
                    tenant: &shared.tenant_set.tenants[tenant],
                    homes: &shared.homes,
                    index: tenant,
                };
                shared.clients.run(&shared.fleet, route, rng).await;
            }));
        }
    }
    tasks
}

/// Distributes the moves over the movers, which move at the same time.
fn start_moves(
    shared: &Rc<Shared>,
    installation: &Rc<Installation>,
    endpoint: &Endpoint,
    movers: &[usize],
    rng: &mut fastrand::Rng,
) -> Vec<JoinHandle<Moved>> {
    let mover = mover(&endpoint.url());
    let start = |(first, tenant): (usize, &usize)| {
        let times = shared.plan.move_times().skip(first).step_by(movers.len());
        let (times, tenant, rng) = (times.collect(), *tenant, rng.fork());
        let (shared, installation, mover) =
            (Rc::clone(shared), Rc::clone(installation), mover.clone());
        tokio::task::spawn_local(async move {
            let moves = move_repeatedly(&shared, &installation, &mover, tenant, times, rng);
            Box::pin(moves).await
        })
    };
    movers.iter().enumerate().map(start).collect()
}

/// Stops services at random, one after the other, while clients post, and starts them again.
async fn stop_services(shared: Rc<Shared>, mut rng: fastrand::Rng) -> StopCounts {
    let (mut stop_counts, mut watches) = (StopCounts::default(), Vec::new());
    for (after, is_sigterm) in shared.plan.stops() {
        shared.clients.reach(after).await;
        // A service whose tenant moves out may end before the signal; then another service is chosen.
        let (slot_index, fault) = loop {
            let needed: Vec<_> = shared.fleet.needed().map(|(index, _)| index).collect();
            let slot_index = *rng.choice(&needed).expect("the pool's services always run");
            let slot = &shared.fleet.slots[slot_index];
            if !is_sigterm && slot.kill().await {
                stop_counts.kills += 1;
                break (slot_index, "SIGKILL");
            }
            if is_sigterm && let Some(exit) = slot.replace().await {
                stop_counts.terminations += 1;
                stop_counts.clean += usize::from(exit == Exit::Code(0));
                break (slot_index, "SIGTERM");
            }
            tokio::task::yield_now().await;
        };
        watches.push(watch(&shared, fault, slot_index, true).await);
    }
    for watch in watches {
        watch.await.expect("the measurement does not panic");
    }
    stop_counts
}

/// Starts to measure the recovery of one service.
async fn watch(
    shared: &Rc<Shared>,
    fault: &'static str,
    slot_index: usize,
    is_new: bool,
) -> JoinHandle<()> {
    let before = Recovery::done(&shared.fleet.slots[slot_index], is_new).await;
    let shared = Rc::clone(shared);
    tokio::task::spawn_local(async move {
        let slot = &shared.fleet.slots[slot_index];
        shared
            .recovery
            .watch(fault, slot, before, &shared.clients)
            .await;
    })
}

/// Runs the parts in order, until all events are finished.
async fn run_parts(
    shared: &Rc<Shared>,
    endpoint: &mut Endpoint,
    tasks: &mut Vec<JoinHandle<()>>,
    rng: &mut fastrand::Rng,
) -> anyhow::Result<InjectedCounts> {
    let mut injected_counts = InjectedCounts::new();
    for part in shared.plan.parts() {
        match part {
            Part::Faults(kinds, until) => {
                inject_kinds(shared, endpoint, &kinds, until, rng, &mut injected_counts).await;
            }
            Part::Outage(outage, length) => {
                progress(&format!("{}: {} s", outage.name(), length.as_secs()));
                shared.recovery.outage_begins();
                begin(outage, endpoint).await?;
                tokio::time::sleep(length).await;
                end(outage, endpoint).await;
                shared.recovery.outage_ends();
                *injected_counts.entry(outage.name()).or_default() += 1;
                let needed: Vec<_> = shared.fleet.needed().map(|(index, _)| index).collect();
                for slot_index in needed {
                    tasks.push(watch(shared, outage.name(), slot_index, false).await);
                }
            }
        }
    }
    shared.clients.reach(usize::MAX).await;
    Ok(injected_counts)
}

/// Injects these kinds of faults until `until` events are finished and at least one call has failed by them.
async fn inject_kinds(
    shared: &Shared,
    endpoint: &Endpoint,
    kinds: &[Kind],
    until: usize,
    rng: &mut fastrand::Rng,
    injected_counts: &mut InjectedCounts,
) {
    let (mut rules, mut owners) = (Vec::new(), Vec::new());
    for kind in kinds {
        let of_kind = kind.rules(shared.plan.rate);
        owners.extend(std::iter::repeat_n(kind.name(), of_kind.len()));
        rules.extend(of_kind);
    }
    seed_rules(&mut rules, rng);
    let names = if let [kind] = kinds {
        kind.name()
    } else {
        "all together"
    };
    progress(&format!("{names}, until {until} events are finished"));
    endpoint.inject(Value::Array(rules)).await;
    let mut until = until;
    let injected = loop {
        shared.clients.reach(until).await;
        let injected = endpoint.injected().await;
        if injected.iter().any(|count| *count > 0) || until >= shared.plan.events {
            break injected;
        }
        // No fault was injected: the part has tested nothing yet.
        until = (until + MORE_EVENTS).min(shared.plan.events);
    };
    for (name, count) in owners.into_iter().zip(injected) {
        *injected_counts.entry(name).or_default() += count;
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
