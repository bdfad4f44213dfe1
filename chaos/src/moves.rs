//! Moves of tenants among all tiers while clients post: the steps that a reconciler takes, over the same faults.
//!
//! The driver plays the reconciler: it starts and ends the services of silos, writes the parameters and changes the routes.
//! The data is moved by `tenantctl`, step by step; a step that fails is repeated.

use std::time::Duration;

use kit::aws::REGION;
use kit::process::Exit;
use tenantctl::data::copy::Settled;
use tenantctl::data::moves::{Change, ConsumerHome, Finished, Mover, Relocation, Timing};
use tenantctl::data::{DataClients, DataError};
use tenantry_process::aws::AwsSettings;
use tokio::time::Instant;

use crate::fleet::{REGISTRY_REFRESH, Role};
use crate::installation::{ACCOUNT, Installation, arn};
use crate::report::progress;
use crate::run::Shared;
use crate::tenants::{Home, POOL, TIERS};

/// Pause before a failed step is repeated.
const RETRY_PAUSE: Duration = Duration::from_millis(500);
/// Longest time from a producer's look-up of a queue to its send.
const REQUEST: Duration = Duration::from_secs(5);
/// Age of a registration in use, at most, while some calls to Parameter Store fail.
const KNOWN_AFTER: Duration = REGISTRY_REFRESH.saturating_mul(3);
/// Longer than Parameter Store fails for one process alone.
const LATE: Duration = Duration::from_secs(15);
/// The embedded endpoint counts exactly.
const COUNT_PAUSE: Duration = Duration::from_millis(500);

/// The finished moves.
#[derive(Debug, Clone, Default)]
pub struct Moved {
    /// Time of each move.
    pub took: Vec<Duration>,
    /// Messages and items that moved.
    pub total: Finished,
    /// How the services of silos ended whose tenant had moved out.
    pub exits: Vec<Exit>,
}

impl Moved {
    pub fn extend(&mut self, other: Self) {
        self.took.extend(other.took);
        self.exits.extend(other.exits);
        self.total.add(other.total);
    }

    pub fn longest(&self) -> Duration {
        self.took.iter().max().copied().unwrap_or_default()
    }

    /// Items that are in the new tables now.
    pub const fn items(&self) -> usize {
        let Settled { moved, .. } = self.total.events;
        moved
    }
}

/// The mover over the endpoint at this URL.
pub fn mover(url: &str) -> Mover {
    Mover {
        clients: DataClients::new(&AwsSettings::for_endpoint(url, REGION)),
        timing: Timing {
            refresh: KNOWN_AFTER,
            request: REQUEST,
            count: COUNT_PAUSE,
            late: LATE,
        },
    }
}

/// Moves one tenant from tier to tier, each time after the given number of finished events.
pub(crate) async fn move_repeatedly(
    shared: &Shared,
    installation: &Installation,
    mover: &Mover,
    index: usize,
    times: Vec<usize>,
    mut rng: fastrand::Rng,
) -> Moved {
    let mut moved = Moved::default();
    for time in times {
        shared.clients.reach(time).await;
        let from = shared.homes.get(index).tier;
        let others: Vec<_> = TIERS.into_iter().filter(|tier| *tier != from).collect();
        let to = rng.choice(&others).copied().unwrap_or(from);
        let begun = Instant::now();
        let tenant = &shared.tenant_set.tenants[index];
        progress(&format!("{} moves from {from} to {to}", tenant.id));
        move_once(
            shared,
            installation,
            mover,
            index,
            tenant.home_in(to),
            &mut moved,
        )
        .await;
        let took = begun.elapsed();
        progress(&format!(
            "{} has moved to {to} in {:.0} s",
            tenant.id,
            took.as_secs_f64()
        ));
        moved.took.push(took);
    }
    moved
}

async fn move_once(
    shared: &Shared,
    installation: &Installation,
    mover: &Mover,
    index: usize,
    to: Home,
    moved: &mut Moved,
) {
    let (tenant, from) = (&shared.tenant_set.tenants[index], shared.homes.get(index));
    let is_new = from.consumer != to.consumer;
    let home = |environment: usize| installation.consumer_home(environment);
    let relocation = Relocation {
        tenant: tenant.id.parse().expect("the tenant set's ids are valid"),
        consumer: is_new.then(|| Change {
            from: home(from.consumer),
            to: home(to.consumer),
        }),
        payments: None,
        leave_data: false,
        has_own_queue: from.consumer != POOL,
    };
    repeated(async || mover.copy(&relocation).await).await;
    if let Some(Change { to: home, .. }) = &relocation.consumer {
        let former = &shared.tenant_set.environments[from.consumer];
        put(mover, &tenant.id, "moved_from", former).await;
        put(mover, &tenant.id, "consumer_ddb", home.table.as_str()).await;
        put(mover, &tenant.id, "consumer_sqs", home.queue.as_str()).await;
    }
    put(mover, &tenant.id, "tier", to.tier).await;
    for (environment, role) in [(to.consumer, Role::Consumer), (to.producer, Role::Producer)] {
        if environment != POOL {
            for slot in shared.fleet.of(environment, role) {
                slot.need().await;
            }
        }
    }
    shared.homes.set(index, to);
    dismiss(shared, (from.producer, to.producer), Role::Producer, moved).await;
    repeated(async || mover.wait_until_known(&relocation).await).await;
    repeated(async || mover.drain(&relocation).await).await;
    dismiss(shared, (from.consumer, to.consumer), Role::Consumer, moved).await;
    let finished = repeated(async || mover.finish(&relocation).await).await;
    moved.total.add(finished);
    let late = repeated(async || mover.finish_late(&relocation).await).await;
    moved.total.add(late);
}

/// Ends the services of a silo that its tenant has left.
async fn dismiss(shared: &Shared, (from, to): (usize, usize), role: Role, moved: &mut Moved) {
    if from != to && from != POOL {
        for slot in shared.fleet.of(from, role) {
            moved.exits.extend(slot.dismiss().await);
        }
    }
}

async fn put(mover: &Mover, tenant: &str, name: &str, value: &str) {
    let name = format!("/{tenant}/{name}");
    let request = mover
        .clients
        .ssm
        .put_parameter()
        .name(name)
        .value(value)
        .r#type(aws_sdk_ssm::types::ParameterType::String)
        .overwrite(true);
    while request.clone().send().await.is_err() {
        tokio::time::sleep(RETRY_PAUSE).await;
    }
}

/// Repeats a step until it succeeds: faults and outages end.
async fn repeated<T>(step: impl AsyncFn() -> Result<T, DataError>) -> T {
    loop {
        match step().await {
            Ok(done) => return done,
            Err(error) => progress(&format!("a step of a move is repeated: {error}")),
        }
        tokio::time::sleep(RETRY_PAUSE).await;
    }
}

impl Installation {
    /// Queue and table of an environment's consumer.
    fn consumer_home(&self, environment: usize) -> ConsumerHome {
        let of = &self.resources[environment];
        let table = format!("arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/{}", of.table);
        ConsumerHome {
            queue: arn(&of.queue).parse().expect("the queue exists"),
            table: table.parse().expect("the table exists"),
        }
    }
}
