//! Messages of tenants that have moved away: each is forwarded to the tenant's present queue, where it becomes the same
//! item.
//!
//! Producers and the queue itself may hold messages of a tenant that its registration no longer sends here. A message is
//! deleted only once the other queue has confirmed it.

use futures_util::future::join_all;
use moka::future::Cache;
use tenantry_process::arn::QueueArn;
use tenantry_process::metrics::Metrics;
use tenantry_queue::forward::ForwardTarget;
use tenantry_queue::message::Received;
use tenantry_tenancy::event::identity;

/// Queues whose look-ups are kept: of tenants that have just moved.
const MAX_TARGETS: u64 = 1_000;

/// Forwards messages. Clones share the look-ups.
#[derive(Clone)]
pub(crate) struct Forwarder {
    client: aws_sdk_sqs::Client,
    targets: Cache<QueueArn, ForwardTarget>,
    metrics: Metrics,
}

impl Forwarder {
    pub(crate) fn new(client: aws_sdk_sqs::Client, metrics: &Metrics) -> Self {
        metrics.describe_counter(
            "forwarded_total",
            "Messages of tenants that have moved, sent on to their queue",
        );
        metrics.describe_counter(
            "forward_failures_total",
            "Failed tries to send such a message on",
        );
        Self {
            client,
            targets: Cache::new(MAX_TARGETS),
            metrics: metrics.clone(),
        }
    }

    /// Forwards each message to its queue. Returns in order whether the queue has confirmed it.
    pub(crate) async fn forward(&self, messages: &[(&Received, &QueueArn)]) -> Vec<bool> {
        let forwarded = messages
            .iter()
            .map(|(message, queue)| Box::pin(self.forward_one(message, queue)));
        join_all(forwarded).await
    }

    async fn forward_one(&self, message: &Received, queue: &QueueArn) -> bool {
        let find = ForwardTarget::find(&self.client, queue);
        let sent = match self.targets.try_get_with_by_ref(queue, find).await {
            Ok(target) => {
                let identity = identity(&message.message_id, message.sent_at.timestamp_millis());
                target.forward(message, identity).await
            }
            Err(failure) => Err((*failure).clone()),
        };
        let Err(failure) = sent else {
            tracing::info!(
                message_id = message.message_id,
                queue = queue.name(),
                "message of a moved tenant forwarded"
            );
            self.metrics.counter("forwarded_total", vec![]).increment(1);
            return true;
        };
        if !failure.transient {
            // The queue may exist again, at another URL.
            self.targets.invalidate(queue).await;
        }
        tracing::warn!(
            message_id = message.message_id,
            queue = queue.name(),
            code = failure.code,
            reason = failure.reason,
            "forward failed, will retry"
        );
        self.metrics
            .counter("forward_failures_total", vec![])
            .increment(1);
        false
    }
}
