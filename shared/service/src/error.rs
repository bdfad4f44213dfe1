//! Errors as clients receive them.
//!
//! Every error is JSON with `code` (stable, for machines), `msg` (a sentence that says what is wrong and what to do)
//! and `request_id`. Only the telemetry layer knows the id, so that layer writes the body; [`ApiError`] carries code
//! and sentence.

use std::borrow::Cow;
use std::time::Duration;

use axum::body::Body;
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use tenantry_process::server::Refused;
use tenantry_registry::LookupError;
use tenantry_tenancy::tenant::{InvalidTenantId, TenantId, Tier};

/// `Retry-After` of errors that have no better estimate.
const RETRY_AFTER_DEFAULT: Duration = Duration::from_secs(1);

/// An error for the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiError {
    status: StatusCode,
    code: &'static str,
    msg: Cow<'static, str>,
    retry_after: Option<Duration>,
    challenge: Option<&'static str>,
}

/// Why a request failed
// Keys in sorted order.
#[derive(Serialize, ToSchema)]
#[schema(as = Error)]
pub struct ErrorBody<'a> {
    /// Stable code, for machines
    #[schema(example = "invalid_tier")]
    code: &'a str,
    /// Sentence for people: what is wrong, and what to do
    msg: &'a str,
    /// Id of the request, as in the header `x-request-id` and in the service's log
    request_id: &'a str,
}

impl ApiError {
    /// Code of a request that an overloaded process refused.
    pub const TOO_BUSY: &str = "too_busy";

    pub fn new(status: StatusCode, code: &'static str, msg: impl Into<Cow<'static, str>>) -> Self {
        Self {
            status,
            code,
            msg: msg.into(),
            retry_after: None,
            challenge: None,
        }
    }

    /// 400.
    pub fn bad_request(code: &'static str, msg: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, msg)
    }

    /// 401 with `WWW-Authenticate`.
    pub fn unauthorized(
        code: &'static str,
        msg: impl Into<Cow<'static, str>>,
        challenge: &'static str,
    ) -> Self {
        Self {
            challenge: Some(challenge),
            ..Self::new(StatusCode::UNAUTHORIZED, code, msg)
        }
    }

    /// 503 with `Retry-After`.
    pub fn unavailable(code: &'static str, msg: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, code, msg).retry_after(RETRY_AFTER_DEFAULT)
    }

    /// 429 with `Retry-After`.
    pub fn rate_exceeded(wait: Duration) -> Self {
        let msg = "TooManyRequests: the tenant's request rate is exceeded; try again after Retry-After seconds";
        Self::new(StatusCode::TOO_MANY_REQUESTS, "rate_exceeded", msg).retry_after(wait)
    }

    /// 503 with the code [`Self::TOO_BUSY`]: the process is overloaded.
    pub fn too_busy() -> Self {
        let msg = "Unavailable: the service is overloaded; try again after Retry-After seconds";
        Self::unavailable(Self::TOO_BUSY, msg)
    }

    /// 408: the body takes too long, or its client sends too slowly.
    pub fn body_too_slow() -> Self {
        let msg = "RequestTimeout: the body arrived too slowly; send it without pauses, within 10 seconds";
        Self::new(StatusCode::REQUEST_TIMEOUT, "body_too_slow", msg)
    }

    /// 503: the tenant's share of the memory for large bodies is used up.
    pub fn too_many_bodies() -> Self {
        let msg = "Unavailable: too many large bodies of this tenant are being received; try again after Retry-After seconds";
        Self::unavailable("overloaded", msg)
    }

    /// 400: the value of `tier` is not a tier. Existing clients know the sentence.
    pub fn invalid_tier() -> Self {
        Self::bad_request("invalid_tier", "BadRequest: invalid tier")
    }

    /// 400: `tier` is not the tenant's own tier.
    pub fn wrong_tier(tenant: &TenantId, actual: Tier) -> Self {
        let msg = format!(
            "BadRequest: {tenant} is registered as {actual}; omit the tier header or set it to {actual}"
        );
        Self::bad_request("wrong_tier", msg)
    }

    /// 404: the request has no `tenantID`. Existing clients know the sentence.
    pub fn no_tenant() -> Self {
        Self::new(StatusCode::NOT_FOUND, "tenant_missing", "NotFound")
    }

    /// 400: `tenantID` is repeated.
    pub fn repeated_tenant() -> Self {
        Self::bad_request(
            "tenant_repeated",
            "BadRequest: the tenantID header is repeated; send it once",
        )
    }

    /// 403: the silo belongs to another tenant.
    pub fn foreign_tenant() -> Self {
        Self::new(
            StatusCode::FORBIDDEN,
            "foreign_tenant",
            "Forbidden: this environment belongs to another tenant",
        )
    }

    /// 403: the tenant is suspended.
    pub fn suspended() -> Self {
        let msg = "Forbidden: this tenant is suspended; ask an operator to resume it";
        Self::new(StatusCode::FORBIDDEN, "tenant_suspended", msg)
    }

    /// 503: the tenant's payments are being moved, so nothing is written to them.
    pub fn moving() -> Self {
        let msg = "Unavailable: the tenant is being moved; try again after Retry-After seconds";
        Self::unavailable("tenant_moving", msg)
    }

    /// 404: no route has this path.
    pub fn no_route() -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "no_route",
            "NotFound: no route has this path",
        )
    }

    /// 405. The router adds `Allow`.
    pub fn method_not_allowed() -> Self {
        let msg = "MethodNotAllowed: this path supports only the methods in the Allow header";
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", msg)
    }

    /// 500: the service has a defect.
    pub fn internal() -> Self {
        let msg = "InternalError: the request failed; the service's log has the cause under this request_id";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", msg)
    }

    /// Sets `Retry-After`, rounded up to whole seconds, at least one.
    #[must_use]
    pub fn retry_after(self, wait: Duration) -> Self {
        Self {
            retry_after: Some(wait),
            ..self
        }
    }

    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The sentence for people.
    pub fn msg(&self) -> &str {
        &self.msg
    }

    pub fn code(&self) -> &'static str {
        self.code
    }

    /// The response without its body, which [`Self::write_body`] adds.
    fn without_body(self) -> Response {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = self.status;
        if let Some(wait) = self.retry_after {
            let seconds = wait.as_millis().div_ceil(1000).max(1);
            let value =
                HeaderValue::try_from(seconds.to_string()).expect("digits are a header value");
            response.headers_mut().insert(RETRY_AFTER, value);
        }
        if let Some(challenge) = self.challenge {
            response
                .headers_mut()
                .insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        }
        response.extensions_mut().insert(self);
        response
    }

    /// Writes the body of an error response, and returns the error's code; `None` if the response is no error.
    pub fn write_body(response: &mut Response, request_id: &str) -> Option<&'static str> {
        let error = response.extensions_mut().remove::<Self>()?;
        let body = ErrorBody {
            code: error.code,
            msg: &error.msg,
            request_id,
        };
        let text = serde_json::to_vec(&body).expect("strings serialize");
        *response.body_mut() = Body::from(text);
        response
            .headers_mut()
            .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        Some(error.code)
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        self.without_body()
    }
}

impl From<Refused> for ApiError {
    fn from(refused: Refused) -> Self {
        Self::new(refused.status(), refused.code(), refused.msg())
    }
}

impl From<InvalidTenantId> for ApiError {
    fn from(reason: InvalidTenantId) -> Self {
        Self::bad_request(
            "invalid_tenant_id",
            format!("BadRequest: tenantID: {reason}"),
        )
    }
}

impl From<LookupError> for ApiError {
    fn from(error: LookupError) -> Self {
        match error {
            LookupError::Unknown => Self::new(
                StatusCode::NOT_FOUND,
                "tenant_unknown",
                "NotFound: no tenant with this id is registered",
            ),
            LookupError::Unavailable(_) | LookupError::Busy => Self::unavailable(
                "registry_unavailable",
                "Unavailable: the tenant cannot be looked up now; try again after Retry-After seconds",
            ),
            LookupError::Misconfigured { .. } => Self::unavailable(
                "tenant_misconfigured",
                "Unavailable: the tenant's parameters are invalid; an operator finds the reason in the service's log",
            ),
        }
    }
}
