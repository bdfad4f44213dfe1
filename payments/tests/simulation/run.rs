//! One simulation run: replicas are killed and restarted, and clients repeat their requests until each has a final response.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use chrono::{DateTime, TimeDelta, Utc};
use http_body_util::BodyExt;
use parking_lot::Mutex;
use payments::Clock;
use serde_json::{Value, json};
use tenantry_process::config::parse_from;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use crate::checker::{Responses, RunCounts, check};
use crate::simulated_aws::SimulatedAws;
use crate::socket::Socket;

const TENANTS: [&str; 2] = ["tenant-2", "tenant-3"];
/// Time-out of a client's request, after which the client repeats it.
const CLIENT_TIMEOUT: Duration = Duration::from_secs(6);
/// Virtual time after the last fault in which the outbox must be empty.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(600);
/// Attempts of a client's request before the run fails.
const MAX_ATTEMPTS: usize = 400;

/// A running replica.
struct Replica {
    router: Router,
    socket: Socket,
    /// Cancelled when the replica is killed: its clients' connections break.
    dead: CancellationToken,
    background: JoinHandle<()>,
}

/// State that all clients share.
struct SharedState {
    aws: Arc<SimulatedAws>,
    replicas: Mutex<Vec<Replica>>,
    charges: Mutex<Vec<(usize, String)>>,
    responses: Mutex<BTreeMap<(String, String), Responses>>,
    counts: Mutex<RunCounts>,
    violations: Mutex<Vec<String>>,
}

/// A client's request, the same at each attempt.
#[derive(Clone)]
struct ClientRequest {
    tenant: usize,
    key: String,
    path: String,
    body: Value,
}

/// Runs one seed. Returns its counts and the violated promises.
pub(crate) fn run_seed(seed: u64) -> (RunCounts, Vec<String>) {
    fastrand::seed(seed);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime needs no more than memory");
    runtime.block_on(run(fastrand::Rng::with_seed(seed)))
}

async fn run(mut rng: fastrand::Rng) -> (RunCounts, Vec<String>) {
    let shared = Arc::new(SharedState {
        aws: Arc::new(SimulatedAws::new(rng.fork())),
        replicas: Mutex::default(),
        charges: Mutex::default(),
        responses: Mutex::default(),
        counts: Mutex::default(),
        violations: Mutex::default(),
    });
    let clock = clock();
    for _ in 0..rng.usize(1..=2) {
        shared
            .replicas
            .lock()
            .push(Replica::start(&shared.aws, &clock));
    }
    let mut clients = JoinSet::new();
    for number in 0..rng.usize(1..=6) {
        clients.spawn(client(Arc::clone(&shared), number, rng.fork()));
    }
    let killing = tokio::spawn(kill_and_restart(Arc::clone(&shared), clock.clone(), rng));
    clients.join_all().await;
    killing.abort();
    shared.aws.end_faults();
    // One replica is alive now, even if all others were killed.
    shared
        .replicas
        .lock()
        .push(Replica::start(&shared.aws, &clock));
    let deadline = Instant::now() + SETTLE_TIMEOUT;
    while shared.aws.waiting() > 0 && Instant::now() < deadline {
        sleep(Duration::from_secs(1)).await;
    }
    let mut counts = shared.counts.lock().clone();
    let mut violations = shared.violations.lock().clone();
    let state = shared.aws.lock();
    counts.lost_responses = state.lost_responses;
    violations.extend(check(&state, &shared.responses.lock(), &mut counts));
    if state.items.keys().any(|(_, sk)| sk.starts_with("outbox#")) {
        violations.push("the outbox is not empty".to_owned());
    }
    (counts, violations)
}

/// Kills and restarts replicas at random times.
async fn kill_and_restart(shared: Arc<SharedState>, clock: Clock, mut rng: fastrand::Rng) {
    loop {
        let max = [20, 200, 3000][rng.usize(..3)];
        sleep(Duration::from_millis(rng.u64(1..max))).await;
        let killed = {
            let mut replicas = shared.replicas.lock();
            let index = rng.usize(..replicas.len());
            replicas.swap_remove(index)
        };
        killed.kill();
        shared.counts.lock().kills += 1;
        sleep(Duration::from_millis(rng.u64(..500))).await;
        shared
            .replicas
            .lock()
            .push(Replica::start(&shared.aws, &clock));
        // A pause, so that requests make progress.
        sleep(Duration::from_millis(rng.u64(..8000))).await;
    }
}

impl Replica {
    fn start(aws: &Arc<SimulatedAws>, clock: &Clock) -> Self {
        let socket = Socket::to(aws);
        let arguments = [
            "payments",
            "--environment=pool-1",
            "--outbox-sweep-seconds=5",
        ];
        let config = parse_from(arguments).expect("a complete configuration");
        let service = payments::service_at(&config, &socket.settings(), clock.clone());
        let background = tokio::spawn((service.worker.background)(CancellationToken::new()));
        Self {
            router: service.router,
            socket,
            dead: CancellationToken::new(),
            background,
        }
    }

    fn kill(self) {
        self.socket.kill();
        self.dead.cancel();
        self.background.abort();
    }
}

/// Sends a few requests. Each request is repeated until its final response, sometimes on two connections at once.
async fn client(shared: Arc<SharedState>, number: usize, mut rng: fastrand::Rng) {
    for step in 0..rng.usize(1..=8) {
        sleep(Duration::from_millis(rng.u64(..50))).await;
        let request = plan(&shared, &mut rng, format!("{number}-{step}"));
        let mut is_answered = false;
        for _ in 0..MAX_ATTEMPTS {
            let at_once = if rng.u8(..4) == 0 { 2 } else { 1 };
            let attempts: Vec<_> = (0..at_once)
                .map(|_| send(&shared, &request, rng.usize(..)))
                .collect();
            for response in futures_util::future::join_all(attempts).await {
                is_answered |= response.is_some_and(|response| record(&shared, &request, response));
            }
            if is_answered {
                break;
            }
            sleep(Duration::from_millis(rng.u64(..300))).await;
        }
        if !is_answered {
            shared
                .violations
                .lock()
                .push(format!("{} has no final response", request.key));
        }
    }
}

fn plan(shared: &SharedState, rng: &mut fastrand::Rng, key: String) -> ClientRequest {
    // A few shared keys, so that different requests use the same key.
    let key = if rng.u8(..6) == 0 {
        format!("shared-{}", rng.u8(..2))
    } else {
        key
    };
    let charges = shared.charges.lock();
    if let Some((tenant, id)) = rng
        .choice(charges.iter().take(3))
        .filter(|_| rng.u8(..3) > 0)
    {
        let path = format!("/payments/charges/{id}/refunds");
        return ClientRequest {
            tenant: *tenant,
            key,
            path,
            body: json!({"amount": rng.u64(1..40)}),
        };
    }
    let body = json!({"amount": rng.u64(50..100), "currency": "EUR", "reference": "r"});
    ClientRequest {
        tenant: rng.usize(..2),
        key,
        path: "/payments/charges".to_owned(),
        body,
    }
}

/// Sends a request to one replica. Returns `None` without a final response.
async fn send(
    shared: &SharedState,
    request: &ClientRequest,
    replica_index: usize,
) -> Option<(u16, bool, String)> {
    let (router, dead) = {
        let replicas = shared.replicas.lock();
        let replica = replicas.get(replica_index % replicas.len().max(1))?;
        (replica.router.clone(), replica.dead.clone())
    };
    let post = Request::post(&request.path)
        .header("tenantID", TENANTS[request.tenant])
        .header("Idempotency-Key", &request.key)
        .body(Body::from(request.body.to_string()))
        .expect("a request");
    let answered = dead
        .run_until_cancelled(timeout(CLIENT_TIMEOUT, router.oneshot(post)))
        .await?;
    let response = answered.ok()?.unwrap_or_else(|never| match never {});
    let status = response.status().as_u16();
    let is_replayed = response.headers().contains_key("idempotent-replayed");
    let body = response.into_body().collect().await.ok()?.to_bytes();
    (status != 503).then(|| {
        (
            status,
            is_replayed,
            String::from_utf8_lossy(&body).into_owned(),
        )
    })
}

/// Records a response. Returns whether it is final.
fn record(
    shared: &SharedState,
    request: &ClientRequest,
    (status, is_replayed, body): (u16, bool, String),
) -> bool {
    let name = (TENANTS[request.tenant].to_owned(), request.key.clone());
    match status {
        200 | 201 => {
            let response: Value = serde_json::from_str(&body).expect("JSON");
            if response["charge_id"].is_null() {
                let id = response["id"].as_str().expect("an id").to_owned();
                let charge = (request.tenant, id);
                let mut charges = shared.charges.lock();
                if !charges.contains(&charge) {
                    charges.push(charge);
                }
            }
            let mut responses = shared.responses.lock();
            let own = responses.entry(name).or_default();
            own.bodies.insert(body);
            own.first_times += usize::from(status == 201);
            shared.counts.lock().replays += usize::from(is_replayed);
            if is_replayed != (status == 200) {
                shared
                    .violations
                    .lock()
                    .push(format!("{status}, and replayed is {is_replayed}"));
            }
        }
        409 | 422 => {
            shared.counts.lock().refused += 1;
            // A repeat of an applied request under its own key is never refused.
            if !request.key.starts_with("shared") && shared.responses.lock().contains_key(&name) {
                shared.violations.lock().push(format!(
                    "{status} after the request was applied: {}",
                    request.key
                ));
            }
        }
        other => shared
            .violations
            .lock()
            .push(format!("{other} to {}: {body}", request.path)),
    }
    true
}

/// The system's clock in virtual time.
fn clock() -> Clock {
    let (base, started): (DateTime<Utc>, _) = (Utc::now(), Instant::now());
    Clock::of(move || base + TimeDelta::from_std(started.elapsed()).expect("a run is short"))
}
