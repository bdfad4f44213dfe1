//! `local` as a process: the whole SaaS.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use crate::aws::Aws;
use crate::http::{Answer, Request};
use crate::process::{Process, binary, clean};

/// The whole SaaS, running.
pub struct Local {
    /// The process.
    pub process: Process,
    /// The load balancer.
    pub gateway: SocketAddr,
    /// The AWS endpoint.
    pub endpoint: SocketAddr,
}

/// The command for `local` on free ports, with its data in this folder or nowhere.
pub fn command(data: Option<&Path>) -> Command {
    let mut command = clean(binary("local"));
    command.args(["--listen", "127.0.0.1:0", "--aws-listen", "127.0.0.1:0"]);
    match data {
        Some(folder) => command.arg("--data-dir").arg(folder),
        None => command.arg("--ephemeral"),
    };
    command
}

impl Local {
    /// Starts it on free ports, with its data in this folder or nowhere; it is ready then.
    pub async fn start(data: Option<&Path>) -> Self {
        Self::of(Process::start("local", command(data))).await
    }

    /// The one that this process is, once it is ready.
    ///
    /// # Panics
    /// Where it does not come to that.
    pub async fn of(mut process: Process) -> Self {
        let address = |line: &str, before: &str| {
            let (_, rest) = line.trim().strip_prefix(before)?.split_once("http://")?;
            rest.split_whitespace().next()?.parse().ok()
        };
        let gateway = process.line("where the load balancer is", |line| address(line, "load balancer")).await;
        let endpoint = process.line("where the endpoint is", |line| address(line, "AWS endpoint")).await;
        process.line("how it ends", |line| line.starts_with("Ctrl-C").then_some(())).await;
        Self { process, gateway, endpoint }
    }

    /// The SDK's clients for its endpoint.
    pub fn aws(&self) -> Aws {
        Aws::of(&self.endpoint_url())
    }

    /// The URL of its endpoint.
    pub fn endpoint_url(&self) -> String {
        format!("http://{}", self.endpoint)
    }

    /// The load balancer's answer.
    pub async fn ask(&self, request: &Request) -> Answer {
        request.ask(self.gateway).await
    }
}
