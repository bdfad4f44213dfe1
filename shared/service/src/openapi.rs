//! The OpenAPI document of a service: the common routes, headers and errors, merged with the service's own routes.
//!
//! Routes are described beside their handlers. Headers that the code parses by hand are described here, by types that
//! are never constructed.

#![expect(
    dead_code,
    reason = "these types only describe; other types read and write"
)]

use std::collections::BTreeSet;

use bytes::Bytes;
use utoipa::openapi::schema::{Object, SchemaType};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{IntoParams, IntoResponses, OpenApi, PartialSchema, ToSchema};

use crate::error::ErrorBody;

/// Path prefix in the descriptions of the common routes. [`complete`] replaces it with the service's own.
const COMMON_PREFIX: &str = "/service";
/// Rules that hold for every route.
const COMMON_RULES: &str = "Every answer has an `x-request-id`: the caller's own, if that is 1 to 128 visible ASCII \
    characters, else a new one. An unknown path is answered with 404, an unsupported method with 405 and `Allow`. Every \
    error has the body `Error`.";

/// The common routes, below [`COMMON_PREFIX`].
#[derive(OpenApi)]
#[openapi(
    paths(
        crate::http::identity,
        crate::http::readiness_probe,
        crate::http::openapi_document
    ),
    components(schemas(ErrorBody))
)]
struct Common;

/// The tenant of the request
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
pub struct TenantHeader {
    /// Id of a registered tenant
    #[param(
        rename = "tenantID",
        required,
        max_length = 32,
        pattern = "^[a-z0-9]([-a-z0-9]{0,30}[a-z0-9])?$",
        example = "tenant-2"
    )]
    tenant: String,
}

/// The tenant of the request, if it has one
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
pub struct OptionalTenantHeader {
    /// Id of a registered tenant
    #[param(
        rename = "tenantID",
        required = false,
        max_length = 32,
        pattern = "^[a-z0-9]([-a-z0-9]{0,30}[a-z0-9])?$",
        example = "tenant-2"
    )]
    tenant: String,
}

/// The key that makes a repeat of the request safe
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
pub struct KeyHeader {
    /// 1 to 128 visible ASCII characters: the same for each try of one request, another key for the next request
    #[param(
        rename = "Idempotency-Key",
        required,
        min_length = 1,
        max_length = 128,
        pattern = "^[!-~]+$"
    )]
    key: String,
}

/// The key that makes a repeat of the request safe, if the client sends one
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
pub struct OptionalKeyHeader {
    /// 1 to 128 visible ASCII characters: the same for each try of one request, another key for the next request
    #[param(
        rename = "Idempotency-Key",
        required = false,
        min_length = 1,
        max_length = 128,
        pattern = "^[!-~]+$"
    )]
    key: String,
}

/// The trace context of the caller
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
pub struct TraceHeader {
    /// Trace context in W3C form; any other value is ignored
    #[param(
        required = false,
        example = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    )]
    traceparent: String,
}

/// Errors of every route for a tenant
#[derive(IntoResponses)]
pub enum Errors {
    /// The request is not valid; `msg` says what is wrong
    #[response(status = 400)]
    BadRequest(ErrorBody<'static>),
    /// With `AUTH=jwt`: the token is missing or not valid
    #[response(status = 401, headers(("WWW-Authenticate" = String, description = "`Bearer`, with an error code if a token was sent")))]
    Unauthorized(ErrorBody<'static>),
    /// The tenant is suspended, is served by another environment, or is not the token's tenant
    #[response(status = 403)]
    Forbidden(ErrorBody<'static>),
    /// The request names no tenant, the tenant is not registered, or it has no object with this id
    #[response(status = 404)]
    NotFound(ErrorBody<'static>),
    /// The tenant's request rate is exceeded
    #[response(status = 429, headers(("Retry-After" = u64, description = "Seconds to wait")))]
    TooManyRequests(ErrorBody<'static>),
    /// The request cannot be completed now; repeat it with the same `Idempotency-Key`, if it has one
    #[response(status = 503, headers(("Retry-After" = u64, description = "Seconds to wait")))]
    Unavailable(ErrorBody<'static>),
}

/// Further errors of routes with a request body
#[derive(IntoResponses)]
pub enum BodyErrors {
    /// The body did not arrive in time
    #[response(status = 408)]
    TooSlow(ErrorBody<'static>),
    /// The body is too large
    #[response(status = 413)]
    TooLarge(ErrorBody<'static>),
    /// The `Idempotency-Key` was used for another request
    #[response(status = 422)]
    KeyReused(ErrorBody<'static>),
}

pub struct AnyJson;

impl PartialSchema for AnyJson {
    fn schema() -> RefOr<Schema> {
        Object::builder()
            .schema_type(SchemaType::AnyValue)
            .description(Some("Any JSON value"))
            .build()
            .into()
    }
}

impl ToSchema for AnyJson {}

/// Completes the document of a service's own routes with the common routes.
pub fn complete(
    service: &str,
    version: &str,
    mut own: utoipa::openapi::OpenApi,
) -> utoipa::openapi::OpenApi {
    version.clone_into(&mut own.info.version);
    let description = own.info.description.take().unwrap_or_default();
    own.info.description = Some(
        format!("{description}\n\n{COMMON_RULES}")
            .trim_start()
            .to_owned(),
    );
    let mut common = Common::openapi();
    for (path, item) in std::mem::take(&mut common.paths.paths) {
        let path = path.replacen(COMMON_PREFIX, &format!("/{service}"), 1);
        own.paths
            .paths
            .entry(path)
            .or_default()
            .merge_operations(item);
    }
    let mut whole = own.merge_from(common);
    for item in whole.paths.paths.values_mut() {
        for operation in [&mut item.get, &mut item.post].into_iter().flatten() {
            // utoipa's own tags are the names of modules.
            operation.tags = Some(vec![service.to_owned()]);
        }
    }
    whole
}

/// Method and path of each route that a document describes.
pub fn route_names(document: &utoipa::openapi::OpenApi) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for (path, item) in &document.paths.paths {
        let methods = [
            ("GET", &item.get),
            ("PUT", &item.put),
            ("POST", &item.post),
            ("DELETE", &item.delete),
            ("PATCH", &item.patch),
        ];
        let described = methods.iter().filter(|(_, operation)| operation.is_some());
        names.extend(described.map(|(method, _)| format!("{method} {path}")));
    }
    names
}

pub fn to_json(document: &utoipa::openapi::OpenApi) -> Bytes {
    serde_json::to_vec(document)
        .expect("texts, numbers and lists serialize")
        .into()
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[derive(OpenApi)]
    #[openapi(info(title = "Things", description = "Some."), paths(post_things))]
    struct Own;

    #[utoipa::path(
        post,
        path = "/things",
        params(TenantHeader, KeyHeader),
        responses(Errors, BodyErrors)
    )]
    fn post_things() {}

    fn document() -> Value {
        serde_json::to_value(complete("things", "1.2.3", Own::openapi())).expect("it serializes")
    }

    #[test]
    fn the_common_routes_are_added_beside_a_services_own() {
        let document = document();
        let methods = |path: &str| {
            let item = document["paths"][path]
                .as_object()
                .unwrap_or_else(|| panic!("{path}: {document}"));
            item.keys().cloned().collect::<BTreeSet<_>>()
        };
        assert_eq!(
            methods("/things"),
            BTreeSet::from(["get".to_owned(), "post".to_owned()])
        );
        assert_eq!(methods("/things/readiness-probe").len(), 1);
        assert_eq!(methods("/things/openapi.json").len(), 1);
        assert_eq!(
            document["paths"].as_object().map(serde_json::Map::len),
            Some(3),
            "the prefix is replaced"
        );
        assert_eq!(document["info"]["version"], "1.2.3");
        assert_eq!(
            document["paths"]["/things"]["post"]["tags"],
            serde_json::json!(["things"])
        );
    }

    #[test]
    fn an_error_is_described_with_the_fields_it_has() {
        let described = &document()["components"]["schemas"]["Error"];
        let fields: Vec<_> = described["properties"]
            .as_object()
            .expect("fields")
            .keys()
            .collect();
        assert_eq!(fields, ["code", "msg", "request_id"], "{described}");
        assert_eq!(described["required"].as_array().map(Vec::len), Some(3));
    }

    #[test]
    fn every_reference_has_a_target() {
        let document = document();
        let text = document.to_string();
        let references: Vec<_> = text
            .split("\"$ref\":\"#")
            .skip(1)
            .filter_map(|rest| rest.split('"').next())
            .collect();
        assert!(!references.is_empty());
        for reference in references {
            assert!(document.pointer(reference).is_some(), "{reference}");
        }
    }
}
