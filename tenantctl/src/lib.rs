//! The tenant lifecycle as edits of a GitOps repository.
//!
//! The core is pure: a [`tree::Tree`] and a [`request::Request`] go in, a [`plan::Plan`] of edits comes out, and
//! [`lint::lint`] judges a tree. Nothing here opens a socket or starts a program but `git`, `apply` and `worker`.
//!
//! What reaches a path or a template is of a type that has been parsed: `TenantId`, `Tier`, `ReleaseVersion`. What is
//! written changes the bytes it has to and no others.

pub mod apply;
mod chart;
pub mod cli;
#[cfg(test)]
mod fuzz_targets;
pub mod git;
mod kustomization;
pub mod layout;
pub mod lint;
pub mod message;
pub mod plan;
pub mod release;
pub mod request;
mod tenant_file;
pub mod tree;
pub mod worker;
mod yaml;
