//! Waiting for a condition: the one place where a test pauses.

use std::time::Duration;

use tokio::time::Instant;

/// How long a test waits for what should take milliseconds: only a broken promise takes this long.
pub const PATIENCE: Duration = Duration::from_secs(20);
/// Pause between two looks.
const PAUSE: Duration = Duration::from_millis(15);

/// Looks until there is something to see, and gives it.
///
/// # Panics
/// When the time is over; `what` says what was waited for.
pub async fn eventually<T>(
    what: &str,
    within: Duration,
    mut look: impl AsyncFnMut() -> Option<T>,
) -> T {
    let deadline = Instant::now() + within;
    loop {
        if let Some(seen) = look().await {
            return seen;
        }
        assert!(Instant::now() < deadline, "not within {within:?}: {what}");
        tokio::time::sleep(PAUSE).await;
    }
}

/// Looks until the condition holds.
///
/// # Panics
/// As [`eventually`].
pub async fn until(what: &str, within: Duration, mut holds: impl AsyncFnMut() -> bool) {
    eventually(what, within, async || holds().await.then_some(())).await;
}
