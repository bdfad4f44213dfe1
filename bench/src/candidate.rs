//! What is measured: our services and what they are compared with, each over a stub of its own.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail};

use crate::load::{Request, ask};
use crate::peers;
use crate::process::{Child, Usage, clean, free_port, own_binary, wait_until_open};
use crate::report::progress;
pub(crate) use crate::side::Side;
use crate::stub::{ENVIRONMENT, REGION, Stub, TENANT};

/// What cargo has to be told to build what is measured. This crate is named, too, so that all are built with the same
/// features of their dependencies, once.
const BUILD: [&str; 10] = [
    "build",
    "--release",
    "-p",
    "producer",
    "-p",
    "consumer",
    "-p",
    "payments",
    "-p",
    "bench",
];

/// Which service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// HTTP to queue.
    Producer,
    /// Queue to table.
    Consumer,
    /// HTTP to table and queue; ours alone.
    Payments,
}

/// A program under test with its stub.
pub(crate) struct Candidate {
    /// Whose it is.
    pub(crate) side: Side,
    /// Its endpoint.
    pub(crate) stub: Stub,
    /// Where it serves HTTP, if it does.
    pub(crate) address: SocketAddr,
    process: Child,
}

/// Where our release binaries are.
#[derive(Debug, Clone)]
pub(crate) struct Binaries(PathBuf);

impl Role {
    const fn name(self) -> &'static str {
        match self {
            Self::Producer => "producer",
            Self::Consumer => "consumer",
            Self::Payments => "payments",
        }
    }
}

impl Binaries {
    /// In this folder as they are; else beside this program, brought up to date where cargo runs it.
    pub(crate) fn find(folder: Option<PathBuf>) -> anyhow::Result<Self> {
        let found = match folder {
            Some(folder) => Self(folder),
            None => {
                build()?;
                Self(
                    own_binary()?
                        .parent()
                        .map(Path::to_owned)
                        .context("the folder of this program")?,
                )
            }
        };
        found.path("producer")?;
        found.path("consumer")?;
        found.path("payments")?;
        Ok(found)
    }

    /// One of them.
    fn path(&self, name: &str) -> anyhow::Result<PathBuf> {
        let path = self.0.join(name);
        if path.is_file() {
            Ok(path)
        } else {
            bail!(
                "{} is missing; build it with: cargo {}",
                path.display(),
                BUILD.join(" ")
            )
        }
    }
}

/// Figures of yesterday's services would be worse than none.
fn build() -> anyhow::Result<()> {
    let Some(cargo) = std::env::var_os("CARGO") else {
        return Ok(());
    };
    progress(&format!("cargo {}", BUILD.join(" ")));
    let status = Command::new(cargo)
        .args(BUILD)
        .status()
        .context("cargo cannot be started")?;
    if status.success() {
        Ok(())
    } else {
        bail!("the services cannot be built")
    }
}

impl Candidate {
    /// Starts it over a new stub with this latency; it listens, or will consume.
    pub(crate) async fn start(
        side: Side,
        role: Role,
        latency_ms: u64,
        binaries: &Binaries,
    ) -> anyhow::Result<Self> {
        let stub = Stub::start(latency_ms).await?;
        let port = free_port()?;
        let process = Child::start(
            side.label(),
            program(side, role, &stub.url(), port, binaries)?,
        )?;
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        if side == Side::Ours || role == Role::Producer {
            wait_until_open(address)
                .await
                .with_context(|| format!("{} does not start", side.label()))?;
        }
        Ok(Self {
            side,
            stub,
            address,
            process,
        })
    }

    /// What it has used so far.
    pub(crate) fn usage(&self) -> anyhow::Result<Usage> {
        self.process.usage()
    }

    /// Sends one request that must be answered with 200: the first may have to wait for look-ups.
    pub(crate) async fn must_answer(&self, request: &Request) -> anyhow::Result<()> {
        ask(self.address, request)
            .await
            .map(drop)
            .with_context(|| format!("{} does not answer", self.side.label()))
    }
}

/// The command of a program over an endpoint, with every variable it takes: ours and the SDKs' own.
pub(crate) fn program(
    side: Side,
    role: Role,
    endpoint_url: &str,
    port: u16,
    binaries: &Binaries,
) -> anyhow::Result<Command> {
    let mut command = command(side, role, port, binaries)?;
    command.envs([
        ("ENVIRONMENT", ENVIRONMENT),
        ("PORT", &port.to_string()),
        ("ADMIN_PORT", &free_port()?.to_string()),
        ("BIND_ADDRESS", "127.0.0.1"),
        ("AWS_REGION", REGION),
        ("AWS_DEFAULT_REGION", REGION),
        ("AWS_ENDPOINT_URL", endpoint_url),
        ("AWS_ACCESS_KEY_ID", "bench"),
        ("AWS_SECRET_ACCESS_KEY", "bench"),
        ("AWS_EC2_METADATA_DISABLED", "true"),
        // Clients that never wait ask for all there is: what that is, and how late it comes, is what is measured.
        ("SHED_LATE_MILLIS", "0"),
    ]);
    Ok(command)
}

/// The POST of every measurement.
pub(crate) fn post_request() -> Request {
    Request::post(
        "/producer",
        TENANT,
        r#"{"order":7,"items":[{"sku":"A-100","quantity":2}]}"#,
    )
}

fn command(side: Side, role: Role, port: u16, binaries: &Binaries) -> anyhow::Result<Command> {
    let reference = |arguments: &[&str]| -> anyhow::Result<Command> {
        let mut command = clean(own_binary()?);
        command.arg("reference").args(arguments);
        Ok(command)
    };
    let port = port.to_string();
    match (side, role) {
        (Side::Ours, role) => Ok(clean(binaries.path(role.name())?)),
        (Side::OneCall, Role::Producer) => reference(&["producer", "--port", &port]),
        (Side::OneCall, Role::Consumer) => reference(&["consumer"]),
        (_, Role::Payments) => bail!("payments are compared with nothing"),
        (Side::Bare, _) => reference(&["bare", "--port", &port]),
        (Side::Node, role) => Ok(peers::node(role.name())),
        (Side::Python, role) => Ok(peers::python(role.name())),
    }
}
