//! The stub as a child process: a measurement sets its backlog and reads its counts.

use std::net::SocketAddr;

use anyhow::Context as _;
use kit::process::fixed_port;

use super::Counts;
use crate::load::fetch;
use crate::process::{Child, own_binary, wait_until_open};

pub(crate) struct Stub {
    pub(crate) process: Child,
    address: SocketAddr,
}

impl Stub {
    /// Starts a stub with this latency per call.
    pub(crate) async fn start(latency_ms: u64) -> anyhow::Result<Self> {
        let port = fixed_port();
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

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Sets the counts to zero and fills the queue with this many messages.
    pub(crate) async fn restart(&self, backlog: u64) -> anyhow::Result<()> {
        fetch(self.address, &format!("/restart/{backlog}"))
            .await
            .map(drop)
    }

    /// Returns the counts since the last restart.
    pub(crate) async fn counts(&self) -> anyhow::Result<Counts> {
        let body = fetch(self.address, "/counts").await?;
        serde_json::from_slice(&body).context("the stub's counts cannot be parsed")
    }
}
