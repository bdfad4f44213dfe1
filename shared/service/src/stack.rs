//! Everything around a request, in order:
//!
//! 1. connection limits: slots, idle time-out, least speed of a body; framing by RFC 9112 ([`tenantry_process::server`])
//! 2. request id, span, metrics, log line ([`crate::telemetry`]); a head that breaks RFC 9112 is refused
//! 3. panic guard (there, too)
//! 4. route
//! 5. the route's own claim: the `C` of `Admitted<C>`, for example the producer's `tier` header
//! 6. tenant header
//! 7. authentication ([`crate::auth`])
//! 8. admission: environment, registration, status, rate ([`crate::admission`])
//! 9. permit ([`crate::overload`])
//! 10. body ([`crate::body`]); the request holds no permit while its client keeps it waiting
//! 11. handler
//!
//! Steps 5 to 9 are the extractor [`Admitted`]. A tenant route does not compile without it:
//!
//! ```compile_fail
//! # use tenantry_service::{Http, stack::Routes};
//! async fn handler() {}
//! Routes::<Http>::new().tenant(axum::http::Method::GET, "/things", handler);
//! ```
//!
//! ```
//! # use tenantry_service::{Http, admission::Admitted, stack::Routes};
//! async fn handler(admitted: Admitted) -> String { admitted.tenant.to_string() }
//! Routes::<Http>::new().tenant(axum::http::Method::GET, "/things", handler);
//! ```

use std::collections::BTreeSet;

use axum::Router;
use axum::extract::{FromRequestParts, OptionalFromRequestParts};
use axum::handler::Handler;
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method};
use axum::routing::{MethodFilter, on};
use tenantry_process::metrics::Metrics;
use tenantry_tenancy::tenant::{InvalidTenantId, TENANT_HEADER, TenantId};
use tokio::time::Instant;

use crate::Http;
use crate::admission::Admitted;
use crate::error::ApiError;
use crate::source::Proxies;
use crate::telemetry::{RequestContext, TelemetryLayer};

/// The routes of a service. `S` is their state.
pub struct Routes<S> {
    router: Router<S>,
    /// Method and path of each.
    pub(crate) names: BTreeSet<String>,
}

/// Implemented for the arguments of a handler that start with [`Admitted`] and have at most five more.
#[diagnostic::on_unimplemented(
    message = "a tenant route's handler takes `Admitted` first",
    note = "at most five arguments may follow; a route for no tenant is `Routes::open`"
)]
pub trait StartsAdmitted {}

impl<S> Routes<S>
where
    S: AsRef<Http> + Clone + Send + Sync + 'static,
{
    #[expect(
        clippy::new_without_default,
        reason = "a service without routes is a mistake"
    )]
    pub fn new() -> Self {
        Self {
            router: Router::new(),
            names: BTreeSet::new(),
        }
    }

    /// A route for a tenant: steps 5 to 9 come before the handler.
    #[must_use]
    pub fn tenant<H, T>(self, method: Method, path: &str, handler: H) -> Self
    where
        H: Handler<T, S>,
        T: StartsAdmitted + 'static,
    {
        self.open(method, path, handler)
    }

    /// A route that takes no tenant and reads no tenant header: the same answer for every caller.
    #[must_use]
    pub fn open<H, T>(mut self, method: Method, path: &str, handler: H) -> Self
    where
        H: Handler<T, S>,
        T: 'static,
    {
        self.names.insert(format!("{method} {path}"));
        let method = MethodFilter::try_from(method).expect("routes have standard methods");
        self.router = self.router.route(path, on(method, handler));
        self
    }

    /// The routes with their state.
    pub(crate) fn into_router(self, state: S) -> Router {
        self.router.with_state(state)
    }
}

/// Puts steps 2 and 3 around routes.
pub fn around(routes: Router, metrics: Metrics, proxies: Proxies) -> Router {
    routes.layer(TelemetryLayer::new(metrics, proxies))
}

impl<C> Admitted<C> {
    /// Steps 6 to 9; none where the request names no tenant.
    async fn admit(http: &Http, parts: &Parts, claim: C) -> Result<Option<Self>, ApiError> {
        let since = Instant::now();
        let Some(tenant) = tenant_in(&parts.headers)? else {
            return Ok(None);
        };
        let context = parts.extensions.get::<RequestContext>();
        let context = context.cloned().unwrap_or_default();
        context.set_tenant(&tenant);
        http.authenticator()
            .check(&parts.headers, &tenant, &context)
            .await?;
        let admission = http.admission();
        admission.check_environment(&tenant)?;
        let registration = admission.check_registration(&tenant).await?;
        admission.check_rate(&tenant)?;
        let permit = Some(http.overload().admit(&tenant)?);
        Ok(Some(Self {
            tenant,
            registration,
            since,
            claim,
            permit,
        }))
    }
}

/// The tenant that the headers name.
///
/// # Errors
/// 400 where the header is repeated or is not a tenant id, whatever its bytes.
pub(crate) fn tenant_in(headers: &HeaderMap) -> Result<Option<TenantId>, ApiError> {
    let mut values = headers.get_all(TENANT_HEADER).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    if values.next().is_some() {
        return Err(ApiError::repeated_tenant());
    }
    let text = value.to_str().map_err(|_| InvalidTenantId::NotALabel)?;
    Ok(Some(text.parse::<TenantId>()?))
}

impl<S, C> FromRequestParts<S> for Admitted<C>
where
    S: AsRef<Http> + Sync,
    C: FromRequestParts<S, Rejection: Into<ApiError>> + Send,
{
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let claim = C::from_request_parts(parts, state)
            .await
            .map_err(Into::into)?;
        let admitted = Self::admit(state.as_ref(), parts, claim).await?;
        admitted.ok_or_else(ApiError::no_tenant)
    }
}

/// For the identity route, which answers without a tenant, too.
impl<S: AsRef<Http> + Sync> OptionalFromRequestParts<S> for Admitted {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Option<Self>, ApiError> {
        Self::admit(state.as_ref(), parts, ()).await
    }
}

macro_rules! starts_admitted {
    ($($($rest:ident),*;)*) => {$(
        impl<M, C, $($rest),*> StartsAdmitted for (M, Admitted<C>, $($rest,)*) {}
    )*};
}

impl<M, A> StartsAdmitted for (M, Option<Admitted>, A) {}

starts_admitted! {
    ;
    A;
    A, B;
    A, B, D;
    A, B, D, E;
    A, B, D, E, F;
}

#[cfg(test)]
mod tests;
