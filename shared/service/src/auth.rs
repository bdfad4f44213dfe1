//! Token binding: with `AUTH=jwt`, whoever names a tenant proves it with a token that names the same one.
//!
//! Off (`AUTH=none`), the `tenantID` header is believed, because only the load balancer reaches a service. On, the header
//! must equal a claim of a token that a key of the configured issuer signed. What a token says is judged by pure code
//! (`token`, `judge`) that is told the time; keys come from `keys`, which no flood of tokens can make ask more
//! often than it may. A token is never logged, and nothing here can print one.

mod config;
mod fetch;
mod judge;
mod key_set;
mod keys;
mod refusal;
mod token;

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, HeaderName};

pub use self::config::{Auth, JwtConfig, KeyPlace, TokenSource};
use self::fetch::{LoadBalancerKeys, PublishedSet};
use self::keys::{KeySource, Keys};
pub use self::refusal::Refusal;
use self::token::Token;
use tenantry_process::health::Readiness;
use tenantry_process::metrics::{Metrics, label};
use tenantry_tenancy::tenant::TenantId;

/// Where the load balancer puts what it knows of a user, signed by itself. It overwrites what a client sends.
const LOAD_BALANCER_DATA: HeaderName = HeaderName::from_static("x-amzn-oidc-data");
/// The scheme of a token in `Authorization`; schemes are case-insensitive.
const BEARER: &str = "bearer";

/// Checks that requests are whose they say. Clones share the keys.
#[derive(Clone)]
pub struct Authenticator(Option<Arc<Inner>>);

struct Inner {
    config: JwtConfig,
    keys: Keys,
    metrics: Metrics,
}

impl Authenticator {
    /// As configured. With tokens, readiness waits for the first keys.
    pub fn new(auth: &Auth, readiness: &Readiness, metrics: &Metrics) -> Self {
        let Auth::Jwt(config) = auth else {
            return Self(None);
        };
        let source: Box<dyn KeySource> = match &config.source {
            TokenSource::Authorization(place) => Box::new(PublishedSet::at(place.clone())),
            TokenSource::LoadBalancer { keys, .. } => {
                Box::new(LoadBalancerKeys::under(keys.clone()))
            }
        };
        Self::over(JwtConfig::clone(config), source, readiness, metrics)
    }

    fn over(
        config: JwtConfig,
        source: Box<dyn KeySource>,
        readiness: &Readiness,
        metrics: &Metrics,
    ) -> Self {
        metrics.describe_counter(
            "auth_refused_total",
            "Requests refused for their token, by reason",
        );
        let keys = Keys::new(
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

    /// One that asks for nothing.
    pub fn off() -> Self {
        Self(None)
    }

    /// Whether requests need a token at all.
    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Whether these headers prove that the request is the tenant's.
    ///
    /// # Errors
    /// [`Refusal`]: there is no token, it is not valid, or it is another tenant's.
    pub async fn check(&self, headers: &HeaderMap, tenant: &TenantId) -> Result<(), Refusal> {
        let Some(inner) = &self.0 else { return Ok(()) };
        let checked = inner.check(headers, tenant).await;
        if let Err(refusal) = &checked {
            inner
                .metrics
                .counter(
                    "auth_refused_total",
                    vec![label("reason", refusal.reason())],
                )
                .increment(1);
        }
        checked
    }

    /// Keeps the keys fresh; never ends.
    pub async fn keep_keys(&self) {
        match &self.0 {
            Some(inner) => inner.keys.keep_fresh().await,
            None => std::future::pending().await,
        }
    }
}

impl Inner {
    async fn check(&self, headers: &HeaderMap, tenant: &TenantId) -> Result<(), Refusal> {
        let token = Token::parse(self.text_in(headers)?)?;
        // Before a key is asked for: what another load balancer signed is nobody's here.
        if let TokenSource::LoadBalancer { signer, .. } = &self.config.source
            && token.header.signer.as_deref() != Some(signer)
        {
            return Err(Refusal::Signer);
        }
        let key = self
            .keys
            .find(token.header.kid.as_deref(), token.algorithm)
            .await?;
        let claims = token.verified(&key)?;
        judge::judge(&self.config, &token.header, &claims, tenant, now_seconds())
    }

    fn text_in<'a>(&self, headers: &'a HeaderMap) -> Result<&'a str, Refusal> {
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
