//! Random interleavings of charges, refunds, repeats, kills and faults: one story per seed, over two replicas of the real
//! service and real consumers. Answers are checked as they arrive; tables are checked once no work is left.
//!
//! `PAYMENTS_STORIES=100` runs more stories, `PAYMENTS_STORY=17` runs one.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::net::SocketAddr;

use futures_util::future::join_all;
use kit::http::{Answer, Request};
use kit::process::fixed_port;
use kit::service::Service;
use kit::wait::{PATIENCE, until};
use serde_json::{Value, json};

use crate::support::{Bank, SWEEP_SOON, charge, euros, is_replayed, refund};

/// Default number of stories.
const STORIES: u64 = 3;
/// Clients at once, and steps of each.
const CLIENTS: usize = 6;
const STEPS: usize = 14;
const TENANTS: [&str; 2] = ["tenant-2", "tenant-3"];
/// Smallest charge; some refunds exceed the rest of their charge.
const SMALLEST: u64 = 50;

/// A request that is repeated.
#[derive(Clone)]
struct Asked {
    tenant: &'static str,
    key: String,
    request: Request,
}

/// A tenant and a key of it.
type Name = (&'static str, String);

/// State that the clients of a story share.
#[derive(Default)]
struct Known {
    /// Charges that were answered: tenant and id.
    charges: RefCell<Vec<(&'static str, String)>>,
    /// Applied requests and their answers.
    carried_out: RefCell<BTreeMap<Name, (Asked, Vec<u8>)>>,
    /// Number of answers with 201 by tenant and key: at most one.
    first_times: RefCell<BTreeMap<Name, usize>>,
    /// Refunds refused because they exceed the rest.
    too_much: Cell<usize>,
    unanswered: Cell<usize>,
    answered: Cell<usize>,
}

impl Known {
    fn draw<T: Clone>(rng: &mut fastrand::Rng, all: &[T]) -> Option<T> {
        rng.choice(all).cloned()
    }

    /// One step of a client.
    fn plan(&self, rng: &mut fastrand::Rng, key: String) -> Asked {
        let tenant = TENANTS[rng.usize(..2)];
        let charges: Vec<_> = self.charges.borrow().clone();
        let carried_out: Vec<_> = self
            .carried_out
            .borrow()
            .values()
            .map(|(asked, _)| asked.clone())
            .collect();
        match rng.u8(..10) {
            0..4 => {
                let request = charge(tenant, &key, &euros(rng.u64(SMALLEST..200)));
                Asked {
                    tenant,
                    key,
                    request,
                }
            }
            4..8 => match Self::draw(rng, &charges) {
                // A few charges get most refunds, so that those race.
                Some(_) => {
                    let (tenant, id) = charges[rng.usize(..charges.len().min(4))].clone();
                    let request = refund(tenant, &key, &id, rng.u64(1..SMALLEST));
                    Asked {
                        tenant,
                        key,
                        request,
                    }
                }
                None => Asked {
                    tenant,
                    request: charge(tenant, &key, &euros(SMALLEST)),
                    key,
                },
            },
            _ => Self::draw(rng, &carried_out).unwrap_or_else(|| Asked {
                tenant,
                request: charge(tenant, &key, &euros(SMALLEST)),
                key,
            }),
        }
    }

    /// Records a final answer, and compares it with earlier answers.
    fn take(&self, asked: &Asked, answer: &Answer) {
        self.answered.set(self.answered.get() + 1);
        let name = (asked.tenant, asked.key.clone());
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
                assert_eq!(body["tenant_id"], json!(asked.tenant));
                if body["charge_id"].is_null() {
                    let id = body["id"].as_str().expect("an id").to_owned();
                    let charge = (asked.tenant, id);
                    if !self.charges.borrow().contains(&charge) {
                        self.charges.borrow_mut().push(charge);
                    }
                }
                let mut carried_out = self.carried_out.borrow_mut();
                let (_, first) = carried_out
                    .entry(name)
                    .or_insert_with(|| (asked.clone(), answer.body.clone()));
                assert_eq!(first, &answer.body, "every answer under a key is the same");
            }
            409 => {
                let is_carried_out = self.carried_out.borrow().contains_key(&name);
                assert!(
                    !is_carried_out,
                    "a refund that was carried out is not refused later"
                );
                self.too_much.set(self.too_much.get() + 1);
            }
            status => panic!("{status} to {:?}: {}", asked.request, answer.text()),
        }
    }
}

/// A client: repeats each step, at either replica, until its answer is final.
async fn client(known: &Known, replicas: &[SocketAddr], number: usize, mut rng: fastrand::Rng) {
    for step in 0..STEPS {
        let asked = known.plan(&mut rng, format!("{number}-{step}"));
        until("an answer for good", 2 * PATIENCE, async || {
            let to = replicas[rng.usize(..replicas.len())];
            // Sometimes twice at once: both must get the same answer.
            let at_once = if rng.u8(..4) == 0 { 2 } else { 1 };
            let answers = join_all((0..at_once).map(|_| asked.request.send(to))).await;
            let mut is_answered = false;
            for answer in answers {
                match answer {
                    Ok(answer) if answer.status != 503 => {
                        known.take(&asked, &answer);
                        is_answered = true;
                    }
                    _ => known.unanswered.set(known.unanswered.get() + 1),
                }
            }
            is_answered
        })
        .await;
    }
}

/// Faults of a short time.
fn weather(rng: &mut fastrand::Rng) -> Value {
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

/// Runs a story; returns its counts.
async fn play(seed: u64) -> String {
    let mut rng = fastrand::Rng::with_seed(seed);
    let bank = Bank::open().await;
    let ports = [fixed_port(), fixed_port()];
    let mut replicas = [
        replica(&bank, ports[0]).await,
        replica(&bank, ports[1]).await,
    ];
    let mut consumers = bank.consumers().await;
    let addresses = replicas.each_ref().map(|replica| replica.address);
    let (known, over) = (Known::default(), Cell::new(false));
    let clients = async {
        join_all((0..CLIENTS).map(|number| client(&known, &addresses, number, rng.fork()))).await;
        over.set(true);
    };
    let mut dice = fastrand::Rng::with_seed(!seed);
    let chaos = async {
        while !over.get() {
            bank.world.endpoint.inject(weather(&mut dice)).await;
            let (before, pause) = (known.answered.get(), dice.usize(2..9));
            let is_time = async || over.get() || known.answered.get() >= before + pause;
            until("clients get on", 2 * PATIENCE, is_time).await;
            match dice.u8(..5) {
                0..3 => {
                    let which = dice.usize(..2);
                    replicas[which].process.kill();
                    // The service must start whatever fails around it.
                    replicas[which] = replica(&bank, ports[which]).await;
                }
                3 => {
                    consumers[dice.usize(..2)].process.kill();
                    consumers = bank.consumers().await;
                }
                _ => {}
            }
        }
        bank.world.endpoint.inject(json!([])).await;
    };
    tokio::join!(clients, chaos);
    let ledger = bank.audited().await;
    let (carried_out, first_times) = (
        known.carried_out.into_inner(),
        known.first_times.into_inner(),
    );
    assert!(
        first_times.values().all(|times| *times == 1),
        "the first time is once: {first_times:?}"
    );
    assert_eq!(
        carried_out.len(),
        ledger.keys.len(),
        "what is recorded is what clients were told"
    );
    for ((tenant, key), (_, answer)) in &carried_out {
        let item = &ledger.keys[&((*tenant).to_owned(), key.clone())];
        assert_eq!(
            item["answer"].as_str().map(str::as_bytes),
            Some(answer.as_slice()),
            "{tenant} {key}"
        );
    }
    format!(
        "{} charges, {} refunds, {} refused, {} times no answer",
        ledger.charges.len(),
        ledger.refunds.len(),
        known.too_much.get(),
        known.unanswered.get()
    )
}

#[tokio::test]
async fn stories_of_charges_refunds_repeats_kills_and_faults_leave_a_sound_ledger() {
    let number = |name| {
        std::env::var(name)
            .ok()
            .map(|text| text.parse::<u64>().expect("a number"))
    };
    let stories = match number("PAYMENTS_STORY") {
        Some(story) => story..story + 1,
        None => 0..number("PAYMENTS_STORIES").unwrap_or(STORIES),
    };
    for story in stories {
        println!(
            "story {story} (again: PAYMENTS_STORY={story} cargo test -p e2e --test payments stories)"
        );
        println!("story {story}: {}", play(story).await);
    }
}
