//! The routes that every service has: identity, readiness probe, OpenAPI document.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use bytes::Bytes;
use serde::Serialize;
use tenantry_process::health::Readiness;
use tenantry_process::metrics::Metrics;
use tenantry_tenancy::environment::Environment;
use tenantry_tenancy::tenant::TenantId;
use utoipa::ToSchema;

use crate::admission::{Admission, Admitted};
use crate::auth::Authenticator;
use crate::body::Bodies;
use crate::error::ApiError;
use crate::openapi;
use crate::overload::Overload;
use crate::source::Proxies;
use crate::stack::{self, Routes};

/// The state of a service that its routes share. Clones share it, too.
#[derive(Clone)]
pub struct Http(Arc<Inner>);

struct Inner {
    service: &'static str,
    version: &'static str,
    authenticator: Authenticator,
    admission: Admission,
    overload: Overload,
    bodies: Bodies,
    readiness: Readiness,
    metrics: Metrics,
    proxies: Proxies,
}

/// The environment and the service that answer, and the tenant of the request
// Keys in sorted order.
#[derive(Serialize, ToSchema)]
struct Identity<'a> {
    /// The environment that answers
    #[schema(example = "pool-1")]
    environment: &'a str,
    /// The service
    microservice: &'static str,
    /// The tenant that was named
    #[schema(value_type = Option<String>, required)]
    tenant_id: Option<TenantId>,
    /// The service's version
    version: &'static str,
}

/// Whether the service is ready
// Spelled as existing probes expect it.
#[derive(Serialize, ToSchema)]
pub(crate) struct Probe {
    /// `OK` or `NotReady`
    #[serde(rename = "Status")]
    status: &'static str,
}

impl AsRef<Self> for Http {
    fn as_ref(&self) -> &Self {
        self
    }
}

impl Http {
    pub fn new(
        (service, version): (&'static str, &'static str),
        authenticator: Authenticator,
        admission: Admission,
        readiness: Readiness,
        metrics: Metrics,
        proxies: Proxies,
    ) -> Self {
        Self(Arc::new(Inner {
            service,
            version,
            authenticator,
            admission,
            overload: Overload::new(&metrics),
            bodies: Bodies::default(),
            readiness,
            metrics,
            proxies,
        }))
    }

    pub fn environment(&self) -> &Environment {
        self.0.admission.environment()
    }

    pub(crate) fn bodies(&self) -> &Bodies {
        &self.0.bodies
    }

    pub fn service(&self) -> &'static str {
        self.0.service
    }

    pub fn version(&self) -> &'static str {
        self.0.version
    }

    pub(crate) fn authenticator(&self) -> &Authenticator {
        &self.0.authenticator
    }

    pub(crate) fn admission(&self) -> &Admission {
        &self.0.admission
    }

    pub(crate) fn overload(&self) -> &Overload {
        &self.0.overload
    }

    /// Returns the common routes and the service's own, with everything around them. `described` is the OpenAPI document of
    /// its own routes.
    ///
    /// # Panics
    /// The document lacks a route, or describes a route that does not exist.
    pub fn finish<S>(&self, own: Routes<S>, state: S, described: utoipa::openapi::OpenApi) -> Router
    where
        S: AsRef<Self> + Clone + Send + Sync + 'static,
    {
        let names = openapi::route_names(&described);
        assert_eq!(
            own.names, names,
            "a route and its description in `openapi.rs` go together"
        );
        self.assemble(own, state, described)
    }

    pub(crate) fn assemble<S>(
        &self,
        own: Routes<S>,
        state: S,
        described: utoipa::openapi::OpenApi,
    ) -> Router
    where
        S: AsRef<Self> + Clone + Send + Sync + 'static,
    {
        let service = self.0.service;
        let document = openapi::to_json(&openapi::complete(service, self.0.version, described));
        let common = Routes::<Self>::new()
            .tenant(Method::GET, &format!("/{service}"), identity)
            .open(
                Method::GET,
                &format!("/{service}/readiness-probe"),
                readiness_probe,
            )
            .open(
                Method::GET,
                &format!("/{service}/openapi.json"),
                async move || openapi_document(document.clone()),
            );
        let routes = common
            .into_router(self.clone())
            .merge(own.into_router(state))
            .method_not_allowed_fallback(async || ApiError::method_not_allowed())
            .fallback(async || ApiError::no_route());
        stack::around(routes, self.0.metrics.clone(), self.0.proxies.clone())
    }
}

/// Identity of the service, and the tenant of the request
#[utoipa::path(
    get,
    path = "/service",
    params(openapi::OptionalTenantHeader),
    responses((status = 200, description = "This service", body = Identity), openapi::Errors)
)]
pub(crate) async fn identity(admitted: Option<Admitted>, State(http): State<Http>) -> Response {
    let identity = Identity {
        environment: http.environment().as_str(),
        microservice: http.0.service,
        tenant_id: admitted.map(|admitted| admitted.tenant),
        version: http.0.version,
    };
    Json(identity).into_response()
}

/// Whether the service is ready
///
/// Answered from cached state, without side effect; no header is read.
#[utoipa::path(
    get,
    path = "/service/readiness-probe",
    responses(
        (status = 200, description = "The service is ready", body = Probe),
        (status = 500, description = "The service is not ready now", body = Probe),
    )
)]
pub(crate) async fn readiness_probe(State(http): State<Http>) -> (StatusCode, Json<Probe>) {
    if http.0.readiness.is_ready() {
        (StatusCode::OK, Json(Probe { status: "OK" }))
    } else {
        (
            StatusCode::INTERNAL_SERVER_ERROR,
            Json(Probe { status: "NotReady" }),
        )
    }
}

/// This document
#[utoipa::path(
    get,
    path = "/service/openapi.json",
    responses((status = 200, description = "OpenAPI 3.1", body = openapi::AnyJson))
)]
pub(crate) fn openapi_document(document: Bytes) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], document).into_response()
}

impl From<std::convert::Infallible> for ApiError {
    fn from(never: std::convert::Infallible) -> Self {
        match never {}
    }
}
