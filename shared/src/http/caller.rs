//! Who is asking, and may they: the `tenantID` header as a type, and the checks every tenant route starts with.

use std::convert::Infallible;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::HeaderMap;
use axum::http::request::Parts;
use governor::clock::{Clock, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota};

use super::error::ApiError;
use super::observe::RequestContext;
use super::shedder::{Shedder, TakenOn};
use crate::auth::Authenticator;
use crate::environment::Environment;
use crate::registry::{LookupError, Status, Tenant, TenantRegistry};
use crate::tenant::{TENANT_HEADER, TenantId};

/// Tenants whose rates are remembered before idle ones are dropped.
const MAX_RATES: usize = 100_000;

/// The tenant named by the request, if it names one; a wrong or repeated header is a 400.
#[derive(Debug, Clone)]
pub struct OptionalTenant(pub Option<TenantId>);

/// The tenant named by the request; a missing header is a 404, as existing clients know it.
#[derive(Debug, Clone)]
pub struct CallingTenant(pub TenantId);

/// Decides which tenants are answered: the environment's, registered, within their rate, while the process keeps up; and
/// what proves that a request is one's. Clones share the state.
#[derive(Clone)]
pub struct Access {
    inner: Arc<Inner>,
    tokens: Authenticator,
    shedder: Shedder,
}

struct Inner {
    environment: Environment,
    registry: TenantRegistry,
    rates: Option<DefaultKeyedRateLimiter<TenantId>>,
}

impl Access {
    /// Access to an environment; `rate` bounds the requests a second of each tenant, the shedder those under way.
    pub fn new(
        environment: Environment,
        registry: TenantRegistry,
        rate: Option<std::num::NonZeroU32>,
        shedder: Shedder,
    ) -> Self {
        let rates = rate.map(|rate| DefaultKeyedRateLimiter::keyed(Quota::per_second(rate)));
        let inner = Arc::new(Inner {
            environment,
            registry,
            rates,
        });
        Self {
            inner,
            tokens: Authenticator::off(),
            shedder,
        }
    }

    /// The same, to whoever proves with a token whose request it is.
    #[must_use]
    pub fn with_tokens(self, tokens: Authenticator) -> Self {
        Self { tokens, ..self }
    }

    /// What proves whose a request is.
    pub fn tokens(&self) -> &Authenticator {
        &self.tokens
    }

    /// What bounds the requests under way.
    pub fn shedder(&self) -> &Shedder {
        &self.shedder
    }

    /// The environment.
    pub fn environment(&self) -> &Environment {
        &self.inner.environment
    }

    /// Lets a tenant in, or says why not. Gives its registration in a pool; a silo knows its owner without asking.
    ///
    /// # Errors
    /// 403 in another tenant's silo or while it is suspended, 404 where it is not registered, 429 past its rate, 503 where
    /// that cannot be told.
    pub async fn admit(&self, tenant: &TenantId) -> Result<Option<Arc<Tenant>>, ApiError> {
        self.check_environment(tenant)?;
        let registered = match self.inner.environment {
            Environment::Pool(_) => Some(self.look_up(tenant).await?),
            Environment::Silo(_) => None,
        };
        self.check_rate(tenant)?;
        Ok(registered)
    }

    /// The tenant's registration, once the environment is known to answer it. Its rate is another matter
    /// ([`Self::check_rate`]).
    ///
    /// # Errors
    /// 403, 404 and 503 as [`Self::admit`].
    pub async fn registered(&self, tenant: &TenantId) -> Result<Arc<Tenant>, ApiError> {
        self.check_environment(tenant)?;
        self.look_up(tenant).await
    }

    /// Counts one request of the tenant.
    ///
    /// # Errors
    /// 429 with the time until the next request is allowed.
    pub fn check_rate(&self, tenant: &TenantId) -> Result<(), ApiError> {
        let Some(rates) = &self.inner.rates else {
            return Ok(());
        };
        if rates.len() > MAX_RATES {
            rates.retain_recent();
        }
        rates.check_key(tenant).map_err(|until| {
            ApiError::rate_exceeded(until.wait_time_from(DefaultClock::default().now()))
        })
    }

    /// Takes a request of the tenant on, for as long as what this gives is kept. Ask once the body has been read: whoever
    /// is slow to send one has nothing under way.
    ///
    /// # Errors
    /// 503 where the process has more to do than it can do in time.
    pub fn take_on(&self, tenant: &TenantId) -> Result<TakenOn, ApiError> {
        self.shedder.take_on(tenant)
    }

    /// Whether this environment may answer the tenant at all.
    ///
    /// # Errors
    /// 403 in another tenant's silo.
    pub fn check_environment(&self, tenant: &TenantId) -> Result<(), ApiError> {
        if self.inner.environment.admits(tenant) {
            Ok(())
        } else {
            Err(ApiError::foreign_tenant())
        }
    }

    async fn look_up(&self, tenant: &TenantId) -> Result<Arc<Tenant>, ApiError> {
        let found = self.inner.registry.lookup(tenant).await;
        if let Err(error @ (LookupError::Misconfigured { .. } | LookupError::Unavailable(_))) =
            &found
        {
            tracing::error!(tenant_id = %tenant, %error, "tenant not found out");
        }
        let found = found?;
        match found.status {
            Status::Active => Ok(found),
            Status::Suspended => Err(ApiError::suspended()),
        }
    }
}

/// The tenant in the headers.
///
/// # Errors
/// 400 where the header is repeated or is not a tenant id, whatever its bytes.
pub fn tenant_in(headers: &HeaderMap) -> Result<Option<TenantId>, ApiError> {
    let mut values = headers.get_all(TENANT_HEADER).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    if values.next().is_some() {
        return Err(ApiError::repeated_tenant());
    }
    let text = value
        .to_str()
        .map_err(|_| crate::tenant::InvalidTenantId::NotALabel)?;
    Ok(Some(text.parse::<TenantId>()?))
}

impl<S: Sync> FromRequestParts<S> for OptionalTenant {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, ApiError> {
        let tenant = tenant_in(&parts.headers)?;
        if let (Some(tenant), Some(context)) = (&tenant, parts.extensions.get::<RequestContext>()) {
            context.set_tenant(tenant);
        }
        Ok(Self(tenant))
    }
}

impl<S: Sync> FromRequestParts<S> for CallingTenant {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let OptionalTenant(tenant) = OptionalTenant::from_request_parts(parts, state).await?;
        tenant.map(Self).ok_or_else(ApiError::no_tenant)
    }
}

impl<S: Sync> FromRequestParts<S> for RequestContext {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Infallible> {
        Ok(parts.extensions.get::<Self>().cloned().unwrap_or_default())
    }
}
