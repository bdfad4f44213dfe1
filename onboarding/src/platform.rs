//! [`Platform`] reports the applied state: of the reconciler in `local`, of the Kubernetes API on a cluster.

pub mod kubernetes;

use std::time::Duration;

use futures_util::future::BoxFuture;
pub use tenantctl::status::{AppliedTenant, Observed, Rollout};

/// The applied state. An implementation only reads.
pub trait Platform: Send + Sync + 'static {
    /// Name for people: `local` or `Kubernetes`.
    fn name(&self) -> &'static str;

    /// Returns what is applied now.
    ///
    /// # Errors
    /// One sentence: the reason why the state is not known.
    fn observe(&self) -> BoxFuture<'_, Result<Observed, String>>;

    /// Returns once the observation may have changed, at the latest after this time.
    fn changed(&self, within: Duration) -> BoxFuture<'_, ()>;

    /// Whether every release runs the same programs, so that one that does not exist runs, too.
    fn runs_any_release(&self) -> bool {
        false
    }

    /// URL of the load balancer that the probe asks.
    fn load_balancer(&self) -> Option<String>;

    /// A number that changes with each write of this app in this environment: a message that the consumer stores, a request
    /// that changes payments. `None` where it is not known at once.
    fn writes(&self, _environment: &str, _app: &str) -> Option<u64> {
        None
    }
}
