//! A service as a process.

use std::net::SocketAddr;

use serde_json::Value;

use crate::aws::REGION;
use crate::http::{Answer, Request};
use crate::metrics::Metrics;
use crate::process::{Exit, Process, binary, command_with_clean_env};
use crate::wait::{PATIENCE, eventually, until};

pub struct Service {
    pub process: Process,
    pub address: SocketAddr,
    /// Address of probes and metrics.
    pub admin: SocketAddr,
    name: String,
}

/// A log level for long runs, because a [`Process`] keeps every line in memory: the start and errors.
pub const QUIET_LOG: (&str, &str) = (
    "LOG_LEVEL",
    "error,tenantry_service=info,tenantry_process=info,tenantry_service=info,tenantry_process=info",
);

/// The command for a service in an environment, over the endpoint at this URL, with every variable it needs.
pub fn command(name: &str, environment: &str, url: &str) -> std::process::Command {
    let mut command = command_with_clean_env(binary(name));
    command.envs([
        ("ENVIRONMENT", environment),
        ("PORT", "0"),
        ("ADMIN_PORT", "0"),
        ("BIND_ADDRESS", "127.0.0.1"),
        ("AWS_REGION", REGION),
        ("AWS_ENDPOINT_URL", url),
        ("AWS_ACCESS_KEY_ID", "test"),
        ("AWS_SECRET_ACCESS_KEY", "test"),
        // A drain takes up to one idle poll.
        ("RECEIVE_WAIT_SECONDS", "1"),
    ]);
    command
}

impl Service {
    /// Starts a service with further variables, and waits until it listens.
    pub async fn start(
        name: &str,
        environment: &str,
        url: &str,
        variables: &[(&str, &str)],
    ) -> Self {
        let mut command = command(name, environment, url);
        command.envs(variables.iter().copied());
        Self::of(
            name,
            Process::start(&format!("{name} of {environment}"), command),
        )
        .await
    }

    /// Waits until this process listens.
    ///
    /// # Panics
    /// It ends first, or takes too long.
    pub async fn of(name: &str, mut process: Process) -> Self {
        let (address, admin) = process
            .line("where it listens", |line| {
                let line: Value = serde_json::from_str(line).ok()?;
                let address = |field| line.get(field)?.as_str()?.parse().ok();
                (line.get("message")? == "listening")
                    .then_some((address("address")?, address("admin")?))
            })
            .await;
        Self {
            process,
            address,
            admin,
            name: name.to_owned(),
        }
    }

    /// Waits until the readiness probe answers 200.
    pub async fn ready(self) -> Self {
        until(&format!("{} is ready", self.name), PATIENCE, async || {
            self.is_ready().await
        })
        .await;
        self
    }

    pub async fn is_ready(&self) -> bool {
        Request::get(&format!("/{}/readiness-probe", self.name))
            .send(self.address)
            .await
            .is_ok_and(|a| a.status == 200)
    }

    pub async fn ask(&self, request: &Request) -> Answer {
        request.ask(self.address).await
    }

    /// Posts an event of the tenant, and returns its message id.
    ///
    /// # Panics
    /// The event is not accepted.
    pub async fn post(&self, tenant: &str, body: &str) -> String {
        let answer = self.ask(&Request::event().tenant(tenant).body(body)).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.field("message_id")
    }

    pub async fn metrics(&self) -> Metrics {
        Metrics::new(Request::get("/metrics").ask(self.admin).await.text())
    }

    /// The log so far, one JSON object per line.
    ///
    /// # Panics
    /// A line is anything else.
    pub fn log(&self) -> Vec<Value> {
        let parse = |line: &String| {
            let parsed = serde_json::from_str::<Value>(line)
                .ok()
                .filter(Value::is_object);
            parsed.unwrap_or_else(|| panic!("a log line that is no JSON object: {line:?}"))
        };
        self.process.stdout().iter().map(parse).collect()
    }

    /// Waits for the log line whose field has this value.
    pub async fn log_line(&self, field: &str, value: &str) -> Value {
        let what = format!("a log line of {} with {field} {value:?}", self.name);
        eventually(&what, PATIENCE, async || {
            self.log()
                .into_iter()
                .find(|line| line.get(field).and_then(Value::as_str) == Some(value))
        })
        .await
    }

    /// Sends SIGTERM, and waits for the promised end: in time, with exit code 0.
    ///
    /// # Panics
    /// The process ends in another way.
    pub async fn stop(mut self) -> Process {
        self.process.signal("TERM");
        assert_eq!(
            self.process.exit(PATIENCE).await,
            Exit::Code(0),
            "{} drains on SIGTERM",
            self.name
        );
        self.process
    }
}
