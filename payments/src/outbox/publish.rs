//! From the outbox to the tenant's queue.
//!
//! Where an event goes is the registry's word, asked for each event: a tenant may have moved since it was written. The
//! sender gathers what goes to one queue into calls of ten. An entry leaves the outbox only once the queue has confirmed
//! its event.

use std::sync::Arc;

use crate::event::to_send;
use metrics::Counter;
use tenantry_process::metrics::{Metrics, label};
use tenantry_queue::message::Outgoing;
use tenantry_queue::sender::{SendError, Sender};
use tenantry_registry::{LookupError, TenantRegistry};
use tenantry_tenancy::environment::Environment;
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

use super::Entry;
use super::clear::Clearer;

/// Events on their way at once beside requests; further ones are left to the sweeper.
const MAX_AT_ONCE: usize = 1024;

/// Why an event stays in the outbox.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unpublished {
    /// The tenant is gone: an operator decides what becomes of its events.
    #[error("the tenant is not registered")]
    NoTenant,
    /// Its queue does not exist yet.
    #[error("the tenant has no queue yet")]
    NoQueue,
    /// Parameter Store does not tell.
    #[error("the tenant cannot be looked up: {0}")]
    NotLookedUp(LookupError),
    /// The queue did not take it, or did not say so.
    #[error(transparent)]
    NotSent(SendError),
    /// Something else was written into the outbox than we write.
    #[error("the event is not JSON")]
    Broken,
}

impl Unpublished {
    /// A stable name for metrics and log lines.
    const fn code(&self) -> &'static str {
        match self {
            Self::NoTenant => "tenant_unknown",
            Self::NoQueue => "queue_missing",
            Self::NotLookedUp(_) => "registry_unavailable",
            Self::NotSent(SendError::Rejected { .. }) => "rejected",
            Self::NotSent(_) => "queue_unavailable",
            Self::Broken => "broken",
        }
    }
}

/// Who sends an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum By {
    /// The request that wrote it, right after.
    Request,
    /// The sweeper.
    Sweep,
}

/// Sends events. Clones share it.
#[derive(Clone)]
pub(crate) struct Publisher(Arc<Inner>);

struct Inner {
    environment: Environment,
    registry: TenantRegistry,
    sender: Sender,
    clearer: Clearer,
    places: Arc<Semaphore>,
    metrics: Metrics,
    by_request: Counter,
    by_sweep: Counter,
    left: Counter,
}

impl Publisher {
    pub(crate) fn new(
        environment: Environment,
        registry: TenantRegistry,
        sender: Sender,
        clearer: Clearer,
        metrics: &Metrics,
    ) -> Self {
        metrics.describe_counter(
            "outbox_published_total",
            "Events a queue confirmed, by who sent them",
        );
        metrics.describe_counter("outbox_failed_total", "Events not sent for now, by reason");
        metrics.describe_counter(
            "outbox_left_total",
            "Events left to the sweeper because too many were on their way",
        );
        let by = |who| metrics.counter("outbox_published_total", vec![label("by", who)]);
        Self(Arc::new(Inner {
            environment,
            registry,
            sender,
            clearer,
            places: Arc::new(Semaphore::new(MAX_AT_ONCE)),
            metrics: metrics.clone(),
            by_request: by("request"),
            by_sweep: by("sweep"),
            left: metrics.counter("outbox_left_total", vec![]),
        }))
    }

    /// Publishes on a task of its own, on this tracker.
    pub(crate) fn publish_soon(&self, entry: Entry, trace: Option<String>, tasks: &TaskTracker) {
        let Ok(place) = Arc::clone(&self.0.places).try_acquire_owned() else {
            self.0.left.increment(1);
            return;
        };
        let publisher = self.clone();
        tasks.spawn(async move {
            publisher.publish(entry, trace, By::Request).await;
            drop(place);
        });
    }

    /// Sends an event and takes its entry out; whether the queue confirmed it.
    pub(crate) async fn publish(&self, entry: Entry, trace: Option<String>, by: By) -> bool {
        let key = entry.key();
        let (tenant, id) = (entry.tenant.clone(), entry.id);
        if let Err(reason) = self.send(entry, trace).await {
            let code = reason.code();
            tracing::warn!(tenant_id = %tenant, message_id = %id, code, %reason, "event stays in the outbox");
            self.0
                .metrics
                .counter("outbox_failed_total", vec![label("reason", code)])
                .increment(1);
            return false;
        }
        match by {
            By::Request => self.0.by_request.increment(1),
            By::Sweep => self.0.by_sweep.increment(1),
        }
        self.0.clearer.clear(key).await;
        true
    }

    async fn send(&self, entry: Entry, trace: Option<String>) -> Result<(), Unpublished> {
        let registered =
            self.0
                .registry
                .lookup(&entry.tenant)
                .await
                .map_err(|error| match error {
                    LookupError::Unknown => Unpublished::NoTenant,
                    error => Unpublished::NotLookedUp(error),
                })?;
        let queue = registered.queue.as_ref().ok_or(Unpublished::NoQueue)?;
        let event =
            to_send(entry.tenant, entry.id, &entry.json).map_err(|_| Unpublished::Broken)?;
        let message = event.into_message(&self.0.environment);
        let mut message = Outgoing::from_parts(message.body, message.group, message.attributes);
        message.trace(trace);
        self.0
            .sender
            .send(queue, message)
            .await
            .map_err(Unpublished::NotSent)
    }
}
