//! Random interleavings of charges, refunds, repeats, kills and faults: one sequence per seed, over two replicas of the real
//! service and real consumers. Answers are checked as they arrive; tables are checked once no work is left.
//!
//! `PAYMENTS_SEQUENCES=100` runs more sequences, `PAYMENTS_SEQUENCE=17` runs one.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::net::SocketAddr;

use futures_util::future::join_all;
use kit::http::{Answer, Request};
use kit::process::fixed_port;
use kit::service::Service;
use kit::wait::{PATIENCE, until};
use serde_json::{Value, json};

use crate::support::{Bank, SWEEP_SOON, charge, euros, is_replayed};

/// Default number of sequences.
const SEQUENCES: u64 = 3;
/// Clients at once, and steps of each.
const CLIENTS: usize = 6;
const STEPS: usize = 14;
const TENANTS: [&str; 2] = ["tenant-2", "tenant-3"];
/// Smallest charge; some refunds exceed the rest of their charge.
const SMALLEST: u64 = 50;

/// A request that is repeated.
#[derive(Clone)]
struct SentRequest {
    tenant: &'static str,
    key: String,
    request: Request,
}

/// A tenant, and a key that it used.
type Name = (&'static str, String);

/// State that the clients of a sequence share.
#[derive(Default)]
struct SharedState {
    /// Charges that were answered: tenant and id.
    charges: RefCell<Vec<(&'static str, String)>>,
    /// Applied requests and their answers.
    applied: RefCell<BTreeMap<Name, (SentRequest, Vec<u8>)>>,
    /// Number of answers with 201 by tenant and key: at most one.
    first_times: RefCell<BTreeMap<Name, usize>>,
    /// Refunds refused because they exceed the rest.
    refused: Cell<usize>,
    unanswered: Cell<usize>,
    answered: Cell<usize>,
}

impl SharedState {
    fn choose<T: Clone>(rng: &mut fastrand::Rng, all: &[T]) -> Option<T> {
        rng.choice(all).cloned()
    }

    /// Returns the next request of a client.
    fn plan(&self, rng: &mut fastrand::Rng, key: String) -> SentRequest {
        let tenant = TENANTS[rng.usize(..2)];
        let charges: Vec<_> = self.charges.borrow().clone();
        let applied: Vec<_> = self
            .applied
            .borrow()
            .values()
            .map(|(sent, _)| sent.clone())
            .collect();
        match rng.u8(..10) {
            0..4 => {
                let request = charge(tenant, &key, &euros(rng.u64(SMALLEST..200)));
                SentRequest {
                    tenant,
                    key,
                    request,
                }
            }
            4..8 => match Self::choose(rng, &charges) {
                // A few charges get most refunds, so that refunds of one charge conflict.
                Some(_) => {
                    let (tenant, id) = charges[rng.usize(..charges.len().min(4))].clone();
                    let request = Request::refund(tenant, &key, &id, rng.u64(1..SMALLEST));
                    SentRequest {
                        tenant,
                        key,
                        request,
                    }
                }
                None => SentRequest {
                    tenant,
                    request: charge(tenant, &key, &euros(SMALLEST)),
                    key,
                },
            },
            _ => Self::choose(rng, &applied).unwrap_or_else(|| SentRequest {
                tenant,
                request: charge(tenant, &key, &euros(SMALLEST)),
                key,
            }),
        }
    }

    /// Records a final answer, and compares it with earlier answers.
    fn record(&self, sent: &SentRequest, answer: &Answer) {
        self.answered.set(self.answered.get() + 1);
        let name = (sent.tenant, sent.key.clone());
        match answer.status {
            200 | 201 => {
                assert_eq!(
                    answer.status == 200,
                    is_replayed(answer),
                    "{}",
                    answer.text()
                );
                if answer.status == 201 {
                    *self
                        .first_times
                        .borrow_mut()
                        .entry(name.clone())
                        .or_default() += 1;
                }
                let body: Value = answer.json();
                assert_eq!(body["tenant_id"], json!(sent.tenant));
                if body["charge_id"].is_null() {
                    let id = body["id"].as_str().expect("an id").to_owned();
                    let charge = (sent.tenant, id);
                    if !self.charges.borrow().contains(&charge) {
                        self.charges.borrow_mut().push(charge);
                    }
                }
                let mut applied = self.applied.borrow_mut();
                let (_, first) = applied
                    .entry(name)
                    .or_insert_with(|| (sent.clone(), answer.body.clone()));
                assert_eq!(first, &answer.body, "every answer under a key is the same");
            }
            409 => {
                let is_applied = self.applied.borrow().contains_key(&name);
                assert!(!is_applied, "an applied refund is not refused later");
                self.refused.set(self.refused.get() + 1);
            }
            status => panic!("{status} to {:?}: {}", sent.request, answer.text()),
        }
    }
}

/// Runs a client: repeats each step, at either replica, until its answer is final.
async fn client(
    shared: &SharedState,
    replicas: &[SocketAddr],
    number: usize,
    mut rng: fastrand::Rng,
) {
    for step in 0..STEPS {
        let sent = shared.plan(&mut rng, format!("{number}-{step}"));
        until("the answer is final", 2 * PATIENCE, async || {
            let to = replicas[rng.usize(..replicas.len())];
            // Some requests are sent twice at once: both must get the same answer.
            let at_once = if rng.u8(..4) == 0 { 2 } else { 1 };
            let answers = join_all((0..at_once).map(|_| sent.request.send(to))).await;
            let mut is_answered = false;
            for answer in answers {
                match answer {
                    Ok(answer) if answer.status != 503 => {
                        shared.record(&sent, &answer);
                        is_answered = true;
                    }
                    _ => shared.unanswered.set(shared.unanswered.get() + 1),
                }
            }
            is_answered
        })
        .await;
    }
}

/// Returns rules of four random faults.
fn random_faults(rng: &mut fastrand::Rng) -> Value {
    let kinds = [
        (
            "DynamoDB.TransactWriteItems",
            json!({"drop": true, "when": "after"}),
        ),
        ("DynamoDB.TransactWriteItems", json!({"drop": true})),
        (
            "DynamoDB.TransactWriteItems",
            json!({"error": {"code": "ThrottlingException"}}),
        ),
        (
            "DynamoDB.TransactWriteItems",
            json!({"delay_ms": 60, "when": "after"}),
        ),
        (
            "DynamoDB.GetItem",
            json!({"error": {"code": "InternalServerError", "status": 500}}),
        ),
        (
            "SQS.SendMessageBatch",
            json!({"drop": true, "when": "after"}),
        ),
        (
            "SQS.SendMessageBatch",
            json!({"partial": {"code": "InternalError"}}),
        ),
        ("SQS.SendMessageBatch", json!({"delay_ms": 80})),
        ("DynamoDB.BatchWriteItem", json!({"unprocessed": true})),
        (
            "DynamoDB.BatchWriteItem",
            json!({"drop": true, "when": "after"}),
        ),
        (
            "DynamoDB.Query",
            json!({"error": {"code": "InternalServerError", "status": 500}}),
        ),
        ("DynamoDB.PutItem", json!({"drop": true, "when": "after"})),
    ];
    let rule = |_| {
        let (action, mut rule) = kinds[rng.usize(..kinds.len())].clone();
        rule["action"] = json!(action);
        rule["rate"] = json!(0.1 + 0.4 * rng.f64());
        rule["seed"] = json!(rng.u32(..));
        rule
    };
    (0..4).map(rule).collect()
}

async fn replica(bank: &Bank, port: u16) -> Service {
    let port = port.to_string();
    bank.world
        .service("payments", "pool-1", &[("PORT", &port), SWEEP_SOON])
        .await
}

/// Runs a sequence. Returns its counts.
async fn run_sequence(seed: u64) -> String {
    let mut rng = fastrand::Rng::with_seed(seed);
    let bank = Bank::open().await;
    let ports = [fixed_port(), fixed_port()];
    let mut replicas = [
        replica(&bank, ports[0]).await,
        replica(&bank, ports[1]).await,
    ];
    let mut consumers = bank.consumers().await;
    let addresses = replicas.each_ref().map(|replica| replica.address);
    let (shared, is_over) = (SharedState::default(), Cell::new(false));
    let clients = async {
        join_all((0..CLIENTS).map(|number| client(&shared, &addresses, number, rng.fork()))).await;
        is_over.set(true);
    };
    let mut fault_rng = fastrand::Rng::with_seed(!seed);
    let faults = async {
        while !is_over.get() {
            bank.world
                .endpoint
                .inject(random_faults(&mut fault_rng))
                .await;
            let (before, pause) = (shared.answered.get(), fault_rng.usize(2..9));
            let is_time = async || is_over.get() || shared.answered.get() >= before + pause;
            until("clients make progress", 2 * PATIENCE, is_time).await;
            match fault_rng.u8(..5) {
                0..3 => {
                    let index = fault_rng.usize(..2);
                    replicas[index].process.kill();
                    // The service must start while calls fail.
                    replicas[index] = replica(&bank, ports[index]).await;
                }
                3 => {
                    consumers[fault_rng.usize(..2)].process.kill();
                    consumers = bank.consumers().await;
                }
                _ => {}
            }
        }
        bank.world.endpoint.inject(json!([])).await;
    };
    tokio::join!(clients, faults);
    let ledger = bank.audited().await;
    let (applied, first_times) = (shared.applied.into_inner(), shared.first_times.into_inner());
    assert!(
        first_times.values().all(|times| *times == 1),
        "a key has one 201: {first_times:?}"
    );
    assert_eq!(
        applied.len(),
        ledger.keys.len(),
        "the recorded keys are the answered keys"
    );
    for ((tenant, key), (_, answer)) in &applied {
        let item = &ledger.keys[&((*tenant).to_owned(), key.clone())];
        assert_eq!(
            item["answer"].as_str().map(str::as_bytes),
            Some(answer.as_slice()),
            "{tenant} {key}"
        );
    }
    format!(
        "{} charges, {} refunds, {} refused, {} requests without an answer",
        ledger.charges.len(),
        ledger.refunds.len(),
        shared.refused.get(),
        shared.unanswered.get()
    )
}

#[tokio::test]
async fn sequences_of_charges_refunds_repeats_kills_and_faults_leave_a_sound_ledger() {
    let number = |name| {
        std::env::var(name)
            .ok()
            .map(|text| text.parse::<u64>().expect("a number"))
    };
    let sequences = match number("PAYMENTS_SEQUENCE") {
        Some(sequence) => sequence..sequence + 1,
        None => 0..number("PAYMENTS_SEQUENCES").unwrap_or(SEQUENCES),
    };
    for sequence in sequences {
        println!(
            "sequence {sequence} (again: PAYMENTS_SEQUENCE={sequence} cargo test -p e2e --test payments sequences)"
        );
        println!("sequence {sequence}: {}", run_sequence(sequence).await);
    }
}
