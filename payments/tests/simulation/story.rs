//! A story: replicas are killed and restarted, and clients repeat their requests until each has a final response.

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

use crate::judge::{Figures, Responses, judge};
use crate::socket::Socket;
use crate::world::World;

const TENANTS: [&str; 2] = ["tenant-2", "tenant-3"];
/// Time-out of a client's request, after which the client repeats it.
const CLIENT_TIMEOUT: Duration = Duration::from_secs(6);
/// Virtual time after the last fault in which the outbox must be empty.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(600);
/// Tries of a client's request before the story fails.
const MAX_TRIES: usize = 400;

/// A running replica.
struct Replica {
    router: Router,
    socket: Socket,
    /// Cancelled when the replica is killed: its clients' connections break.
    dead: CancellationToken,
    background: JoinHandle<()>,
}

/// State that all clients share.
struct Stage {
    world: Arc<World>,
    replicas: Mutex<Vec<Replica>>,
    charges: Mutex<Vec<(usize, String)>>,
    responses: Mutex<BTreeMap<(String, String), Responses>>,
    figures: Mutex<Figures>,
    broken: Mutex<Vec<String>>,
}

/// A client's request, the same at each try.
#[derive(Clone)]
struct ClientRequest {
    tenant: usize,
    key: String,
    path: String,
    body: Value,
}

/// Plays a seed's story. Returns its counts and the broken promises.
pub(crate) fn play(seed: u64) -> (Figures, Vec<String>) {
    fastrand::seed(seed);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime needs no more than memory");
    runtime.block_on(story(fastrand::Rng::with_seed(seed)))
}

async fn story(mut dice: fastrand::Rng) -> (Figures, Vec<String>) {
    let stage = Arc::new(Stage {
        world: Arc::new(World::new(dice.fork())),
        replicas: Mutex::default(),
        charges: Mutex::default(),
        responses: Mutex::default(),
        figures: Mutex::default(),
        broken: Mutex::default(),
    });
    let clock = clock();
    for _ in 0..dice.usize(1..=2) {
        stage
            .replicas
            .lock()
            .push(Replica::start(&stage.world, &clock));
    }
    let mut clients = JoinSet::new();
    for number in 0..dice.usize(1..=6) {
        clients.spawn(client(Arc::clone(&stage), number, dice.fork()));
    }
    let chaos = tokio::spawn(chaos(Arc::clone(&stage), clock.clone(), dice));
    clients.join_all().await;
    chaos.abort();
    stage.world.end_faults();
    // At least one live replica, even if all others were killed.
    stage
        .replicas
        .lock()
        .push(Replica::start(&stage.world, &clock));
    let deadline = Instant::now() + SETTLE_TIMEOUT;
    while stage.world.waiting() > 0 && Instant::now() < deadline {
        sleep(Duration::from_secs(1)).await;
    }
    let mut figures = stage.figures.lock().clone();
    let mut broken = stage.broken.lock().clone();
    let state = stage.world.lock();
    figures.lost_answers = state.lost_answers;
    broken.extend(judge(&state, &stage.responses.lock(), &mut figures));
    if state.items.keys().any(|(_, sk)| sk.starts_with("outbox#")) {
        broken.push("the outbox is not empty".to_owned());
    }
    (figures, broken)
}

/// Kills and restarts replicas at random times.
async fn chaos(stage: Arc<Stage>, clock: Clock, mut dice: fastrand::Rng) {
    loop {
        let most = [20, 200, 3000][dice.usize(..3)];
        sleep(Duration::from_millis(dice.u64(1..most))).await;
        let killed = {
            let mut replicas = stage.replicas.lock();
            let at = dice.usize(..replicas.len());
            replicas.swap_remove(at)
        };
        killed.kill();
        stage.figures.lock().kills += 1;
        sleep(Duration::from_millis(dice.u64(..500))).await;
        stage
            .replicas
            .lock()
            .push(Replica::start(&stage.world, &clock));
        // A pause, so that requests make progress.
        sleep(Duration::from_millis(dice.u64(..8000))).await;
    }
}

impl Replica {
    fn start(world: &Arc<World>, clock: &Clock) -> Self {
        let socket = Socket::to(world);
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

/// Sends a few requests. Each is repeated until its final response, sometimes on two connections at once.
async fn client(stage: Arc<Stage>, number: usize, mut dice: fastrand::Rng) {
    for step in 0..dice.usize(1..=8) {
        sleep(Duration::from_millis(dice.u64(..50))).await;
        let request = plan(&stage, &mut dice, format!("{number}-{step}"));
        let mut is_answered = false;
        for _ in 0..MAX_TRIES {
            let at_once = if dice.u8(..4) == 0 { 2 } else { 1 };
            let tries: Vec<_> = (0..at_once)
                .map(|_| send(&stage, &request, dice.usize(..)))
                .collect();
            for answer in futures_util::future::join_all(tries).await {
                is_answered |= answer.is_some_and(|answer| record(&stage, &request, answer));
            }
            if is_answered {
                break;
            }
            sleep(Duration::from_millis(dice.u64(..300))).await;
        }
        if !is_answered {
            stage
                .broken
                .lock()
                .push(format!("{} has no final response", request.key));
        }
    }
}

fn plan(stage: &Stage, dice: &mut fastrand::Rng, key: String) -> ClientRequest {
    // A few shared keys, so that different requests use the same key.
    let key = if dice.u8(..6) == 0 {
        format!("shared-{}", dice.u8(..2))
    } else {
        key
    };
    let charges = stage.charges.lock();
    if let Some((tenant, id)) = dice
        .choice(charges.iter().take(3))
        .filter(|_| dice.u8(..3) > 0)
    {
        let path = format!("/payments/charges/{id}/refunds");
        return ClientRequest {
            tenant: *tenant,
            key,
            path,
            body: json!({"amount": dice.u64(1..40)}),
        };
    }
    let body = json!({"amount": dice.u64(50..100), "currency": "EUR", "reference": "r"});
    ClientRequest {
        tenant: dice.usize(..2),
        key,
        path: "/payments/charges".to_owned(),
        body,
    }
}

/// Sends a request to one replica. Returns `None` without a final response.
async fn send(stage: &Stage, request: &ClientRequest, which: usize) -> Option<(u16, bool, String)> {
    let (router, dead) = {
        let replicas = stage.replicas.lock();
        let replica = replicas.get(which % replicas.len().max(1))?;
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
    stage: &Stage,
    request: &ClientRequest,
    (status, is_replayed, body): (u16, bool, String),
) -> bool {
    let name = (TENANTS[request.tenant].to_owned(), request.key.clone());
    match status {
        200 | 201 => {
            let answer: Value = serde_json::from_str(&body).expect("JSON");
            if answer["charge_id"].is_null() {
                let id = answer["id"].as_str().expect("an id").to_owned();
                let charge = (request.tenant, id);
                let mut charges = stage.charges.lock();
                if !charges.contains(&charge) {
                    charges.push(charge);
                }
            }
            let mut responses = stage.responses.lock();
            let own = responses.entry(name).or_default();
            own.bodies.insert(body);
            own.first_times += usize::from(status == 201);
            stage.figures.lock().replays += usize::from(is_replayed);
            if is_replayed != (status == 200) {
                stage
                    .broken
                    .lock()
                    .push(format!("{status}, and replayed is {is_replayed}"));
            }
        }
        409 | 422 => {
            stage.figures.lock().refused += 1;
            // A repeat of an applied request under its own key is never refused.
            if !request.key.starts_with("shared") && stage.responses.lock().contains_key(&name) {
                stage.broken.lock().push(format!(
                    "{status} after the request was applied: {}",
                    request.key
                ));
            }
        }
        other => stage
            .broken
            .lock()
            .push(format!("{other} to {}: {body}", request.path)),
    }
    true
}

/// The system's clock in virtual time.
fn clock() -> Clock {
    let (base, started): (DateTime<Utc>, _) = (Utc::now(), Instant::now());
    Clock::of(move || base + TimeDelta::from_std(started.elapsed()).expect("a story is short"))
}
