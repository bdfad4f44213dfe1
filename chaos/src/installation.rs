//! The resources of a run: queues, tables and parameters as an installation creates them, and their content at the end.

use std::time::Duration;

use kit::aws::{Aws, Depth, REGION, Resources};
use kit::endpoint::Endpoint;
use rustix::process::{Pid, Resource, getrlimit, prlimit};
use tokio::time::Instant;

use crate::checker::Found;
use crate::tenants::TenantSet;

/// The account of the embedded endpoint.
pub const ACCOUNT: &str = "000000000000";
/// Time limit until the queues are empty once no client posts.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(240);
/// Pause between two polls of the queues.
const DRAIN_PAUSE: Duration = Duration::from_millis(200);
/// Limit on the size of the endpoint's files while its disk is full: smaller than the files.
const FULL_DISK_BYTES: u64 = 16 * 1024;

/// The resources of a tenant set.
pub struct Installation {
    /// Queue, dead-letter queue and table of each environment, in the tenant set's order.
    pub resources: Vec<Resources>,
    aws: Aws,
}

/// Messages left in queues.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Left {
    /// Messages in queues, visible or in flight.
    pub waiting: u64,
    /// Messages in dead-letter queues.
    pub dead_lettered: u64,
}

/// Makes every further write of the endpoint fail, as on a full disk.
///
/// The means is a limit on the size of the process's files: it needs no other file system and no root, and it ends with
/// the process.
pub fn fill_disk(endpoint: &Endpoint) -> anyhow::Result<()> {
    let process = i32::try_from(endpoint.process.id())
        .ok()
        .and_then(Pid::from_raw);
    let mut limit = getrlimit(Resource::Fsize);
    limit.current = Some(FULL_DISK_BYTES);
    prlimit(process, Resource::Fsize, limit)?;
    Ok(())
}

impl Installation {
    pub async fn create(tenant_set: &TenantSet, endpoint: &Endpoint) -> Self {
        let aws = endpoint.aws();
        let mut resources = Vec::new();
        for environment in &tenant_set.environments {
            let created = aws.create(environment).await;
            aws.point(environment, &created).await;
            resources.push(created);
        }
        for tenant in &tenant_set.tenants {
            let home = tenant.home;
            aws.register(&tenant.id, home.tier, &resources[home.consumer])
                .await;
        }
        Self { resources, aws }
    }

    pub async fn left(&self) -> Left {
        let mut left = Left::default();
        for of in &self.resources {
            let total = |depth: Depth| depth.visible + depth.in_flight;
            left.waiting += total(self.aws.depth(&of.queue).await);
            left.dead_lettered += total(self.aws.depth(&of.dead_letters).await);
        }
        left
    }

    /// Waits until no message waits, at most `DRAIN_TIMEOUT`; returns the messages left.
    pub async fn drained(&self) -> Left {
        let deadline = Instant::now() + DRAIN_TIMEOUT;
        loop {
            let left = self.left().await;
            if left.waiting == 0 || Instant::now() >= deadline {
                return left;
            }
            tokio::time::sleep(DRAIN_PAUSE).await;
        }
    }

    /// Redrives the messages that were dead-lettered in an outage, as an operator does.
    ///
    /// # Errors
    /// SQS refuses the task.
    pub async fn redrive(&self) -> anyhow::Result<()> {
        for of in &self.resources {
            let depth = self.aws.depth(&of.dead_letters).await;
            if depth == Depth::EMPTY {
                continue;
            }
            let task = self.aws.sqs.start_message_move_task();
            task.source_arn(arn(&of.dead_letters))
                .destination_arn(arn(&of.queue))
                .send()
                .await?;
            let deadline = Instant::now() + DRAIN_TIMEOUT;
            // A message that the consumer dead-letters again stays, so that the wait ends when the number stops falling.
            let mut before = u64::MAX;
            loop {
                let now = self.aws.depth(&of.dead_letters).await.visible;
                if now == 0 || now >= before || Instant::now() >= deadline {
                    break;
                }
                before = now;
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
        Ok(())
    }

    /// Every item of every table.
    pub async fn found(&self) -> Vec<Found> {
        let mut found = Vec::new();
        for (table, of) in self.resources.iter().enumerate() {
            found.extend(self.aws.items(of).await.into_iter().map(|mut item| {
                let mut take = |name: &str| item.remove(name).unwrap_or_default();
                Found {
                    table,
                    tenant: take("tenant_id"),
                    message_id: take("message_id"),
                    payload: take("payload"),
                }
            }));
        }
        found
    }
}

/// The ARN of the queue at this URL.
pub fn arn(url: &str) -> String {
    let mut parts = url.rsplit('/');
    let (name, account) = (
        parts.next().unwrap_or_default(),
        parts.next().unwrap_or_default(),
    );
    format!("arn:aws:sqs:{REGION}:{account}:{name}")
}

#[cfg(test)]
mod tests {
    use super::arn;

    #[test]
    fn a_queue_url_contains_its_arn() {
        let url = "http://127.0.0.1:4566/000000000000/consumer-pool-1-x7k-dlq";
        assert_eq!(
            arn(url),
            "arn:aws:sqs:us-east-1:000000000000:consumer-pool-1-x7k-dlq"
        );
    }
}
