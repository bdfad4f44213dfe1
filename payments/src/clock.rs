//! The clock of the service, passed in as an argument so that a simulation can replace it.

use std::sync::Arc;

use chrono::{DateTime, Utc};

/// A clock. Clones show the same time.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> DateTime<Utc> + Send + Sync>);

impl Clock {
    /// Returns the system's clock.
    pub fn system() -> Self {
        Self::of(Utc::now)
    }

    /// Returns a clock that calls this function.
    pub fn of(now: impl Fn() -> DateTime<Utc> + Send + Sync + 'static) -> Self {
        Self(Arc::new(now))
    }

    pub(crate) fn now(&self) -> DateTime<Utc> {
        (self.0)()
    }
}
