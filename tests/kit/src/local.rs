//! `local` as a process: the whole SaaS.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use crate::aws::Aws;
use crate::endpoint::Controls;
use crate::http::{Answer, Request};
use crate::process::{Process, binary, command_with_clean_env};

/// The whole SaaS, running.
pub struct Local {
    pub process: Process,
    /// The load balancer.
    pub gateway: SocketAddr,
    /// The AWS endpoint.
    pub endpoint: SocketAddr,
    console: Option<SocketAddr>,
    admin: Option<SocketAddr>,
}

/// Any free port of the loopback address.
pub const ANYWHERE: &str = "127.0.0.1:0";

/// The command for `local`, with its data in this folder or in memory.
pub fn command(gateway: &str, endpoint: &str, data: Option<&Path>) -> Command {
    let mut command = command_with_clean_env(binary("local"));
    command.args(["--listen", gateway, "--aws-listen", endpoint]);
    command.args(["--console-listen", ANYWHERE]);
    match data {
        Some(folder) => command.arg("--data-dir").arg(folder),
        None => command.arg("--ephemeral"),
    };
    command
}

impl Local {
    /// Starts `local` on free ports, with its data in this folder or in memory, and waits until it is ready.
    pub async fn start(data: Option<&Path>) -> Self {
        Self::of(Process::start("local", command(ANYWHERE, ANYWHERE, data))).await
    }

    /// Waits until this process is ready.
    ///
    /// # Panics
    /// The process ends before it is ready, or the time limit is over.
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
        let admin = process.stdout().iter().find_map(|line| {
            line.trim()
                .strip_prefix("admin")?
                .split('/')
                .nth(2)?
                .parse()
                .ok()
        });
        let console = process
            .stdout()
            .iter()
            .find_map(|line| address(line, "console"));
        Self {
            process,
            gateway,
            endpoint,
            console,
            admin,
        }
    }

    /// The admin address.
    ///
    /// # Panics
    /// `local` was started without one.
    pub fn admin(&self) -> SocketAddr {
        self.admin.expect("started with --admin-listen")
    }

    /// The control plane's API and console.
    ///
    /// # Panics
    /// `local` runs without git, and so without a console.
    pub fn console(&self) -> SocketAddr {
        self.console.expect("started with git")
    }

    pub fn aws(&self) -> Aws {
        Aws::of(&self.endpoint_url())
    }

    pub fn endpoint_url(&self) -> String {
        format!("http://{}", self.endpoint)
    }

    /// Returns the endpoint's pages for tests.
    pub fn controls(&self) -> Controls {
        Controls::of(self.endpoint)
    }

    /// Sends a request to the load balancer.
    pub async fn ask(&self, request: &Request) -> Answer {
        request.ask(self.gateway).await
    }
}
