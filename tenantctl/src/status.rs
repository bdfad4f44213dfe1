//! The state of tenants: desired by Git, applied by the platform, serving as probed, and what blocks.
//!
//! One model serves `tenantctl status`, the control plane's API and its pages. `view` combines the three sources and is pure.
//! [`blocked`] turns conditions of Kubernetes objects into a reason and the command that mends it. Nothing here opens a socket.

pub mod blocked;
mod gather;
mod model;
mod refused;
mod time;
mod view;

pub use self::gather::Gather;
pub use self::model::{
    AppFigures, AppPlace, Applied, Blocked, Desired, Figures, PoolView, ProbedApp, Serving,
    TenantState, TenantView,
};
pub use self::refused::{Refused, RefusedObject};
pub use self::time::Time;
pub use self::view::{
    AppliedTenant, ChangeOf, Observed, ProbeResult, Probed, Rollout, pool, tenant,
};
