//! [`Page`]: a page by its address, and [`Context`]: what every page is rendered with.

use std::sync::Arc;

use axum::extract::Query;
use axum::http::{StatusCode, Uri};
use serde::de::DeserializeOwned;
use tenantry_service::error::ApiError;

use super::commits::BrokenCommit;
use super::frame::{Part, View};
use super::{Console, activity, change, deployments, health, operations, pools, tenant, tenants};
use crate::access::Actor;
use crate::model::Time;

/// Path below which every page is.
pub(super) const ROOT: &str = "/console";

/// Data that every page is rendered with, beside its own.
pub(super) struct Context {
    pub(super) actor: Actor,
    /// Whether the person can sign out.
    pub(super) has_session: bool,
    pub(super) now: Time,
    /// Where the GitOps repository is.
    pub(super) repository: String,
    pub(super) broken: Option<Arc<BrokenCommit>>,
}

/// A page, parsed from path and query.
pub(super) enum Page {
    Tenants(tenants::Filter),
    Tenant(String, tenant::Shown),
    /// A change with its commit, before it is made.
    Change(change::Fields),
    Pools,
    Deployments(deployments::Fields),
    Deployment(String),
    Operations,
    Operation(String),
    Activity(activity::Filter),
    Commit(String),
    Health,
}

impl Page {
    /// Parses an address.
    ///
    /// # Errors
    /// 404 for an unknown path, 400 for a query with a wrong value.
    pub(super) fn parse(uri: &Uri) -> Result<Self, ApiError> {
        let path = uri.path().strip_prefix(ROOT).unwrap_or_default();
        let segments: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
        Ok(match segments[..] {
            [] | ["tenants"] => Self::Tenants(query(uri)?),
            ["onboard"] => Self::Change(change::Fields::onboarding(query(uri)?)),
            ["tenants", id] => Self::Tenant(id.to_owned(), query(uri)?),
            ["tenants", id, "change"] => Self::Change(change::Fields::of(id, query(uri)?)),
            ["pools"] => Self::Pools,
            ["deployments"] => Self::Deployments(query(uri)?),
            ["deployments", id] => Self::Deployment(id.to_owned()),
            ["operations"] => Self::Operations,
            ["operations", id] => Self::Operation(id.to_owned()),
            ["activity"] => Self::Activity(query(uri)?),
            ["activity", commit] => Self::Commit(commit.to_owned()),
            ["health"] => Self::Health,
            _ => {
                let msg = "NotFound: no page has this address; the navigation leads to every page";
                return Err(ApiError::new(StatusCode::NOT_FOUND, "page_unknown", msg));
            }
        })
    }

    /// The tenant whose figures the page shows.
    pub(super) fn tenant(&self) -> Option<&str> {
        match self {
            Self::Tenant(id, _) => Some(id),
            _ => None,
        }
    }

    /// Reads the page's data and renders it.
    ///
    /// # Errors
    /// Those of [`crate::control::ControlPlane`].
    pub(super) async fn view(
        &self,
        console: &Console,
        context: &Context,
    ) -> Result<View, ApiError> {
        match self {
            Self::Tenants(filter) => Ok(tenants::load(filter, console, context)),
            Self::Tenant(id, shown) => tenant::load(id, shown, console, context).await,
            Self::Change(fields) => change::load(fields, console, context).await,
            Self::Pools => Ok(pools::view(&console.control.pools(), context)),
            Self::Deployments(fields) => Ok(deployments::load(fields, console, context)),
            Self::Deployment(id) => deployments::load_one(id, console, context),
            Self::Operations => Ok(operations::load(console, context)),
            Self::Operation(id) => operations::load_one(id, console, context).await,
            Self::Activity(filter) => activity::load(filter, console, context).await,
            Self::Commit(commit) => activity::load_one(commit, console, context).await,
            Self::Health => Ok(health::view(&console.control.health(), context)),
        }
    }

    /// The parts of the page that the live stream replaces.
    pub(super) async fn live_parts(&self, console: &Console, context: &Context) -> Vec<Part> {
        let mut parts = vec![super::frame::alerts(context)];
        if let Ok(view) = self.view(console, context).await {
            parts.extend(view.parts.into_iter().filter(|part| part.is_live));
        }
        parts
    }
}

fn query<T: DeserializeOwned>(uri: &Uri) -> Result<T, ApiError> {
    let query = Query::try_from_uri(uri).map_err(|error| {
        ApiError::bad_request(
            "invalid_query",
            format!("the address has a wrong value: {error}"),
        )
    })?;
    Ok(query.0)
}
