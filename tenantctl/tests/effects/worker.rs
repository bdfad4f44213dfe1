//! The worker as a process, between the embedded endpoint's queues and a bare repository.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use aws_sdk_sqs::types::{Message, QueueAttributeName};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tenantry_process::aws::AwsSettings;

use crate::program::Program;
use crate::remote::{Remote, TENANTS};

const REGION: &str = "us-east-1";
const WITHIN: Duration = Duration::from_secs(30);

const ONBOARDING: &str = "argoworkflows-onboarding-queue";
const OFFBOARDING: &str = "argoworkflows-offboarding-queue";
const DEPLOYMENT: &str = "argoworkflows-deployment-queue";

/// The three queues, each with a dead-letter queue.
struct Queues {
    endpoint: localaws::Endpoint,
    sqs: aws_sdk_sqs::Client,
}

impl Queues {
    async fn new() -> Self {
        let endpoint = localaws::start(localaws::Config::ephemeral())
            .await
            .unwrap();
        let sqs = aws_sdk_sqs::Client::new(
            &AwsSettings::for_endpoint(&endpoint.url(), REGION).without_retries(),
        );
        for name in [ONBOARDING, OFFBOARDING, DEPLOYMENT] {
            let dead = format!("{name}-dlq");
            sqs.create_queue().queue_name(&dead).send().await.unwrap();
            let arn = format!("arn:aws:sqs:{REGION}:000000000000:{dead}");
            let policy = json!({ "deadLetterTargetArn": arn, "maxReceiveCount": 5 }).to_string();
            let create = sqs.create_queue().queue_name(name);
            create
                .attributes(QueueAttributeName::RedrivePolicy, policy)
                .send()
                .await
                .unwrap();
        }
        Self { endpoint, sqs }
    }

    async fn url(&self, name: &str) -> String {
        self.sqs
            .get_queue_url()
            .queue_name(name)
            .send()
            .await
            .unwrap()
            .queue_url
            .unwrap()
    }

    async fn send(&self, name: &str, body: impl ToString) {
        let url = self.url(name).await;
        self.sqs
            .send_message()
            .queue_url(url)
            .message_body(body.to_string())
            .send()
            .await
            .unwrap();
    }

    /// Returns the number of visible and leased messages.
    async fn depth(&self, name: &str) -> usize {
        let get = self
            .sqs
            .get_queue_attributes()
            .queue_url(self.url(name).await);
        let all = get
            .attribute_names(QueueAttributeName::All)
            .send()
            .await
            .unwrap()
            .attributes
            .unwrap();
        let number = |name| all[&name].parse::<usize>().unwrap();
        number(QueueAttributeName::ApproximateNumberOfMessages)
            + number(QueueAttributeName::ApproximateNumberOfMessagesNotVisible)
    }

    async fn drained(&self, name: &str) {
        eventually(&format!("{name} is empty"), async || {
            (self.depth(name).await == 0).then_some(())
        })
        .await;
    }

    /// Returns the body and the reason of the next dead-lettered message.
    async fn dead_letter(&self, name: &str) -> (String, String) {
        let url = self.url(&format!("{name}-dlq")).await;
        let message: Message = eventually("a dead letter", async || {
            let receive = self
                .sqs
                .receive_message()
                .queue_url(&url)
                .message_attribute_names("All");
            receive
                .send()
                .await
                .unwrap()
                .messages
                .unwrap_or_default()
                .pop()
        })
        .await;
        let reason = message.message_attributes.unwrap()["set_aside_reason"]
            .string_value
            .clone()
            .unwrap();
        (message.body.unwrap(), reason)
    }

    fn faults(&self, rules: Value) {
        let address = self
            .endpoint
            .url()
            .strip_prefix("http://")
            .unwrap()
            .parse()
            .unwrap();
        let (status, text) = exchange(address, "PUT", "/_localaws/faults", &rules.to_string());
        assert!(status < 300, "{text}");
    }

    fn worker(&self, program: &Program) -> Worker {
        Worker::start(program, &self.endpoint.url())
    }
}

/// A running worker, killed on drop.
struct Worker {
    child: Child,
    lines: Arc<Mutex<Vec<String>>>,
    admin: SocketAddr,
}

impl Worker {
    fn start(program: &Program, endpoint: &str) -> Self {
        let mut command = program
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
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        let lines = Arc::<Mutex<Vec<String>>>::default();
        let (stdout, kept) = (child.stdout.take().unwrap(), Arc::clone(&lines));
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                kept.lock().unwrap().push(line);
            }
        });
        let deadline = Instant::now() + WITHIN;
        let listening = |line: &String| {
            let line: Value = serde_json::from_str(line).ok()?;
            (line["message"] == "listening").then(|| line["admin"].as_str()?.parse().ok())?
        };
        let admin = loop {
            if let Some(admin) = lines.lock().unwrap().iter().find_map(listening) {
                break admin;
            }
            assert!(Instant::now() < deadline, "it does not listen");
            std::thread::sleep(Duration::from_millis(15));
        };
        Self {
            child,
            lines,
            admin,
        }
    }

    fn get(&self, path: &str) -> (u16, String) {
        exchange(self.admin, "GET", path, "")
    }

    async fn ready(self) -> Self {
        self.until_ready(200).await;
        self
    }

    async fn until_ready(&self, status: u16) -> String {
        let what = format!("readiness answers {status}");
        eventually(&what, async || {
            Some(self.get("/readyz")).filter(|(got, _)| *got == status)
        })
        .await
        .1
    }

    /// Returns the value of a counter; 0 without one.
    fn counter(&self, name: &str, label: &str) -> u64 {
        let (_, text) = self.get("/metrics");
        let line = text
            .lines()
            .find(|line| line.starts_with(name) && line.contains(label));
        line.and_then(|line| line.rsplit(' ').next()?.parse().ok())
            .unwrap_or_default()
    }

    fn log(&self) -> String {
        self.lines.lock().unwrap().join("\n")
    }

    /// Sends SIGTERM and waits for exit code 0.
    async fn stop(mut self) {
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
        let status = eventually("it ends", async || self.child.try_wait().unwrap()).await;
        assert_eq!(status.code(), Some(0), "{}", self.log());
    }

    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            println!("---- the worker's log\n{}", self.log());
        }
    }
}

async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + WITHIN;
    loop {
        if let Some(seen) = look().await {
            return seen;
        }
        assert!(Instant::now() < deadline, "not within {WITHIN:?}: {what}");
        tokio::time::sleep(Duration::from_millis(15)).await;
    }
}

/// Sends one HTTP request over a new connection.
fn exchange(address: SocketAddr, method: &str, path: &str, body: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    let length = body.len();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n"
    );
    stream
        .write_all(format!("{head}{body}").as_bytes())
        .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    (answer.split(' ').nth(1).unwrap().parse().unwrap(), answer)
}

fn onboarding(tenant: &str, tier: &str) -> Value {
    json!({ "tenant_id": tenant, "tenant_tier": tier, "release_version": "0.0" })
}

#[tokio::test(flavor = "multi_thread")]
async fn the_contracts_messages_become_commits_and_are_acknowledged() {
    let (queues, remote) = (Queues::new().await, Remote::seeded());
    let worker = queues.worker(&Program::of(&remote)).ready().await;
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
        worker.counter(
            "requests_total",
            r#"queue="offboarding",outcome="committed""#
        ),
        2
    );
    Program::of(&remote).done(&["lint"]);
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_messages_are_dead_lettered_with_the_reason_and_their_neighbors_applied() {
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
            json!({ "tenant_id": "unknown", "tenant_tier": "basic" }),
        )
        .await;
    let worker = queues.worker(&Program::of(&remote)).ready().await;
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
    let worker = queues.worker(&Program::of(&remote)).ready().await;
    let mut message = onboarding("acme", "basic");
    message["request_id"] = json!("order-17");
    for _ in 0..2 {
        queues.send(ONBOARDING, &message).await;
        queues.drained(ONBOARDING).await;
    }
    // A second message with the same content needs no commit.
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
async fn a_message_of_a_worker_killed_after_the_push_is_acknowledged_by_another() {
    let (queues, remote) = (Queues::new().await, Remote::seeded());
    let worker = queues.worker(&Program::of(&remote)).ready().await;
    queues.faults(
        json!([{ "action": "SQS.DeleteMessageBatch", "rate": 1.0, "seed": 1, "drop": true }]),
    );
    queues.send(ONBOARDING, onboarding("acme", "premium")).await;
    eventually("the commit", async || (remote.commits() == 2).then_some(())).await;
    worker.kill();
    queues.faults(json!([]));
    assert_eq!(queues.depth(ONBOARDING).await, 1, "it was not acknowledged");
    let other = queues
        .worker(&Program::of(&remote).at_home("other"))
        .ready()
        .await;
    queues.drained(ONBOARDING).await;
    assert_eq!(
        (
            remote.commits(),
            queues.depth(&format!("{ONBOARDING}-dlq")).await
        ),
        (2, 0)
    );
    assert_eq!(other.counter("requests_total", r#"outcome="repeated""#), 1);
    other.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_are_held_not_redelivered_while_the_repository_is_unreachable() {
    let (queues, remote) = (Queues::new().await, Remote::seeded());
    let worker = queues.worker(&Program::of(&remote)).ready().await;
    let hidden = remote.scratch().join("hidden");
    std::fs::rename(remote.path(), &hidden).unwrap();
    queues.send(ONBOARDING, onboarding("acme", "basic")).await;
    let waiting_for = worker.until_ready(503).await;
    assert!(waiting_for.contains("repository"), "{waiting_for}");
    // Longer than the lease: the worker extends it.
    eventually("several attempts", async || {
        (worker.counter("repository_failures_total", "no_repository") >= 4).then_some(())
    })
    .await;
    std::fs::rename(&hidden, remote.path()).unwrap();
    queues.drained(ONBOARDING).await;
    worker.until_ready(200).await;
    assert_eq!(remote.commits(), 2);
    assert_eq!(worker.counter("received_total", ""), 1, "one delivery");
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_file_in_the_repository_dead_letters_no_message() {
    let (queues, remote) = (Queues::new().await, Remote::seeded());
    let listing = format!("{TENANTS}/basic/kustomization.yaml");
    let whole = remote.read(&listing).unwrap();
    remote.write(&listing, "resources: [\n");
    let worker = queues.worker(&Program::of(&remote)).ready().await;
    queues.send(ONBOARDING, onboarding("acme", "basic")).await;
    worker.until_ready(503).await;
    remote.write(&listing, &whole);
    queues.drained(ONBOARDING).await;
    assert!(remote.read(&format!("{TENANTS}/basic/acme.yaml")).is_some());
    assert_eq!(queues.depth(&format!("{ONBOARDING}-dlq")).await, 0);
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_declined_commit_does_not_block_its_neighbors() {
    let (queues, remote) = (Queues::new().await, Remote::seeded());
    let script = "while read -r old new name; do
  if git diff --name-only \"$old\" \"$new\" | grep -q banned; then echo 'no banned tenants' >&2; exit 1; fi
done";
    remote.hook("pre-receive", script);
    for tenant in ["one", "banned", "two"] {
        queues.send(ONBOARDING, onboarding(tenant, "basic")).await;
    }
    let worker = queues.worker(&Program::of(&remote)).ready().await;
    eventually("the commits of the neighbors", async || {
        (remote.commits() == 3).then_some(())
    })
    .await;
    let files = remote.files(&format!("{TENANTS}/basic"));
    assert!(
        ["one", "two"]
            .iter()
            .all(|tenant| files.contains(&format!("{TENANTS}/basic/{tenant}.yaml")))
    );
    // A message is deleted after its push. The declined one stays until SQS dead-letters it.
    eventually("the neighbors are acknowledged", async || {
        (queues.depth(ONBOARDING).await == 1).then_some(())
    })
    .await;
    eventually("the log has the reason", async || {
        worker.log().contains("no banned tenants").then_some(())
    })
    .await;
    worker.stop().await;
    assert_eq!(queues.depth(ONBOARDING).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_without_queues_or_repository_waits_and_ends_on_sigterm() {
    let endpoint = localaws::start(localaws::Config::ephemeral())
        .await
        .unwrap();
    let remote = Remote::empty();
    let worker = Worker::start(&Program::of(&remote), &endpoint.url());
    let waiting_for = worker.until_ready(503).await;
    for condition in ["onboarding", "offboarding", "deployment", "repository"] {
        assert!(waiting_for.contains(condition), "{waiting_for}");
    }
    assert_eq!(worker.get("/livez").0, 200);
    worker.stop().await;
}
