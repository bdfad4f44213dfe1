//! The console: pages of the control plane, rendered here and readable without JavaScript.
//!
//! A page is a function of its address and of the control plane's state, so the same function answers a request and feeds the
//! page's live stream. A form is a plain POST, answered with a redirect. No page loads anything from another host, no page has a
//! script or a style of its own, and no page changes a tenant except through [`ControlPlane::submit`].
//!
//! | module | owns |
//! | --- | --- |
//! | `page`, `frame`, `parts` | the addresses; the document around every page; states, times, numbers |
//! | `session` | signing in with a token |
//! | `live`, `assets` | the live stream; style sheet and scripts |
//! | `tenants`, `tenant`, `flow`, `latest`, `requests`, `change` | tenants: table, page, picture, latest messages and charges, requests to try, changes with their preview |
//! | `answers`, `commits` | answers of tried requests; a commit, and the review of the newest |
//! | `pools`, `deployments`, `operations`, `activity`, `health` | a page each |

mod activity;
mod answers;
mod assets;
mod change;
mod commits;
mod deployments;
mod flow;
mod frame;
mod health;
mod latest;
mod live;
mod operations;
mod page;
mod parts;
mod pools;
mod requests;
mod session;
mod tenant;
mod tenants;

use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::Router;
use axum::extract::Request;
use axum::http::header::{CONTENT_SECURITY_POLICY, REFERRER_POLICY, X_FRAME_OPTIONS};
use axum::http::{HeaderName, HeaderValue, Uri};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use maud::html;
use moka::future::Cache;
use tenantry_service::error::ApiError;
use tokio::sync::Semaphore;

use self::answers::Answers;
use self::commits::Review;
use self::frame::{Part, Section, View, document};
use self::latest::{Latest, Version};
use self::page::{Context, Page};
use self::session::Person;
use crate::api::App;
use crate::control::{ControlPlane, now};
use crate::model::{Activity, TenantView};

/// Entries of each cache.
const MAX_CACHED: u64 = 256;
/// Time limit of cached histories and parameters.
const FRESH: Duration = Duration::from_secs(10);
/// Age at which listings are read again, if the platform does not count writes, or a listing failed.
const UNKNOWN_MILLIS: u64 = 5000;
/// Pages that are open and live at a time.
const MAX_STREAMS: usize = 256;

const HEADERS: [(HeaderName, HeaderValue); 3] = [
    (
        CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
             form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
        ),
    ),
    (X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
    (REFERRER_POLICY, HeaderValue::from_static("same-origin")),
];

/// Everything that the pages need. Clones share it.
#[derive(Clone)]
pub struct Console {
    control: ControlPlane,
    client: reqwest::Client,
    answers: Arc<Answers>,
    /// By tenant.
    latest: Cache<String, Arc<Latest>>,
    review: Arc<Review>,
    /// By tenant, and by the time of its last change.
    parameters: Cache<(String, i64), Vec<(String, String)>>,
    /// One for each page that is open.
    streams: Arc<Semaphore>,
    /// By tenant, and by its last commit.
    histories: Cache<(String, String), Vec<Activity>>,
}

/// Returns the routes of the console, all below `/console`.
pub fn router(control: ControlPlane) -> Router<App> {
    let console = Console::new(control);
    Router::new()
        .route("/", get(async || Redirect::to("/console/tenants")))
        .route("/console", get(show))
        .route("/console/{*page}", get(show))
        .route("/console/live", get(live::get))
        .route("/console/assets/{version}/{name}", get(assets::get))
        .route(
            "/console/sign-in",
            get(session::form).post(session::sign_in),
        )
        .route("/console/sign-out", post(session::sign_out))
        .route("/console/changes", post(change::submit))
        .route("/console/tenants/{tenant}/requests", post(requests::submit))
        .route("/console/tenants/{tenant}/redrive", post(tenant::redrive))
        .route("/console/deployments", post(deployments::submit).get(show))
        .route(
            "/console/deployments/{id}/{decision}",
            post(deployments::decide),
        )
        .layer(middleware::from_fn(headers))
        .layer(Extension(console))
}

impl Console {
    fn new(control: ControlPlane) -> Self {
        Self {
            review: Arc::new(Review::start(control.clone())),
            client: control.0.client.clone(),
            control,
            answers: Arc::default(),
            latest: Cache::new(MAX_CACHED),
            parameters: cache(),
            histories: cache(),
            streams: Arc::new(Semaphore::new(MAX_STREAMS)),
        }
    }

    fn context(&self, person: Person) -> Context {
        Context {
            actor: person.actor,
            has_session: person.has_session,
            now: now(),
            repository: self.control.0.repository.address().to_string(),
            broken: self.review.broken(),
        }
    }

    fn load_balancer(&self) -> Option<String> {
        let url = self.control.0.platform.load_balancer()?;
        Some(url.trim_end_matches('/').to_owned())
    }

    /// The hint below a field for a release.
    fn release_hint(&self) -> &'static str {
        if self.control.0.platform.runs_any_release() {
            "0.1 follows every patch of 0.1; 0.1.3 stays at 0.1.3. Here every release runs the same programs."
        } else {
            "0.1 follows every patch of 0.1; 0.1.3 stays at 0.1.3."
        }
    }

    async fn parameters(&self, tenant: &TenantView) -> Result<Vec<(String, String)>, ApiError> {
        let applied = tenant
            .applied
            .as_ref()
            .map_or(0, |applied| applied.time.millis());
        let key = (tenant.id.clone(), applied);
        let read = self.control.0.queues.parameters(&tenant.id);
        let found = self.parameters.try_get_with(key, read).await;
        found.map_err(|error| ApiError::clone(&error))
    }

    /// Returns the tenant's latest messages and charges. They are read again only after a write, so that an open page adds no
    /// requests to the tenant's figures. Where the platform does not count writes, and where they could not be read, they are
    /// read again after [`UNKNOWN_MILLIS`].
    async fn latest(&self, tenant: &TenantView) -> Arc<Latest> {
        let soon = now().millis().unsigned_abs() / UNKNOWN_MILLIS;
        let writes = |app: &&str| {
            let environment = &tenant.apps.get(*app)?.environment;
            let writes = self.control.0.platform.writes(environment, app);
            Some((environment.clone(), writes.unwrap_or(soon)))
        };
        let version: Version = ["consumer", "payments"].iter().filter_map(writes).collect();
        let read = async { Arc::new(Latest::read(self, &tenant.id, version.clone(), soon).await) };
        let entry = self.latest.entry(tenant.id.clone());
        let is_old = |latest: &Arc<Latest>| latest.is_before(&version, soon);
        let latest = entry.or_insert_with_if(read, is_old).await;
        latest.into_value()
    }

    async fn history(&self, tenant: &TenantView, limit: usize) -> Vec<Activity> {
        let version = tenant
            .desired
            .as_ref()
            .map(|desired| desired.commit.clone());
        let read = async {
            let page = self.control.activity(Some(&tenant.id), limit, None).await;
            page.map(|page| page.activity)
        };
        let key = (tenant.id.clone(), version.unwrap_or_default());
        self.histories
            .try_get_with(key, read)
            .await
            .unwrap_or_default()
    }

    fn error_page(&self, error: &ApiError, context: &Context) -> Response {
        let head = html! { h1 { "That did not work" } };
        let back = html! { p { a href="/console/tenants" { "All tenants" } } };
        let view = View {
            status: error.status(),
            section: Section::Tenants,
            title: error.status().to_string(),
            parts: vec![
                Part::fixed("head", "head", head),
                Part::fixed("problem", "problem", change::problem(error)),
                Part::fixed("back", "back", back),
            ],
        };
        (view.status, document(&view, context, None)).into_response()
    }
}

fn cache<K, V>() -> Cache<K, V>
where
    K: Hash + Eq + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    Cache::builder()
        .max_capacity(MAX_CACHED)
        .time_to_live(FRESH)
        .build()
}

/// Answers every page.
async fn show(Extension(console): Extension<Console>, person: Person, uri: Uri) -> Response {
    if uri.path().trim_end_matches('/') == page::ROOT {
        return Redirect::to("/console/tenants").into_response();
    }
    let context = console.context(person);
    let view = match Page::parse(&uri) {
        Ok(page) => page.view(&console, &context).await,
        Err(error) => Err(error),
    };
    match view {
        Ok(view) => {
            let address = uri
                .path_and_query()
                .map_or(uri.path(), |address| address.as_str());
            (view.status, document(&view, &context, Some(address))).into_response()
        }
        Err(error) => console.error_page(&error, &context),
    }
}

async fn headers(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    response.headers_mut().extend(HEADERS);
    response
}

#[cfg(test)]
mod samples;
