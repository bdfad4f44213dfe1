//! Plans the edits of a request: [`plan`] is pure.
//!
//! A plan reads only the files that it needs: onboarding reads no other tenant's file. A repeated request has no edits. A
//! request that would lose data or settings is refused, with a remedy. A request is also refused if lint finds a new error in
//! its edits: such a commit could stop the reconciliation of all tenants.

mod deploy;
mod edits;
mod effect;
mod error;
mod find;
mod forget;
mod namespaces;
mod offboard;
mod onboard;
mod switch;
mod take_back;
mod template;
mod transfer;

pub use self::effect::{Effect, Plan};
pub use self::error::{PlanError, PlanErrorKind};
pub use self::namespaces::check_namespace;
pub use self::take_back::{take_back, take_back_build};
use crate::request::Request;
pub use crate::tree::Edit;
use crate::tree::Tree;
use tenantry_tenancy::generation::Generation;

/// Returns the edits of a request. A tenant that it onboards is the first owner of its id.
pub fn plan(tree: &dyn Tree, request: &Request) -> Result<Plan, PlanError> {
    plan_for(tree, request, Generation::FIRST)
}

/// Returns the edits of a request. A tenant that it onboards is of this generation, which no earlier owner of its id had.
pub fn plan_for(
    tree: &dyn Tree,
    request: &Request,
    generation: Generation,
) -> Result<Plan, PlanError> {
    match request {
        Request::Onboard {
            tenant,
            tier,
            release,
            labels,
        } => onboard::onboard(tree, tenant, *tier, (*release, labels), generation),
        Request::Offboard {
            tenant,
            tier,
            delete_data,
        } => offboard::offboard(tree, tenant, *tier, *delete_data),
        Request::Forget { tenant } => forget::forget(tree, tenant),
        Request::Deploy {
            tier,
            release,
            wave,
        } => deploy::deploy(tree, *tier, *release, wave),
        Request::Move {
            tenant,
            to,
            leave_data,
        } => transfer::transfer(tree, tenant, *to, *leave_data),
        Request::Suspend { tenant } => switch::suspend(tree, tenant),
        Request::Resume { tenant } => switch::resume(tree, tenant),
        Request::Hold { tenant, reason } => switch::hold(tree, tenant, reason),
        Request::Unhold { tenant } => switch::unhold(tree, tenant),
        Request::Restore {
            deployment,
            releases,
        } => deploy::restore(tree, deployment, releases),
    }
}
