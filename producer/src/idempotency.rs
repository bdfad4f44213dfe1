//! `Idempotency-Key`: the same key of the same tenant never yields a second stored message.
//!
//! The promise is kept by the id, which is derived from tenant and key: whichever replica a repeat reaches, and
//! however late, it becomes the same item, and the consumer keeps the first. Beyond that a replica remembers the keys it
//! has seen confirmed for a while, answers repeats without sending again, and refuses a key that comes with another
//! body. The memory is a help, never what the promise rests on.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use axum::extract::OptionalFromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use moka::future::Cache;
use shared::event::{Payload, id_of_key};
use shared::http::error::ApiError;
use shared::tenant::TenantId;
use uuid::Uuid;

const HEADER: &str = "idempotency-key";
/// Longest key in characters.
const MAX_KEY_CHARS: usize = 128;
/// Confirmed keys a replica remembers.
const MAX_REMEMBERED: u64 = 10_000;
/// How long it does.
const REMEMBERED_FOR: Duration = Duration::from_secs(600);

/// A key as the client sent it: 1 to 128 visible ASCII characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct IdempotencyKey(String);

/// Confirmed requests by the id they became, with a digest of their body.
pub(crate) struct Replays(Cache<Uuid, u64>);

/// Whether a request with a key was seen before.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Replay {
    /// Not by this replica: send it.
    New,
    /// Confirmed already: answer as before.
    Confirmed,
}

impl IdempotencyKey {
    /// The id of what is stored under this key of the tenant.
    pub(crate) fn message_id(&self, tenant: &TenantId) -> Uuid {
        id_of_key(tenant, &self.0)
    }
}

impl Default for Replays {
    fn default() -> Self {
        Self(Cache::builder().max_capacity(MAX_REMEMBERED).time_to_live(REMEMBERED_FOR).build())
    }
}

impl Replays {
    /// Whether this replica has seen the request that became this message confirmed.
    ///
    /// # Errors
    /// 422 where the key came with another body.
    pub(crate) async fn find(&self, message_id: Uuid, payload: Option<&Payload>) -> Result<Replay, ApiError> {
        match self.0.get(&message_id).await {
            None => Ok(Replay::New),
            Some(seen) if seen == digest(payload) => Ok(Replay::Confirmed),
            Some(_) => Err(ApiError::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "idempotency_key_reused",
                "UnprocessableEntity: this Idempotency-Key was used with another body; take a new key for a new event",
            )),
        }
    }

    pub(crate) async fn remember(&self, message_id: Uuid, payload: Option<&Payload>) {
        self.0.insert(message_id, digest(payload)).await;
    }
}

fn digest(payload: Option<&Payload>) -> u64 {
    let mut hasher = DefaultHasher::new();
    payload.map(Payload::as_str).hash(&mut hasher);
    hasher.finish()
}

fn key_in(headers: &HeaderMap) -> Result<Option<IdempotencyKey>, ApiError> {
    let mut values = headers.get_all(HEADER).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let bytes = value.as_bytes();
    let is_key = (1..=MAX_KEY_CHARS).contains(&bytes.len()) && bytes.iter().all(u8::is_ascii_graphic);
    if !is_key || values.next().is_some() {
        let msg = "BadRequest: an Idempotency-Key is sent once and has 1 to 128 visible ASCII characters";
        return Err(ApiError::bad_request("invalid_idempotency_key", msg));
    }
    Ok(Some(IdempotencyKey(String::from_utf8_lossy(bytes).into_owned())))
}

impl<S: Sync> OptionalFromRequestParts<S> for IdempotencyKey {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Option<Self>, ApiError> {
        key_in(&parts.headers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(values: &[&[u8]]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(HEADER, axum::http::HeaderValue::from_bytes(value).expect("a header value"));
        }
        headers
    }

    #[test]
    fn a_key_is_one_short_visible_text() {
        assert_eq!(key_in(&headers(&[])), Ok(None));
        assert_eq!(key_in(&headers(&[b"order-7"])), Ok(Some(IdempotencyKey("order-7".to_owned()))));
        for wrong in [&[b"".as_slice()][..], &[b"a b"], &["ä".as_bytes()], &[&[b'x'; 129]], &[b"a", b"a"]] {
            assert_eq!(key_in(&headers(wrong)).expect_err("wrong").code(), "invalid_idempotency_key");
        }
    }

    #[tokio::test]
    async fn a_repeat_is_known_and_another_body_is_refused() {
        let (replays, tenant) = (Replays::default(), "tenant-1".parse().expect("valid"));
        let id = IdempotencyKey("k".to_owned()).message_id(&tenant);
        let (one, two) = (Payload::parse(b"1").expect("JSON"), Payload::parse(b"2").expect("JSON"));
        assert_eq!(replays.find(id, Some(&one)).await, Ok(Replay::New));
        replays.remember(id, Some(&one)).await;
        assert_eq!(replays.find(id, Some(&one)).await, Ok(Replay::Confirmed));
        for other in [Some(&two), None] {
            let error = replays.find(id, other).await.expect_err("another body");
            assert_eq!(error.status(), StatusCode::UNPROCESSABLE_ENTITY);
        }
        let theirs = IdempotencyKey("k".to_owned()).message_id(&"tenant-2".parse().expect("valid"));
        assert_eq!(replays.find(theirs, Some(&two)).await, Ok(Replay::New), "keys are the tenant's own");
    }
}
