//! Waiting for a condition: the one place where a test pauses.

use std::time::Duration;

use tokio::time::Instant;

/// Time limit of a wait for something that takes milliseconds: only a broken promise takes this long.
pub const PATIENCE: Duration = Duration::from_secs(20);
/// Pause between two tries.
const PAUSE: Duration = Duration::from_millis(5);

/// Calls `look` until it returns a value; none once the time is over.
pub async fn within<T>(limit: Duration, mut look: impl AsyncFnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + limit;
    loop {
        match look().await {
            None if Instant::now() < deadline => tokio::time::sleep(PAUSE).await,
            seen => return seen,
        }
    }
}

/// Calls `look` until it returns a value.
///
/// # Panics
/// The time is over; the message names `what` was waited for.
pub async fn eventually<T>(what: &str, limit: Duration, look: impl AsyncFnMut() -> Option<T>) -> T {
    let seen = within(limit, look).await;
    seen.unwrap_or_else(|| panic!("not within {limit:?}: {what}"))
}

/// Waits until the condition holds.
///
/// # Panics
/// As [`eventually`].
pub async fn until(what: &str, limit: Duration, mut holds: impl AsyncFnMut() -> bool) {
    eventually(what, limit, async || holds().await.then_some(())).await;
}
