//! The HTTP side every service shares: identity and probe routes, errors as JSON, one middleware stack.
//!
//! A service merges its own routes with the common ones and closes the stack with
//! [`Http::finish`]. Whatever a client sends, the answer is JSON with a request id, and never a 5xx for its mistake.

pub mod body;
mod bound;
pub mod caller;
pub mod cursor;
pub mod door;
pub mod error;
pub mod idempotency;
pub mod openapi;
pub mod page;
pub mod server;
pub mod shedder;

mod observe;
mod request_metrics;

use std::sync::Arc;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use bytes::Bytes;
use serde::Serialize;
use utoipa::ToSchema;

use self::body::Bodies;
use self::caller::{Access, OptionalTenant};
use self::door::Door;
use self::error::ApiError;
use self::observe::ObserveLayer;
pub use self::observe::RequestContext;
use self::request_metrics::RequestMetrics;
use self::server::Answers;
use crate::environment::Environment;
use crate::health::Readiness;
use crate::metrics::Metrics;
use crate::tenant::TenantId;

/// What the common routes know of their service. Clones share it.
#[derive(Clone)]
pub struct Http(Arc<Inner>);

struct Inner {
    service: &'static str,
    version: &'static str,
    access: Access,
    bodies: Bodies,
    readiness: Readiness,
    metrics: Metrics,
}

/// Who answers, for whom
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
struct Probe {
    /// `OK` or `NotReady`
    #[serde(rename = "Status")]
    status: &'static str,
}

impl Http {
    /// The common surface of a service of this name and version.
    pub fn new(
        service: &'static str,
        version: &'static str,
        access: Access,
        readiness: Readiness,
        metrics: Metrics,
    ) -> Self {
        Self(Arc::new(Inner {
            service,
            version,
            access,
            bodies: Bodies::default(),
            readiness,
            metrics,
        }))
    }

    /// The environment the service runs in.
    pub fn environment(&self) -> &Environment {
        self.0.access.environment()
    }

    /// Who may be answered.
    pub fn access(&self) -> &Access {
        &self.0.access
    }

    /// The bodies that are being received.
    pub fn bodies(&self) -> &Bodies {
        &self.0.bodies
    }

    /// The service's name.
    pub fn service(&self) -> &'static str {
        self.0.service
    }

    /// The service's version.
    pub fn version(&self) -> &'static str {
        self.0.version
    }

    /// Closes the stack: the common routes, the service's own, JSON for what is neither, the middleware, and what refuses
    /// requests before all of them. `described` is the OpenAPI document of its own routes.
    pub fn finish(&self, own: Router, described: utoipa::openapi::OpenApi) -> Answers {
        let service = self.0.service;
        let described = openapi::to_json(&openapi::complete(service, self.0.version, described));
        let routes = Router::new()
            .route(&format!("/{service}"), get(identity))
            .route(&format!("/{service}/readiness-probe"), get(readiness_probe))
            .route(
                &format!("/{service}/openapi.json"),
                get(async move |http, tenant| document(http, tenant, described.clone()).await),
            )
            .with_state(self.clone())
            .merge(own)
            .method_not_allowed_fallback(async || ApiError::method_not_allowed())
            .fallback(async || ApiError::no_route());
        let routes = bound::to_tokens(routes, self.0.access.tokens(), service);
        let door = Door::new(self.0.access.shedder().clone(), service);
        Answers {
            router: with_middleware(routes, self.0.metrics.clone()),
            door: Some(door),
        }
    }
}

/// The one middleware stack: request ids, metrics, log lines, errors as JSON, panics as errors.
pub fn with_middleware(routes: Router, metrics: Metrics) -> Router {
    routes.layer(ObserveLayer(RequestMetrics::new(metrics)))
}

/// Who answers, for whom
#[utoipa::path(
    get,
    path = "/service",
    params(openapi::OptionalTenantHeader),
    responses((status = 200, description = "This service", body = Identity), openapi::Errors)
)]
async fn identity(
    State(http): State<Http>,
    OptionalTenant(tenant): OptionalTenant,
) -> Result<Response, ApiError> {
    if let Some(tenant) = &tenant {
        http.0.access.admit(tenant).await?;
    }
    let identity = Identity {
        environment: http.environment().as_str(),
        microservice: http.0.service,
        tenant_id: tenant,
        version: http.0.version,
    };
    Ok(Json(identity).into_response())
}

/// Whether the service is ready
///
/// Answered from cached state, without side effect.
#[utoipa::path(
    get,
    path = "/service/readiness-probe",
    params(openapi::OptionalTenantHeader),
    responses(
        (status = 200, description = "It is", body = Probe),
        (status = 500, description = "It is not, now", body = Probe),
        (status = 400, description = "The header is no tenant id, or is there twice", body = error::ErrorBody),
        (status = 403, description = "Another tenant's environment", body = error::ErrorBody),
    )
)]
async fn readiness_probe(
    State(http): State<Http>,
    OptionalTenant(tenant): OptionalTenant,
) -> Result<Response, ApiError> {
    if let Some(tenant) = &tenant {
        http.0.access.check_environment(tenant)?;
    }
    Ok(if http.0.readiness.is_ready() {
        Json(Probe { status: "OK" }).into_response()
    } else {
        (
            StatusCode::INTERNAL_SERVER_ERROR,
            Json(Probe { status: "NotReady" }),
        )
            .into_response()
    })
}

/// This document
#[utoipa::path(
    get,
    path = "/service/openapi.json",
    params(openapi::OptionalTenantHeader),
    responses((status = 200, description = "OpenAPI 3.1", body = openapi::AnyJson), openapi::Errors)
)]
async fn document(
    State(http): State<Http>,
    OptionalTenant(tenant): OptionalTenant,
    described: Bytes,
) -> Result<Response, ApiError> {
    if let Some(tenant) = &tenant {
        http.0.access.admit(tenant).await?;
    }
    Ok(([(header::CONTENT_TYPE, "application/json")], described).into_response())
}

#[cfg(test)]
mod fuzz_targets;
#[cfg(test)]
mod tests;
