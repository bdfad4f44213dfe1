//! Where an overloaded process refuses: before a request is routed, looked up or read, because what refusing costs is what
//! is missing for those that were taken on.

use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, Method, Response, Uri};
use axum::response::IntoResponse;

use super::caller::tenant_in;
use super::error::ApiError;
use super::observe;
use super::shedder::Shedder;

/// What follows the service's name in the paths that are always answered: they cost no more than a refusal.
const ALWAYS: [&str; 3] = ["", "/readiness-probe", "/openapi.json"];

/// Looks at the heads of requests. Clones share the state.
#[derive(Clone)]
pub struct Door {
    shedder: Shedder,
    service: &'static str,
}

impl Door {
    pub(super) fn new(shedder: Shedder, service: &'static str) -> Self {
        Self { shedder, service }
    }

    /// Whether requests are refused at all now.
    pub(super) fn is_guarded(&self) -> bool {
        self.shedder.is_limited()
    }

    /// The refusal of a request that has waited for so long, where it would be refused with its body read, too. Whatever
    /// else may be wrong with it is told by the routes.
    pub(super) fn refusal(
        &self,
        method: &Method,
        uri: &Uri,
        headers: &HeaderMap,
        waited: Duration,
    ) -> Option<Response<Body>> {
        if !self.shedder.is_limited()
            || (method == Method::GET && self.is_always_answered(uri.path()))
        {
            return None;
        }
        let tenant = tenant_in(headers).ok().flatten()?;
        if !self.shedder.would_refuse(&tenant, waited) {
            return None;
        }
        let request_id = observe::request_id(headers);
        let mut response = ApiError::too_busy().into_response();
        observe::complete(&mut response, &request_id);
        Some(response)
    }

    fn is_always_answered(&self, path: &str) -> bool {
        let page = path
            .strip_prefix('/')
            .and_then(|path| path.strip_prefix(self.service));
        page.is_some_and(|page| ALWAYS.contains(&page))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::shedder::TakenOn;

    /// A door of the producer's, for which `tenant-2` has as much as it may.
    fn full() -> (Door, Vec<TakenOn>) {
        let (shedder, taken) = Shedder::full();
        (Door::new(shedder, "producer"), taken)
    }

    fn refusal(
        door: &Door,
        method: Method,
        path: &'static str,
        tenant: &'static [u8],
    ) -> Option<Response<Body>> {
        let mut headers = HeaderMap::new();
        headers.insert(
            "tenantID",
            axum::http::HeaderValue::from_bytes(tenant).expect("valid"),
        );
        door.refusal(&method, &Uri::from_static(path), &headers, Duration::ZERO)
    }

    #[test]
    fn what_is_refused_has_the_shape_of_every_error() {
        let (door, _taken) = full();
        let refused = refusal(&door, Method::POST, "/producer", b"tenant-2").expect("it is full");
        assert_eq!(refused.status(), 503);
        for header in [
            "retry-after",
            "x-request-id",
            "content-type",
            "cache-control",
        ] {
            assert!(
                refused.headers().contains_key(header),
                "{header} in {refused:?}"
            );
        }
    }

    #[test]
    fn probes_and_what_is_wrong_are_answered_by_the_routes() {
        let (door, taken) = full();
        for (method, path, tenant) in [
            (Method::GET, "/producer", &b"tenant-2"[..]),
            (Method::GET, "/producer/readiness-probe", b"tenant-2"),
            (Method::POST, "/producer", b"No Tenant"),
        ] {
            assert!(refusal(&door, method, path, tenant).is_none(), "{path}");
        }
        assert!(refusal(&door, Method::GET, "/producer/others", b"tenant-2").is_some());
        // A tenant with nothing under way has a share.
        assert!(refusal(&door, Method::POST, "/producer", b"tenant-3").is_none());
        drop(taken);
        assert!(
            refusal(&door, Method::POST, "/producer", b"tenant-2").is_none(),
            "there is room again"
        );
    }
}
