//! `Idempotency-Key`: the same key of the same tenant never yields a second stored message.
//!
//! The message id guarantees that, because it is derived from owner and key. A repeat becomes the same item on every
//! replica and at any time, and the consumer keeps the first message. In addition, each replica caches its confirmed keys.
//! It answers their repeats without another send, and refuses a key with another body. No promise depends on the cache.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use axum::http::StatusCode;
use moka::future::Cache;
use tenantry_service::error::ApiError;
use tenantry_tenancy::event::Payload;
use uuid::Uuid;

/// Confirmed keys that a replica caches, and the time for which it does.
const MAX_CACHED: u64 = 10_000;
const CACHE_TTL: Duration = Duration::from_secs(600);

/// Digests of the bodies of confirmed requests, by message id.
pub(crate) struct Replays(Cache<Uuid, u64>);

/// Whether this replica has a confirmation for a key.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Replay {
    New,
    Confirmed,
}

impl Default for Replays {
    fn default() -> Self {
        Self(
            Cache::builder()
                .max_capacity(MAX_CACHED)
                .time_to_live(CACHE_TTL)
                .build(),
        )
    }
}

impl Replays {
    /// Looks up the request that became this message.
    ///
    /// # Errors
    /// 422 if the confirmed request had another body.
    pub(crate) async fn find(
        &self,
        message_id: Uuid,
        payload: Option<&Payload>,
    ) -> Result<Replay, ApiError> {
        match self.0.get(&message_id).await {
            None => Ok(Replay::New),
            Some(confirmed) if confirmed == digest(payload) => Ok(Replay::Confirmed),
            Some(_) => Err(ApiError::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "idempotency_key_reused",
                "UnprocessableEntity: this Idempotency-Key was used with another body; send a new key for a new event",
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

#[cfg(test)]
mod tests {
    use tenantry_tenancy::event::id_of_key;
    use tenantry_tenancy::generation::{Generation, Owner};
    use tenantry_tenancy::tenant::TenantId;

    use super::*;

    #[tokio::test]
    async fn a_repeat_is_recognized_and_another_body_is_refused() {
        let replays = Replays::default();
        let owner = |id: &str| Owner::from(id.parse::<TenantId>().expect("valid"));
        let id = id_of_key(&owner("tenant-1"), "k");
        let (one, two) = (
            Payload::parse(b"1").expect("JSON"),
            Payload::parse(b"2").expect("JSON"),
        );
        assert_eq!(replays.find(id, Some(&one)).await, Ok(Replay::New));
        replays.remember(id, Some(&one)).await;
        assert_eq!(replays.find(id, Some(&one)).await, Ok(Replay::Confirmed));
        for other in [Some(&two), None] {
            let error = replays.find(id, other).await.expect_err("another body");
            assert_eq!(error.status(), StatusCode::UNPROCESSABLE_ENTITY);
        }
        let later = Owner {
            generation: Generation::at_millis(7),
            ..owner("tenant-1")
        };
        for other in [owner("tenant-2"), later] {
            assert_eq!(
                replays.find(id_of_key(&other, "k"), Some(&two)).await,
                Ok(Replay::New),
                "each owner has its own keys"
            );
        }
    }
}
