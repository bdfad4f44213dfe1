//! The embedded AWS endpoint as a process, with its controls for tests: counts of calls and injected faults.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::Deref;
use std::path::PathBuf;

use serde_json::Value;

use crate::aws::Aws;
use crate::http::{Answer, Request};
use crate::process::{Process, binary, command_with_clean_env, fixed_port};

/// A running endpoint, and its controls.
pub struct Endpoint {
    pub process: Process,
    pub address: SocketAddr,
    controls: Controls,
    data: Option<PathBuf>,
}

impl Endpoint {
    /// Starts an endpoint that keeps its data in memory.
    pub async fn ephemeral() -> Self {
        Self::start(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), None).await
    }

    /// Starts an endpoint that keeps its data in this folder, on a port that stays the same after a restart.
    pub async fn kept(data: PathBuf) -> Self {
        let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, fixed_port()));
        Self::start(listen, Some(data)).await
    }

    async fn start(listen: SocketAddr, data: Option<PathBuf>) -> Self {
        let mut command = command_with_clean_env(binary("localaws"));
        command.arg(format!("--listen={listen}"));
        match &data {
            Some(folder) => command.arg("--data-dir").arg(folder),
            None => command.arg("--ephemeral"),
        };
        let mut process = Process::start("localaws", command);
        let address = process
            .line("where it listens", |line| {
                line.strip_prefix("localaws listens on http://")?
                    .parse()
                    .ok()
            })
            .await;
        Self {
            process,
            address,
            controls: Controls::of(address),
            data,
        }
    }

    /// Starts the endpoint again, on the same port and the same data, after its process has ended.
    pub async fn start_again(&mut self) {
        *self = Self::start(self.address, self.data.clone()).await;
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn aws(&self) -> Aws {
        Aws::of(&self.url())
    }
}

impl Deref for Endpoint {
    type Target = Controls;

    fn deref(&self) -> &Controls {
        &self.controls
    }
}

/// The endpoint's pages for tests, under `/_localaws/`.
#[derive(Debug, Clone, Copy)]
pub struct Controls {
    address: SocketAddr,
}

impl Controls {
    /// Returns the pages of the endpoint at this address.
    pub const fn of(address: SocketAddr) -> Self {
        Self { address }
    }

    /// Calls so far, by action (`SQS.SendMessageBatch`).
    ///
    /// # Panics
    /// The answer is anything else.
    pub async fn calls(&self) -> Calls {
        let counts = self.must("GET", "calls", "").await.json();
        Calls(serde_json::from_value(counts).expect("counts by action"))
    }

    /// Sets the counts of calls to zero.
    pub async fn forget_calls(&self) {
        self.must("DELETE", "calls", "").await;
    }

    /// Replaces the faults by these rules; an empty list ends them.
    pub async fn inject(&self, rules: Value) {
        self.must("PUT", "faults", &rules.to_string()).await;
    }

    /// Returns the number of calls into which each rule has injected its fault.
    pub async fn injected(&self) -> Vec<u64> {
        let rules = self.must("GET", "faults", "").await.json();
        let rules = rules.as_array().cloned().unwrap_or_default();
        rules
            .iter()
            .filter_map(|rule| rule.get("injected")?.as_u64())
            .collect()
    }

    /// Calls so far, by the credentials they were made with.
    ///
    /// # Panics
    /// The answer is anything else.
    pub async fn principals(&self) -> Vec<Principal> {
        let reports = self.must("GET", "principals", "").await.json();
        let read = |report: &Value| Principal {
            session: report["session"].as_str().map(ToOwned::to_owned),
            tags: serde_json::from_value(report["tags"].clone()).expect("tags by name"),
            calls: Calls(
                serde_json::from_value(report["calls"].clone()).expect("counts by action"),
            ),
        };
        reports
            .as_array()
            .expect("a list")
            .iter()
            .map(read)
            .collect()
    }

    /// Restricts sessions with this tag to the partitions of its value, in tables whose partition key is `attribute`.
    pub async fn keep_sessions_to(&self, tag: &str, attribute: &str) {
        let rule = serde_json::json!({ "tag": tag, "attribute": attribute });
        self.must("PUT", "leading-keys", &rule.to_string()).await;
    }

    /// The answer of a page, whatever its status.
    pub async fn ask(&self, method: &str, page: &str, body: &str) -> Answer {
        let request = Request::new(method, &format!("/_localaws/{page}"));
        request.body(body).ask(self.address).await
    }

    async fn must(&self, method: &str, page: &str, body: &str) -> Answer {
        let answer = self.ask(method, page, body).await;
        assert!(answer.status < 300, "{method} {page}: {}", answer.text());
        answer
    }
}

/// The calls made with one set of credentials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    /// ARN of the role's session; none for the account's own credentials.
    pub session: Option<String>,
    /// Tags of the session.
    pub tags: BTreeMap<String, String>,
    pub calls: Calls,
}

/// Counts of calls by action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Calls(BTreeMap<String, u64>);

impl Calls {
    /// Calls of one action.
    pub fn of(&self, action: &str) -> u64 {
        self.0.get(action).copied().unwrap_or_default()
    }

    /// Calls of all actions with this prefix.
    pub fn with_prefix(&self, prefix: &str) -> u64 {
        self.0
            .iter()
            .filter(|(action, _)| action.starts_with(prefix))
            .map(|(_, count)| count)
            .sum()
    }

    /// The counts without those of one action.
    #[must_use]
    pub fn without(mut self, action: &str) -> Self {
        self.0.remove(action);
        self
    }
}
