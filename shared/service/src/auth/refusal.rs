//! Why a request's token was not enough, and what the client is told.

use axum::http::StatusCode;

use crate::error::ApiError;

/// Why a request is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No token at all.
    #[error("send a token; this service does not take the tenantID header's word")]
    Missing,
    /// Not one well-formed token.
    #[error("the token is malformed")]
    Malformed,
    /// Signed in a way nobody may sign here: `none`, a shared secret, an unknown one, or not the key's own.
    #[error("the token is signed with an algorithm that is not accepted")]
    Algorithm,
    /// Another load balancer's.
    #[error("the token is signed by another load balancer")]
    Signer,
    /// No key of the issuer's has its id.
    #[error("the token is signed with a key the issuer does not have")]
    UnknownKey,
    /// Changed, or signed by somebody else.
    #[error("the token's signature is wrong")]
    Signature,
    /// Too old, or without an end.
    #[error("the token has expired")]
    Expired,
    /// Too new.
    #[error("the token is not valid yet")]
    NotYet,
    /// Issued by somebody else.
    #[error("the token is of another issuer")]
    Issuer,
    /// Meant for somebody else.
    #[error("the token is for another audience")]
    Audience,
    /// Valid, but not of the tenant that the header names.
    #[error("Forbidden: the token is not of the tenant that the tenantID header names")]
    Tenant,
    /// The issuer's keys have never been read: nobody can be told from anybody.
    #[error("Unavailable: tokens cannot be verified now; try again after Retry-After seconds")]
    NoKeys,
}

impl Refusal {
    /// A label of the metric: one of a few words.
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
            // RFC 6750: a request without a token is told the scheme and nothing else.
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
