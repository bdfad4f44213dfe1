//! The load balancer's routing: path prefix and the `TenantID` header, nothing else.

use std::collections::HashMap;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use shared::http::error::ApiError;
use shared::http::with_middleware;
use shared::metrics::Metrics;
use shared::tenant::TENANT_HEADER;
use tower::ServiceExt;

use crate::topology::{App, TenantSpec};

/// An environment's app: where a request goes.
pub(crate) type Target = (String, App);

/// The rules. Shared by all requests.
struct Rules {
    /// By tenant, as the header spells it, and app.
    by_tenant: HashMap<(String, App), Router>,
    /// Answers what no rule matches.
    no_match: Router,
}

/// One rule per tenant and app.
pub(crate) fn routes(tenants: &[TenantSpec], targets: &HashMap<Target, Router>) -> Router {
    let rule = |tenant: &TenantSpec, app: App| {
        let target = (tenant.environment_of(app).to_string(), app);
        Some(((tenant.id.to_string(), app), targets.get(&target)?.clone()))
    };
    let by_tenant = tenants
        .iter()
        .flat_map(|tenant| App::ALL.into_iter().filter_map(move |app| rule(tenant, app)))
        .collect();
    let no_match = Router::new().fallback(async || {
        let msg = "NotFound: no rule matches; set the header tenantID to a registered tenant (tenant-1) and ask for \
                   /producer, /consumer or /payments";
        ApiError::new(StatusCode::NOT_FOUND, "no_rule", msg)
    });
    let no_match = with_middleware(no_match, Metrics::new("load-balancer", "local"));
    Router::new().fallback(route).with_state(Arc::new(Rules { by_tenant, no_match }))
}

async fn route(State(rules): State<Arc<Rules>>, request: Request) -> Response {
    let target = app_of(request.uri().path()).and_then(|app| {
        // Like the load balancer: any of the header's values may match, and only an exact one does.
        let values = request.headers().get_all(TENANT_HEADER).iter().filter_map(|value| value.to_str().ok());
        values.filter_map(|tenant| rules.by_tenant.get(&(tenant.to_owned(), app))).next()
    });
    let router = target.unwrap_or(&rules.no_match).clone();
    router.oneshot(request).await.unwrap_or_else(|never| match never {})
}

/// The app whose prefix the path has: `/producer` and everything below it.
fn app_of(path: &str) -> Option<App> {
    let prefix = path.strip_prefix('/')?.split('/').next()?;
    App::ALL.into_iter().find(|app| app.as_str() == prefix)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_is_a_whole_path_segment() {
        assert_eq!(app_of("/producer"), Some(App::Producer));
        assert_eq!(app_of("/consumer/messages"), Some(App::Consumer));
        for path in ["/", "/producers", "/x/producer", "", "//producer", "/PRODUCER"] {
            assert_eq!(app_of(path), None, "{path}");
        }
    }
}
