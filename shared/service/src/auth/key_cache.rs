//! Cache of the issuer's keys: refreshed in the background, used while the issuer is down.
//!
//! Issuers rotate keys, so a token may name a key that is not cached. The cache then fetches the keys again. All
//! waiting requests share that fetch, and the next one starts no sooner than [`REFETCH_INTERVAL`] later. So invented
//! key ids cost the issuer at most one call per interval.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::BoxFuture;
use jsonwebtoken::Algorithm;
use metrics::Counter;
use parking_lot::RwLock;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::key_set::Key;
use super::refusal::Refusal;
use tenantry_process::health::Condition;
use tenantry_process::metrics::{Metrics, label};
use tenantry_process::retry::backoff_from_half;

/// Shortest time between two fetches that tokens cause.
pub(super) const REFETCH_INTERVAL: Duration = Duration::from_secs(5);
/// Keys cached where each is fetched alone: the load balancers of a region rotate theirs now and then.
const MAX_SINGLE_KEYS: usize = 32;
/// First wait after a failed fetch, and the longest one.
const RETRY_BASE: Duration = Duration::from_millis(500);
const RETRY_MAX: Duration = Duration::from_secs(30);

/// The place that publishes the issuer's keys.
pub(super) trait KeySource: Send + Sync + 'static {
    /// Whether the source publishes all keys as one set. Else it publishes each key alone, under its id.
    fn has_set(&self) -> bool;

    /// Fetches the set, or the key of this id.
    fn fetch<'a>(&'a self, id: Option<&'a str>) -> BoxFuture<'a, Result<FetchedKeys, String>>;
}

/// Keys that a fetch returned.
#[derive(Debug)]
pub(super) enum FetchedKeys {
    /// All current keys. Every other key is revoked.
    All(Vec<Key>),
    /// One key. The other cached keys stay valid.
    One(Box<Key>),
    /// The source has no key of this id.
    None,
}

/// Keys of one issuer.
pub(super) struct KeyCache {
    source: Box<dyn KeySource>,
    cached: RwLock<VecDeque<Key>>,
    /// Start of the last fetch that a token caused. The lock is held during a fetch, so there is never a second one.
    last_refetch: Mutex<Option<Instant>>,
    refresh: Duration,
    has_keys: Condition,
    has_failed: AtomicBool,
    fetches_ok: Counter,
    fetches_failed: Counter,
}

impl KeyCache {
    pub(super) fn new(
        source: Box<dyn KeySource>,
        refresh: Duration,
        has_keys: Condition,
        metrics: &Metrics,
    ) -> Self {
        metrics.describe_counter(
            "auth_key_reads_total",
            "Fetches of the issuer's keys, by outcome",
        );
        let fetches =
            |outcome| metrics.counter("auth_key_reads_total", vec![label("outcome", outcome)]);
        // A source without a set is fetched only when a token names a key, so readiness cannot wait for it.
        has_keys.set(!source.has_set());
        Self {
            source,
            cached: RwLock::default(),
            last_refetch: Mutex::default(),
            refresh,
            has_keys,
            has_failed: AtomicBool::new(false),
            fetches_ok: fetches("ok"),
            fetches_failed: fetches("error"),
        }
    }

    /// Returns the key of this id. Without an id, returns the only key that supports the algorithm.
    ///
    /// # Errors
    /// [`Refusal::UnknownKey`]; [`Refusal::NoKeys`] if the keys could not be fetched.
    pub(super) async fn get(&self, id: Option<&str>, algorithm: Algorithm) -> Result<Key, Refusal> {
        if let Some(key) = self.cached_key(id, algorithm) {
            return Ok(key);
        }
        if let Some(id) = id {
            self.refetch_for(id).await;
            if let Some(key) = self.cached_key(Some(id), algorithm) {
                return Ok(key);
            }
        }
        // A key is known not to exist only while its source can be fetched.
        let is_source_down = if self.source.has_set() {
            self.cached.read().is_empty()
        } else {
            self.has_failed.load(Ordering::Relaxed)
        };
        Err(if is_source_down {
            Refusal::NoKeys
        } else {
            Refusal::UnknownKey
        })
    }

    /// Refreshes the set at its interval. Never returns. After a failed fetch the cached keys stay in use.
    pub(super) async fn refresh_forever(&self) {
        if !self.source.has_set() {
            return std::future::pending().await;
        }
        let mut failures = 0;
        loop {
            let wait = if self.fetch(None).await {
                failures = 0;
                // Jitter, so that replicas that started together do not fetch together forever.
                self.refresh.mul_f64(0.9 + 0.2 * fastrand::f64())
            } else {
                failures += 1;
                backoff_from_half(
                    failures - 1,
                    RETRY_BASE,
                    RETRY_MAX.min(self.refresh),
                    fastrand::f64(),
                )
            };
            tokio::time::sleep(wait).await;
        }
    }

    /// Fetches the keys for a token that names an unknown one, unless another request just did.
    async fn refetch_for(&self, id: &str) {
        let mut last_refetch = self.last_refetch.lock().await;
        let is_cached = self.has_cached(id);
        if is_cached || last_refetch.is_some_and(|at| at.elapsed() < REFETCH_INTERVAL) {
            return;
        }
        // Set before the fetch: a client that disconnects during the fetch must not free the interval.
        *last_refetch = Some(Instant::now());
        self.fetch(Some(id)).await;
    }

    /// Fetches once; returns whether the fetch succeeded.
    async fn fetch(&self, id: Option<&str>) -> bool {
        let fetched = self.source.fetch(id).await;
        self.has_failed.store(fetched.is_err(), Ordering::Relaxed);
        match fetched {
            Ok(keys) => {
                self.fetches_ok.increment(1);
                self.store(keys);
                if self.has_keys.set(true) {
                    tracing::info!("issuer's keys fetched");
                }
                true
            }
            Err(reason) => {
                self.fetches_failed.increment(1);
                let cached_keys = self.cached.read().len();
                tracing::warn!(
                    reason,
                    cached_keys,
                    "fetch of the issuer's keys failed: cached keys stay in use"
                );
                false
            }
        }
    }

    fn store(&self, fetched: FetchedKeys) {
        let mut cached = self.cached.write();
        match fetched {
            FetchedKeys::All(keys) => *cached = keys.into(),
            FetchedKeys::One(key) => {
                cached.retain(|other| other.id != key.id);
                cached.truncate(MAX_SINGLE_KEYS - 1);
                cached.push_front(*key);
            }
            FetchedKeys::None => {}
        }
    }

    fn has_cached(&self, id: &str) -> bool {
        let cached = self.cached.read();
        cached.iter().any(|key| key.id.as_deref() == Some(id))
    }

    fn cached_key(&self, id: Option<&str>, algorithm: Algorithm) -> Option<Key> {
        let cached = self.cached.read();
        match id {
            Some(id) => cached
                .iter()
                .find(|key| key.id.as_deref() == Some(id))
                .cloned(),
            None => {
                let mut fitting = cached.iter().filter(|key| key.supports(algorithm));
                fitting.next().filter(|_| fitting.next().is_none()).cloned()
            }
        }
    }
}
