//! The control plane: the tenant API, its operations and the console.
//!
//! [`control::ControlPlane`] owns everything that the API and the pages read and change. It changes tenants by commits alone and
//! never writes to a cluster. [`platform::Platform`] says what is applied: in `local` the reconciler, on a cluster the Kubernetes
//! API, read-only.
//!
//! | module | owns |
//! | --- | --- |
//! | `model` | operations, changes, deployments, activity, queues: what the API and the pages show |
//! | `control` | [`control::ControlPlane`]: the present state, changes, events |
//! | `platform` | the trait of what is applied |
//! | `access` | who may do what: actors, roles, verbs |

pub mod access;
pub mod control;
pub mod model;
pub mod platform;

/// Name of the service.
pub const NAME: &str = "onboarding-service";
