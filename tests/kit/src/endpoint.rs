//! The embedded AWS endpoint as a process, with what it offers testers: counts of calls and faults on request.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use serde_json::Value;

use crate::aws::Aws;
use crate::http::{Answer, Request};
use crate::process::{Process, binary, clean, fixed_port};

/// A running endpoint.
pub struct Endpoint {
    /// The process.
    pub process: Process,
    /// Where it listens.
    pub address: SocketAddr,
    data: Option<PathBuf>,
}

impl Endpoint {
    /// One that keeps nothing.
    pub async fn ephemeral() -> Self {
        Self::start(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), None).await
    }

    /// One that keeps its data in this folder, and can be started again where it was.
    pub async fn kept(data: PathBuf) -> Self {
        Self::start(
            SocketAddr::from((Ipv4Addr::LOCALHOST, fixed_port())),
            Some(data),
        )
        .await
    }

    async fn start(listen: SocketAddr, data: Option<PathBuf>) -> Self {
        let mut command = clean(binary("localaws"));
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
            data,
        }
    }

    /// Starts it again, on the same port and the same data, after it has ended.
    pub async fn start_again(&mut self) {
        *self = Self::start(self.address, self.data.clone()).await;
    }

    /// Its URL.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The SDK's clients for it.
    pub fn aws(&self) -> Aws {
        Aws::of(&self.url())
    }

    /// Calls so far, by action (`SQS.SendMessageBatch`).
    ///
    /// # Panics
    /// Where it does not tell.
    pub async fn calls(&self) -> Calls {
        let counts = self.own("GET", "calls", None).await.json();
        Calls(serde_json::from_value(counts).expect("counts by action"))
    }

    /// Counts from zero again.
    pub async fn forget_calls(&self) {
        self.own("DELETE", "calls", None).await;
    }

    /// Replaces the faults by these rules; an empty list ends them.
    pub async fn inject(&self, rules: Value) {
        self.own("PUT", "faults", Some(&rules)).await;
    }

    /// How often each rule has acted.
    pub async fn injected(&self) -> Vec<u64> {
        let rules = self.own("GET", "faults", None).await.json();
        let rules = rules.as_array().cloned().unwrap_or_default();
        rules
            .iter()
            .filter_map(|rule| rule.get("injected")?.as_u64())
            .collect()
    }

    /// Who made which calls so far.
    ///
    /// # Panics
    /// Where it does not tell.
    pub async fn principals(&self) -> Vec<Principal> {
        let reports = self.own("GET", "principals", None).await.json();
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

    /// Has sessions with this tag reach the partitions of its value alone, in tables whose partition key is `attribute`.
    pub async fn keep_sessions_to(&self, tag: &str, attribute: &str) {
        let rule = serde_json::json!({ "tag": tag, "attribute": attribute });
        self.own("PUT", "leading-keys", Some(&rule)).await;
    }

    async fn own(&self, method: &str, page: &str, body: Option<&Value>) -> Answer {
        let request = Request::new(method, &format!("/_localaws/{page}"));
        let answer = request
            .body(body.map(Value::to_string).unwrap_or_default())
            .ask(self.address)
            .await;
        assert!(answer.status < 300, "{method} {page}: {}", answer.text());
        answer
    }
}

/// Whose credentials calls were made with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    /// ARN of the role's session; none is the account's own credentials.
    pub session: Option<String>,
    /// Its session tags.
    pub tags: BTreeMap<String, String>,
    /// Its calls.
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

    /// Calls of all actions that begin so.
    pub fn with_prefix(&self, prefix: &str) -> u64 {
        self.0
            .iter()
            .filter(|(action, _)| action.starts_with(prefix))
            .map(|(_, count)| count)
            .sum()
    }

    /// The counts without one action's.
    #[must_use]
    pub fn without(mut self, action: &str) -> Self {
        self.0.remove(action);
        self
    }
}
