//! The stub as seen by a measurement: a child process that is told what to hand out and asked what it counted.

use std::net::SocketAddr;

use anyhow::Context as _;

use super::Counts;
use crate::load::fetch;
use crate::process::{Child, free_port, own_binary, wait_until_open};

/// A running stub.
pub(crate) struct Stub {
    /// Its process.
    pub(crate) process: Child,
    address: SocketAddr,
}

impl Stub {
    /// Starts one with this latency a call.
    pub(crate) async fn start(latency_ms: u64) -> anyhow::Result<Self> {
        let port = free_port()?;
        let mut command = std::process::Command::new(own_binary()?);
        command.args([
            "stub",
            "--port",
            &port.to_string(),
            "--latency-ms",
            &latency_ms.to_string(),
        ]);
        let process = Child::start("stub", command)?;
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        wait_until_open(address)
            .await
            .context("the stub does not listen")?;
        Ok(Self { process, address })
    }

    /// What AWS clients are pointed at.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Counts from zero, with this many messages to hand out.
    pub(crate) async fn restart(&self, backlog: u64) -> anyhow::Result<()> {
        fetch(self.address, &format!("/restart/{backlog}"))
            .await
            .map(drop)
    }

    /// What was counted since.
    pub(crate) async fn counts(&self) -> anyhow::Result<Counts> {
        let body = fetch(self.address, "/counts").await?;
        serde_json::from_slice(&body).context("the stub's counts")
    }
}
