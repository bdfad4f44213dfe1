//! The programs under measurement: our services and their references, each over a stub of its own.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail};
use kit::http::Request;
use kit::process::fixed_port;

use crate::load::{ask, post};
use crate::peers;
use crate::process::{Child, Usage, command_with_clean_env, own_binary, wait_until_open};
use crate::report::progress;
pub(crate) use crate::side::Side;
use crate::stub::{ENVIRONMENT, REGION, Stub, TENANT};

/// Arguments for cargo. This crate is among the packages, so that dependencies are built once, with the same features.
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

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// HTTP to queue.
    Producer,
    /// Queue to table.
    Consumer,
    /// HTTP to table and queue; only ours.
    Payments,
}

/// A program under measurement, with its stub.
pub(crate) struct Candidate {
    pub(crate) side: Side,
    pub(crate) stub: Stub,
    /// Address of its HTTP server, if it has one.
    pub(crate) address: SocketAddr,
    process: Child,
}

/// The folder of our release binaries.
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
    /// Returns the binaries in this folder as they are. Without a folder, cargo builds the binaries in this program's folder
    /// first.
    pub(crate) fn find(folder: Option<PathBuf>) -> anyhow::Result<Self> {
        let found = match folder {
            Some(folder) => Self(folder),
            None => {
                build()?;
                Self(
                    own_binary()?
                        .parent()
                        .map(Path::to_owned)
                        .context("the program's path has no folder; pass --binaries FOLDER")?,
                )
            }
        };
        found.path("producer")?;
        found.path("consumer")?;
        found.path("payments")?;
        Ok(found)
    }

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

/// Builds our services, so that no figure is of an old build.
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
        bail!("the services cannot be built: cargo ended with {status}; see its output above")
    }
}

impl Candidate {
    /// Starts the program over a new stub with this latency, and waits until it listens.
    pub(crate) async fn start(
        side: Side,
        role: Role,
        latency_ms: u64,
        binaries: &Binaries,
    ) -> anyhow::Result<Self> {
        let stub = Stub::start(latency_ms).await?;
        let port = fixed_port();
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

    pub(crate) fn usage(&self) -> anyhow::Result<Usage> {
        self.process.usage()
    }

    /// Sends one request, which must succeed. A service needs it before a measurement: its first request waits for lookups.
    pub(crate) async fn must_answer(&self, request: &Request) -> anyhow::Result<()> {
        ask(self.address, request)
            .await
            .map(drop)
            .with_context(|| format!("{} does not answer", self.side.label()))
    }
}

/// The command of a program over an endpoint, with the variables of our services and of the SDKs.
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
        ("ADMIN_PORT", &fixed_port().to_string()),
        ("BIND_ADDRESS", "127.0.0.1"),
        ("AWS_REGION", REGION),
        ("AWS_DEFAULT_REGION", REGION),
        ("AWS_ENDPOINT_URL", endpoint_url),
        ("AWS_ACCESS_KEY_ID", "bench"),
        ("AWS_SECRET_ACCESS_KEY", "bench"),
        ("AWS_EC2_METADATA_DISABLED", "true"),
    ]);
    Ok(command)
}

/// The POST of every measurement.
pub(crate) fn post_request() -> Request {
    post(
        "/producer",
        TENANT,
        r#"{"order":7,"items":[{"sku":"A-100","quantity":2}]}"#,
    )
}

fn command(side: Side, role: Role, port: u16, binaries: &Binaries) -> anyhow::Result<Command> {
    let reference = |arguments: &[&str]| -> anyhow::Result<Command> {
        let mut command = command_with_clean_env(own_binary()?);
        command.arg("reference").args(arguments);
        Ok(command)
    };
    let port = port.to_string();
    match (side, role) {
        (Side::Ours, role) => Ok(command_with_clean_env(binaries.path(role.name())?)),
        (Side::OneCall, Role::Producer) => reference(&["producer", "--port", &port]),
        (Side::OneCall, Role::Consumer) => reference(&["consumer"]),
        (_, Role::Payments) => bail!("payments has no reference or peer; measure our side only"),
        (Side::Bare, _) => reference(&["bare", "--port", &port]),
        (Side::Node, role) => Ok(peers::node(role.name())),
        (Side::Python, role) => Ok(peers::python(role.name())),
    }
}
