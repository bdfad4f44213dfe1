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

/// Any free port of this machine.
pub const ANYWHERE: &str = "127.0.0.1:0";

/// The command for `local` with load balancer and endpoint at these addresses, and its data in this folder or nowhere.
pub fn command(gateway: &str, endpoint: &str, data: Option<&Path>) -> Command {
    let mut command = clean(binary("local"));
    command.args(["--listen", gateway, "--aws-listen", endpoint]);
    match data {
        Some(folder) => command.arg("--data-dir").arg(folder),
        None => command.arg("--ephemeral"),
    };
    command
}

impl Local {
    /// Starts it on free ports, with its data in this folder or nowhere; it is ready then.
    pub async fn start(data: Option<&Path>) -> Self {
        Self::of(Process::start("local", command(ANYWHERE, ANYWHERE, data))).await
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
        let gateway = process
            .line("where the load balancer is", |line| {
                address(line, "load balancer")
            })
            .await;
        let endpoint = process
            .line("where the endpoint is", |line| {
                address(line, "AWS endpoint")
            })
            .await;
        process
            .line("how it ends", |line| {
                line.starts_with("Ctrl-C").then_some(())
            })
            .await;
        Self {
            process,
            gateway,
            endpoint,
        }
    }

    /// The SDK's clients for its endpoint.
    pub fn aws(&self) -> Aws {
        Aws::of(&self.endpoint_url())
    }

    /// The URL of its endpoint.
    pub fn endpoint_url(&self) -> String {
        format!("http://{}", self.endpoint)
    }

    /// Replaces the faults of its endpoint by these rules; an empty list ends them.
    ///
    /// # Panics
    /// Where it does not take them.
    pub async fn inject(&self, rules: &serde_json::Value) {
        let answer = Request::new("PUT", "/_localaws/faults")
            .body(rules.to_string())
            .ask(self.endpoint)
            .await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    }

    /// The load balancer's answer.
    pub async fn ask(&self, request: &Request) -> Answer {
        request.ask(self.gateway).await
    }
}
