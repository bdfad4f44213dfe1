//! `Idempotency-Key`: the same key of the same tenant never yields a second stored message.
//!
//! The promise is kept by the id, which is derived from tenant and key: whichever replica a repeat reaches, and
//! however late, it becomes the same item, and the consumer keeps the first. Beyond that a replica remembers the keys it
//! has seen confirmed for a while, answers repeats without sending again, and refuses a key that comes with another
//! body. The memory is a help, never what the promise rests on.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use axum::http::StatusCode;
use moka::future::Cache;
use tenantry_service::error::ApiError;
use tenantry_tenancy::event::Payload;
use uuid::Uuid;

/// Confirmed keys a replica remembers.
const MAX_REMEMBERED: u64 = 10_000;
/// How long it does.
const REMEMBERED_FOR: Duration = Duration::from_secs(600);

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

impl Default for Replays {
    fn default() -> Self {
        Self(
            Cache::builder()
                .max_capacity(MAX_REMEMBERED)
                .time_to_live(REMEMBERED_FOR)
                .build(),
        )
    }
}

impl Replays {
    /// Whether this replica has seen the request that became this message confirmed.
    ///
    /// # Errors
    /// 422 where the key came with another body.
    pub(crate) async fn find(
        &self,
        message_id: Uuid,
        payload: Option<&Payload>,
    ) -> Result<Replay, ApiError> {
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

#[cfg(test)]
mod tests {
    use tenantry_tenancy::event::id_of_key;

    use super::*;

    #[tokio::test]
    async fn a_repeat_is_known_and_another_body_is_refused() {
        let replays = Replays::default();
        let id = id_of_key(&"tenant-1".parse().expect("valid"), "k");
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
        let theirs = id_of_key(&"tenant-2".parse().expect("valid"), "k");
        assert_eq!(
            replays.find(theirs, Some(&two)).await,
            Ok(Replay::New),
            "keys are the tenant's own"
        );
    }
}
