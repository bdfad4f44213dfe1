//! The control plane: the tenant API, its operations and the console.
//!
//! [`control::ControlPlane`] owns everything that the API and the pages read and change. It changes tenants by commits alone and
//! never writes to a cluster. [`platform::Platform`] reports the applied state: of the reconciler in `local`, of the
//! Kubernetes API on a cluster.
//!
//! | module | owns |
//! | --- | --- |
//! | `model` | operations, changes, deployments, activity, queues: what the API and the pages show |
//! | `control` | [`control::ControlPlane`]: the present state, changes, events |
//! | `platform` | the trait that reports the applied state |
//! | `history`, `operations` | Git's history; the progress of each change |
//! | `rollout` | deployments wave by wave, with gates |
//! | `probe`, `queues` | answers through the load balancer; queues, messages, redrive |
//! | `service` | the process: settings, assembly, run |
//! | `callback` | events to a client's URL or queue |
//! | `api` | the JSON API and its access control; `api::App` is also the state of the pages |
//! | `access` | actors, roles, verbs |

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
