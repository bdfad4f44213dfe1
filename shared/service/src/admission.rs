//! Admission: decides which tenants this process answers. [`Admitted`] is the proof that a request was admitted.
//!
//! [`crate::stack`] lists the steps in their order.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use governor::clock::{Clock, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota};
use tenantry_registry::{LookupError, Status, Tenant, TenantRegistry};
use tenantry_tenancy::environment::Environment;
use tenantry_tenancy::tenant::TenantId;
use tokio::time::Instant;

use crate::error::ApiError;
use crate::http::Http;
use crate::overload::Permit;

/// Age of an admission after which [`Admitted::renew`] looks the registration up again. A change of a registration applies
/// to every request after the registry's refresh age and a request's time, so a slow body must not add to that.
const RENEW_AFTER: Duration = Duration::from_millis(500);
/// Tenants whose rates are remembered before idle ones are dropped.
const MAX_RATES: usize = 100_000;

/// A request that passed every step before its handler. Counts as in progress until dropped.
///
/// `C` is what the route reads from the head before any other check.
pub struct Admitted<C = ()> {
    pub tenant: TenantId,
    pub registration: Arc<Tenant>,
    /// When admission began, after the route's own claim was read.
    pub since: Instant,
    pub claim: C,
    pub(crate) _permit: Permit,
}

impl<C> Admitted<C> {
    /// Looks the registration up again if the request's body took long to arrive: the tenant may have moved meanwhile, or
    /// may have been suspended.
    ///
    /// # Errors
    /// As admission: 404, 403 or 503.
    pub async fn renew(&mut self, http: &Http) -> Result<(), ApiError> {
        if self.since.elapsed() >= RENEW_AFTER {
            self.registration = http.admission().check_registration(&self.tenant).await?;
        }
        Ok(())
    }
}

/// Admits a tenant of this environment that is registered, active and within its rate.
pub struct Admission {
    environment: Environment,
    registry: TenantRegistry,
    /// Whether a token proves the id of each request before its registration is looked up.
    has_proved_ids: bool,
    rates: Option<DefaultKeyedRateLimiter<TenantId>>,
}

impl Admission {
    /// Admission to an environment; `rate` is each tenant's limit in requests per second.
    pub fn new(
        environment: Environment,
        registry: TenantRegistry,
        rate: Option<NonZeroU32>,
    ) -> Self {
        let rates = rate.map(|rate| DefaultKeyedRateLimiter::keyed(Quota::per_second(rate)));
        Self {
            environment,
            registry,
            has_proved_ids: false,
            rates,
        }
    }

    /// Sets whether a token proves the id of each request. A proved id needs no index to be looked up first.
    #[must_use]
    pub fn with_proved_ids(self, has_proved_ids: bool) -> Self {
        Self {
            has_proved_ids,
            ..self
        }
    }

    pub fn environment(&self) -> &Environment {
        &self.environment
    }

    /// # Errors
    /// 403 in another tenant's silo.
    pub(crate) fn check_environment(&self, tenant: &TenantId) -> Result<(), ApiError> {
        if self.environment.admits(tenant) {
            Ok(())
        } else {
            Err(ApiError::foreign_tenant())
        }
    }

    /// The tenant's registration.
    ///
    /// # Errors
    /// 404 where it is not registered, 403 while it is suspended, 503 while the lookup fails.
    pub(crate) async fn check_registration(
        &self,
        tenant: &TenantId,
    ) -> Result<Arc<Tenant>, ApiError> {
        // A flood of made-up ids makes no error line per request: `Busy` is not logged.
        let found = if self.has_proved_ids {
            self.registry.lookup_proved(tenant).await
        } else {
            self.registry.lookup(tenant).await
        };
        if let Err(error @ (LookupError::Misconfigured { .. } | LookupError::Unavailable(_))) =
            &found
        {
            tracing::error!(tenant_id = %tenant, %error, "tenant lookup failed");
        }
        let found = found?;
        match found.status {
            Status::Active | Status::Moving => Ok(found),
            Status::Suspended => Err(ApiError::suspended()),
        }
    }

    /// Counts one request of the tenant.
    ///
    /// # Errors
    /// 429 with the time until the next request is allowed.
    pub(crate) fn check_rate(&self, tenant: &TenantId) -> Result<(), ApiError> {
        let Some(rates) = &self.rates else {
            return Ok(());
        };
        if rates.len() > MAX_RATES {
            rates.retain_recent();
        }
        rates.check_key(tenant).map_err(|until| {
            ApiError::rate_exceeded(until.wait_time_from(DefaultClock::default().now()))
        })
    }
}
