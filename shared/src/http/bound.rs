//! Where a request that names a tenant must prove that it is that tenant's: every route but those that are the same for
//! everybody. A new route is among them without being listed.

use axum::Router;
use axum::extract::{MatchedPath, Request, State};
use axum::http::request::Parts;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};

use super::caller::tenant_in;
use super::error::ApiError;
use super::observe::RequestContext;
use crate::auth::Authenticator;

/// What follows the service's name in the paths that ask for no proof: they tell no tenant's data and change none.
const OPEN: [&str; 2] = ["readiness-probe", "openapi.json"];

#[derive(Clone)]
struct Bound {
    tokens: Authenticator,
    service: &'static str,
}

/// The routes, asking for proof where proof is asked for.
pub(super) fn to_tokens(routes: Router, tokens: &Authenticator, service: &'static str) -> Router {
    if !tokens.is_on() {
        return routes;
    }
    routes.layer(from_fn_with_state(
        Bound {
            tokens: tokens.clone(),
            service,
        },
        check,
    ))
}

async fn check(State(bound): State<Bound>, request: Request, next: Next) -> Response {
    let (head, body) = request.into_parts();
    match bound.check(&head).await {
        Ok(()) => next.run(Request::from_parts(head, body)).await,
        Err(error) => error.into_response(),
    }
}

impl Bound {
    async fn check(&self, head: &Parts) -> Result<(), ApiError> {
        // Without a route the answer is that there is none.
        let Some(route) = head.extensions.get::<MatchedPath>() else {
            return Ok(());
        };
        if self.is_open(route.as_str()) {
            return Ok(());
        }
        // Who names no tenant is told no tenant's data.
        let Some(tenant) = tenant_in(&head.headers)? else {
            return Ok(());
        };
        if let Some(context) = head.extensions.get::<RequestContext>() {
            context.set_tenant(&tenant);
        }
        Ok(self.tokens.check(&head.headers, &tenant).await?)
    }

    fn is_open(&self, route: &str) -> bool {
        let page = route
            .strip_prefix('/')
            .and_then(|rest| rest.strip_prefix(self.service)?.strip_prefix('/'));
        page.is_some_and(|page| OPEN.contains(&page))
    }
}
