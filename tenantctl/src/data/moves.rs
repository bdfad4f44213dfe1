//! The steps of a tenant's move from one environment to another, in their order:
//!
//! 1. [`Mover::copy`]: the events stored so far, while the former home serves the tenant.
//! 2. If payments move: the status `moving`, [`Mover::wait_until_known`], then [`Mover::copy_payments`]. Nothing writes
//!    payments meanwhile.
//! 3. The parameters name the new home. The caller writes them, or the commit that it makes.
//! 4. [`Mover::wait_until_known`]: from then on no process sends to the former home.
//! 5. [`Mover::drain`]: forwards the messages left in the former queue, if it was the tenant's own. A pool's consumer does
//!    that itself.
//! 6. [`Mover::finish`], once the former apps have ended: drains again, copies what was stored late, and deletes what is
//!    copied.
//!
//! The module writes no parameter and starts no app. Each step may be repeated; [`Mover::finish`] after a crash in any of
//! them leaves the data in the registered home alone, whichever of the two that is.

use std::time::Duration;

use tenantry_process::arn::{QueueArn, TableArn};
use tenantry_tenancy::tenant::TenantId;
use tokio::time::Instant;

use super::copy::{self, Content, Settled};
use super::{DataClients, DataError, drain};

/// Pause between two passes while a wait goes on.
const PASS_PAUSE: Duration = Duration::from_secs(1);

/// Times of an installation.
#[derive(Debug, Clone, Copy)]
pub struct Timing {
    /// Age at which a service reads a registration again (`REGISTRY_REFRESH_SECONDS`), with a margin.
    pub refresh: Duration,
    /// Longest time from a request's registration to its last write.
    pub request: Duration,
    /// Time after which a queue's count is right: about a minute on AWS.
    pub count: Duration,
    /// Time after which a former home that still exists is emptied once more ([`Mover::finish_late`]).
    pub late: Duration,
}

/// Queue and table of a tenant's consumer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsumerHome {
    pub queue: QueueArn,
    pub table: TableArn,
}

/// A former home and the present one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change<T> {
    pub from: T,
    pub to: T,
}

/// What moves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Relocation {
    pub tenant: TenantId,
    pub consumer: Option<Change<ConsumerHome>>,
    /// The payments table.
    pub payments: Option<Change<TableArn>>,
    /// Whether stored events and payments stay in the former tables. Messages in queues move all the same.
    pub leave_data: bool,
    /// Whether the former queue was the tenant's own. A pool's queue has other tenants' messages; its consumer forwards
    /// the tenant's.
    pub has_own_queue: bool,
}

/// What [`Mover::finish`] did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Finished {
    pub forwarded: usize,
    pub dead_letters: usize,
    pub events: Settled,
    pub payments: Settled,
}

impl Finished {
    /// Adds the numbers of another move.
    pub fn add(&mut self, other: Self) {
        self.forwarded += other.forwarded;
        self.dead_letters += other.dead_letters;
        for (total, of) in [
            (&mut self.events, other.events),
            (&mut self.payments, other.payments),
        ] {
            total.moved += of.moved;
            total.conflicts += of.conflicts;
        }
    }

    /// Whether nothing is left in the former home.
    pub const fn is_whole(&self) -> bool {
        self.events.conflicts + self.payments.conflicts == 0
    }
}

/// Moves tenants' data. Clones share connections.
#[derive(Debug, Clone)]
pub struct Mover {
    pub clients: DataClients,
    pub timing: Timing,
}

impl Mover {
    /// Copies the events that the new home lacks; the former home may go on storing. Returns their number.
    ///
    /// # Errors
    /// [`DataError`]: repeat the step.
    pub async fn copy(&self, relocation: &Relocation) -> Result<usize, DataError> {
        match &relocation.consumer {
            Some(Change { from, to }) if !relocation.leave_data => {
                let tenant = &relocation.tenant;
                copy::copy_events(&self.clients, tenant, &from.table, &to.table).await
            }
            _ => Ok(0),
        }
    }

    /// Makes the payments of the new home equal. Call it while the status `moving` is known everywhere, and before the
    /// parameters name the new home. Returns the number of items copied.
    ///
    /// # Errors
    /// [`DataError`]: repeat the step.
    pub async fn copy_payments(&self, relocation: &Relocation) -> Result<usize, DataError> {
        match &relocation.payments {
            Some(Change { from, to }) if !relocation.leave_data => {
                copy::copy_payments(&self.clients, &relocation.tenant, from, to).await
            }
            _ => Ok(0),
        }
    }

    /// Waits until no process can act on a registration older than this call. Copies events meanwhile, so that listings
    /// miss them for a moment only.
    ///
    /// Services keep a registration while Parameter Store fails, so the time counts from its last failure that is seen
    /// here.
    ///
    /// # Errors
    /// [`DataError`]: repeat the step.
    pub async fn wait_until_known(&self, relocation: &Relocation) -> Result<(), DataError> {
        let wait = self.timing.refresh + self.timing.request;
        let mut since = Instant::now();
        while since.elapsed() < wait {
            self.copy(relocation).await?;
            let left = wait.saturating_sub(since.elapsed());
            tokio::time::sleep(left.min(PASS_PAUSE)).await;
            if !self.can_read_parameters(&relocation.tenant).await {
                since = Instant::now();
            }
        }
        Ok(())
    }

    /// Forwards the messages and the dead letters of the former queue, if it was the tenant's own, until it is empty. Its
    /// consumer may store messages meanwhile. Returns both numbers.
    ///
    /// # Errors
    /// [`DataError`]: repeat the step.
    pub async fn drain(&self, relocation: &Relocation) -> Result<(usize, usize), DataError> {
        match &relocation.consumer {
            Some(Change { from, to }) if relocation.has_own_queue => {
                self.empty_queues(&from.queue, &to.queue).await
            }
            _ => Ok((0, 0)),
        }
    }

    /// Moves what the former home still has: messages, dead letters, items. Call it once the registration is known
    /// everywhere and the former apps have ended, and after a crash.
    ///
    /// # Errors
    /// [`DataError`]: repeat the step.
    pub async fn finish(&self, relocation: &Relocation) -> Result<Finished, DataError> {
        let mut finished = Finished::default();
        (finished.forwarded, finished.dead_letters) = self.drain(relocation).await?;
        if let Some(Change { from, to }) = &relocation.consumer {
            finished.events = self
                .settle(relocation, Content::Events, &from.table, &to.table)
                .await?;
        }
        if let Some(Change { from, to }) = &relocation.payments {
            finished.payments = self.settle(relocation, Content::Payments, from, to).await?;
        }
        Ok(finished)
    }

    /// Repeats [`Self::finish`] later: a process for which Parameter Store failed may have sent or stored something in the
    /// former home since. Does nothing if the former queue was the tenant's own and is deleted, or if a pool's consumer
    /// forwards the messages and the data stays.
    ///
    /// # Errors
    /// [`DataError`]: repeat the step.
    pub async fn finish_late(&self, relocation: &Relocation) -> Result<Finished, DataError> {
        let may_receive = match &relocation.consumer {
            Some(Change { from, .. }) if relocation.has_own_queue => {
                drain::find(&self.clients, &from.queue).await?.is_some()
            }
            _ => !relocation.leave_data,
        };
        if !may_receive {
            return Ok(Finished::default());
        }
        tokio::time::sleep(self.timing.late).await;
        self.finish(relocation).await
    }

    /// Forwards what is left in a queue and in its dead-letter queue. Returns both numbers.
    async fn empty_queues(
        &self,
        from: &QueueArn,
        to: &QueueArn,
    ) -> Result<(usize, usize), DataError> {
        let (Some(from), Some(to)) = (
            drain::find(&self.clients, from).await?,
            drain::find(&self.clients, to).await?,
        ) else {
            return Ok((0, 0));
        };
        let forward = |from, to| drain::forward_all(&self.clients, from, to, self.timing.count);
        let forwarded = forward(&*from.queue, &*to.queue).await?;
        let dead_letters = match (&from.dead_letters, &to.dead_letters) {
            (Some(from), Some(to)) => forward(&**from, &**to).await?,
            _ => 0,
        };
        Ok((forwarded, dead_letters))
    }

    async fn settle(
        &self,
        relocation: &Relocation,
        content: Content,
        from: &TableArn,
        to: &TableArn,
    ) -> Result<Settled, DataError> {
        if relocation.leave_data {
            return Ok(Settled::default());
        }
        let tenant = &relocation.tenant;
        let settled = copy::settle(&self.clients, tenant, content, from, to).await?;
        if settled.conflicts > 0 {
            tracing::error!(
                tenant_id = %tenant,
                table = from.name(),
                items = settled.conflicts,
                "items of a moved tenant differ from those of its new home: they stay in the former table"
            );
        }
        Ok(settled)
    }

    async fn can_read_parameters(&self, tenant: &TenantId) -> bool {
        let call = self.clients.ssm.get_parameters();
        call.names(format!("/{tenant}/tier")).send().await.is_ok()
    }
}
