//! Authentication: with `AUTH=jwt`, a request for a tenant needs a token that names the same tenant.
//!
//! With `AUTH=none`, the `tenantID` header is trusted, because only the load balancer reaches a service. With
//! `AUTH=jwt`, the header must equal a claim of a token that a key of the configured issuer signed. Parsing (`token`)
//! and claims validation (`claims`) are pure and take the time as an argument. The key cache (`key_cache`) bounds the
//! rate of calls to the issuer, even for invented key ids. No token is ever logged, and `Debug` of a token shows none
//! of its text.

mod claims;
mod config;
mod fetch;
mod key_cache;
mod key_set;
mod refusal;
mod token;

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, HeaderName};
use serde_json::Value;

pub use self::claims::claim_values;
pub use self::config::{Auth, JwtConfig, KeySetLocation, TokenSource};
use self::fetch::{LoadBalancerKeys, PublishedSet};
use self::key_cache::{KeyCache, KeySource};
pub use self::refusal::Refusal;
pub use self::token::Claims;
use self::token::Token;
use crate::telemetry::RequestContext;
use tenantry_process::health::Readiness;
use tenantry_process::metrics::{Metrics, label};
use tenantry_tenancy::tenant::TenantId;

/// Header in which the load balancer sends a user's claims, signed by itself. It overwrites what a client sends.
const LOAD_BALANCER_DATA: HeaderName = HeaderName::from_static("x-amzn-oidc-data");
/// Scheme of a token in `Authorization`. Schemes are case-insensitive (RFC 9110).
const BEARER: &str = "bearer";

/// Checks the tokens of requests. Clones share the key cache.
#[derive(Clone)]
pub struct Authenticator(Option<Arc<Inner>>);

struct Inner {
    config: JwtConfig,
    keys: KeyCache,
    metrics: Metrics,
}

impl Authenticator {
    /// An authenticator as configured. With tokens, readiness waits for the first keys.
    pub fn new(auth: &Auth, readiness: &Readiness, metrics: &Metrics) -> Self {
        let Auth::Jwt(config) = auth else {
            return Self(None);
        };
        let source: Box<dyn KeySource> = match &config.source {
            TokenSource::Authorization(location) => Box::new(PublishedSet::at(location.clone())),
            TokenSource::LoadBalancer { keys, .. } => {
                Box::new(LoadBalancerKeys::under(keys.clone()))
            }
        };
        Self::with_source(JwtConfig::clone(config), source, readiness, metrics)
    }

    fn with_source(
        config: JwtConfig,
        source: Box<dyn KeySource>,
        readiness: &Readiness,
        metrics: &Metrics,
    ) -> Self {
        metrics.describe_counter(
            "auth_refused_total",
            "Requests refused for their token, by reason",
        );
        let keys = KeyCache::new(
            source,
            config.refresh,
            readiness.condition("auth_keys"),
            metrics,
        );
        Self(Some(Arc::new(Inner {
            config,
            keys,
            metrics: metrics.clone(),
        })))
    }

    /// An authenticator that accepts every request.
    pub fn off() -> Self {
        Self(None)
    }

    /// Whether tokens are read from `Authorization`, and not from the header of a load balancer.
    pub fn reads_authorization(&self) -> bool {
        let source = self.0.as_ref().map(|inner| &inner.config.source);
        matches!(source, Some(TokenSource::Authorization(_)))
    }

    /// Checks that the headers have a valid token of the tenant. The subject of a token that the issuer signed is the
    /// request's actor, also if the token is refused.
    ///
    /// # Errors
    /// [`Refusal`]: the token is missing, not valid, or of another tenant.
    pub async fn check(
        &self,
        headers: &HeaderMap,
        tenant: &TenantId,
        context: &RequestContext,
    ) -> Result<(), Refusal> {
        let Some(inner) = &self.0 else { return Ok(()) };
        let checked = inner.check(headers, tenant, context).await;
        if let Err(refusal) = &checked {
            inner.count(*refusal);
        }
        checked
    }

    /// Returns the claims of a valid token, whichever tenant it names; `None` where no tokens are asked for. The subject of a
    /// token that the issuer signed is the request's actor, also if the token is refused.
    ///
    /// # Errors
    /// [`Refusal`]: the token is missing or not valid.
    pub async fn claims(
        &self,
        headers: &HeaderMap,
        context: &RequestContext,
    ) -> Result<Option<Claims>, Refusal> {
        let Some(inner) = &self.0 else {
            return Ok(None);
        };
        let checked = inner.claims(headers, context).await;
        if let Err(refusal) = &checked {
            inner.count(*refusal);
        }
        checked.map(Some)
    }

    /// Refreshes the key cache in the background. Never returns.
    pub async fn keep_keys(&self) {
        match &self.0 {
            Some(inner) => inner.keys.refresh_forever().await,
            None => std::future::pending().await,
        }
    }
}

impl Inner {
    async fn check(
        &self,
        headers: &HeaderMap,
        tenant: &TenantId,
        context: &RequestContext,
    ) -> Result<(), Refusal> {
        let verified = self.claims(headers, context).await?;
        claims::validate_tenant(&self.config, &verified, tenant)
    }

    /// The claims of a token that is valid now, for whichever tenant.
    async fn claims(
        &self,
        headers: &HeaderMap,
        context: &RequestContext,
    ) -> Result<Claims, Refusal> {
        let token = Token::parse(self.token_in(headers)?)?;
        // Checked before the key lookup: a token of another load balancer must cost no call for its key.
        if let TokenSource::LoadBalancer { signer, .. } = &self.config.source
            && token.header.signer.as_deref() != Some(signer)
        {
            return Err(Refusal::Signer);
        }
        let key = self
            .keys
            .get(token.header.kid.as_deref(), token.algorithm)
            .await?;
        let verified = token.verify(&key)?;
        if let Some(subject) = verified.get("sub").and_then(Value::as_str) {
            context.set_actor(subject);
        }
        claims::validate(&self.config, &token.header, &verified, now_seconds())?;
        Ok(verified)
    }

    fn count(&self, refusal: Refusal) {
        let labels = vec![label("reason", refusal.reason())];
        self.metrics
            .counter("auth_refused_total", labels)
            .increment(1);
    }

    fn token_in<'a>(&self, headers: &'a HeaderMap) -> Result<&'a str, Refusal> {
        let is_bearer = matches!(self.config.source, TokenSource::Authorization(_));
        let name = if is_bearer {
            AUTHORIZATION
        } else {
            LOAD_BALANCER_DATA
        };
        let mut values = headers.get_all(name).iter();
        let value = values.next().ok_or(Refusal::Missing)?;
        if values.next().is_some() {
            return Err(Refusal::Malformed);
        }
        let text = value.to_str().map_err(|_| Refusal::Malformed)?;
        if !is_bearer {
            return Ok(text);
        }
        let (scheme, token) = text.split_once(' ').ok_or(Refusal::Missing)?;
        if scheme.eq_ignore_ascii_case(BEARER) {
            Ok(token.trim_matches(' '))
        } else {
            Err(Refusal::Missing)
        }
    }
}

fn now_seconds() -> f64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0.0, |since| since.as_secs_f64())
}

#[cfg(test)]
mod tests;
