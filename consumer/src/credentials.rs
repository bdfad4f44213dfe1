//! Credentials that reach one tenant's items and nobody else's, for a service that has those of a whole pool.
//!
//! A pool's own credentials are every tenant's, so a defect in a query would be a leak. With a role to assume, whose
//! policy compares the partition key with the session tag `tenant`, IAM says no where the code is wrong. Kept for each
//! tenant until shortly before they end; asked for once however many wait. Where they cannot be had the answer is an
//! error: the pool's own are never used instead.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use aws_sdk_sts::config::Credentials;
use aws_sdk_sts::types::Tag;
use metrics::Counter;
use moka::Expiry;
use moka::future::Cache;
use tokio::sync::Semaphore;

use crate::role::RoleArn;
use tenantry_process::metrics::{Metrics, label};
use tenantry_process::retry::classify;
use tenantry_service::error::ApiError;
use tenantry_tenancy::tenant::TenantId;

/// The session tag that the role's policy compares the partition key with.
const TAG: &str = "tenant";
/// How long credentials are asked for: the longest that a role which was itself assumed may give (AWS).
const SESSION: Duration = Duration::from_secs(3600);
/// Longest name of a session (AWS).
const MAX_SESSION_NAME_CHARS: usize = 64;
/// How long before their end credentials are used no more, and up to how much sooner: tenants that came together should
/// not all have to ask again together.
const MARGIN: Duration = Duration::from_secs(120);
const JITTER: Duration = Duration::from_secs(300);
/// Tenants whose credentials are kept.
const MAX_TENANTS: u64 = 10_000;
/// Calls to STS at once; its rate is the account's.
const MAX_IN_FLIGHT: usize = 8;
/// Longest a request waits, which then has its query to make, within 5 s altogether.
const WITHIN: Duration = Duration::from_millis(1900);

/// Each tenant's credentials. Clones share them.
#[derive(Clone)]
pub(crate) struct TenantCredentials(Arc<Inner>);

struct Inner {
    sts: aws_sdk_sts::Client,
    role: RoleArn,
    service: &'static str,
    kept: Cache<TenantId, Kept>,
    places: Semaphore,
    assumed_ok: Counter,
    assumed_failed: Counter,
}

/// Credentials, and how long they are used.
#[derive(Clone)]
struct Kept {
    credentials: Credentials,
    keep: Duration,
}

/// A tenant's credentials cannot be had now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the tenant's credentials cannot be had now")]
pub(crate) struct NoCredentials;

impl TenantCredentials {
    /// Credentials of sessions of this role, named after the service.
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
            kept: Cache::builder()
                .max_capacity(MAX_TENANTS)
                .expire_after(UntilTheirEnd)
                .build(),
            places: Semaphore::new(MAX_IN_FLIGHT),
            assumed_ok: assumed("ok"),
            assumed_failed: assumed("error"),
        }))
    }

    /// The tenant's credentials.
    ///
    /// # Errors
    /// [`NoCredentials`], in time for a request to be answered.
    pub(crate) async fn of(&self, tenant: &TenantId) -> Result<Credentials, NoCredentials> {
        let kept = self
            .0
            .kept
            .try_get_with_by_ref(tenant, self.0.assume(tenant));
        match tokio::time::timeout(WITHIN, kept).await {
            Ok(Ok(kept)) => Ok(kept.credentials),
            Ok(Err(_)) => Err(NoCredentials),
            Err(_) => {
                tracing::warn!(tenant_id = %tenant, "no credentials for the tenant in time");
                Err(NoCredentials)
            }
        }
    }
}

impl Inner {
    async fn assume(&self, tenant: &TenantId) -> Result<Kept, NoCredentials> {
        let _place = self
            .places
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
        let given = match Box::pin(call.send()).await {
            Ok(output) => output.credentials,
            Err(error) => {
                self.assumed_failed.increment(1);
                let failure = classify(&error);
                tracing::error!(tenant_id = %tenant, role = self.role.as_str(), code = failure.code,
                    reason = failure.reason, "no credentials for the tenant");
                return Err(NoCredentials);
            }
        };
        let given = given.ok_or(NoCredentials)?;
        self.assumed_ok.increment(1);
        let end = SystemTime::try_from(given.expiration).map_err(|_| NoCredentials)?;
        let keep = keep_for(
            end.duration_since(SystemTime::now()).unwrap_or_default(),
            fastrand::f64(),
        );
        let (id, secret, token) = (
            given.access_key_id,
            given.secret_access_key,
            given.session_token,
        );
        // Their end is this module's to watch, not the SDK's: it could only fail.
        Ok(Kept {
            credentials: Credentials::new(id, secret, Some(token), None, "tenant role"),
            keep,
        })
    }
}

/// How long credentials that end then are used.
fn keep_for(left: Duration, random: f64) -> Duration {
    left.saturating_sub(MARGIN + JITTER.mul_f64(random.clamp(0.0, 1.0)))
}

/// What CloudTrail shows: which service, for whom.
fn session_name(service: &str, tenant: &TenantId) -> String {
    let name = format!("{service}-{tenant}");
    // The tag says whose session it is; the name is for people.
    name.chars().take(MAX_SESSION_NAME_CHARS).collect()
}

struct UntilTheirEnd;

impl Expiry<TenantId, Kept> for UntilTheirEnd {
    fn expire_after_create(&self, _: &TenantId, kept: &Kept, _: Instant) -> Option<Duration> {
        Some(kept.keep)
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
    fn credentials_are_given_up_minutes_before_their_end_and_not_by_all_at_once() {
        let hour = Duration::from_secs(3600);
        assert_eq!(keep_for(hour, 0.0), hour - MARGIN);
        assert_eq!(keep_for(hour, 1.0), hour - MARGIN - JITTER);
        assert_eq!(
            keep_for(Duration::from_secs(60), 0.0),
            Duration::ZERO,
            "used once, and not kept"
        );
    }

    #[test]
    fn a_sessions_name_fits_whatever_the_tenants() {
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
