//! The OpenAPI document, generated from the handlers and their types.

use axum::http::header;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use tenantry_service::error::ErrorBody;
use utoipa::OpenApi;
use utoipa::openapi::{RefOr, Schema};

use super::{body, events, routes};
use crate::model;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Control plane",
        description = "Onboards, moves, deploys to, holds, suspends and offboards tenants. Each change is one commit, pushed before \
            it is answered; an operation ends when the tenant answers through the load balancer. Every error has the body `Error`, \
            and every answer an `x-request-id`."
    ),
    paths(
        routes::tenants,
        routes::onboard,
        routes::tenant,
        routes::change,
        routes::offboard,
        routes::queue,
        routes::messages,
        routes::redrive,
        routes::pools,
        routes::deployments,
        routes::deploy,
        routes::deployment,
        routes::continue_deployment,
        routes::revert_deployment,
        routes::operations,
        routes::operation,
        routes::activity,
        events::events,
        routes::health,
    ),
    components(schemas(
        ErrorBody,
        body::OnboardBody,
        body::PatchBody,
        body::DeploymentBody,
        model::Event,
        routes::OperationOrPreview,
        model::Preview
    ))
)]
struct Document;

pub(super) fn document() -> utoipa::openapi::OpenApi {
    let mut document = Document::openapi();
    env!("CARGO_PKG_VERSION").clone_into(&mut document.info.version);
    let schemas = document
        .components
        .as_mut()
        .map(|components| &mut components.schemas);
    if let Some(RefOr::T(Schema::Object(change))) =
        schemas.and_then(|schemas| schemas.get_mut("TenantChange"))
    {
        // utoipa's macro has no word for it.
        (change.min_properties, change.max_properties) = (Some(1), Some(1));
    }
    document
}

pub(super) fn respond(document: Bytes) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], document).into_response()
}
