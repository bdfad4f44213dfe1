//! The index: which ids are registered, and which tenants are not active. Two paths of Parameter Store, ten entries per call.
//!
//! - [`TENANTS_PATH`] has an entry for each registered tenant. An id without an entry may be made up: its lookup has a
//!   small rate of its own.
//! - [`REFUSED_PATH`] has an entry, the status, for each tenant that is not active. With many tenants in use, a replica reads
//!   this short list instead of every tenant. A tenant whose entry is no status, such as one that moves, is always read.
//!
//! The index is never the registration itself: a tenant without an entry is found by its own parameters. In an installation
//! without entries, the names of all parameters list the ids, if the role may read them. If not, all ids may be made up.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use tenantry_tenancy::parameters::{REFUSED_PATH, TENANTS_PATH};
use tenantry_tenancy::tenant::TenantId;
use tokio::time::Instant;

use crate::source::{ParameterSource, SourceError};
use crate::tenant::{Status, Tenant};

/// Path of all parameters.
const ROOT_PATH: &str = "/";
/// Pages of names that are read at most: Parameter Store may hold much that is no tenant's.
const MAX_NAME_PAGES: u32 = 200;
/// Pause after a failed read of names: most roles may not read them.
const NAMES_FAILED_PAUSE: Duration = Duration::from_secs(300);
/// Entries that are kept, the most that Parameter Store holds in one account.
const MAX_ENTRIES: usize = 100_000;

#[derive(Default)]
pub(crate) struct Index {
    tenants: RwLock<HashSet<TenantId>>,
    /// Ids in the names of parameters, if no tenant has an entry. They say nothing of a status.
    named: RwLock<HashSet<TenantId>>,
    /// Time of the last failed read of names.
    names_failed_at: Mutex<Option<Instant>>,
    /// Whether all tenants were read once.
    is_complete: AtomicBool,
    refused: RwLock<Option<Refused>>,
    /// Whether an id without an entry was looked up since the tenants were last read.
    is_wanted: AtomicBool,
    /// Whether so many tenants are in use that the list of refused ones replaces reading each.
    is_crowded: AtomicBool,
}

/// The tenants that are not active, and the start of the read.
struct Refused {
    statuses: HashMap<TenantId, String>,
    read_at: Instant,
    valid_for: Duration,
}

impl Index {
    /// Returns true if the id has an entry, or a name in an installation without entries. Otherwise the tenants are worth
    /// another read.
    pub(crate) fn lists(&self, id: &TenantId) -> bool {
        let is_listed = self.tenants.read().contains(id) || self.named.read().contains(id);
        if !is_listed {
            self.is_wanted.store(true, Ordering::Relaxed);
        }
        is_listed
    }

    /// Returns whether the tenants are worth another read, and resets that.
    pub(crate) fn take_wanted(&self) -> bool {
        self.is_wanted.swap(false, Ordering::Relaxed)
    }

    pub(crate) fn is_complete(&self) -> bool {
        self.is_complete.load(Ordering::Relaxed)
    }

    pub(crate) fn is_crowded(&self) -> bool {
        self.is_crowded.load(Ordering::Relaxed)
    }

    pub(crate) fn set_crowded(&self, is_crowded: bool) {
        self.is_crowded.store(is_crowded, Ordering::Relaxed);
    }

    /// Whether the list of refused tenants, read not long ago, shows that the tenant still has this status.
    pub(crate) fn confirms(&self, tenant: &Tenant) -> bool {
        if !self.is_crowded() || !self.tenants.read().contains(&tenant.id) {
            return false;
        }
        let refused = self.refused.read();
        let Some(refused) = refused
            .as_ref()
            .filter(|refused| refused.read_at.elapsed() <= refused.valid_for)
        else {
            return false;
        };
        let status = refused
            .statuses
            .get(&tenant.id)
            .map_or(Status::Active.as_str(), String::as_str);
        status == tenant.status.as_str()
    }

    /// Reads the tenants, with a pause after each page; without entries, also the names. Returns the number of pages.
    pub(crate) async fn read_tenants(
        &self,
        source: &dyn ParameterSource,
        pause: Duration,
        count: impl Fn(bool),
    ) -> Result<u32, SourceError> {
        let entries = Listing {
            path: TENANTS_PATH,
            is_recursive: false,
            max_pages: u32::MAX,
            id_in,
        };
        let mut pages = entries.read(source, &self.tenants, pause, &count).await?;
        if self.tenants.read().is_empty() && self.may_read_names() {
            let names = Listing {
                path: ROOT_PATH,
                is_recursive: true,
                max_pages: MAX_NAME_PAGES,
                id_in: named_id,
            };
            match names.read(source, &self.named, pause, &count).await {
                Ok(read) => pages += read,
                Err(SourceError(reason)) => {
                    *self.names_failed_at.lock() = Some(Instant::now());
                    tracing::info!(
                        reason,
                        "names of parameters not read: tenants without an entry in the index count as unlisted"
                    );
                }
            }
        }
        self.is_complete.store(true, Ordering::Relaxed);
        Ok(pages)
    }

    fn may_read_names(&self) -> bool {
        self.names_failed_at
            .lock()
            .is_none_or(|at| at.elapsed() >= NAMES_FAILED_PAUSE)
    }

    /// Reads the tenants that are not active. Returns the pause until the next read: half of `refresh_after`, and longer for
    /// a long list, so that the list costs at most two calls per second.
    pub(crate) async fn read_refused(
        &self,
        source: &dyn ParameterSource,
        refresh_after: Duration,
        count: impl Fn(bool),
    ) -> Result<Duration, SourceError> {
        let read_at = Instant::now();
        let mut statuses = HashMap::new();
        let (mut from, mut pages) = (None, 0);
        loop {
            let page = source.by_path(REFUSED_PATH, false, from).await;
            count(page.is_ok());
            let page = page?;
            pages += 1;
            statuses.extend(
                page.parameters
                    .into_iter()
                    .filter_map(|(name, status)| Some((id_in(&name)?, status))),
            );
            from = page.next;
            if from.is_none() || statuses.len() >= MAX_ENTRIES {
                break;
            }
        }
        let pause = (refresh_after / 2).max(Duration::from_millis(500) * pages);
        *self.refused.write() = Some(Refused {
            statuses,
            read_at,
            valid_for: pause + refresh_after / 2,
        });
        Ok(pause)
    }
}

/// Parameters whose names list ids.
struct Listing {
    path: &'static str,
    is_recursive: bool,
    max_pages: u32,
    /// The id in a parameter's name.
    id_in: fn(&str) -> Option<TenantId>,
}

impl Listing {
    /// Reads the ids into `known`, with a pause after each page. Ids of a page count at once, missing ones once all is read.
    /// Returns the number of pages.
    async fn read(
        &self,
        source: &dyn ParameterSource,
        known: &RwLock<HashSet<TenantId>>,
        pause: Duration,
        count: impl Fn(bool),
    ) -> Result<u32, SourceError> {
        let mut listed = HashSet::new();
        let (mut from, mut pages) = (None, 0);
        loop {
            let page = source.by_path(self.path, self.is_recursive, from).await;
            count(page.is_ok());
            let page = page?;
            pages += 1;
            let names = page.parameters.iter().map(|(name, _)| name);
            let ids = names.filter_map(|name| (self.id_in)(name));
            let ids: Vec<_> = ids.take(MAX_ENTRIES - listed.len()).collect();
            known.write().extend(ids.iter().cloned());
            listed.extend(ids);
            from = page.next.filter(|_| pages < self.max_pages);
            if from.is_none() {
                break;
            }
            tokio::time::sleep(pause).await;
        }
        *known.write() = listed;
        Ok(pages)
    }
}

/// The tenant in the name of a parameter that registers it.
fn named_id(name: &str) -> Option<TenantId> {
    let (id, parameter) = name.strip_prefix('/')?.split_once('/')?;
    if !matches!(parameter, "consumer_sqs" | "tier") {
        return None;
    }
    id.parse().ok()
}

/// The tenant in the name of an entry.
fn id_in(name: &str) -> Option<TenantId> {
    name.rsplit('/').next()?.parse().ok()
}
