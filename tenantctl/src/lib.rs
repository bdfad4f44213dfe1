//! The tenant lifecycle as edits of a GitOps repository.
//!
//! The core is pure: [`plan::plan`] turns a [`tree::Tree`] and a [`request::Request`] into edits, and [`lint::lint`] checks a
//! tree. Only `git`, `apply`, `worker` and `data` open sockets or start programs.
//!
//! Only parsed types reach a path or a template: `TenantId`, `Tier`, `ReleaseVersion`. An edit changes the bytes that it must
//! and no others.

pub mod apply;
mod chart;
pub mod cli;
pub mod data;
#[cfg(test)]
mod fuzz_targets;
pub mod git;
mod kustomization;
pub mod layout;
pub mod lint;
pub mod message;
pub mod plan;
pub mod purge;
pub mod release;
pub mod request;
pub mod shared;
pub mod status;
mod tenant_file;
pub mod tree;
pub mod worker;
mod yaml;
