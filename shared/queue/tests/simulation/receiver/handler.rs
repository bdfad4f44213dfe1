//! A handler that follows a plan for each message and records its actions in the trace.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tenantry_queue::message::Received;
use tenantry_queue::receiver::{Handler, Verdict};

use crate::trace::{Decision, Event};
use crate::world::World;
use crate::world::queue::Entry;

/// Attribute of every message.
const ATTRIBUTE: &str = "group_key";
/// Number of failures of a flaky message.
const FLAKY_TIMES: u32 = 2;

/// Planned outcome of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Stored at once.
    Good,
    /// Fails a few times, then is stored.
    Flaky,
    /// Can never be stored.
    Poison,
    /// The handler panics once, then stores the message.
    Panics,
    /// The handler once returns no verdict.
    Silent,
}

impl Kind {
    /// Suffix of the body.
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
    /// Shortest duration of handling its batch.
    pub(super) takes: Duration,
    pub(super) group: String,
}

impl Plan {
    /// The planned message.
    pub(super) fn entry(&self, number: usize) -> Entry {
        Entry {
            body: format!("{number} {}", self.kind.name()),
            group: Some(self.group.clone()),
            attributes: BTreeMap::from([(ATTRIBUTE.to_owned(), self.group.clone())]),
            ..Entry::default()
        }
    }
}

/// Whether a handler stores messages.
pub(super) trait StorePolicy: Clone + Send + Sync + 'static {
    /// True if a message with the verdict Done is stored.
    const STORES: bool;
}

/// Stores a message before the verdict Done.
#[derive(Clone)]
pub(super) struct StoresDone;

impl StorePolicy for StoresDone {
    const STORES: bool = true;
}

/// Returns Done without storing the message.
#[derive(Clone)]
pub(super) struct StoresNothing;

impl StorePolicy for StoresNothing {
    const STORES: bool = false;
}

/// Handler that follows the plans. Clones share their state.
#[derive(Clone)]
pub(super) struct Scripted<M> {
    world: World,
    plans: Arc<Vec<Plan>>,
    /// Number of deliveries of each message.
    tries: Arc<Mutex<BTreeMap<usize, u32>>>,
    _policy: M,
}

impl<M: StorePolicy> Scripted<M> {
    pub(super) fn new(world: World, plans: Arc<Vec<Plan>>, policy: M) -> Self {
        Self {
            world,
            plans,
            tries: Arc::default(),
            _policy: policy,
        }
    }

    /// Returns a message's plan, and the number of its earlier deliveries.
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
        let mut tries = self.tries.lock();
        let count = tries.entry(number).or_default();
        *count += 1;
        Some((plan, *count - 1))
    }
}

impl<M: StorePolicy> Handler for Scripted<M> {
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
            .map(|message| self.plan(message).expect("every message has a plan"))
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
            // `resume_unwind` skips the panic hook, which would print thousands of lines.
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
        Kind::Poison => Decision::DeadLetter,
        Kind::Flaky if before < FLAKY_TIMES => Decision::Retry,
        Kind::Good | Kind::Flaky | Kind::Panics | Kind::Silent => Decision::Done,
    }
}

fn verdict(decision: Decision) -> Verdict {
    match decision {
        Decision::Done => Verdict::Done,
        Decision::Retry => Verdict::Retry,
        Decision::DeadLetter => Verdict::DeadLetter("poison".to_owned()),
    }
}
