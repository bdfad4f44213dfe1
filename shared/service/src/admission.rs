//! Admission: decides which tenants this process answers. [`Admitted`] is the proof that a request was admitted.
//!
//! [`crate::stack`] lists the steps in their order.

use std::future::poll_fn;
use std::num::NonZeroU32;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use governor::clock::{Clock, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota};
use tenantry_registry::{LookupError, Status, Tenant, TenantRegistry};
use tenantry_tenancy::environment::Environment;
use tenantry_tenancy::tenant::TenantId;
use tokio::time::Instant;

use crate::error::ApiError;
use crate::http::Http;
use crate::overload::Permit;

/// Age of an admission after which [`Admitted::read_body`] looks the registration up again. A change of a registration applies
/// to every request after the registry's refresh age and a request's time, so a slow body must not add to that.
const RENEW_AFTER: Duration = Duration::from_millis(500);
/// Tenants whose rates are remembered before idle ones are dropped.
const MAX_RATES: usize = 100_000;

/// A request that passed every step before its handler. Counts as in progress until dropped, except while it waits for
/// its client's body.
///
/// `C` is what the route reads from the head before any other check.
pub struct Admitted<C = ()> {
    pub tenant: TenantId,
    pub registration: Arc<Tenant>,
    /// When admission began, after the route's own claim was read.
    pub since: Instant,
    pub claim: C,
    /// `None` while the request waits for its body.
    pub(crate) permit: Option<Permit>,
}

impl<C> Admitted<C> {
    /// Reads the request's body, of at most `max_bytes`. While the client keeps the request waiting, the request holds no
    /// permit: bodies that stall must not take the place of the tenant's other requests. After a slow body the registration is
    /// looked up again: the tenant may have moved meanwhile, or may have been suspended.
    ///
    /// # Errors
    /// Those of [`crate::body`], and as admission: 404, 403 or 503.
    pub async fn read_body(
        &mut self,
        http: &Http,
        body: Body,
        max_bytes: usize,
    ) -> Result<Bytes, ApiError> {
        let mut read = pin!(http.bodies().read(&self.tenant, body, max_bytes));
        let body = match arrived_with_head(read.as_mut()).await {
            Some(body) => body?,
            None => {
                self.permit = None;
                read.await?
            }
        };
        if self.since.elapsed() >= RENEW_AFTER {
            self.registration = http.admission().check_registration(&self.tenant).await?;
        }
        if self.permit.is_none() {
            self.permit = Some(http.overload().admit(&self.tenant)?);
        }
        Ok(body)
    }
}

/// Polls the read of a body twice. At the first poll hyper learns that the body is wanted. It hands over a body that has
/// arrived with its head before the second poll.
async fn arrived_with_head<F: Future>(mut read: Pin<&mut F>) -> Option<F::Output> {
    let mut is_second = false;
    poll_fn(|context| match read.as_mut().poll(context) {
        Poll::Ready(body) => Poll::Ready(Some(body)),
        Poll::Pending if is_second => Poll::Ready(None),
        Poll::Pending => {
            is_second = true;
            context.waker().wake_by_ref();
            Poll::Pending
        }
    })
    .await
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

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::body::to_bytes;
    use axum::routing::post;
    use hyper_util::service::TowerToHyperService;
    use tenantry_process::server::serve;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{TcpListener, TcpStream};
    use tokio_util::sync::CancellationToken;

    use super::*;

    /// Answers whether the body arrived with the head.
    async fn arrived(body: Body) -> String {
        let mut read = pin!(to_bytes(body, usize::MAX));
        arrived_with_head(read.as_mut()).await.is_some().to_string()
    }

    #[tokio::test]
    async fn a_body_in_the_segment_of_its_head_needs_no_second_permit() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let service = TowerToHyperService::new(Router::new().route("/", post(arrived)));
        let server = serve(listener, service, 10, CancellationToken::new());
        let client = async {
            let mut stream = TcpStream::connect(address).await.expect("it listens");
            let head = "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 500\r\n";
            let mut ask = async |request: String| {
                stream.write_all(request.as_bytes()).await.expect("sent");
                let mut answer = [0; 500];
                let read = stream.read(&mut answer).await.expect("answered");
                String::from_utf8_lossy(&answer[..read]).into_owned()
            };
            for _ in 0..20 {
                let answer = ask(format!("{head}\r\n{}", "x".repeat(500))).await;
                assert!(answer.ends_with("true"), "{answer}");
            }
            let answer = ask(format!("{head}\r\n{}", "x".repeat(499))).await;
            assert!(answer.ends_with("false"), "{answer}");
        };
        tokio::select! {
            () = client => {}
            () = server => unreachable!("it is not stopped"),
        }
    }
}
