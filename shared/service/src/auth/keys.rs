//! The issuer's keys, kept close: read in the background, served while the issuer is down, asked for at a bounded rate.
//!
//! A token may name a key that is not known yet, because issuers change keys. Then the keys are read once more, by one
//! call that all who need it share, and not again for [`ASK_PAUSE`]: so made-up key ids cost the issuer next to nothing.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use futures_util::future::BoxFuture;
use jsonwebtoken::Algorithm;
use metrics::Counter;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::key_set::Key;
use super::refusal::Refusal;
use tenantry_process::health::Condition;
use tenantry_process::metrics::{Metrics, label};
use tenantry_process::retry::backoff_from_half;

/// Shortest time between two reads that tokens cause.
pub(super) const ASK_PAUSE: Duration = Duration::from_secs(5);
/// Keys kept where each is read alone: a region's load balancers change theirs now and then.
const MAX_SINGLE_KEYS: usize = 32;
/// First wait before a failed read is tried again, and the longest one.
const RETRY_BASE: Duration = Duration::from_millis(500);
const RETRY_MAX: Duration = Duration::from_secs(30);

/// Where keys are read from.
pub(super) trait KeySource: Send + Sync + 'static {
    /// Whether there is a set to read before any token has named a key.
    fn has_set(&self) -> bool;

    /// Reads; `id` is what a token asks for.
    fn read<'a>(&'a self, id: Option<&'a str>) -> BoxFuture<'a, Result<Found, String>>;
}

/// What a read brought.
#[derive(Debug)]
pub(super) enum Found {
    /// All there are; any other is no longer the issuer's.
    All(Vec<Key>),
    /// One, which stays what it is.
    One(Box<Key>),
    /// There is none of this id.
    None,
}

/// Keys of one issuer.
pub(super) struct Keys {
    source: Box<dyn KeySource>,
    known: RwLock<VecDeque<Key>>,
    /// When a token last caused a read. Held during one, so that there is never a second.
    asked: Mutex<Option<Instant>>,
    refresh: Duration,
    has_keys: Condition,
    has_failed: AtomicBool,
    reads_ok: Counter,
    reads_failed: Counter,
}

impl Keys {
    pub(super) fn new(
        source: Box<dyn KeySource>,
        refresh: Duration,
        has_keys: Condition,
        metrics: &Metrics,
    ) -> Self {
        metrics.describe_counter(
            "auth_key_reads_total",
            "Reads of the issuer's keys, by outcome",
        );
        let reads =
            |outcome| metrics.counter("auth_key_reads_total", vec![label("outcome", outcome)]);
        // Nothing to wait for where keys are read one by one, when they are named.
        has_keys.set(!source.has_set());
        Self {
            source,
            known: RwLock::default(),
            asked: Mutex::default(),
            refresh,
            has_keys,
            has_failed: AtomicBool::new(false),
            reads_ok: reads("ok"),
            reads_failed: reads("error"),
        }
    }

    /// The key that a token names. Without a name, the only one there is for its algorithm.
    ///
    /// # Errors
    /// [`Refusal::UnknownKey`]; [`Refusal::NoKeys`] where that cannot be told.
    pub(super) async fn find(
        &self,
        id: Option<&str>,
        algorithm: Algorithm,
    ) -> Result<Key, Refusal> {
        if let Some(key) = self.known_key(id, algorithm) {
            return Ok(key);
        }
        if let Some(id) = id {
            self.ask_for(id).await;
            if let Some(key) = self.known_key(Some(id), algorithm) {
                return Ok(key);
            }
        }
        // Only who can ask can say that a key does not exist.
        let is_blind = if self.source.has_set() {
            self.known().is_empty()
        } else {
            self.has_failed.load(Ordering::Relaxed)
        };
        Err(if is_blind {
            Refusal::NoKeys
        } else {
            Refusal::UnknownKey
        })
    }

    /// Reads the keys now and then; never ends. A failure leaves what is known in use.
    pub(super) async fn keep_fresh(&self) {
        if !self.source.has_set() {
            return std::future::pending().await;
        }
        let mut failures = 0;
        loop {
            let wait = if self.read(None).await {
                failures = 0;
                // Replicas that started together should not ask together for ever.
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

    /// Reads for a token that names an unknown key, unless another one just did.
    async fn ask_for(&self, id: &str) {
        let mut asked = self.asked.lock().await;
        let is_known = self.known().iter().any(|key| key.id.as_deref() == Some(id));
        if is_known || asked.is_some_and(|at| at.elapsed() < ASK_PAUSE) {
            return;
        }
        // Before the read: whoever goes away in the middle of it has used the turn all the same.
        *asked = Some(Instant::now());
        self.read(Some(id)).await;
    }

    async fn read(&self, id: Option<&str>) -> bool {
        let read = self.source.read(id).await;
        self.has_failed.store(read.is_err(), Ordering::Relaxed);
        match read {
            Ok(found) => {
                self.reads_ok.increment(1);
                self.keep(found);
                if self.has_keys.set(true) {
                    tracing::info!("the issuer's keys are here");
                }
                true
            }
            Err(reason) => {
                self.reads_failed.increment(1);
                let known = self.known().len();
                tracing::warn!(
                    reason,
                    known,
                    "the issuer's keys were not read; what is known stays in use"
                );
                false
            }
        }
    }

    fn keep(&self, found: Found) {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        match found {
            Found::All(keys) => *known = keys.into(),
            Found::One(key) => {
                known.retain(|other| other.id != key.id);
                known.truncate(MAX_SINGLE_KEYS - 1);
                known.push_front(*key);
            }
            Found::None => {}
        }
    }

    fn known_key(&self, id: Option<&str>, algorithm: Algorithm) -> Option<Key> {
        let known = self.known();
        match id {
            Some(id) => known
                .iter()
                .find(|key| key.id.as_deref() == Some(id))
                .cloned(),
            None => {
                let mut fitting = known.iter().filter(|key| key.takes(algorithm));
                fitting.next().filter(|_| fitting.next().is_none()).cloned()
            }
        }
    }

    fn known(&self) -> std::sync::RwLockReadGuard<'_, VecDeque<Key>> {
        // A list of keys stays whole whoever panics.
        self.known.read().unwrap_or_else(PoisonError::into_inner)
    }
}
