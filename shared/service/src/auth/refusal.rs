//! Reasons to refuse a request's token, and the errors that clients receive for them.

use axum::http::StatusCode;

use crate::error::ApiError;

/// Reason to refuse a request's token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("the request has no token; the tenantID header alone is not accepted here")]
    Missing,
    /// The header is repeated, or its value is not one well-formed token.
    #[error("the token is malformed; send one JWT, once")]
    Malformed,
    /// The algorithm is `none`, a shared secret's, unknown, or not the key's own.
    #[error("the token's algorithm is not accepted; sign it with a public-key algorithm")]
    Algorithm,
    #[error("the token is signed by another load balancer")]
    Signer,
    #[error("the token is signed with a key that the issuer does not publish")]
    UnknownKey,
    #[error("the token's signature is wrong")]
    Signature,
    /// The expiry is past or missing.
    #[error("the token has expired or has no expiry; get a new one")]
    Expired,
    #[error("the token is not valid yet")]
    NotYet,
    #[error("the token is from another issuer")]
    Issuer,
    #[error("the token is for another audience")]
    Audience,
    /// The token is valid, but for another tenant than the header names.
    #[error("Forbidden: the token is not for the tenant in the tenantID header")]
    Tenant,
    /// The issuer's keys were never fetched, so no token can be verified.
    #[error("Unavailable: tokens cannot be verified now; try again after Retry-After seconds")]
    NoKeys,
}

impl Refusal {
    /// Label of the metric `auth_refused_total`.
    pub(super) fn reason(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Malformed => "malformed",
            Self::Algorithm => "algorithm",
            Self::Signer => "signer",
            Self::UnknownKey => "unknown_key",
            Self::Signature => "signature",
            Self::Expired => "expired",
            Self::NotYet => "not_yet",
            Self::Issuer => "issuer",
            Self::Audience => "audience",
            Self::Tenant => "tenant",
            Self::NoKeys => "no_keys",
        }
    }
}

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            // RFC 6750, 3.1: a request without a token receives the scheme and no error code.
            Refusal::Missing => Self::unauthorized(
                "token_missing",
                format!("Unauthorized: {refusal}"),
                "Bearer",
            ),
            Refusal::Tenant => Self::new(
                StatusCode::FORBIDDEN,
                "tenant_mismatch",
                refusal.to_string(),
            ),
            Refusal::NoKeys => Self::unavailable("auth_unavailable", refusal.to_string()),
            _ => Self::unauthorized(
                "token_invalid",
                format!("Unauthorized: {refusal}"),
                r#"Bearer error="invalid_token""#,
            ),
        }
    }
}
