//! SQS: standard queues with fair delivery among message groups.
//!
//! [`core`] decides, [`persist`] stores, [`service`] joins them, [`calls`] has the operations of the API.

mod api;
mod attributes;
mod calls;
mod core;
mod error;
mod fair;
mod limits;
mod md5;
mod message;
mod move_tasks;
mod names;
mod persist;
mod queue;
mod receipt_handle;
mod redrive_policy;
mod service;
mod settings;
mod wait;

#[cfg(test)]
mod model_tests;

use rusqlite::Connection;
use tokio_util::task::TaskTracker;

use self::core::Core;
pub(crate) use self::{
    persist::SCHEMA,
    service::{CallContext, Sqs},
};
use crate::{
    arn_scope::ArnScope,
    protocol::now_ms,
    store::{LoadError, Store},
};

/// Queues and messages, loaded but not yet served.
#[derive(Debug)]
pub(crate) struct LoadedQueues(Core);

impl LoadedQueues {
    /// Loads the data file; without one, there are no queues.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub(crate) fn load(scope: ArnScope, conn: Option<&Connection>) -> Result<Self, LoadError> {
        let mut core = Core::new(scope);
        if let Some(conn) = conn {
            persist::load(conn, &mut core, now_ms())?;
        }
        Ok(Self(core))
    }

    /// Starts serving: changes go to `store`, tasks onto `tracker`.
    pub(crate) fn serve(self, store: Store, tracker: &TaskTracker) -> Sqs {
        Sqs::start(self.0, store, tracker)
    }
}
