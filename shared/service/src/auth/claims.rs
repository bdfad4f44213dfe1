//! Claims validation: issuer, audience, times and tenant of a token whose signature is verified. Pure.

use serde_json::Value;

use super::config::{JwtConfig, TokenSource};
use super::refusal::Refusal;
use super::token::{Claims, Header};
use tenantry_tenancy::tenant::TenantId;

/// The registered claims of a token, wherever the token has them.
struct RegisteredClaims<'a> {
    issuer: Option<&'a str>,
    audiences: Vec<&'a str>,
    /// Expiry times in seconds since 1970. The earliest one counts.
    expiries: Vec<&'a Value>,
    not_before: Option<&'a Value>,
}

/// Validates the claims of a token whose signature is verified.
///
/// # Errors
/// [`Refusal`] of the first rule that the claims break.
pub(super) fn validate(
    config: &JwtConfig,
    header: &Header,
    claims: &Claims,
    now_seconds: f64,
) -> Result<(), Refusal> {
    let header_expiry = header.exp.map(Value::from);
    let registered = match &config.source {
        TokenSource::Authorization(_) => in_claims(claims),
        TokenSource::LoadBalancer { .. } => {
            in_load_balancer_header(header, header_expiry.as_ref(), claims)
        }
    };
    if registered.issuer != Some(&config.issuer) {
        return Err(Refusal::Issuer);
    }
    if !registered
        .audiences
        .iter()
        .any(|audience| config.audiences.iter().any(|ours| ours == audience))
    {
        return Err(Refusal::Audience);
    }
    let leeway = config.leeway.as_secs_f64();
    // A token without an expiry would be valid forever.
    let is_over = |expiry: &Value| {
        expiry
            .as_f64()
            .is_none_or(|expiry| expiry + leeway <= now_seconds)
    };
    if registered.expiries.is_empty() || registered.expiries.into_iter().any(is_over) {
        return Err(Refusal::Expired);
    }
    let is_early = |start: &Value| {
        start
            .as_f64()
            .is_none_or(|start| start - leeway > now_seconds)
    };
    if registered.not_before.is_some_and(is_early) {
        return Err(Refusal::NotYet);
    }
    Ok(())
}

/// Validates that the claims name the tenant.
///
/// # Errors
/// [`Refusal::Tenant`].
pub(super) fn validate_tenant(
    config: &JwtConfig,
    claims: &Claims,
    tenant: &TenantId,
) -> Result<(), Refusal> {
    if tenant_claim(claims, &config.claim) == Some(tenant.as_str()) {
        Ok(())
    } else {
        Err(Refusal::Tenant)
    }
}

fn in_claims(claims: &Claims) -> RegisteredClaims<'_> {
    let audiences = match claims.get("aud") {
        Some(Value::String(one)) => vec![one.as_str()],
        Some(Value::Array(several)) => several.iter().filter_map(Value::as_str).collect(),
        _ => vec![],
    };
    RegisteredClaims {
        issuer: claims.get("iss").and_then(Value::as_str),
        audiences,
        expiries: claims.get("exp").into_iter().collect(),
        not_before: claims.get("nbf"),
    }
}

/// The load balancer writes its own claims into the header. The payload has the claims of the user.
fn in_load_balancer_header<'a>(
    header: &'a Header,
    expiry: Option<&'a Value>,
    claims: &'a Claims,
) -> RegisteredClaims<'a> {
    RegisteredClaims {
        issuer: header.iss.as_deref(),
        audiences: header.client.as_deref().into_iter().collect(),
        // The user's expiry can only shorten the load balancer's own, never replace it.
        expiries: expiry.map_or_else(Vec::new, |expiry| {
            [expiry].into_iter().chain(claims.get("exp")).collect()
        }),
        not_before: claims.get("nbf"),
    }
}

fn tenant_claim<'a>(claims: &'a Claims, name: &str) -> Option<&'a str> {
    claim(claims, name)?.as_str()
}

/// The texts of a claim that has one or a list of them.
pub fn claim_values(claims: &Claims, name: &str) -> Vec<String> {
    let texts = match claim(claims, name) {
        Some(Value::String(one)) => vec![one.as_str()],
        Some(Value::Array(several)) => several.iter().filter_map(Value::as_str).collect(),
        _ => vec![],
    };
    texts.into_iter().map(str::to_owned).collect()
}

/// The claim of this name, or the value at this path of names. The whole name has precedence, because claim names may
/// contain dots (`https://example.com/tenant`).
fn claim<'a>(claims: &'a Claims, name: &str) -> Option<&'a Value> {
    if let Some(value) = claims.get(name) {
        return Some(value);
    }
    let mut steps = name.split('.');
    let first = claims.get(steps.next()?)?;
    steps.try_fold(first, |value, step| value.as_object()?.get(step))
}
