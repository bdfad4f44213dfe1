//! Credentials per tenant: they reach the items of one tenant only, even from a service of a whole pool.
//!
//! A pool's own credentials reach every tenant's items, so a defect in a query would be a leak. The policy of the
//! assumed role compares the partition key with the session tag `tenant`, so IAM refuses such a query. Credentials are
//! cached per tenant until shortly before they expire, and waiting requests share one call. If credentials are not
//! available, the request fails: the pool's own credentials never replace them.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use aws_sdk_sts::config::Credentials;
use aws_sdk_sts::types::Tag;
use metrics::Counter;
use moka::Expiry;
use moka::future::Cache;
use tenantry_process::metrics::{Metrics, label};
use tenantry_process::retry::classify;
use tenantry_service::error::ApiError;
use tenantry_tenancy::tenant::TenantId;
use tokio::sync::Semaphore;

use crate::role::RoleArn;

/// Session tag that the role's policy compares with the partition key.
const TAG: &str = "tenant";
/// Requested lifetime of credentials: the longest for a role that is assumed from an assumed role (AWS).
const SESSION: Duration = Duration::from_secs(3600);
/// Longest session name (AWS: 64).
const MAX_SESSION_NAME_CHARS: usize = 64;
/// Time before expiry at which credentials leave the cache, and random time added to it: tenants whose credentials
/// were fetched together must not all fetch again together.
const MARGIN: Duration = Duration::from_secs(120);
const JITTER: Duration = Duration::from_secs(300);
/// Tenants whose credentials are cached.
const MAX_TENANTS: u64 = 10_000;
/// Calls to STS in flight. All services of the account share its rate limit.
const MAX_IN_FLIGHT: usize = 8;
/// Longest wait of a request for credentials: its query follows, and the answer is due within 5 s.
const WITHIN: Duration = Duration::from_millis(1900);

/// Credentials of each tenant. Clones share the cache.
#[derive(Clone)]
pub(crate) struct TenantCredentials(Arc<Inner>);

struct Inner {
    sts: aws_sdk_sts::Client,
    role: RoleArn,
    service: &'static str,
    cached: Cache<TenantId, CachedCredentials>,
    in_flight: Semaphore,
    assumed_ok: Counter,
    assumed_failed: Counter,
}

#[derive(Clone)]
struct CachedCredentials {
    credentials: Credentials,
    lifetime: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the tenant's credentials are not available now")]
pub(crate) struct NoCredentials;

impl TenantCredentials {
    /// Credentials of this role, in sessions named after the service.
    pub(crate) fn new(
        sts: aws_sdk_sts::Client,
        role: RoleArn,
        service: &'static str,
        metrics: &Metrics,
    ) -> Self {
        metrics.describe_counter(
            "tenant_roles_assumed_total",
            "AssumeRole calls for one tenant, by outcome",
        );
        let assumed = |outcome| {
            metrics.counter(
                "tenant_roles_assumed_total",
                vec![label("outcome", outcome)],
            )
        };
        Self(Arc::new(Inner {
            sts,
            role,
            service,
            cached: Cache::builder()
                .max_capacity(MAX_TENANTS)
                .expire_after(CacheExpiry)
                .build(),
            in_flight: Semaphore::new(MAX_IN_FLIGHT),
            assumed_ok: assumed("ok"),
            assumed_failed: assumed("error"),
        }))
    }

    /// Returns the tenant's credentials.
    ///
    /// # Errors
    /// [`NoCredentials`], after [`WITHIN`] at the latest.
    pub(crate) async fn of(&self, tenant: &TenantId) -> Result<Credentials, NoCredentials> {
        let fetch = self
            .0
            .cached
            .try_get_with_by_ref(tenant, self.0.assume(tenant));
        match tokio::time::timeout(WITHIN, fetch).await {
            Ok(Ok(cached)) => Ok(cached.credentials),
            Ok(Err(_)) => Err(NoCredentials),
            Err(_) => {
                tracing::warn!(tenant_id = %tenant, "credentials of the tenant timed out");
                Err(NoCredentials)
            }
        }
    }
}

impl Inner {
    async fn assume(&self, tenant: &TenantId) -> Result<CachedCredentials, NoCredentials> {
        let _permit = self
            .in_flight
            .acquire()
            .await
            .expect("the semaphore is never closed");
        let tag = Tag::builder()
            .key(TAG)
            .value(tenant.as_str())
            .build()
            .expect("key and value are set");
        let call = self
            .sts
            .assume_role()
            .role_arn(self.role.as_str())
            .role_session_name(session_name(self.service, tenant))
            .duration_seconds(i32::try_from(SESSION.as_secs()).expect("an hour fits"))
            .tags(tag);
        let credentials = match Box::pin(call.send()).await {
            Ok(output) => output.credentials,
            Err(error) => {
                self.assumed_failed.increment(1);
                let failure = classify(&error);
                tracing::error!(tenant_id = %tenant, role = self.role.as_str(), code = failure.code,
                    reason = failure.reason, "AssumeRole for the tenant failed");
                return Err(NoCredentials);
            }
        };
        let credentials = credentials.ok_or(NoCredentials)?;
        self.assumed_ok.increment(1);
        let expiry = SystemTime::try_from(credentials.expiration).map_err(|_| NoCredentials)?;
        let left = expiry.duration_since(SystemTime::now());
        let (id, secret, token) = (
            credentials.access_key_id,
            credentials.secret_access_key,
            credentials.session_token,
        );
        Ok(CachedCredentials {
            // Without the expiry: this cache renews credentials. The SDK could only fail on expired ones.
            credentials: Credentials::new(id, secret, Some(token), None, "tenant role"),
            lifetime: lifetime(left.unwrap_or_default(), fastrand::f64()),
        })
    }
}

/// Time in the cache of credentials that expire after `left`.
fn lifetime(left: Duration, random: f64) -> Duration {
    left.saturating_sub(MARGIN + JITTER.mul_f64(random.clamp(0.0, 1.0)))
}

/// The session name in CloudTrail: service and tenant. The session tag carries the exact tenant.
fn session_name(service: &str, tenant: &TenantId) -> String {
    let name = format!("{service}-{tenant}");
    name.chars().take(MAX_SESSION_NAME_CHARS).collect()
}

struct CacheExpiry;

impl Expiry<TenantId, CachedCredentials> for CacheExpiry {
    fn expire_after_create(
        &self,
        _: &TenantId,
        cached: &CachedCredentials,
        _: Instant,
    ) -> Option<Duration> {
        Some(cached.lifetime)
    }
}

impl From<NoCredentials> for ApiError {
    fn from(_: NoCredentials) -> Self {
        let msg = "Unavailable: the tenant's data cannot be reached now; try again after Retry-After seconds";
        Self::unavailable("credentials_unavailable", msg)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_leave_the_cache_minutes_before_they_expire_and_not_all_at_once() {
        let hour = Duration::from_secs(3600);
        assert_eq!(lifetime(hour, 0.0), hour - MARGIN);
        assert_eq!(lifetime(hour, 1.0), hour - MARGIN - JITTER);
        assert_eq!(
            lifetime(Duration::from_secs(60), 0.0),
            Duration::ZERO,
            "used once and not cached"
        );
    }

    #[test]
    fn a_session_name_of_the_longest_tenant_id_fits() {
        let longest: TenantId = "t".repeat(32).parse().expect("valid");
        assert_eq!(
            session_name("consumer", &longest),
            format!("consumer-{longest}")
        );
        assert_eq!(
            session_name(&"s".repeat(80), &longest).len(),
            MAX_SESSION_NAME_CHARS
        );
    }
}
