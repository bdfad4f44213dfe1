//! Clients that post events and remember the answers.
//!
//! A third of the events has an `Idempotency-Key`. Such an event is repeated until it is accepted, and sometimes once more
//! after that. Every other event is dropped after one failure.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::time::Duration;

use kit::http::{Answer, Request};
use kit::wait::eventually;

use crate::checker::Sent;
use crate::fleet::Fleet;
use crate::tenants::{Home, Homes, Tenant, TenantSet};

/// Attempts of an event with a key.
const ATTEMPTS_MAX: usize = 60;
/// Most bytes of padding in a payload.
const FILL_BYTES_MAX: usize = 600;
/// Time limit of a wait for progress.
const PROGRESS_TIMEOUT: Duration = Duration::from_secs(300);

/// The homes to which a tenant's requests go.
#[derive(Clone, Copy)]
pub struct Route<'a> {
    pub tenant: &'a Tenant,
    pub homes: &'a Homes,
    /// Index of the tenant.
    pub index: usize,
}

impl Route<'_> {
    fn home(&self) -> Home {
        self.homes.get(self.index)
    }
}

/// State that clients share.
pub struct Clients {
    /// Number of events to post.
    total: usize,
    started: Cell<usize>,
    sent: RefCell<Vec<Sent>>,
    statuses: RefCell<BTreeMap<u16, u64>>,
    unanswered: Cell<u64>,
    /// Repeats whose answer named another id than the first answer.
    contradicted: Cell<u64>,
}

impl Clients {
    /// Clients that together post this many events.
    pub fn new(total: usize) -> Self {
        Self {
            total,
            started: Cell::new(0),
            sent: RefCell::default(),
            statuses: RefCell::default(),
            unanswered: Cell::new(0),
            contradicted: Cell::new(0),
        }
    }

    /// Runs one client of a tenant: posts one event after the other until all are posted.
    pub async fn run(&self, fleet: &Fleet, route: Route<'_>, mut rng: fastrand::Rng) {
        let tenant = route.tenant;
        while self.started.get() < self.total {
            let number = self.started.get();
            self.started.set(number + 1);
            let fill = "x".repeat(rng.usize(..FILL_BYTES_MAX));
            let payload = format!(
                "{{\"n\":{number},\"of\":\"{}\",\"fill\":\"{fill}\"}}",
                tenant.id
            );
            let mut request = Request::event().tenant(&tenant.id).body(payload.clone());
            let is_keyed = rng.usize(..3) == 0;
            if is_keyed {
                request = request.key(&format!("key-{number}"));
            }
            let accepted = self.post(fleet, route, &request, is_keyed, &mut rng).await;
            self.sent.borrow_mut().push(Sent {
                tenant: tenant.id.clone(),
                table: route.home().consumer,
                payload,
                accepted,
            });
        }
    }

    async fn post(
        &self,
        fleet: &Fleet,
        route: Route<'_>,
        request: &Request,
        is_keyed: bool,
        rng: &mut fastrand::Rng,
    ) -> Option<String> {
        let attempts = if is_keyed { ATTEMPTS_MAX } else { 1 };
        for _ in 0..attempts {
            let Some(id) = self.try_once(fleet, route, request, rng).await else {
                // As `Retry-After` asks: up to one second.
                tokio::time::sleep(Duration::from_millis(rng.u64(100..1000))).await;
                continue;
            };
            // Some clients repeat an accepted event, through any replica: its id must be the same.
            if is_keyed && rng.usize(..4) == 0 {
                let again = self.try_once(fleet, route, request, rng).await;
                let differs = again.is_some_and(|again| again != id);
                self.contradicted
                    .set(self.contradicted.get() + u64::from(differs));
            }
            return Some(id);
        }
        None
    }

    async fn try_once(
        &self,
        fleet: &Fleet,
        route: Route<'_>,
        request: &Request,
        rng: &mut fastrand::Rng,
    ) -> Option<String> {
        let producers = fleet.producers(route.home().producer);
        let slot = &fleet.slots[*rng.choice(&producers).expect("every tenant has a producer")];
        match request.send(slot.address).await {
            Ok(answer) => {
                *self.statuses.borrow_mut().entry(answer.status).or_default() += 1;
                let id = accepted_id(&answer)?;
                slot.accepted.set(slot.accepted.get() + 1);
                Some(id)
            }
            Err(_) => {
                self.unanswered.set(self.unanswered.get() + 1);
                None
            }
        }
    }

    /// Events that are finished: accepted or dropped.
    pub fn done(&self) -> usize {
        self.sent.borrow().len()
    }

    pub fn is_over(&self) -> bool {
        self.done() >= self.total
    }

    /// Waits until this many events are finished, or all.
    pub async fn reach(&self, count: usize) {
        let wanted = count.min(self.total);
        let mut seen = self.done();
        while seen < wanted {
            let what = format!("more events are finished: {seen} of {}", self.total);
            seen = eventually(&what, PROGRESS_TIMEOUT, async || {
                Some(self.done()).filter(|done| *done > seen)
            })
            .await;
        }
    }

    /// The events and their answers. Each has the table of its tenant's present home.
    pub fn sent(&self, tenant_set: &TenantSet, homes: &Homes) -> Vec<Sent> {
        let tables: BTreeMap<&str, usize> = tenant_set
            .tenants
            .iter()
            .enumerate()
            .map(|(index, tenant)| (tenant.id.as_str(), homes.get(index).consumer))
            .collect();
        let mut sent = self.sent.borrow().clone();
        for event in &mut sent {
            event.table = tables[event.tenant.as_str()];
        }
        sent
    }

    pub fn statuses(&self) -> BTreeMap<u16, u64> {
        self.statuses.borrow().clone()
    }

    /// Requests without an answer.
    pub fn unanswered(&self) -> u64 {
        self.unanswered.get()
    }

    pub fn contradicted(&self) -> u64 {
        self.contradicted.get()
    }
}

fn accepted_id(answer: &Answer) -> Option<String> {
    (answer.status == 200).then(|| answer.field("message_id"))
}
