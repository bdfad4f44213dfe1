//! The worker as a process, between the embedded endpoint's queues and a bare repository.

use std::net::SocketAddr;
use std::time::Duration;

use aws_sdk_sqs::types::Message;
use kit::aws::{Aws, REGION};
use kit::endpoint::Controls;
use kit::http::{Answer, Request};
use kit::metrics::Metrics;
use kit::process::{Exit, Process};
use kit::wait::{eventually, until};
use serde_json::{Value, json};

use crate::program::Program;
use crate::remote::{Remote, TENANTS};

const WITHIN: Duration = Duration::from_secs(30);

const ONBOARDING: &str = "argoworkflows-onboarding-queue";
const OFFBOARDING: &str = "argoworkflows-offboarding-queue";
const DEPLOYMENT: &str = "argoworkflows-deployment-queue";

/// The three queues, each with a dead-letter queue.
struct Queues {
    endpoint: localaws::Endpoint,
    aws: Aws,
}

impl Queues {
    async fn new() -> Self {
        let endpoint = localaws::start(localaws::Config::ephemeral())
            .await
            .unwrap();
        let aws = Aws::of(&endpoint.url());
        for name in [ONBOARDING, OFFBOARDING, DEPLOYMENT] {
            aws.create_queue(name).await;
        }
        Self { endpoint, aws }
    }

    fn url(&self, name: &str) -> String {
        format!("{}/000000000000/{name}", self.endpoint.url())
    }

    async fn send(&self, name: &str, body: impl ToString) {
        self.aws.send(&self.url(name), &body.to_string(), &[]).await;
    }

    /// Messages of a queue: waiting and leased.
    async fn depth(&self, name: &str) -> u64 {
        let depth = self.aws.depth(&self.url(name)).await;
        depth.visible + depth.in_flight
    }

    async fn drained(&self, name: &str) {
        let is_empty = async || self.depth(name).await == 0;
        until(&format!("{name} is empty"), WITHIN, is_empty).await;
    }

    /// The next message of a dead-letter queue: its body and the reason.
    async fn dead_letter(&self, name: &str) -> (String, String) {
        let url = self.url(&format!("{name}-dlq"));
        let message: Message = eventually("a dead letter", WITHIN, async || {
            let receive = self.aws.sqs.receive_message().queue_url(&url);
            let received = receive.message_attribute_names("All").send().await;
            received.unwrap().messages.unwrap_or_default().pop()
        })
        .await;
        let reason = message.message_attributes.unwrap()["dead_letter_reason"]
            .string_value
            .clone()
            .unwrap();
        (message.body.unwrap(), reason)
    }

    async fn faults(&self, rules: Value) {
        Controls::of(self.endpoint.addr()).inject(rules).await;
    }

    async fn worker(&self, program: &Program) -> Worker {
        let worker = Worker::start(program, &self.endpoint.url()).await;
        worker.until_ready(200).await;
        worker
    }
}

/// A running worker; ended with its value.
struct Worker {
    process: Process,
    admin: SocketAddr,
}

impl Worker {
    async fn start(program: &Program, endpoint: &str) -> Self {
        let command = program
            .with("AWS_ENDPOINT_URL", endpoint)
            .with("AWS_REGION", REGION)
            .with("AWS_ACCESS_KEY_ID", "test")
            .with("AWS_SECRET_ACCESS_KEY", "test")
            .with("ADMIN_PORT", "0")
            .with("BIND_ADDRESS", "127.0.0.1")
            .with("RECEIVE_WAIT_SECONDS", "1")
            .with("VISIBILITY_SECONDS", "2")
            .with("UNREADY_AFTER_SECONDS", "0")
            .command(&["worker"]);
        let mut process = Process::start("the worker", command);
        let listening = |line: &str| {
            let line: Value = serde_json::from_str(line).ok()?;
            (line["message"] == "listening").then(|| line["admin"].as_str()?.parse().ok())?
        };
        let admin = process.line("where it listens", listening).await;
        Self { process, admin }
    }

    async fn get(&self, path: &str) -> Answer {
        Request::get(path).ask(self.admin).await
    }

    /// Waits until the readiness page has this status; returns its text.
    async fn until_ready(&self, status: u16) -> String {
        let what = format!("readiness answers {status}");
        let answers =
            async || Some(self.get("/readyz").await).filter(|answer| answer.status == status);
        eventually(&what, WITHIN, answers).await.text().to_owned()
    }

    async fn counter(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        Metrics::new(self.get("/metrics").await.text()).sum(name, labels)
    }

    /// Sends SIGTERM, and waits until the worker exits with 0.
    async fn stop(mut self) {
        self.process.signal("TERM");
        assert_eq!(self.process.exit(WITHIN).await, Exit::Code(0));
    }
}

fn onboarding(tenant: &str, tier: &str) -> Value {
    json!({ "tenant_id": tenant, "tenant_tier": tier, "release_version": "0.0" })
}

#[tokio::test(flavor = "multi_thread")]
async fn the_contracts_messages_become_commits_and_are_acknowledged() {
    let (queues, remote) = (Queues::new().await, Remote::seeded());
    let worker = queues.worker(&Program::of(&remote)).await;
    queues
        .send(ONBOARDING, onboarding("tenant-t1d6c", "advanced"))
        .await;
    queues.drained(ONBOARDING).await;
    assert!(
        remote
            .read(&format!("{TENANTS}/advanced/tenant-t1d6c.yaml"))
            .is_some()
    );

    queues
        .send(
            DEPLOYMENT,
            json!({ "tenant_tier": "advanced", "release_version": "0.7" }),
        )
        .await;
    queues.drained(DEPLOYMENT).await;
    assert!(
        remote
            .read(&format!("{TENANTS}/advanced/tenant-t1d6c.yaml"))
            .unwrap()
            .contains("0.7.x")
    );

    queues
        .send(
            OFFBOARDING,
            json!({ "tenant_id": "tenant-t1d6c", "tenant_tier": "advanced" }),
        )
        .await;
    queues.drained(OFFBOARDING).await;
    queues
        .send(
            OFFBOARDING,
            json!({ "tenant_id": "tenant-t1d6c", "delete_data": true }),
        )
        .await;
    queues.drained(OFFBOARDING).await;
    assert_eq!(
        remote.read(&format!("{TENANTS}/advanced/tenant-t1d6c.yaml")),
        None
    );
    let tombstone = remote
        .read(&format!("{TENANTS}/offboarded/tenant-t1d6c.yaml"))
        .unwrap();
    assert!(tombstone.contains("deleteData: true"), "{tombstone}");
    assert_eq!(remote.commits(), 5);
    assert_eq!(
        worker
            .counter(
                "requests_total",
                &[("queue", "offboarding"), ("outcome", "committed")]
            )
            .await,
        2.0
    );
    Program::of(&remote).done(&["lint"]);
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_messages_are_dead_lettered_with_the_reason_and_their_neighbors_are_applied() {
    let (queues, remote) = (Queues::new().await, Remote::seeded());
    let hostile = [
        (onboarding("../../clusters/production", "basic").to_string(), "malformed: tenant_id"),
        (onboarding("x", "../../../clusters/production").to_string(), "malformed: tenant_tier"),
        (
            r#"{"tenant_id":"a\u0000b\u001b[31m\uffff","tenant_tier":"basic","release_version":"0.0"}"#
                .to_owned(),
            "malformed: tenant_id",
        ),
        (
            json!({ "tenant_id": "x", "tenant_tier": "basic", "release_version": "0.0", "more": 1 })
                .to_string(),
            "unknown field",
        ),
        ("not even JSON".to_owned(), "not a JSON object"),
        (onboarding("tenant-1", "basic").to_string(), "other_tier: "),
        (onboarding("tenant-template", "basic").to_string(), "template_name: "),
    ];
    for (body, _) in &hostile {
        queues.send(ONBOARDING, body).await;
    }
    queues.send(ONBOARDING, onboarding("acme", "basic")).await;
    queues
        .send(
            OFFBOARDING,
            json!({ "tenant_id": "nobody", "tenant_tier": "basic" }),
        )
        .await;
    let worker = queues.worker(&Program::of(&remote)).await;
    queues.drained(ONBOARDING).await;
    for _ in 0..hostile.len() {
        let (body, reason) = queues.dead_letter(ONBOARDING).await;
        let (_, expected) = hostile
            .iter()
            .find(|(sent, _)| *sent == body)
            .expect("it was sent");
        assert!(
            reason.contains(expected) && reason.chars().all(|c| !c.is_control()),
            "{body}: {reason:?}"
        );
    }
    let (_, reason) = queues.dead_letter(OFFBOARDING).await;
    assert!(reason.starts_with("not_found: "), "{reason}");
    assert!(remote.read(&format!("{TENANTS}/basic/acme.yaml")).is_some());
    assert_eq!(remote.commits(), 2);
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_sent_twice_is_one_commit_and_no_dead_letter() {
    let (queues, remote) = (Queues::new().await, Remote::seeded());
    let worker = queues.worker(&Program::of(&remote)).await;
    let mut message = onboarding("acme", "basic");
    message["request_id"] = json!("order-17");
    for _ in 0..2 {
        queues.send(ONBOARDING, &message).await;
        queues.drained(ONBOARDING).await;
    }
    // Another message with the same content changes nothing, and is acknowledged.
    queues.send(ONBOARDING, onboarding("acme", "basic")).await;
    queues.drained(ONBOARDING).await;
    assert_eq!(
        (
            remote.commits(),
            queues.depth(&format!("{ONBOARDING}-dlq")).await
        ),
        (2, 0)
    );
    // Another request under that id is a conflict.
    message["tenant_id"] = json!("other");
    queues.send(ONBOARDING, &message).await;
    assert!(
        queues
            .dead_letter(ONBOARDING)
            .await
            .1
            .starts_with("request_id_taken: ")
    );
    assert!(
        remote
            .git(&["log", "-1", "--format=%B", "main"])
            .ends_with("Request-Id: order-17")
    );
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_dies_after_the_push_leaves_a_message_that_another_acknowledges() {
    let (queues, remote) = (Queues::new().await, Remote::seeded());
    let worker = queues.worker(&Program::of(&remote)).await;
    queues
        .faults(
            json!([{ "action": "SQS.DeleteMessageBatch", "rate": 1.0, "seed": 1, "drop": true }]),
        )
        .await;
    queues.send(ONBOARDING, onboarding("acme", "premium")).await;
    until("the commit", WITHIN, async || remote.commits() == 2).await;
    drop(worker);
    queues.faults(json!([])).await;
    assert_eq!(queues.depth(ONBOARDING).await, 1, "it was not acknowledged");
    let other = queues.worker(&Program::of(&remote).at_home("other")).await;
    queues.drained(ONBOARDING).await;
    assert_eq!(
        (
            remote.commits(),
            queues.depth(&format!("{ONBOARDING}-dlq")).await
        ),
        (2, 0)
    );
    assert_eq!(
        other
            .counter("requests_total", &[("outcome", "repeated")])
            .await,
        1.0
    );
    other.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_repository_is_gone_messages_are_held_not_redelivered() {
    let (queues, remote) = (Queues::new().await, Remote::seeded());
    let worker = queues.worker(&Program::of(&remote)).await;
    let hidden = remote.scratch().join("hidden");
    std::fs::rename(remote.path(), &hidden).unwrap();
    queues.send(ONBOARDING, onboarding("acme", "basic")).await;
    let waiting_for = worker.until_ready(503).await;
    assert!(waiting_for.contains("repository"), "{waiting_for}");
    // Longer than its lease: it is held by extending that.
    until("several goes", WITHIN, async || {
        worker
            .counter("repository_failures_total", &[("code", "no_repository")])
            .await
            >= 4.0
    })
    .await;
    std::fs::rename(&hidden, remote.path()).unwrap();
    queues.drained(ONBOARDING).await;
    worker.until_ready(200).await;
    assert_eq!(remote.commits(), 2);
    assert_eq!(
        worker.counter("received_total", &[]).await,
        1.0,
        "one delivery"
    );
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_file_in_the_repository_is_nobodys_dead_letter() {
    let (queues, remote) = (Queues::new().await, Remote::seeded());
    let listing = format!("{TENANTS}/basic/kustomization.yaml");
    let whole = remote.read(&listing).unwrap();
    remote.write(&listing, "resources: [\n");
    let worker = queues.worker(&Program::of(&remote)).await;
    queues.send(ONBOARDING, onboarding("acme", "basic")).await;
    worker.until_ready(503).await;
    remote.write(&listing, &whole);
    queues.drained(ONBOARDING).await;
    assert!(remote.read(&format!("{TENANTS}/basic/acme.yaml")).is_some());
    assert_eq!(queues.depth(&format!("{ONBOARDING}-dlq")).await, 0);
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_the_remote_declines_does_not_hold_its_neighbors_up() {
    let (queues, remote) = (Queues::new().await, Remote::seeded());
    let script = "while read -r old new name; do
  if git diff --name-only \"$old\" \"$new\" | grep -q banned; then echo 'no banned tenants' >&2; exit 1; fi
done";
    remote.hook("pre-receive", script);
    for tenant in ["one", "banned", "two"] {
        queues.send(ONBOARDING, onboarding(tenant, "basic")).await;
    }
    let worker = queues.worker(&Program::of(&remote)).await;
    until("the neighbors' commits", WITHIN, async || {
        remote.commits() == 3
    })
    .await;
    let files = remote.files(&format!("{TENANTS}/basic"));
    assert!(
        ["one", "two"]
            .iter()
            .all(|tenant| files.contains(&format!("{TENANTS}/basic/{tenant}.yaml")))
    );
    // A message is deleted after its push. The declined message stays: SQS dead-letters it after its last delivery.
    until("the neighbors' messages go", WITHIN, async || {
        queues.depth(ONBOARDING).await == 1
    })
    .await;
    until("the log tells why", WITHIN, async || {
        worker
            .process
            .stdout()
            .join("\n")
            .contains("no banned tenants")
    })
    .await;
    worker.stop().await;
    assert_eq!(queues.depth(ONBOARDING).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_without_queues_or_repository_waits_for_them_and_ends_when_asked_to() {
    let endpoint = localaws::start(localaws::Config::ephemeral())
        .await
        .unwrap();
    let remote = Remote::empty();
    let worker = Worker::start(&Program::of(&remote), &endpoint.url()).await;
    let waiting_for = worker.until_ready(503).await;
    for condition in ["onboarding", "offboarding", "deployment", "repository"] {
        assert!(waiting_for.contains(condition), "{waiting_for}");
    }
    assert_eq!(worker.get("/livez").await.status, 200);
    worker.stop().await;
}
