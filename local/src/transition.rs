//! Transitions: changes of one tenant that take a while, each on its own task. One tenant's move holds up no other tenant.
//!
//! A move changes the home of a tenant's data; the order of its steps is in [`tenantctl::data::moves`]. A tenant that leaves
//! loses its routes first, and its consumer ends once its queue is empty. A transition that fails or crashes starts over:
//! the parameters say where the data is registered, and which move is unfinished.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use tenantctl::data::copy::is_outbox_empty;
use tenantctl::data::moves::{Change, Finished, Relocation};
use tenantry_registry::Status;
use tenantry_tenancy::environment::Environment;
use tenantry_tenancy::tenant::{TenantId, Tier};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::journal::Journal;
use crate::names::{WITH_DATA, consumer_home, payments_home};
use crate::plane::{Plane, ReconcileError};
use crate::provision::Registered;
use crate::topology::{App, TenantSpec};

/// Pause before a transition starts over.
pub(crate) const RETRY_AFTER: Duration = Duration::from_secs(2);
/// Pause between two counts of an outbox.
const OUTBOX_PAUSE: Duration = Duration::from_millis(500);

/// Steps of a move, as the console and `GET /operations/{id}` show them.
mod step {
    pub(super) const INTERRUPTED: &str = "an interrupted move is finished first";
    pub(super) const COPY: &str = "moving, step 1 of 5: its items are copied";
    pub(super) const PAYMENTS: &str = "moving, step 2 of 5: its payments are copied, once every service knows that they must wait";
    pub(super) const SWITCH: &str = "moving, step 3 of 5: its routes lead to the new apps, and every service learns where its data is";
    pub(super) const DRAIN: &str = "moving, step 4 of 5: its former queue is emptied";
    pub(super) const LATE: &str =
        "moving, step 5 of 5: what came late is moved, and its former apps end";
}

/// The environments that data may be in.
pub(crate) type Owners = BTreeSet<Environment>;

/// What a transition does.
#[derive(Debug, Clone)]
pub(crate) enum Work {
    /// Moves the tenant's data to the homes of its release.
    Move {
        tenant: TenantSpec,
        tier: Tier,
        status: Status,
    },
    /// Ends the apps of a tenant that is no longer served; its data stays.
    Leave(TenantId),
    /// Ends the consumer of an environment.
    EndConsumer(Environment),
}

impl Work {
    /// The environment whose apps the transition starts and ends.
    pub(crate) fn environment(&self) -> Environment {
        match self {
            Self::Move { tenant, .. } => tenant.silo(),
            Self::Leave(tenant) => Environment::Silo(tenant.clone()),
            Self::EndConsumer(environment) => environment.clone(),
        }
    }

    /// What the transition does first.
    const fn first_step(&self) -> &'static str {
        match self {
            Self::Move { .. } => "its apps are started and ended as its release says",
            Self::Leave(_) | Self::EndConsumer(_) => "its consumer empties the queue, then ends",
        }
    }

    /// The tenant that loses its routes before the transition begins.
    pub(crate) const fn unrouted(&self) -> Option<&TenantId> {
        match self {
            Self::Leave(tenant) => Some(tenant),
            Self::Move { .. } | Self::EndConsumer(_) => None,
        }
    }
}

/// Running transitions, by the environment whose apps they start and end.
pub(crate) struct Transitions {
    running: BTreeMap<Environment, Running>,
    shutdown: CancellationToken,
}

struct Running {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Transitions {
    pub(crate) const fn new(shutdown: CancellationToken) -> Self {
        Self {
            running: BTreeMap::new(),
            shutdown,
        }
    }

    /// Whether a transition decides about the environment's apps.
    pub(crate) fn owns(&self, environment: &Environment) -> bool {
        let running = self.running.get(environment);
        running.is_some_and(|running| !running.task.is_finished())
    }

    /// Starts a transition, which starts over until it succeeds.
    pub(crate) fn begin(&mut self, plane: &Plane, pools: &Owners, work: Work) {
        let environment = work.environment();
        let stop = self.shutdown.child_token();
        let (plane, until) = (plane.clone(), stop.clone());
        let mut owners = pools.clone();
        owners.insert(environment.clone());
        plane.board().moving(&environment, work.first_step());
        let of = environment.clone();
        let task = tokio::spawn(async move {
            let work = repeat(&plane, &owners, &work);
            // A transition that is ended early is followed by another one, or by a restart.
            if until.run_until_cancelled(work).await.is_some() {
                plane.board().moved(&of);
            }
        });
        self.running.insert(environment, Running { stop, task });
    }

    /// Ends the environment's transition where it is.
    pub(crate) async fn end(&mut self, environment: &Environment) {
        if let Some(Running { stop, task }) = self.running.remove(environment) {
            stop.cancel();
            // A panic of the task was logged when it happened.
            let _ = task.await;
        }
    }

    /// Ends all transitions where they are.
    pub(crate) async fn end_all(&mut self) {
        while let Some(environment) = self.running.keys().next().cloned() {
            self.end(&environment).await;
        }
    }
}

async fn repeat(plane: &Plane, owners: &Owners, work: &Work) {
    loop {
        let done = match work {
            Work::Move {
                tenant,
                tier,
                status,
            } => Box::pin(relocate(plane, owners, tenant, *tier, *status)).await,
            Work::Leave(tenant) => Box::pin(leave(plane, owners, tenant)).await,
            Work::EndConsumer(environment) => plane.end_consumer(environment).await,
        };
        let Err(error) = done else { return };
        tracing::error!(?work, %error, "transition failed, will retry");
        tokio::time::sleep(RETRY_AFTER).await;
    }
}

/// Returns the app's former and new environment where its data has to move.
pub(crate) fn changes(
    tenant: &TenantSpec,
    registered: &Registered,
) -> BTreeMap<App, (Environment, Environment)> {
    let change = |app| {
        let (from, to) = (registered.homes.get(&app)?, tenant.environment_of(app)?);
        (from != to).then(|| (app, (from.clone(), to.clone())))
    };
    WITH_DATA.into_iter().filter_map(change).collect()
}

/// Moves a tenant's data to the homes of its release.
async fn relocate(
    plane: &Plane,
    owners: &Owners,
    tenant: &TenantSpec,
    tier: Tier,
    status: Status,
) -> Result<(), ReconcileError> {
    let (provisioner, mover, id) = (plane.provisioner(), plane.mover(), &tenant.id);
    let silo = tenant.silo();
    let begin = |step| plane.board().moving(&silo, step);
    let started = Instant::now();
    let registered = provisioner.registered(id, owners).await?;
    plane.serve(&tenant.with_homes(&registered.homes)).await?;
    if let Some(journal) = &registered.unfinished {
        tracing::info!(tenant_id = %id, %journal, "unfinished move found");
        begin(step::INTERRUPTED);
        mover.wait_until_known(&nothing(id)).await?;
        finish(plane, id, journal, &registered.homes).await?;
        provisioner.end_move(id).await?;
    }
    let changes = changes(tenant, &registered);
    if !changes.is_empty() {
        let journal = Journal {
            changes,
            leave_data: tenant.leave_data,
        };
        let relocation = relocation(id, &journal);
        tracing::info!(tenant_id = %id, %journal, "move started");
        begin(step::COPY);
        provisioner.create_silo(tenant).await?;
        provisioner.begin_move(id, &journal).await?;
        mover.copy(&relocation).await?;
        if relocation.payments.is_some() {
            begin(step::PAYMENTS);
            // A suspended tenant writes no payments, either.
            let hold = match status {
                Status::Suspended => Status::Suspended,
                Status::Active | Status::Moving => Status::Moving,
            };
            provisioner.put_status_in_move(id, hold).await?;
            mover.wait_until_known(&relocation).await?;
            mover.copy_payments(&relocation).await?;
        }
        begin(step::SWITCH);
        if let Some((former, _)) = journal.changes.get(&App::Consumer) {
            provisioner.put_moved_from(id, former).await?;
        }
        provisioner.register(tenant, tier).await?;
        // A former silo lists events until all of them are copied.
        let listing = journal.changes.get(&App::Consumer);
        let listing = listing.filter(|(former, _)| *former == silo);
        let listing = listing.map(|(former, _)| (App::Consumer, former.clone()));
        plane
            .serve(&tenant.with_homes(&listing.into_iter().collect()))
            .await?;
        provisioner.put_status_in_move(id, status).await?;
        mover.wait_until_known(&relocation).await?;
        begin(step::DRAIN);
        mover.drain(&relocation).await?;
        mover.copy(&relocation).await?;
        begin(step::LATE);
        plane.serve(tenant).await?;
        let mut finished = finish(plane, id, &journal, &homes_of(tenant)).await?;
        finished.add(mover.finish_late(&relocation).await?);
        provisioner.end_move(id).await?;
        let Finished {
            forwarded,
            dead_letters,
            events,
            payments,
        } = finished;
        tracing::info!(tenant_id = %id, %journal, forwarded, dead_letters, events = events.moved, payments = payments.moved,
            seconds = started.elapsed().as_secs(), "move finished");
    }
    provisioner.register(tenant, tier).await?;
    provisioner.put_status(id, status).await?;
    plane.serve(tenant).await
}

/// Ends the apps of a tenant whose routes are gone, after everything that it was promised is stored.
async fn leave(plane: &Plane, owners: &Owners, id: &TenantId) -> Result<(), ReconcileError> {
    let (provisioner, mover) = (plane.provisioner(), plane.mover());
    let silo = Environment::Silo(id.clone());
    let registered = provisioner.registered(id, owners).await?;
    let stop = async |app| plane.environments().stop(&(silo.clone(), app)).await;
    let was_served = !plane.running_in(&silo).is_empty();
    stop(App::Producer).await;
    if was_served || registered.unfinished.is_some() {
        mover.wait_until_known(&nothing(id)).await?;
    }
    if let Some(journal) = &registered.unfinished {
        finish(plane, id, journal, &registered.homes).await?;
        provisioner.end_move(id).await?;
    }
    if let Some(payments) = registered.homes.get(&App::Payments) {
        let table = payments_home(payments);
        while !is_outbox_empty(&mover.clients, id, &table).await? {
            plane
                .start(&[(payments.clone(), App::Payments)].into())
                .await?;
            tokio::time::sleep(OUTBOX_PAUSE).await;
        }
    }
    stop(App::Payments).await;
    if registered.homes.get(&App::Consumer) == Some(&silo) {
        plane.end_consumer(&silo).await?;
    } else {
        stop(App::Consumer).await;
    }
    Ok(())
}

/// Leaves the data of a move in the registered homes alone.
async fn finish(
    plane: &Plane,
    id: &TenantId,
    journal: &Journal,
    homes: &BTreeMap<App, Environment>,
) -> Result<Finished, ReconcileError> {
    let mut total = Finished::default();
    for (app, (from, to)) in &journal.changes {
        let Some(home) = homes.get(app) else {
            let reason = format!("the home of {} of {id} is not registered", app.as_str());
            return Err(ReconcileError::Environment(reason));
        };
        for other in [from, to].into_iter().filter(|other| *other != home) {
            let journal = Journal {
                changes: [(*app, (other.clone(), home.clone()))].into(),
                leave_data: journal.leave_data,
            };
            let finished = plane.mover().finish(&relocation(id, &journal)).await?;
            total.add(finished);
            let is_empty = finished.is_whole() && !journal.leave_data;
            if is_empty && matches!(other, Environment::Silo(_)) {
                // Without the queue, no late request can be answered 200 and lie there.
                plane.provisioner().delete_resources(other, *app).await?;
            }
        }
    }
    Ok(total)
}

fn relocation(id: &TenantId, journal: &Journal) -> Relocation {
    let consumer = journal.changes.get(&App::Consumer);
    let payments = journal.changes.get(&App::Payments);
    Relocation {
        tenant: id.clone(),
        consumer: consumer.map(|(from, to)| Change {
            from: consumer_home(from),
            to: consumer_home(to),
        }),
        payments: payments.map(|(from, to)| Change {
            from: payments_home(from),
            to: payments_home(to),
        }),
        leave_data: journal.leave_data,
        has_own_queue: consumer.is_some_and(|(from, _)| matches!(from, Environment::Silo(_))),
    }
}

/// A relocation of nothing, for a wait.
fn nothing(id: &TenantId) -> Relocation {
    relocation(id, &Journal::default())
}

fn homes_of(tenant: &TenantSpec) -> BTreeMap<App, Environment> {
    let home = |app| Some((app, tenant.environment_of(app)?.clone()));
    WITH_DATA.into_iter().filter_map(home).collect()
}
