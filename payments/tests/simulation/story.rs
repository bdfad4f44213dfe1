//! A story: replicas that are killed and started again, clients that give up and repeat, until each is answered for good.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use chrono::{DateTime, TimeDelta, Utc};
use http_body_util::BodyExt;
use payments::Clock;
use serde_json::{Value, json};
use tenantry_process::config::parse_from;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use crate::judge::{Figures, Told, judge};
use crate::socket::Socket;
use crate::world::World;

const TENANTS: [&str; 2] = ["tenant-2", "tenant-3"];
/// Longest a client waits for an answer before it asks again.
const CLIENT_WAITS: Duration = Duration::from_secs(6);
/// Virtual time within which a story must come to rest once everything works.
const REST_WITHIN: Duration = Duration::from_secs(600);
/// Times a client asks before the story is given up.
const MAX_ASKED: usize = 400;

/// A running replica.
struct Replica {
    router: Router,
    socket: Socket,
    /// Cancelled when it is killed: its clients' connections break.
    dead: CancellationToken,
    background: JoinHandle<()>,
}

/// What clients share.
struct Stage {
    world: Arc<World>,
    replicas: Mutex<Vec<Replica>>,
    charges: Mutex<Vec<(usize, String)>>,
    told: Mutex<BTreeMap<(String, String), Told>>,
    figures: Mutex<Figures>,
    broken: Mutex<Vec<String>>,
}

/// One request, as it is repeated.
#[derive(Clone)]
struct Asked {
    tenant: usize,
    key: String,
    path: String,
    body: Value,
}

/// Plays a seed's story: what there was in it, and which promises were broken.
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
        told: Mutex::default(),
        figures: Mutex::default(),
        broken: Mutex::default(),
    });
    let clock = clock();
    for _ in 0..dice.usize(1..=2) {
        lock(&stage.replicas).push(Replica::start(&stage.world, &clock));
    }
    let mut clients = JoinSet::new();
    for number in 0..dice.usize(1..=6) {
        clients.spawn(client(Arc::clone(&stage), number, dice.fork()));
    }
    let chaos = tokio::spawn(chaos(Arc::clone(&stage), clock.clone(), dice));
    clients.join_all().await;
    chaos.abort();
    stage.world.clear_up();
    // One that lives, whoever was killed last.
    lock(&stage.replicas).push(Replica::start(&stage.world, &clock));
    let deadline = Instant::now() + REST_WITHIN;
    while stage.world.waiting() > 0 && Instant::now() < deadline {
        sleep(Duration::from_secs(1)).await;
    }
    let mut figures = lock(&stage.figures).clone();
    let mut broken = lock(&stage.broken).clone();
    let state = stage.world.lock();
    figures.lost_answers = state.lost_answers;
    broken.extend(judge(&state, &lock(&stage.told), &mut figures));
    if state.items.keys().any(|(_, sk)| sk.starts_with("outbox#")) {
        broken.push("the outbox is not empty".to_owned());
    }
    (figures, broken)
}

/// Kills replicas and starts them again, at any time.
async fn chaos(stage: Arc<Stage>, clock: Clock, mut dice: fastrand::Rng) {
    loop {
        let most = [20, 200, 3000][dice.usize(..3)];
        sleep(Duration::from_millis(dice.u64(1..most))).await;
        let killed = {
            let mut replicas = lock(&stage.replicas);
            let at = dice.usize(..replicas.len());
            replicas.swap_remove(at)
        };
        killed.kill();
        lock(&stage.figures).kills += 1;
        sleep(Duration::from_millis(dice.u64(..500))).await;
        lock(&stage.replicas).push(Replica::start(&stage.world, &clock));
        // Enough peace for a story to get on.
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

/// A few requests, each repeated until it is answered for good; sometimes by two connections at once.
async fn client(stage: Arc<Stage>, number: usize, mut dice: fastrand::Rng) {
    for step in 0..dice.usize(1..=8) {
        sleep(Duration::from_millis(dice.u64(..50))).await;
        let asked = plan(&stage, &mut dice, format!("{number}-{step}"));
        let mut is_answered = false;
        for _ in 0..MAX_ASKED {
            let at_once = if dice.u8(..4) == 0 { 2 } else { 1 };
            let asking: Vec<_> = (0..at_once)
                .map(|_| ask(&stage, &asked, dice.usize(..)))
                .collect();
            for answer in futures_util::future::join_all(asking).await {
                is_answered |= answer.is_some_and(|answer| take(&stage, &asked, answer));
            }
            if is_answered {
                break;
            }
            sleep(Duration::from_millis(dice.u64(..300))).await;
        }
        if !is_answered {
            lock(&stage.broken).push(format!("{} was never answered for good", asked.key));
        }
    }
}

fn plan(stage: &Stage, dice: &mut fastrand::Rng, key: String) -> Asked {
    // A few keys for all, so that strangers meet under one.
    let key = if dice.u8(..6) == 0 {
        format!("shared-{}", dice.u8(..2))
    } else {
        key
    };
    let charges = lock(&stage.charges);
    if let Some((tenant, id)) = dice
        .choice(charges.iter().take(3))
        .filter(|_| dice.u8(..3) > 0)
    {
        let path = format!("/payments/charges/{id}/refunds");
        return Asked {
            tenant: *tenant,
            key,
            path,
            body: json!({"amount": dice.u64(1..40)}),
        };
    }
    let body = json!({"amount": dice.u64(50..100), "currency": "EUR", "reference": "r"});
    Asked {
        tenant: dice.usize(..2),
        key,
        path: "/payments/charges".to_owned(),
        body,
    }
}

/// One request to one replica; none where no answer came, or none for good.
async fn ask(stage: &Stage, asked: &Asked, which: usize) -> Option<(u16, bool, String)> {
    let (router, dead) = {
        let replicas = lock(&stage.replicas);
        let replica = replicas.get(which % replicas.len().max(1))?;
        (replica.router.clone(), replica.dead.clone())
    };
    let request = Request::post(&asked.path)
        .header("tenantID", TENANTS[asked.tenant])
        .header("Idempotency-Key", &asked.key)
        .body(Body::from(asked.body.to_string()))
        .expect("a request");
    let answered = dead
        .run_until_cancelled(timeout(CLIENT_WAITS, router.oneshot(request)))
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

/// Takes an answer down; whether it is one for good.
fn take(stage: &Stage, asked: &Asked, (status, is_replayed, body): (u16, bool, String)) -> bool {
    let name = (TENANTS[asked.tenant].to_owned(), asked.key.clone());
    match status {
        200 | 201 => {
            let answer: Value = serde_json::from_str(&body).expect("JSON");
            if answer["charge_id"].is_null() {
                let id = answer["id"].as_str().expect("an id").to_owned();
                let charge = (asked.tenant, id);
                let mut charges = lock(&stage.charges);
                if !charges.contains(&charge) {
                    charges.push(charge);
                }
            }
            let mut told = lock(&stage.told);
            let told = told.entry(name).or_default();
            told.bodies.insert(body);
            told.first_times += usize::from(status == 201);
            lock(&stage.figures).replays += usize::from(is_replayed);
            if is_replayed != (status == 200) {
                lock(&stage.broken).push(format!("{status}, and replayed is {is_replayed}"));
            }
        }
        409 | 422 => {
            lock(&stage.figures).refused += 1;
            // What was carried out under a key of one's own is never refused.
            if !asked.key.starts_with("shared") && lock(&stage.told).contains_key(&name) {
                lock(&stage.broken)
                    .push(format!("{status} after it was carried out: {}", asked.key));
            }
        }
        other => lock(&stage.broken).push(format!("{other} to {}: {body}", asked.path)),
    }
    true
}

/// The system's clock in virtual time.
fn clock() -> Clock {
    let (base, started): (DateTime<Utc>, _) = (Utc::now(), Instant::now());
    Clock::of(move || base + TimeDelta::from_std(started.elapsed()).expect("a story is short"))
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
