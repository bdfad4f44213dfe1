//! `Idempotency-Key`: the name a client gives a request, so that it can repeat it without a second effect.
//!
//! Only the header is here; what a repeat is answered with is the service's.

use axum::extract::{FromRequestParts, OptionalFromRequestParts};
use axum::http::HeaderMap;
use axum::http::request::Parts;

use crate::error::ApiError;

const HEADER: &str = "idempotency-key";
/// Longest key in characters.
pub const MAX_KEY_CHARS: usize = 128;

/// A key as the client sent it: 1 to 128 visible ASCII characters.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct IdempotencyKey(String);

impl IdempotencyKey {
    /// The key as text.
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
        let msg =
            "BadRequest: an Idempotency-Key is sent once and has 1 to 128 visible ASCII characters";
        return Err(ApiError::bad_request("invalid_idempotency_key", msg));
    }
    Ok(Some(IdempotencyKey(
        String::from_utf8_lossy(bytes).into_owned(),
    )))
}

/// Where a request may have a key.
impl<S: Sync> OptionalFromRequestParts<S> for IdempotencyKey {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Option<Self>, ApiError> {
        key_in(&parts.headers)
    }
}

/// Where a request must have one.
impl<S: Sync> FromRequestParts<S> for IdempotencyKey {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, ApiError> {
        key_in(&parts.headers)?.ok_or_else(|| {
            let msg = "BadRequest: send an Idempotency-Key, 1 to 128 visible ASCII characters: the same for each try of \
                       one request, a new one for the next";
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
    fn a_key_is_one_short_visible_text() {
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
