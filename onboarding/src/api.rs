//! The JSON API: routes over [`ControlPlane`], who may call them, and their OpenAPI document.
//!
//! A request that changes something has a JSON body or none, and comes from this site: a page of another site can make a
//! browser send neither. So no cookie and no form token is needed.

mod body;
mod events;
mod guard;
mod openapi;
mod routes;

use axum::Router;
use axum::extract::FromRef;
use axum::http::Method;
use axum::middleware;
use axum::routing::{MethodFilter, on};
use tenantry_process::metrics::Metrics;
use tenantry_service::error::ApiError;
use tenantry_service::source::Proxies;
use tenantry_service::stack;
use tokio_util::sync::CancellationToken;

pub use self::body::{DeploymentBody, OnboardBody, PatchBody};
pub use self::guard::{Access, HostRule};
use crate::control::ControlPlane;

/// The state of all routes, the console's too.
#[derive(Clone)]
pub struct App {
    pub control: ControlPlane,
    pub access: Access,
    /// Ends the streams of events, which a drain would wait for.
    pub shutdown: CancellationToken,
}

impl FromRef<App> for ControlPlane {
    fn from_ref(app: &App) -> Self {
        app.control.clone()
    }
}

/// The API's routes, and those of the console, with everything around them.
///
/// # Panics
/// A route and its description in `openapi.rs` do not agree.
pub fn router(app: App, console: Router<App>, metrics: Metrics, proxies: Proxies) -> Router {
    let (mut api, mut names) = (Router::new(), std::collections::BTreeSet::new());
    for (method, path, handler) in routes::all() {
        names.insert(format!("{method} {path}"));
        let filter = MethodFilter::try_from(method).expect("routes have standard methods");
        api = api.route(path, on(filter, handler.0).layer(axum::extract::DefaultBodyLimit::max(MAX_BODY_BYTES)));
    }
    let document = openapi::document();
    assert_eq!(
        names,
        tenantry_service::openapi::route_names(&document),
        "a route and its description in `openapi.rs` go together"
    );
    let document = tenantry_service::openapi::to_json(&document);
    let api = api.route(
        "/openapi.json",
        on(MethodFilter::GET, async move || openapi::respond(document.clone())),
    );
    let routes = api
        .merge(console)
        .method_not_allowed_fallback(async || ApiError::method_not_allowed())
        .fallback(async || ApiError::no_route())
        .layer(middleware::from_fn_with_state(app.clone(), guard::check_site))
        .with_state(app);
    stack::around(routes, metrics, proxies)
}

/// Largest body.
const MAX_BODY_BYTES: usize = 64 * 1024;
