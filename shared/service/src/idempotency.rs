//! The header `Idempotency-Key`: a client's name for a request, which makes a repeat safe.
//!
//! This module parses the header. Each service decides how it answers a repeat.

use axum::extract::{FromRequestParts, OptionalFromRequestParts};
use axum::http::HeaderMap;
use axum::http::request::Parts;

use crate::error::ApiError;

const HEADER: &str = "idempotency-key";
/// Longest key in characters.
pub const MAX_KEY_CHARS: usize = 128;

/// A key as the client sent it: 1 to [`MAX_KEY_CHARS`] visible ASCII characters.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct IdempotencyKey(String);

impl IdempotencyKey {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

pub(super) fn key_in(headers: &HeaderMap) -> Result<Option<IdempotencyKey>, ApiError> {
    let mut values = headers.get_all(HEADER).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    let bytes = value.as_bytes();
    let is_key =
        (1..=MAX_KEY_CHARS).contains(&bytes.len()) && bytes.iter().all(u8::is_ascii_graphic);
    if !is_key || values.next().is_some() {
        let msg = "BadRequest: the Idempotency-Key is not valid; send it once, with 1 to 128 visible ASCII characters";
        return Err(ApiError::bad_request("invalid_idempotency_key", msg));
    }
    Ok(Some(IdempotencyKey(
        String::from_utf8_lossy(bytes).into_owned(),
    )))
}

/// For routes with an optional key.
impl<S: Sync> OptionalFromRequestParts<S> for IdempotencyKey {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Option<Self>, ApiError> {
        key_in(&parts.headers)
    }
}

/// For routes that need a key.
impl<S: Sync> FromRequestParts<S> for IdempotencyKey {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, ApiError> {
        key_in(&parts.headers)?.ok_or_else(|| {
            let msg = "BadRequest: the Idempotency-Key is missing; send 1 to 128 visible ASCII characters, the same for \
                       each try of one request, another key for the next request";
            ApiError::bad_request("idempotency_key_missing", msg)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(values: &[&[u8]]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(
                HEADER,
                axum::http::HeaderValue::from_bytes(value).expect("a header value"),
            );
        }
        headers
    }

    #[test]
    fn a_key_is_one_header_of_1_to_128_visible_characters() {
        assert_eq!(key_in(&headers(&[])), Ok(None));
        assert_eq!(
            key_in(&headers(&[b"order-7"])),
            Ok(Some(IdempotencyKey("order-7".to_owned())))
        );
        for wrong in [
            &[b"".as_slice()][..],
            &[b"a b"],
            &["ä".as_bytes()],
            &[&[b'x'; 129]],
            &[b"a", b"a"],
        ] {
            assert_eq!(
                key_in(&headers(wrong)).expect_err("wrong").code(),
                "invalid_idempotency_key"
            );
        }
    }
}
