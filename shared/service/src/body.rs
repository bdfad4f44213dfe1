//! Request bodies: bounded in time, in bytes each, and in bytes of all large bodies together.

use std::time::Duration;

use axum::body::{Body, HttpBody};
use axum::http::StatusCode;
use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::error::ApiError;

/// Time-out for receiving a body.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes of all large bodies that are being received.
const RECEIVING_MAX_BYTES: usize = 16 * 1024 * 1024;
/// Largest body that is not counted: a request's head is read into as much memory. So slow clients with large bodies
/// never block small bodies.
const SMALL_BYTES: usize = 16 * 1024;

/// Memory budget of the bodies that are being received.
pub struct Bodies(Semaphore);

impl Default for Bodies {
    fn default() -> Self {
        Self(Semaphore::new(RECEIVING_MAX_BYTES))
    }
}

impl Bodies {
    /// Reads a body of at most `max_bytes`.
    ///
    /// # Errors
    /// 413 for a larger body, 408 for a slow one, 400 for one that ends early, 503 while too many large bodies are
    /// being received.
    pub async fn read(&self, body: Body, max_bytes: usize) -> Result<Bytes, ApiError> {
        let _reserved = self.reserve(&body, max_bytes)?;
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
            Ok(Err(_)) => Err(ApiError::bad_request(
                "body_incomplete",
                "BadRequest: the body ended early; send it again",
            )),
            Err(_) => Err(ApiError::new(
                StatusCode::REQUEST_TIMEOUT,
                "body_too_slow",
                format!(
                    "RequestTimeout: the body did not arrive within {} seconds",
                    BODY_TIMEOUT.as_secs()
                ),
            )),
        }
    }

    /// Reserves the announced size, or `max_bytes` if the client announces none.
    fn reserve(
        &self,
        body: &Body,
        max_bytes: usize,
    ) -> Result<Option<SemaphorePermit<'_>>, ApiError> {
        let announced = body
            .size_hint()
            .upper()
            .and_then(|bytes| usize::try_from(bytes).ok());
        let bytes = announced.unwrap_or(max_bytes).min(max_bytes);
        if bytes <= SMALL_BYTES {
            return Ok(None);
        }
        let bytes = u32::try_from(bytes).expect("the limit of a body is far below 4 GiB");
        self.0
            .try_acquire_many(bytes)
            .map(Some)
            .map_err(|_| ApiError::too_many_bodies())
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    fn endless() -> Body {
        Body::from_stream(futures_util::stream::pending::<Result<Bytes, std::io::Error>>())
    }

    #[tokio::test]
    async fn large_bodies_share_a_bound_that_never_blocks_small_ones() {
        let (bodies, max_bytes) = (Bodies::default(), 256 * 1024);
        let mut slow: Vec<_> = (0..RECEIVING_MAX_BYTES / max_bytes)
            .map(|_| Box::pin(bodies.read(endless(), max_bytes)))
            .collect();
        assert!(
            slow.iter_mut()
                .all(|read| read.as_mut().now_or_never().is_none()),
            "bodies up to the bound are awaited"
        );
        let refused = bodies
            .read(endless(), max_bytes)
            .await
            .expect_err("the budget is used up");
        assert_eq!(
            (refused.status(), refused.code()),
            (StatusCode::SERVICE_UNAVAILABLE, "overloaded")
        );
        let large = || Body::from(vec![b'1'; SMALL_BYTES + 1]);
        assert!(bodies.read(large(), max_bytes).await.is_err());
        assert_eq!(
            bodies
                .read(Body::from(vec![b'1'; SMALL_BYTES]), max_bytes)
                .await
                .map(|body| body.len()),
            Ok(SMALL_BYTES)
        );
        slow.pop();
        assert!(
            bodies.read(large(), max_bytes).await.is_ok(),
            "a dropped read returns its reservation"
        );
    }
}
