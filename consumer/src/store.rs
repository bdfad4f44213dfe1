//! What the consumer does with a batch: tell good from poison, store the good, keep trying while storing fails.
//!
//! A dependency that fails costs a message no delivery: the batch is held, its leases extended, until the write succeeds
//! or the service stops. Deliveries are for crashes; spending them on an outage would fill the dead-letter queue.

use std::time::Duration;

use crate::item::{Item, Poison, tenant_of};
use chrono::{DateTime, Utc};
use tenantry_process::arn::QueueArn;
use tenantry_process::health::Condition;
use tenantry_process::metrics::{Metrics, label};
use tenantry_process::retry::backoff_from_half;
use tenantry_process::telemetry::continue_trace;
use tenantry_queue::message::{Received, TRACE_ATTRIBUTE};
use tenantry_queue::receiver::{Handler, Verdict};
use tenantry_registry::{LookupError, Tenant, TenantRegistry};
use tenantry_tenancy::environment::Environment;
use tenantry_tenancy::tenant::TenantId;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::table::Written;
use crate::writer::Writer;

/// First wait before a batch is tried again.
const RETRY_BASE: Duration = Duration::from_millis(100);
/// Longest such wait.
const RETRY_MAX: Duration = Duration::from_secs(5);
/// Longest a batch is held before it is left to redelivery after all.
const HOLD_MAX: Duration = Duration::from_secs(1800);
/// How long storing may fail before readiness is lowered.
const UNREADY_AFTER: Duration = Duration::from_secs(15);

/// Whom the environment's consumer serves.
pub(crate) struct Serves {
    environment: Environment,
    queue: QueueArn,
    registry: TenantRegistry,
}

/// Whether a message's tenant is served here.
enum Served {
    Yes,
    No,
    /// The registry cannot tell now.
    Unclear,
}

/// Stores batches.
pub(crate) struct Store {
    serves: Serves,
    writer: Writer,
    storing: Condition,
    metrics: Metrics,
    shutdown: CancellationToken,
}

/// A message on its way to its verdict.
enum State {
    Settled(Verdict),
    /// Whether its tenant is served is not known yet.
    Unclear(TenantId),
    Waiting(Item),
}

impl Serves {
    pub(crate) fn new(environment: Environment, queue: QueueArn, registry: TenantRegistry) -> Self {
        Self {
            environment,
            queue,
            registry,
        }
    }

    /// A silo serves its owner; a pool serves the tenants whose registered queue is its own.
    ///
    /// Condemning a message takes a registration that was read after it was sent: what is remembered from before may
    /// be of a tenant that has come, or moved here, since.
    async fn check(&self, tenant: &TenantId, sent_at: DateTime<Utc>) -> Served {
        if let Environment::Silo(owner) = &self.environment {
            return if owner == tenant {
                Served::Yes
            } else {
                Served::No
            };
        }
        let is_ours = |registered: &Tenant| registered.queue.as_ref() == Some(&self.queue);
        if self
            .registry
            .lookup(tenant)
            .await
            .is_ok_and(|registered| is_ours(&registered))
        {
            return Served::Yes;
        }
        match self.registry.lookup_since(tenant, sent_at).await {
            Ok(registered) if is_ours(&registered) => Served::Yes,
            Ok(_) | Err(LookupError::Unknown) => Served::No,
            Err(LookupError::Unavailable(_) | LookupError::Misconfigured { .. }) => Served::Unclear,
        }
    }
}

impl Store {
    pub(crate) fn new(
        serves: Serves,
        writer: Writer,
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
            serves,
            writer,
            storing,
            metrics: metrics.clone(),
            shutdown,
        }
    }

    /// Decides what can be decided of a message whose tenant is known.
    async fn classify(&self, message: &Received, tenant: TenantId) -> State {
        match self.serves.check(&tenant, message.sent_at).await {
            Served::Yes => match Item::of(message, tenant, &self.serves.environment) {
                Ok(item) => State::Waiting(item),
                Err(poison) => self.poisoned(message, &poison),
            },
            Served::No => self.poisoned(message, &Poison::ForeignTenant),
            Served::Unclear => State::Unclear(tenant),
        }
    }

    fn poisoned(&self, message: &Received, poison: &Poison) -> State {
        tracing::warn!(message_id = message.message_id, code = poison.code(), reason = %poison, "poison message");
        self.metrics
            .counter("poison_total", vec![label("reason", poison.code())])
            .increment(1);
        State::Settled(Verdict::DeadLetter(format!("{}: {poison}", poison.code())))
    }

    /// Writes what waits; what is stored or can never be is settled.
    async fn write(&self, batch: &[Received], states: &mut [State]) {
        let waiting = |(at, state): (usize, &State)| match state {
            State::Waiting(item) => Some((at, item.clone())),
            _ => None,
        };
        let (places, items): (Vec<_>, Vec<_>) =
            states.iter().enumerate().filter_map(waiting).unzip();
        if items.is_empty() {
            return;
        }
        let written = self.writer.write(items).await;
        let stored = written
            .iter()
            .filter(|written| **written == Written::Stored)
            .count();
        self.metrics
            .counter("stored_total", vec![])
            .increment(stored as u64);
        for (at, written) in places.into_iter().zip(written) {
            match written {
                Written::Stored => {
                    if let State::Waiting(item) = &states[at] {
                        tracing::info!(tenant_id = %item.tenant, message_id = item.message_id, "event stored");
                    }
                    states[at] = State::Settled(Verdict::Done);
                }
                Written::Never(reason) => {
                    tracing::warn!(
                        message_id = batch[at].message_id,
                        reason,
                        "the table refuses the item"
                    );
                    self.metrics
                        .counter("poison_total", vec![label("reason", "refused")])
                        .increment(1);
                    states[at] = State::Settled(Verdict::DeadLetter(format!("refused: {reason}")));
                }
                Written::NotYet => {}
            }
        }
    }

    /// Whether everything is settled; tells readiness how storing goes.
    fn is_settled(&self, states: &[State], since: Instant) -> bool {
        let open = states
            .iter()
            .filter(|state| !matches!(state, State::Settled(_)))
            .count();
        if open == 0 {
            self.storing.set(true);
            return true;
        }
        self.metrics
            .counter("store_retries_total", vec![])
            .increment(open as u64);
        if since.elapsed() >= UNREADY_AFTER && self.storing.set(false) {
            tracing::error!(messages = open, "storing keeps failing; not ready");
        }
        false
    }
}

impl Handler for Store {
    async fn handle(&self, batch: &[Received]) -> Vec<Verdict> {
        let _spans: Vec<_> = batch.iter().map(span_of).collect();
        let mut states = Vec::with_capacity(batch.len());
        for message in batch {
            states.push(match tenant_of(message) {
                Ok(tenant) => self.classify(message, tenant).await,
                Err(poison) => self.poisoned(message, &poison),
            });
        }
        let since = Instant::now();
        let mut attempt = 0;
        loop {
            self.write(batch, &mut states).await;
            if self.is_settled(&states, since) || since.elapsed() >= HOLD_MAX {
                break;
            }
            let pause = tokio::time::sleep(backoff_from_half(
                attempt,
                RETRY_BASE,
                RETRY_MAX,
                fastrand::f64(),
            ));
            attempt += 1;
            if self.shutdown.run_until_cancelled(pause).await.is_none() {
                break;
            }
            for (message, state) in batch.iter().zip(&mut states) {
                if let State::Unclear(tenant) = state {
                    *state = self.classify(message, tenant.clone()).await;
                }
            }
        }
        let verdict = |state| match state {
            State::Settled(verdict) => verdict,
            State::Unclear(_) | State::Waiting(_) => Verdict::Retry,
        };
        states.into_iter().map(verdict).collect()
    }
}

/// The span of a message: part of the trace of the request it came from.
fn span_of(message: &Received) -> tracing::Span {
    let span = tracing::info_span!(
        "store",
        otel.kind = "consumer",
        message_id = message.message_id
    );
    continue_trace(&span, message.attribute(TRACE_ATTRIBUTE));
    // A span's time starts when it is first entered.
    span.in_scope(|| {});
    span
}
