//! Request bodies, bounded in bytes and time.

use std::time::Duration;

use axum::body::Body;
use axum::http::StatusCode;
use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};

use super::error::ApiError;

/// Longest a client may take to send its body.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// Reads a body of at most this many bytes.
///
/// # Errors
/// 413 past the limit, 408 where the client is too slow, 400 where it breaks off.
pub async fn read(body: Body, max_bytes: usize) -> Result<Bytes, ApiError> {
    let collected = tokio::time::timeout(BODY_TIMEOUT, Limited::new(body, max_bytes).collect()).await;
    match collected {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(ApiError::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "body_too_large",
            format!("PayloadTooLarge: the body is larger than {max_bytes} bytes"),
        )),
        Ok(Err(_)) => Err(ApiError::bad_request("body_incomplete", "BadRequest: the body broke off")),
        Err(_) => Err(ApiError::new(
            StatusCode::REQUEST_TIMEOUT,
            "body_too_slow",
            "RequestTimeout: the body did not arrive",
        )),
    }
}
