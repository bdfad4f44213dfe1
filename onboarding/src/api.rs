//! The JSON API: routes over [`ControlPlane`], their access control, and their OpenAPI document.
//!
//! A request that changes something comes from a program or from a page of this site (`guard`), and a body is JSON. A page of
//! another site can make a browser send neither, so no cookie of ours and no form token is needed. The console's forms are
//! under the same rule.

mod body;
mod events;
mod guard;
mod openapi;
mod parameters;
mod routes;

use std::collections::BTreeSet;

use axum::Router;
use axum::extract::FromRef;
use axum::handler::Handler;
use axum::http::Method;
use axum::middleware;
use axum::routing::{MethodFilter, on};
use tenantry_process::metrics::Metrics;
use tenantry_service::error::ApiError;
use tenantry_service::source::Proxies;
use tenantry_service::{openapi as common, stack};
use tokio_util::sync::CancellationToken;

pub use self::body::{parse_deployment, parse_onboarding, parse_patch};
pub use self::guard::{Access, HostRule, RoleConfig};
use crate::control::ControlPlane;

/// The state of all routes, the console's too.
#[derive(Clone)]
pub struct App {
    pub control: ControlPlane,
    pub access: Access,
    /// Ends the streams of events, for which a drain would wait.
    pub shutdown: CancellationToken,
}

impl FromRef<App> for ControlPlane {
    fn from_ref(app: &App) -> Self {
        app.control.clone()
    }
}

/// Routes with their names, for the comparison with the document.
struct Named {
    router: Router<App>,
    names: BTreeSet<String>,
}

impl Named {
    fn add<H, T>(mut self, method: Method, path: &str, handler: H) -> Self
    where
        H: Handler<T, App>,
        T: 'static,
    {
        self.names.insert(format!("{method} {path}"));
        let filter = MethodFilter::try_from(method).expect("routes have standard methods");
        self.router = self.router.route(path, on(filter, handler));
        self
    }
}

/// The API's routes, and those of the console, with everything around them.
///
/// # Panics
/// A route and its description in `openapi.rs` do not agree.
pub fn router(app: App, console: Router<App>, metrics: Metrics, proxies: Proxies) -> Router {
    let Named { router, names } = named();
    let document = openapi::document();
    assert_eq!(
        names,
        common::route_names(&document),
        "a route and its description in `openapi.rs` go together"
    );
    let document = common::to_json(&document);
    let answer = async move || openapi::respond(document.clone());
    let routes = router
        .route("/openapi.json", on(MethodFilter::GET, answer))
        .merge(console)
        .method_not_allowed_fallback(async || ApiError::method_not_allowed())
        .fallback(async || ApiError::no_route())
        .layer(middleware::from_fn_with_state(
            app.clone(),
            guard::check_site,
        ))
        .with_state(app);
    stack::around(routes, metrics, proxies)
}

fn named() -> Named {
    let named = Named {
        router: Router::new(),
        names: BTreeSet::new(),
    };
    named
        .add(Method::GET, "/tenants", routes::tenants)
        .add(Method::POST, "/tenants", routes::onboard)
        .add(Method::GET, "/tenants/{id}", routes::tenant)
        .add(Method::PATCH, "/tenants/{id}", routes::change)
        .add(Method::DELETE, "/tenants/{id}", routes::offboard)
        .add(Method::GET, "/tenants/{id}/queue", routes::queue)
        .add(
            Method::GET,
            "/tenants/{id}/queue/messages",
            routes::messages,
        )
        .add(Method::POST, "/tenants/{id}/queue/redrive", routes::redrive)
        .add(Method::GET, "/pools", routes::pools)
        .add(Method::GET, "/deployments", routes::deployments)
        .add(Method::POST, "/deployments", routes::deploy)
        .add(Method::GET, "/deployments/{id}", routes::deployment)
        .add(
            Method::POST,
            "/deployments/{id}/continue",
            routes::continue_deployment,
        )
        .add(
            Method::POST,
            "/deployments/{id}/revert",
            routes::revert_deployment,
        )
        .add(Method::GET, "/operations", routes::operations)
        .add(Method::GET, "/operations/{id}", routes::operation)
        .add(Method::GET, "/activity", routes::activity)
        .add(Method::GET, "/events", events::events)
        .add(Method::GET, "/health", routes::health)
}
