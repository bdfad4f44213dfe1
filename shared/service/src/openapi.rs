//! The OpenAPI document of a service: what all of them have in common, and the whole as it is served.
//!
//! A service describes its own routes beside their handlers; the common routes, headers and errors are described here
//! and beside theirs. What is checked by hand when a request is read is described by types that nobody makes.

#![expect(
    dead_code,
    reason = "these types describe; the ones that read and write are elsewhere"
)]

use bytes::Bytes;
use utoipa::openapi::schema::{Object, SchemaType};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{IntoParams, IntoResponses, OpenApi, PartialSchema, ToSchema};

use crate::error::ErrorBody;

/// The path that stands for the service's own in the descriptions of the common routes.
const COMMON_PREFIX: &str = "/service";
/// What is true of every route, and so said once.
const COMMON_RULES: &str = "Every answer has an `x-request-id`: the caller's own, where it is 1 to 128 visible ASCII \
    characters, else a new one. A path that is not here is answered with 404, another method with 405 and `Allow`; every \
    error has the body `Error`.";

/// The common routes, below [`COMMON_PREFIX`].
#[derive(OpenApi)]
#[openapi(paths(
    crate::http::identity,
    crate::http::readiness_probe,
    crate::http::openapi_document
))]
struct Common;

/// Whose request it is
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
pub struct TenantHeader {
    /// A registered tenant
    #[param(
        rename = "tenantID",
        required,
        max_length = 32,
        pattern = "^[a-z0-9]([-a-z0-9]{0,30}[a-z0-9])?$",
        example = "tenant-2"
    )]
    tenant: String,
}

/// Whose request it is, if anybody's
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
pub struct OptionalTenantHeader {
    /// A registered tenant
    #[param(
        rename = "tenantID",
        required = false,
        max_length = 32,
        pattern = "^[a-z0-9]([-a-z0-9]{0,30}[a-z0-9])?$",
        example = "tenant-2"
    )]
    tenant: String,
}

/// What names a request, so that it can be repeated
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
pub struct KeyHeader {
    /// 1 to 128 visible ASCII characters: the same for each try of one request, a new one for the next
    #[param(
        rename = "Idempotency-Key",
        required,
        min_length = 1,
        max_length = 128,
        pattern = "^[!-~]+$"
    )]
    key: String,
}

/// What names a request, if it may be repeated
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
pub struct OptionalKeyHeader {
    /// 1 to 128 visible ASCII characters: the same for each try of one request, a new one for the next
    #[param(
        rename = "Idempotency-Key",
        required = false,
        min_length = 1,
        max_length = 128,
        pattern = "^[!-~]+$"
    )]
    key: String,
}

/// The trace a request is part of
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
pub struct TraceHeader {
    /// The caller's trace context, in W3C form; anything else is ignored
    #[param(
        required = false,
        example = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    )]
    traceparent: String,
}

/// What every route for a tenant may answer
#[derive(IntoResponses)]
pub enum Errors {
    /// Something in the request is wrong; `msg` names it
    #[response(status = 400)]
    Wrong(ErrorBody<'static>),
    /// Where tokens are asked for (`AUTH=jwt`): there is none, or not a valid one
    #[response(status = 401, headers(("WWW-Authenticate" = String, description = "`Bearer`, and what is wrong")))]
    Unproven(ErrorBody<'static>),
    /// The tenant is suspended, not this environment's, or not the token's
    #[response(status = 403)]
    Forbidden(ErrorBody<'static>),
    /// No tenant is named, it is not registered, or it has nothing of this id
    #[response(status = 404)]
    Unknown(ErrorBody<'static>),
    /// The tenant's rate is exceeded
    #[response(status = 429, headers(("Retry-After" = u64, description = "Seconds to wait")))]
    TooFast(ErrorBody<'static>),
    /// Not now; repeat it, with the same `Idempotency-Key` where it has one
    #[response(status = 503, headers(("Retry-After" = u64, description = "Seconds to wait")))]
    Unavailable(ErrorBody<'static>),
}

/// What every route that takes a body may answer besides
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

/// Any JSON value.
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

/// The whole document of a service, given its own routes'.
pub fn complete(
    service: &str,
    version: &str,
    mut own: utoipa::openapi::OpenApi,
) -> utoipa::openapi::OpenApi {
    version.clone_into(&mut own.info.version);
    let said = own.info.description.take().unwrap_or_default();
    own.info.description = Some(format!("{said}\n\n{COMMON_RULES}").trim_start().to_owned());
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
            // Else they are named after modules.
            operation.tags = Some(vec![service.to_owned()]);
        }
    }
    whole
}

/// The document as it is sent.
pub(crate) fn to_json(document: &utoipa::openapi::OpenApi) -> Bytes {
    serde_json::to_vec(document)
        .expect("texts, numbers and lists serialise")
        .into()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

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
        serde_json::to_value(complete("things", "1.2.3", Own::openapi())).expect("it serialises")
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
            "none of a service that is not"
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
    fn every_reference_leads_somewhere() {
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
