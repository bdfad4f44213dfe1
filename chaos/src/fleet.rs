//! The processes under test: several producers and consumers of the pool, and the services of each silo.
//!
//! Each process has ports of its own. The fleet kills and restarts processes as a kubelet would, and never reads the items
//! that they store.

use std::cell::{Cell, RefCell};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;
use std::time::Duration;

use futures_util::future::join_all;
use kit::http::Request;
use kit::metrics::Metrics;
use kit::process::{Exit, Process, fixed_port};
use kit::service::{QUIET_LOG, Service, command};
use kit::wait::until;
use tokio::sync::Mutex;

use crate::side::Side;
use crate::tenants::{POOL, TenantSet};

/// Replicas of the pool's producer, and of its consumer.
const POOL_REPLICAS: usize = 2;
/// Time limit from SIGTERM to the end of a service: its grace period and a margin.
const END_TIMEOUT: Duration = Duration::from_secs(30);
/// Time limit until a service is ready.
const READY_TIMEOUT: Duration = Duration::from_secs(60);

/// Age at which a registration is read again: often, so that the registry meets every fault.
pub const REGISTRY_REFRESH: Duration = Duration::from_secs(5);

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Role {
    Producer,
    Consumer,
}

impl Role {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Producer => "producer",
            Self::Consumer => "consumer",
        }
    }
}

/// A slot of the fleet: its service restarts, its addresses stay.
pub struct Slot {
    pub role: Role,
    /// Index of its environment in the tenant set.
    pub environment: usize,
    pub address: SocketAddr,
    /// Events that this producer accepted.
    pub accepted: Cell<u64>,
    admin: SocketAddr,
    name: String,
    url: String,
    side: Side,
    visibility_seconds: u64,
    /// Whether its service should run.
    is_needed: Cell<bool>,
    /// Held while its service starts or ends.
    lifecycle: Mutex<()>,
    running: RefCell<Option<Service>>,
}

pub struct Fleet {
    /// The slots, in a fixed order.
    pub slots: Vec<Slot>,
}

impl Fleet {
    /// Starts a service in every slot, over the endpoint at this URL, and waits until all are ready.
    pub async fn start(
        tenant_set: &TenantSet,
        side: Side,
        url: &str,
        visibility_seconds: u64,
    ) -> Self {
        let mut slots = Vec::new();
        for (environment, name) in tenant_set.environments.iter().enumerate() {
            let is_needed = |role: Role| {
                tenant_set.tenants.iter().any(|tenant| match role {
                    Role::Producer => tenant.home.producer == environment,
                    Role::Consumer => tenant.home.consumer == environment,
                })
            };
            let replicas = if environment == POOL {
                POOL_REPLICAS
            } else {
                1
            };
            // A tenant that moves may need each service later.
            for role in [Role::Producer, Role::Consumer]
                .into_iter()
                .flat_map(|role| std::iter::repeat_n(role, replicas))
            {
                slots.push(Slot {
                    visibility_seconds,
                    is_needed: Cell::new(is_needed(role)),
                    ..Slot::new(role, environment, name, side, url)
                });
            }
        }
        let fleet = Self { slots };
        join_all(fleet.needed().map(|(_, slot)| slot.start())).await;
        join_all(fleet.needed().map(|(_, slot)| slot.ready())).await;
        fleet
    }

    /// The slots whose service should run, with their indices.
    pub fn needed(&self) -> impl Iterator<Item = (usize, &Slot)> {
        self.slots
            .iter()
            .enumerate()
            .filter(|(_, slot)| slot.is_needed.get())
    }

    /// The slots of one role in an environment.
    pub fn of(&self, environment: usize, role: Role) -> impl Iterator<Item = &Slot> {
        self.slots
            .iter()
            .filter(move |slot| slot.environment == environment && slot.role == role)
    }

    /// Slots of an environment's producers.
    pub fn producers(&self, environment: usize) -> Vec<usize> {
        let is_producer =
            |slot: &Slot| slot.role == Role::Producer && slot.environment == environment;
        (0..self.slots.len())
            .filter(|index| is_producer(&self.slots[*index]))
            .collect()
    }

    /// Ends every service with SIGTERM; returns how each ended.
    pub async fn stop(&self) -> Vec<Exit> {
        let exits = join_all(self.slots.iter().map(Slot::end)).await;
        exits.into_iter().flatten().collect()
    }
}

impl Slot {
    fn new(role: Role, environment: usize, name: &str, side: Side, url: &str) -> Self {
        let port = || SocketAddr::from((Ipv4Addr::LOCALHOST, fixed_port()));
        Self {
            role,
            environment,
            address: port(),
            accepted: Cell::new(0),
            admin: port(),
            name: name.to_owned(),
            url: url.to_owned(),
            side,
            visibility_seconds: 0,
            is_needed: Cell::new(true),
            lifecycle: Mutex::default(),
            running: RefCell::default(),
        }
    }

    /// The name in messages.
    pub fn label(&self) -> String {
        format!("{} of {}", self.role.name(), self.name)
    }

    fn command(&self) -> Command {
        let mut command = match self.side {
            Side::Ours => command(self.role.name(), &self.name, &self.url),
            Side::Reference(acknowledge) => {
                let mut command = command("chaos", &self.name, &self.url);
                command.args([
                    "reference",
                    self.role.name(),
                    "--acknowledge",
                    acknowledge.name(),
                ]);
                command
            }
        };
        command.envs([QUIET_LOG]);
        command.env(
            "REGISTRY_REFRESH_SECONDS",
            REGISTRY_REFRESH.as_secs().to_string(),
        );
        command.env("VISIBILITY_SECONDS", self.visibility_seconds.to_string());
        command.env("PORT", self.address.port().to_string());
        command.env("ADMIN_PORT", self.admin.port().to_string());
        command
    }

    /// Starts the service and waits until it listens.
    pub async fn start(&self) {
        let process = Process::start(&self.label(), self.command());
        let service = Service::of(self.role.name(), process).await;
        self.running.replace(Some(service));
    }

    async fn ready(&self) {
        let probe = Request::get(&format!("/{}/readiness-probe", self.role.name()));
        until(
            &format!("the {} is ready", self.label()),
            READY_TIMEOUT,
            async || {
                probe
                    .send(self.address)
                    .await
                    .is_ok_and(|answer| answer.status == 200)
            },
        )
        .await;
    }

    /// Starts the service of a tenant that moves in.
    pub async fn need(&self) {
        let _changing = self.lifecycle.lock().await;
        self.is_needed.set(true);
        if self.running.borrow().is_none() {
            self.start().await;
        }
    }

    /// Ends the service of a tenant that has moved out; returns how it ended.
    pub async fn dismiss(&self) -> Option<Exit> {
        let _changing = self.lifecycle.lock().await;
        self.is_needed.set(false);
        self.end().await
    }

    /// Ends the service with SIGKILL and starts it again; returns whether it ran.
    pub async fn kill(&self) -> bool {
        let _changing = self.lifecycle.lock().await;
        let Some(mut service) = self.running.take() else {
            return false;
        };
        service.process.kill();
        self.start().await;
        true
    }

    /// Ends the service with SIGTERM and starts it again; returns how it ended.
    pub async fn replace(&self) -> Option<Exit> {
        let _changing = self.lifecycle.lock().await;
        let exit = self.end().await?;
        self.start().await;
        Some(exit)
    }

    async fn end(&self) -> Option<Exit> {
        let mut service = self.running.take()?;
        service.process.signal("TERM");
        Some(service.process.exit(END_TIMEOUT).await)
    }

    /// Events accepted or items stored since the start; none if the service does not answer.
    pub async fn done(&self) -> Option<u64> {
        if self.role == Role::Producer {
            return Some(self.accepted.get());
        }
        let answer = Request::get("/metrics").send(self.admin).await.ok()?;
        Some(Metrics::new(answer.text()).sum("stored_total", &[]) as u64)
    }
}
