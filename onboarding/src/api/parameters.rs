//! What the routes have in common: parameters, headers, and the errors that the document describes.

use std::collections::HashMap;

use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{FromRequestParts, Path, Query};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName};
use tenantry_service::error::{ApiError, ErrorBody};
use tenantry_tenancy::tenant::TenantId;
use utoipa::{IntoParams, IntoResponses};

use super::App;
use super::body::field;
use crate::control::{MAX_LIMIT, no_tenant};

const CALLBACK: HeaderName = HeaderName::from_static("callback-url");
const DEFAULT_LIMIT: usize = 100;

/// Errors of every route
#[derive(IntoResponses)]
#[expect(dead_code, reason = "describes; `ApiError` is sent")]
pub(super) enum Errors {
    /// The request is not valid; `msg` says what is wrong
    #[response(status = 400)]
    BadRequest(ErrorBody<'static>),
    /// On a cluster: the token is missing or not valid
    #[response(status = 401, headers(("WWW-Authenticate" = String, description = "`Bearer`, with an error code if a token was sent")))]
    Unauthorized(ErrorBody<'static>),
    /// The role is missing, or a page of another site caused the request
    #[response(status = 403)]
    Forbidden(ErrorBody<'static>),
    /// There is no such tenant, operation or deployment
    #[response(status = 404)]
    NotFound(ErrorBody<'static>),
    /// A source cannot be read now, and nothing was changed; repeat the request
    #[response(status = 503, headers(("Retry-After" = u64, description = "Seconds to wait")))]
    Unavailable(ErrorBody<'static>),
}

/// Further errors of routes that change something
#[derive(IntoResponses)]
#[expect(dead_code, reason = "describes; `ApiError` is sent")]
pub(super) enum ChangeErrors {
    /// The body did not arrive in time
    #[response(status = 408)]
    TooSlow(ErrorBody<'static>),
    /// The repository contradicts the request; `msg` says what to do instead
    #[response(status = 409)]
    Conflict(ErrorBody<'static>),
    /// The body is too large
    #[response(status = 413)]
    TooLarge(ErrorBody<'static>),
    /// The body is not JSON
    #[response(status = 415)]
    NotJson(ErrorBody<'static>),
    /// The request can never succeed, or the `Idempotency-Key` was used for another one
    #[response(status = 422)]
    Unprocessable(ErrorBody<'static>),
}

/// Where events of the operation go
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "describes; `callback_in` reads")]
pub(super) struct CallbackHeader {
    /// URL that gets the operation as JSON at each change of its state, with the header `Tenantry-Signature`; https, or this
    /// machine
    #[param(
        rename = "Callback-Url",
        required = false,
        max_length = 500,
        example = "https://example.com/hooks/tenants"
    )]
    url: String,
}

/// The parameters of a query. A repeated parameter, or one that is not read, is ignored.
pub(super) struct Parameters(HashMap<String, String>);

impl Parameters {
    pub(super) fn text(&self, name: &str) -> Option<String> {
        self.0.get(name).cloned()
    }

    pub(super) fn is(&self, name: &str) -> Result<bool, ApiError> {
        self.0.get(name).map_or(Ok(false), |text| field(name, text))
    }

    pub(super) fn limit(&self) -> Result<usize, ApiError> {
        let Some(text) = self.0.get("limit") else {
            return Ok(DEFAULT_LIMIT);
        };
        let limit = text
            .parse()
            .ok()
            .filter(|limit| (1..=MAX_LIMIT).contains(limit));
        limit.ok_or_else(|| {
            let msg = format!("BadRequest: limit is a whole number from 1 to {MAX_LIMIT}");
            ApiError::bad_request("invalid_limit", msg)
        })
    }
}

impl FromRequestParts<App> for Parameters {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        let found = Query::<HashMap<String, String>>::from_request_parts(parts, app).await;
        let invalid = |error: QueryRejection| {
            let msg =
                format!("BadRequest: the query is not valid: {error}; /openapi.json describes it");
            ApiError::bad_request("invalid_query", msg)
        };
        found.map(|Query(found)| Self(found)).map_err(invalid)
    }
}

/// One segment of the path.
pub(super) struct Segment(pub(super) String);

impl FromRequestParts<App> for Segment {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        let found = Path::<String>::from_request_parts(parts, app).await;
        let invalid = |error: PathRejection| {
            ApiError::bad_request(
                "invalid_path",
                format!("BadRequest: the path is not valid: {error}"),
            )
        };
        found.map(|Path(found)| Self(found)).map_err(invalid)
    }
}

impl Segment {
    /// # Errors
    /// 404: no tenant has an id that is none.
    pub(super) fn tenant(&self) -> Result<TenantId, ApiError> {
        self.0.parse().map_err(|_| no_tenant(&self.0))
    }
}

pub(super) fn callback_in(headers: &HeaderMap) -> Result<Option<String>, ApiError> {
    let Some(value) = headers.get(CALLBACK) else {
        return Ok(None);
    };
    let text = value.to_str().map_err(|_| {
        ApiError::bad_request(
            "invalid_callback",
            "BadRequest: Callback-Url has characters that are not ASCII; encode them",
        )
    })?;
    Ok(Some(text.to_owned()))
}
