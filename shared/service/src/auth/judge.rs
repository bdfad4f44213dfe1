//! Whether what a verified token says is enough: its issuer, audience, times and tenant. Pure; the time is an argument.

use serde_json::Value;

use super::config::{JwtConfig, TokenSource};
use super::refusal::Refusal;
use super::token::{Claims, Header};
use tenantry_tenancy::tenant::TenantId;

/// What a token says of itself, wherever it says it.
struct Facts<'a> {
    issuer: Option<&'a str>,
    audiences: Vec<&'a str>,
    /// Ends, in seconds since 1970; all count.
    ends: Vec<&'a Value>,
    not_before: Option<&'a Value>,
}

/// Judges the claims of a token whose signature is right.
///
/// # Errors
/// The first rule that it breaks.
pub(super) fn judge(
    config: &JwtConfig,
    header: &Header,
    claims: &Claims,
    tenant: &TenantId,
    now_seconds: f64,
) -> Result<(), Refusal> {
    let header_end = header.exp.map(Value::from);
    let facts = match &config.source {
        TokenSource::Authorization(_) => said_in_claims(claims),
        TokenSource::LoadBalancer { .. } => {
            said_by_load_balancer(header, header_end.as_ref(), claims)
        }
    };
    if facts.issuer != Some(&config.issuer) {
        return Err(Refusal::Issuer);
    }
    if !facts
        .audiences
        .iter()
        .any(|audience| config.audiences.iter().any(|ours| ours == audience))
    {
        return Err(Refusal::Audience);
    }
    let leeway = config.leeway.as_secs_f64();
    // A token without an end would be good for ever.
    let is_over = |end: &Value| end.as_f64().is_none_or(|end| end + leeway <= now_seconds);
    if facts.ends.is_empty() || facts.ends.into_iter().any(is_over) {
        return Err(Refusal::Expired);
    }
    let is_early = |start: &Value| {
        start
            .as_f64()
            .is_none_or(|start| start - leeway > now_seconds)
    };
    if facts.not_before.is_some_and(is_early) {
        return Err(Refusal::NotYet);
    }
    if tenant_of(claims, &config.claim) == Some(tenant.as_str()) {
        Ok(())
    } else {
        Err(Refusal::Tenant)
    }
}

fn said_in_claims(claims: &Claims) -> Facts<'_> {
    let audiences = match claims.get("aud") {
        Some(Value::String(one)) => vec![one.as_str()],
        Some(Value::Array(several)) => several.iter().filter_map(Value::as_str).collect(),
        _ => vec![],
    };
    Facts {
        issuer: claims.get("iss").and_then(Value::as_str),
        audiences,
        ends: claims.get("exp").into_iter().collect(),
        not_before: claims.get("nbf"),
    }
}

/// The load balancer speaks in the header; the claims are what it was told of the user.
fn said_by_load_balancer<'a>(
    header: &'a Header,
    end: Option<&'a Value>,
    claims: &'a Claims,
) -> Facts<'a> {
    Facts {
        issuer: header.iss.as_deref(),
        audiences: header.client.as_deref().into_iter().collect(),
        // Without its own the claims' end does not count.
        ends: end.map_or_else(Vec::new, |end| {
            [end].into_iter().chain(claims.get("exp")).collect()
        }),
        not_before: claims.get("nbf"),
    }
}

/// The claim of this name; where there is none, what a path of names leads to. The whole name goes first, because names
/// have dots of their own (`https://example.com/tenant`).
fn tenant_of<'a>(claims: &'a Claims, name: &str) -> Option<&'a str> {
    if let Some(value) = claims.get(name) {
        return value.as_str();
    }
    let mut steps = name.split('.');
    let first = claims.get(steps.next()?)?;
    steps
        .try_fold(first, |value, step| value.as_object()?.get(step))?
        .as_str()
}
