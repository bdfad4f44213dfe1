//! Request bodies: bounded in time and speed, in bytes each, and in bytes of all large bodies together.
//!
//! A tenant may hold at most twice as many bytes as it leaves free. So one tenant that sends slowly takes at most two
//! thirds, and there is always room for the others. This is the dynamic threshold of shared buffers in switches
//! (Choudhury and Hahne, 1998).

use std::time::Duration;

use axum::body::{Body, HttpBody};
use axum::http::StatusCode;
use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use parking_lot::Mutex;
use tenantry_process::server::TooSlow;
use tenantry_tenancy::tenant::TenantId;

use crate::error::ApiError;
use crate::overload::Shares;

/// Time-out for receiving a body.
pub const BODY_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes of all large bodies that are being received.
const RECEIVING_MAX_BYTES: usize = 16 * 1024 * 1024;
/// Largest body that is not counted: a request's head is read into as much memory. So slow clients with large bodies
/// never block small bodies.
const SMALL_BYTES: usize = 16 * 1024;
/// A tenant's share: this many times the bytes that are left free.
const SHARE_OF_FREE: usize = 2;

/// Memory budget of the bodies that are being received.
#[derive(Default)]
pub struct Bodies(Mutex<Shares>);

/// Bytes of the budget, given back when dropped.
struct Reserved<'a> {
    bodies: &'a Bodies,
    tenant: &'a TenantId,
    bytes: usize,
}

impl Bodies {
    /// Reads a body of at most `max_bytes`.
    ///
    /// # Errors
    /// 413 for a larger body, 408 for a slow one, 400 for one that ends early, 503 while the tenant's share for large
    /// bodies is used up.
    pub(crate) async fn read(
        &self,
        tenant: &TenantId,
        body: Body,
        max_bytes: usize,
    ) -> Result<Bytes, ApiError> {
        let _reserved = self.reserve(tenant, &body, max_bytes)?;
        let collected =
            tokio::time::timeout(BODY_TIMEOUT, Limited::new(body, max_bytes).collect()).await;
        match collected {
            Ok(Ok(collected)) => Ok(collected.to_bytes()),
            Ok(Err(error)) if error.is::<LengthLimitError>() => Err(ApiError::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                "body_too_large",
                format!(
                    "PayloadTooLarge: the body is larger than {max_bytes} bytes; send a smaller one"
                ),
            )),
            Ok(Err(error))
                if error
                    .source()
                    .is_some_and(<dyn std::error::Error>::is::<TooSlow>) =>
            {
                Err(ApiError::body_too_slow())
            }
            Ok(Err(_)) => Err(ApiError::bad_request(
                "body_incomplete",
                "BadRequest: the body ended early or is malformed; send it again",
            )),
            Err(_) => Err(ApiError::body_too_slow()),
        }
    }

    /// Reserves the announced size, or `max_bytes` if the client announces none.
    fn reserve<'a>(
        &'a self,
        tenant: &'a TenantId,
        body: &Body,
        max_bytes: usize,
    ) -> Result<Option<Reserved<'a>>, ApiError> {
        let announced = body
            .size_hint()
            .upper()
            .and_then(|bytes| usize::try_from(bytes).ok());
        let bytes = announced.unwrap_or(max_bytes).min(max_bytes);
        if bytes <= SMALL_BYTES {
            return Ok(None);
        }
        let mut shares = self.0.lock();
        let (in_use, own) = shares.in_use(tenant);
        let is_within = (in_use + bytes <= RECEIVING_MAX_BYTES)
            && own + bytes <= SHARE_OF_FREE * (RECEIVING_MAX_BYTES - in_use - bytes);
        if !is_within {
            return Err(ApiError::too_many_bodies());
        }
        shares.begin(tenant, bytes);
        Ok(Some(Reserved {
            bodies: self,
            tenant,
            bytes,
        }))
    }
}

impl Drop for Reserved<'_> {
    fn drop(&mut self) {
        self.bodies.0.lock().end(self.tenant, self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    const MAX_BYTES: usize = 256 * 1024;

    fn tenant(number: usize) -> TenantId {
        format!("tenant-{number}").parse().expect("valid")
    }

    fn endless() -> Body {
        Body::from_stream(futures_util::stream::pending::<Result<Bytes, std::io::Error>>())
    }

    fn post(bytes: usize) -> Body {
        Body::from(vec![b'1'; bytes])
    }

    #[tokio::test]
    async fn large_bodies_share_a_bound_that_never_blocks_small_ones() {
        let (bodies, own) = (Bodies::default(), tenant(1));
        let mut slow: Vec<_> = (0..RECEIVING_MAX_BYTES * 2 / 3 / MAX_BYTES)
            .map(|_| Box::pin(bodies.read(&own, endless(), MAX_BYTES)))
            .collect();
        assert!(
            slow.iter_mut()
                .all(|read| read.as_mut().now_or_never().is_none()),
            "bodies up to the bound are awaited"
        );
        let refused = bodies
            .read(&own, endless(), MAX_BYTES)
            .await
            .expect_err("the share is used up");
        assert_eq!(
            (refused.status(), refused.code()),
            (StatusCode::SERVICE_UNAVAILABLE, "overloaded")
        );
        assert!(bodies.read(&own, post(MAX_BYTES), MAX_BYTES).await.is_err());
        let small = bodies.read(&own, post(SMALL_BYTES), MAX_BYTES).await;
        assert_eq!(small.map(|body| body.len()), Ok(SMALL_BYTES));
        slow.pop();
        assert!(
            bodies.read(&own, post(MAX_BYTES), MAX_BYTES).await.is_ok(),
            "a dropped read returns its reservation"
        );
    }

    #[tokio::test]
    async fn tenants_that_hold_all_they_can_leave_room_for_the_others() {
        let bodies = Bodies::default();
        let greedy: Vec<_> = (1..=8).map(tenant).collect();
        let mut slow = Vec::new();
        for tenant in &greedy {
            for _ in 0..64 {
                let mut read = Box::pin(bodies.read(tenant, endless(), MAX_BYTES));
                if read.as_mut().now_or_never().is_none() {
                    slow.push(read);
                }
            }
        }
        let other = tenant(9);
        let mut posts: Vec<_> = (0..24)
            .map(|_| Box::pin(bodies.read(&other, post(20_000), MAX_BYTES)))
            .collect();
        for post in &mut posts {
            let read = post.as_mut().now_or_never().expect("it is in memory");
            assert_eq!(read.map(|body| body.len()), Ok(20_000));
        }
        drop(posts);
        drop(slow);
        assert_eq!(bodies.0.lock().in_use(&other), (0, 0));
    }
}
