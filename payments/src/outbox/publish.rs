//! Publishes outbox entries: sends each event to its tenant's queue, then deletes the entry.
//!
//! The registry decides the queue, and is read for each event, because the tenant may have moved since the entry was
//! written. The sender batches events of one queue. An entry is deleted only once the queue has confirmed its event.

use std::sync::Arc;

use metrics::Counter;
use tenantry_process::metrics::{Metrics, label};
use tenantry_queue::message::Outgoing;
use tenantry_queue::sender::{SendError, Sender};
use tenantry_registry::{LookupError, TenantRegistry};
use tenantry_tenancy::environment::Environment;
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

use super::OutboxEntry;
use super::clear::Clearer;
use crate::event::to_send;

/// Events in flight after their requests. Further events are left to the sweeper.
const MAX_IN_FLIGHT: usize = 1024;

/// The reason why an event stays in the outbox.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PublishError {
    /// The tenant was offboarded. An operator decides about its events.
    #[error("the tenant is not registered")]
    NoTenant,
    /// The tenant id has a new owner, who never gets the event.
    #[error("the event belongs to another owner of the tenant's id")]
    StaleGeneration,
    #[error("the tenant has no queue yet")]
    NoQueue,
    #[error("the tenant lookup failed: {0}")]
    LookupFailed(LookupError),
    /// The queue did not confirm the event. It may have received it.
    #[error(transparent)]
    SendFailed(SendError),
    /// Another program wrote the outbox entry.
    #[error("the event is not JSON")]
    Broken,
}

impl PublishError {
    /// Stable name for metrics and log lines.
    const fn code(&self) -> &'static str {
        match self {
            Self::NoTenant => "tenant_unknown",
            Self::StaleGeneration => "stale_generation",
            Self::NoQueue => "queue_missing",
            Self::LookupFailed(_) => "registry_unavailable",
            Self::SendFailed(SendError::Rejected { .. }) => "rejected",
            Self::SendFailed(_) => "queue_unavailable",
            Self::Broken => "broken",
        }
    }
}

/// Sender of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PublishedBy {
    /// The request that wrote the entry.
    Request,
    Sweeper,
}

/// Publishes outbox entries. Clones share permits and metrics.
#[derive(Clone)]
pub(crate) struct Publisher(Arc<Inner>);

struct Inner {
    environment: Environment,
    registry: TenantRegistry,
    sender: Sender,
    clearer: Clearer,
    permits: Arc<Semaphore>,
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
            "Events confirmed by a queue, by sender (request or sweep)",
        );
        metrics.describe_counter(
            "outbox_failed_total",
            "Failed attempts to send an event, by reason",
        );
        metrics.describe_counter(
            "outbox_left_total",
            "Events left to the sweeper because too many were in flight",
        );
        let by = |sender| metrics.counter("outbox_published_total", vec![label("by", sender)]);
        Self(Arc::new(Inner {
            environment,
            registry,
            sender,
            clearer,
            permits: Arc::new(Semaphore::new(MAX_IN_FLIGHT)),
            metrics: metrics.clone(),
            by_request: by("request"),
            by_sweep: by("sweep"),
            left: metrics.counter("outbox_left_total", vec![]),
        }))
    }

    /// Publishes an entry on its own task, which the tracker waits for.
    pub(crate) fn publish_in_background(
        &self,
        entry: OutboxEntry,
        trace: Option<String>,
        tasks: &TaskTracker,
    ) {
        let Ok(permit) = Arc::clone(&self.0.permits).try_acquire_owned() else {
            self.0.left.increment(1);
            return;
        };
        let publisher = self.clone();
        tasks.spawn(async move {
            publisher.publish(entry, trace, PublishedBy::Request).await;
            drop(permit);
        });
    }

    /// Sends an event and deletes its entry. Returns whether the queue confirmed the event.
    pub(crate) async fn publish(
        &self,
        entry: OutboxEntry,
        trace: Option<String>,
        by: PublishedBy,
    ) -> bool {
        let key = entry.key();
        let (tenant, id) = (entry.owner.tenant.clone(), entry.id);
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
            PublishedBy::Request => self.0.by_request.increment(1),
            PublishedBy::Sweeper => self.0.by_sweep.increment(1),
        }
        self.0.clearer.clear(key).await;
        true
    }

    async fn send(&self, entry: OutboxEntry, trace: Option<String>) -> Result<(), PublishError> {
        let registered = self
            .0
            .registry
            .lookup_proved(&entry.owner.tenant)
            .await
            .map_err(|error| match error {
                LookupError::Unknown => PublishError::NoTenant,
                error => PublishError::LookupFailed(error),
            })?;
        if registered.generation != entry.owner.generation {
            return Err(PublishError::StaleGeneration);
        }
        let queue = registered.queue.as_ref().ok_or(PublishError::NoQueue)?;
        let event =
            to_send(entry.owner, entry.id, &entry.json).map_err(|_| PublishError::Broken)?;
        let message = event.into_message(&self.0.environment);
        let mut message = Outgoing::from_parts(message.body, message.group, message.attributes);
        message.trace(trace);
        self.0
            .sender
            .send(queue, message)
            .await
            .map_err(PublishError::SendFailed)
    }
}
