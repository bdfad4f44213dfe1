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
//! | `history`, `operations` | what Git's history says; how far each change is |
//! | `rollout` | deployments wave by wave, with gates |
//! | `probe`, `queues` | what answers through the load balancer; queues, messages, redrive |
//! | `service` | the process: settings, assembly, run |
//! | `callback` | events to a client's URL or queue |
//! | `api` | the JSON API and who may call it; `api::App` is the state of the pages, too |
//! | `access` | who may do what: actors, roles, verbs |

pub mod access;
pub mod api;
pub mod callback;
pub mod console;
pub mod control;
mod history;
pub mod model;
mod operations;
pub mod platform;
mod probe;
pub mod queues;
pub mod rollout;
pub mod service;

/// Name of the service.
pub const NAME: &str = "onboarding-service";
