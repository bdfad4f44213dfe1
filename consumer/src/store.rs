//! Handling of received batches: separates poison from good messages, stores the good ones, forwards those of tenants that
//! have moved away, retries what failed.
//!
//! A failing dependency costs a message no delivery. The batch is held and its leases are extended, until the write
//! succeeds or the service stops. Deliveries are for crashes: an outage that used them up would fill the dead-letter
//! queue.

use std::time::Duration;

use tenantry_process::arn::QueueArn;
use tenantry_process::health::Condition;
use tenantry_process::hold::{Hold, HoldLimits};
use tenantry_process::metrics::{Metrics, label};
use tenantry_process::telemetry::continue_trace;
use tenantry_queue::message::{Received, TRACE_ATTRIBUTE};
use tenantry_queue::receiver::{Handler, Verdict};
use tenantry_registry::{LookupError, Tenant, TenantRegistry};
use tenantry_tenancy::environment::Environment;
use tenantry_tenancy::generation::Owner;
use tokio_util::sync::CancellationToken;

use crate::item::{Item, Poison, accepted_at, knows_no_generation, owner_of};
use crate::late::Forwarder;
use crate::table::WriteOutcome;
use crate::writer::Writer;

/// Pauses between the writes of a batch. A batch held for the total time is left to redelivery.
const HOLD: HoldLimits = HoldLimits {
    base: Duration::from_millis(100),
    max: Duration::from_secs(5),
    total: Duration::from_secs(1800),
};
/// Time for which writes must fail before readiness is lowered.
const UNREADY_AFTER: Duration = Duration::from_secs(15);

/// The tenants that the environment's consumer serves.
pub(crate) struct ServedTenants {
    environment: Environment,
    queue: QueueArn,
    registry: TenantRegistry,
}

/// Whether this environment serves a message's owner.
enum IsServed {
    /// The owner whose message it is.
    Yes(Owner),
    /// The tenant has moved from here to the environment of this queue.
    Moved(QueueArn),
    No(Poison),
    /// The registry lookup failed.
    Unknown,
}

/// Stores batches.
pub(crate) struct Store {
    tenants: ServedTenants,
    writer: Writer,
    forwarder: Forwarder,
    storing: Condition,
    metrics: Metrics,
    shutdown: CancellationToken,
}

/// Progress of a message toward its verdict.
enum MessageState {
    Settled(Verdict),
    /// Whether the owner is served is not known yet.
    Unclassified(Owner),
    Unwritten(Item),
    Unforwarded(Owner, QueueArn),
}

impl MessageState {
    /// The owner of a message without a verdict.
    fn unsettled(&self) -> Option<&Owner> {
        match self {
            Self::Settled(_) => None,
            Self::Unclassified(owner) | Self::Unforwarded(owner, _) => Some(owner),
            Self::Unwritten(item) => Some(&item.owner),
        }
    }
}

impl ServedTenants {
    pub(crate) fn new(environment: Environment, queue: QueueArn, registry: TenantRegistry) -> Self {
        Self {
            environment,
            queue,
            registry,
        }
    }

    /// A silo serves its tenant; a pool serves the tenants whose registered queue is its own. Both serve only the
    /// registered generation, so a message of an earlier owner of the id is never stored as the present one's. A message of a
    /// producer that knows no generations is of the owner at the time it was accepted.
    ///
    /// Only a registration read after the message was sent can answer No or Moved: the tenant may have been onboarded or
    /// moved here after an older registration was cached.
    async fn check(&self, message: &Received, owner: &Owner) -> IsServed {
        let tenant = &owner.tenant;
        if !self.environment.admits(tenant) {
            return IsServed::No(Poison::ForeignTenant);
        }
        let check = |registered: &Tenant| {
            if matches!(self.environment, Environment::Pool(_))
                && registered.queue.as_ref() != Some(&self.queue)
            {
                Err(Poison::ForeignTenant)
            } else if registered.generation == owner.generation
                || (knows_no_generation(message)
                    && registered
                        .generation
                        .existed_at(accepted_at(message).timestamp_millis()))
            {
                Ok(registered.owner())
            } else {
                Err(Poison::StaleGeneration)
            }
        };
        if let Ok(registered) = self.registry.lookup_proved(tenant).await
            && let Ok(owner) = check(&registered)
        {
            return IsServed::Yes(owner);
        }
        match self.registry.lookup_since(tenant, message.sent_at).await {
            Ok(registered) => match check(&registered) {
                Ok(owner) => IsServed::Yes(owner),
                Err(Poison::ForeignTenant)
                    if registered.moved_from.as_ref() == Some(&self.environment) =>
                {
                    let queue = registered.queue.clone();
                    queue.map_or(IsServed::Unknown, IsServed::Moved)
                }
                Err(poison) => IsServed::No(poison),
            },
            Err(LookupError::Unknown) => match &self.environment {
                // The tenant's own queue outlives its registration for a moment: accepted messages are stored, each with
                // its own generation.
                Environment::Silo(_) => IsServed::Yes(owner.clone()),
                Environment::Pool(_) => IsServed::No(Poison::ForeignTenant),
            },
            Err(
                LookupError::Unavailable(_) | LookupError::Busy | LookupError::Misconfigured { .. },
            ) => IsServed::Unknown,
        }
    }
}

impl Store {
    pub(crate) fn new(
        tenants: ServedTenants,
        (writer, forwarder): (Writer, Forwarder),
        storing: Condition,
        metrics: &Metrics,
        shutdown: CancellationToken,
    ) -> Self {
        metrics.describe_counter("stored_total", "Messages whose item is stored");
        metrics.describe_counter(
            "poison_total",
            "Messages that can never be stored, by reason",
        );
        metrics.describe_counter(
            "store_retries_total",
            "Messages tried again because storing failed",
        );
        Self {
            tenants,
            writer,
            forwarder,
            storing,
            metrics: metrics.clone(),
            shutdown,
        }
    }

    async fn classify(&self, message: &Received, owner: Owner) -> MessageState {
        match self.tenants.check(message, &owner).await {
            IsServed::Yes(owner) => match Item::of(message, owner, &self.tenants.environment) {
                Ok(item) => MessageState::Unwritten(item),
                Err(poison) => self.poisoned(message, &poison),
            },
            IsServed::Moved(queue) => MessageState::Unforwarded(owner, queue),
            IsServed::No(poison) => self.poisoned(message, &poison),
            IsServed::Unknown => MessageState::Unclassified(owner),
        }
    }

    fn poisoned(&self, message: &Received, poison: &Poison) -> MessageState {
        self.dead_letter(message, poison.code(), &poison.to_string())
    }

    fn dead_letter(&self, message: &Received, code: &'static str, reason: &str) -> MessageState {
        tracing::warn!(
            message_id = message.message_id,
            code,
            reason,
            "message can never be stored: dead-lettering it"
        );
        self.metrics
            .counter("poison_total", vec![label("reason", code)])
            .increment(1);
        MessageState::Settled(Verdict::DeadLetter(format!("{code}: {reason}")))
    }

    /// Writes the unwritten items once, and settles the messages whose write has a final outcome.
    async fn write(&self, batch: &[Received], states: &mut [MessageState]) {
        let unwritten = |(at, state): (usize, &MessageState)| match state {
            MessageState::Unwritten(item) => Some((at, item.clone())),
            _ => None,
        };
        let (indices, items): (Vec<_>, Vec<_>) =
            states.iter().enumerate().filter_map(unwritten).unzip();
        if items.is_empty() {
            return;
        }
        let outcomes = self.writer.write(items).await;
        let stored = outcomes
            .iter()
            .filter(|outcome| **outcome == WriteOutcome::Stored)
            .count();
        self.metrics
            .counter("stored_total", vec![])
            .increment(stored as u64);
        for (at, outcome) in indices.into_iter().zip(outcomes) {
            match outcome {
                WriteOutcome::Stored => {
                    if let MessageState::Unwritten(item) = &states[at] {
                        tracing::info!(tenant_id = %item.owner.tenant, message_id = item.message_id, "event stored");
                    }
                    states[at] = MessageState::Settled(Verdict::Done);
                }
                WriteOutcome::Rejected(reason) => {
                    states[at] = self.dead_letter(&batch[at], "refused", &reason);
                }
                WriteOutcome::Failed => {}
            }
        }
    }

    /// Forwards the messages of moved tenants once, and settles those that the other queue has confirmed.
    async fn forward(&self, batch: &[Received], states: &mut [MessageState]) {
        let moved = states
            .iter()
            .enumerate()
            .filter_map(|(at, state)| match state {
                MessageState::Unforwarded(_, queue) => Some((at, (&batch[at], queue))),
                _ => None,
            });
        let (indices, messages): (Vec<_>, Vec<_>) = moved.unzip();
        let forwarded = self.forwarder.forward(&messages).await;
        for (at, _) in indices.into_iter().zip(forwarded).filter(|(_, sent)| *sent) {
            states[at] = MessageState::Settled(Verdict::Done);
        }
    }

    /// Returns whether every message is settled, and sets readiness accordingly.
    fn is_settled(&self, states: &[MessageState], elapsed: Duration) -> bool {
        let unsettled = states
            .iter()
            .filter(|state| state.unsettled().is_some())
            .count();
        if unsettled == 0 {
            self.storing.set(true);
            return true;
        }
        self.metrics
            .counter("store_retries_total", vec![])
            .increment(unsettled as u64);
        if elapsed >= UNREADY_AFTER && self.storing.set(false) {
            tracing::error!(
                messages = unsettled,
                "storing keeps failing: readiness lowered"
            );
        }
        false
    }
}

impl Handler for Store {
    async fn handle(&self, batch: &[Received]) -> Vec<Verdict> {
        let _spans: Vec<_> = batch.iter().map(span_of).collect();
        let mut states = Vec::with_capacity(batch.len());
        for message in batch {
            states.push(match owner_of(message) {
                Ok(owner) => self.classify(message, owner).await,
                Err(poison) => self.poisoned(message, &poison),
            });
        }
        let mut hold = Hold::new(HOLD, &self.shutdown);
        loop {
            self.write(batch, &mut states).await;
            self.forward(batch, &mut states).await;
            if self.is_settled(&states, hold.elapsed()) || !hold.pause().await {
                break;
            }
            // Classified anew, because the tenant may move while the table or the other queue fails.
            for (message, state) in batch.iter().zip(&mut states) {
                if let Some(owner) = state.unsettled().cloned() {
                    *state = self.classify(message, owner).await;
                }
            }
        }
        let verdict = |state| match state {
            MessageState::Settled(verdict) => verdict,
            _ => Verdict::Retry,
        };
        states.into_iter().map(verdict).collect()
    }
}

/// The span of a message, as part of the trace of the request that sent the message.
fn span_of(message: &Received) -> tracing::Span {
    let span = tracing::info_span!(
        "store",
        otel.kind = "consumer",
        message_id = message.message_id
    );
    continue_trace(&span, message.attribute(TRACE_ATTRIBUTE));
    // The span's time starts when it is first entered.
    span.in_scope(|| {});
    span
}
