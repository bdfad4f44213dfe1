//! A handler that does to each message what its plan says, and writes down what it did.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tenantry_queue::message::Received;
use tenantry_queue::receiver::{Handler, Verdict};

use crate::trace::{Decision, Event};
use crate::world::World;
use crate::world::queue::Entry;

/// The attribute each message carries.
const ATTRIBUTE: &str = "tenant_id";
/// How often a flaky message fails.
const FLAKY_TIMES: u32 = 2;

/// What is to happen to a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// It is stored.
    Good,
    /// It fails a few times, then it is stored.
    Flaky,
    /// It can never be stored.
    Poison,
    /// The handler panics over it once, then it is stored.
    Panics,
    /// The handler forgets to say what became of it, once.
    Silent,
}

impl Kind {
    /// How its body ends.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Flaky => "flaky",
            Self::Poison => "poison",
            Self::Panics => "panics",
            Self::Silent => "silent",
        }
    }
}

/// One message's plan.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    pub(super) at: Duration,
    pub(super) kind: Kind,
    /// How long its batch is worked on, at least.
    pub(super) takes: Duration,
    pub(super) group: String,
}

impl Plan {
    /// The message itself.
    pub(super) fn entry(&self, number: usize) -> Entry {
        Entry {
            body: format!("{number} {}", self.kind.name()),
            group: Some(self.group.clone()),
            attributes: BTreeMap::from([(ATTRIBUTE.to_owned(), self.group.clone())]),
            ..Entry::default()
        }
    }
}

/// How truthful a handler is.
pub(super) trait Manner: Clone + Send + Sync + 'static {
    /// Whether what it calls done is stored.
    const STORES: bool;
}

/// Says done only of what it has stored.
#[derive(Clone)]
pub(super) struct Honest;

impl Manner for Honest {
    const STORES: bool = true;
}

/// Says done of what it has not stored.
#[derive(Clone)]
pub(super) struct Lying;

impl Manner for Lying {
    const STORES: bool = false;
}

/// Does what the plans say. Clones share what they remember.
#[derive(Clone)]
pub(super) struct Scripted<M> {
    world: World,
    plans: Arc<Vec<Plan>>,
    /// How often each message came.
    tries: Arc<Mutex<BTreeMap<usize, u32>>>,
    _manner: M,
}

impl<M: Manner> Scripted<M> {
    pub(super) fn new(world: World, plans: Arc<Vec<Plan>>, manner: M) -> Self {
        Self {
            world,
            plans,
            tries: Arc::default(),
            _manner: manner,
        }
    }

    /// What to do this time: the plan and how often the message came before.
    fn plan(&self, message: &Received) -> Option<(&Plan, u32)> {
        let number: usize = message.body.split(' ').next()?.parse().ok()?;
        let plan = self.plans.get(number)?;
        let is_intact = message.attribute(ATTRIBUTE) == Some(plan.group.as_str())
            && message.group.as_ref() == Some(&plan.group);
        if !is_intact {
            self.world.note(Event::Stuck {
                why: format!("{} did not arrive as it was sent", message.body),
            });
        }
        let mut tries = self.tries.lock().unwrap_or_else(PoisonError::into_inner);
        let count = tries.entry(number).or_default();
        *count += 1;
        Some((plan, *count - 1))
    }
}

impl<M: Manner> Handler for Scripted<M> {
    async fn handle(&self, batch: &[Received]) -> Vec<Verdict> {
        let handles: Vec<_> = batch
            .iter()
            .map(|message| message.receipt_handle.clone())
            .collect();
        self.world.note(Event::Handling {
            handles: handles.clone(),
        });
        let planned: Vec<_> = batch
            .iter()
            .map(|message| self.plan(message).expect("only planned messages are put"))
            .collect();
        let takes = planned
            .iter()
            .map(|(plan, _)| plan.takes)
            .max()
            .unwrap_or_default();
        self.world.sleep(takes / 2).await;
        if planned
            .iter()
            .any(|(plan, before)| plan.kind == Kind::Panics && *before == 0)
        {
            self.world.note(Event::Panicked { handles });
            // Without the hook's line: it would be thousands.
            std::panic::resume_unwind(Box::new("planned"));
        }
        let decisions: Vec<_> = planned
            .iter()
            .map(|(plan, before)| decide(plan.kind, *before))
            .collect();
        let mut stored = BTreeSet::new();
        for (message, decision) in batch.iter().zip(&decisions) {
            if *decision == Decision::Done && M::STORES && stored.insert(&message.body) {
                self.world.note(Event::Stored {
                    body: message.body.clone(),
                });
            }
        }
        self.world.sleep(takes / 2).await;
        let silent = planned
            .iter()
            .position(|(plan, before)| plan.kind == Kind::Silent && *before == 0);
        let said = silent.unwrap_or(batch.len());
        let heard = decisions
            .iter()
            .take(said)
            .chain(std::iter::repeat(&Decision::Retry));
        self.world.note(Event::Decided {
            verdicts: handles.into_iter().zip(heard.copied()).collect(),
        });
        decisions.into_iter().take(said).map(verdict).collect()
    }
}

const fn decide(kind: Kind, before: u32) -> Decision {
    match kind {
        Kind::Poison => Decision::SetAside,
        Kind::Flaky if before < FLAKY_TIMES => Decision::Retry,
        Kind::Good | Kind::Flaky | Kind::Panics | Kind::Silent => Decision::Done,
    }
}

fn verdict(decision: Decision) -> Verdict {
    match decision {
        Decision::Done => Verdict::Done,
        Decision::Retry => Verdict::Retry,
        Decision::SetAside => Verdict::SetAside("poison".to_owned()),
    }
}
