//! The processes under test: several producers and consumers of the pool, one of each a silo has, each on ports of its
//! own, killed and started again as a kubelet would. It never looks at what they do.

use std::cell::{Cell, RefCell};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;
use std::time::Duration;

use futures_util::future::join_all;
use kit::http::Request;
use kit::metrics::Metrics;
use kit::process::{Exit, Process, fixed_port};
use kit::service::{Service, command};
use kit::wait::until;

use crate::side::Side;
use crate::tenants::{Cast, POOL};

/// Copies of the pool's producer, and of its consumer.
const POOL_REPLICAS: usize = 2;
/// Longest a service may take from SIGTERM to its end: its grace period and a little.
const END_TIMEOUT: Duration = Duration::from_secs(30);
/// Longest a service may take to be ready at the start.
const READY_TIMEOUT: Duration = Duration::from_secs(60);

/// What services are configured by, beside what every test's are: the registry is read often, so that it meets every
/// fault, and log lines, which this process would have to keep, are few.
const VARIABLES: [(&str, &str); 2] = [
    ("REGISTRY_REFRESH_SECONDS", "5"),
    ("LOG_LEVEL", "error,shared::service=info"),
];

/// What a service does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Role {
    /// Takes events.
    Producer,
    /// Stores them.
    Consumer,
}

impl Role {
    /// The name of its binary.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Producer => "producer",
            Self::Consumer => "consumer",
        }
    }
}

/// One place for a process: it may be empty for a moment.
pub struct Slot {
    /// What it does.
    pub role: Role,
    /// Its environment's place in the cast.
    pub environment: usize,
    /// Where it serves, whenever it runs.
    pub address: SocketAddr,
    /// How many events clients had accepted by it.
    pub accepted: Cell<u64>,
    admin: SocketAddr,
    name: String,
    url: String,
    side: Side,
    visibility_seconds: u64,
    running: RefCell<Option<Service>>,
}

/// All of them.
pub struct Fleet {
    /// The slots; their order does not change.
    pub slots: Vec<Slot>,
}

impl Fleet {
    /// Starts a service in every slot over the endpoint at this URL, and waits until all are ready.
    pub async fn start(cast: &Cast, side: Side, url: &str, visibility_seconds: u64) -> Self {
        let mut slots = Vec::new();
        for (environment, name) in cast.environments.iter().enumerate() {
            let is_premium = cast
                .tenants
                .iter()
                .any(|tenant| tenant.producer == environment);
            let replicas = if environment == POOL {
                POOL_REPLICAS
            } else {
                1
            };
            let roles = if is_premium {
                &[Role::Producer, Role::Consumer][..]
            } else {
                &[Role::Consumer]
            };
            for role in roles
                .iter()
                .flat_map(|role| std::iter::repeat_n(*role, replicas))
            {
                slots.push(Slot {
                    visibility_seconds,
                    ..Slot::new(role, environment, name, side, url)
                });
            }
        }
        join_all(slots.iter().map(Slot::start)).await;
        join_all(slots.iter().map(Slot::ready)).await;
        Self { slots }
    }

    /// The producers of an environment.
    pub fn producers(&self, environment: usize) -> Vec<usize> {
        let is_one = |slot: &Slot| slot.role == Role::Producer && slot.environment == environment;
        (0..self.slots.len())
            .filter(|at| is_one(&self.slots[*at]))
            .collect()
    }

    /// Ends all of them with SIGTERM; says how many ended as promised: in time, with 0.
    pub async fn stop(&self) -> usize {
        let exits = join_all(self.slots.iter().map(Slot::end)).await;
        exits
            .into_iter()
            .filter(|exit| *exit == Some(Exit::Code(0)))
            .count()
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
            running: RefCell::default(),
        }
    }

    /// What messages call it.
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
        command.envs(VARIABLES);
        command.env("VISIBILITY_SECONDS", self.visibility_seconds.to_string());
        command.env("PORT", self.address.port().to_string());
        command.env("ADMIN_PORT", self.admin.port().to_string());
        command
    }

    /// Starts its service; it listens then, and may not be ready.
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

    /// Ends its service with SIGKILL and starts another; says whether there was one to kill.
    pub async fn kill(&self) -> bool {
        let Some(mut service) = self.running.take() else {
            return false;
        };
        service.process.kill();
        self.start().await;
        true
    }

    /// Ends its service with SIGTERM and starts another; says how the old one ended.
    pub async fn replace(&self) -> Option<Exit> {
        let exit = self.end().await?;
        self.start().await;
        Some(exit)
    }

    async fn end(&self) -> Option<Exit> {
        let mut service = self.running.take()?;
        service.process.signal("TERM");
        Some(service.process.exit(END_TIMEOUT).await)
    }

    /// How much its service has done since it started; none where it does not tell.
    pub async fn done(&self) -> Option<u64> {
        if self.role == Role::Producer {
            return Some(self.accepted.get());
        }
        let answer = Request::get("/metrics").send(self.admin).await.ok()?;
        Some(Metrics::new(answer.text()).sum("stored_total", &[]) as u64)
    }
}
