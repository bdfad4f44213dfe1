//! Write-ahead storage of the state: one SQLite file, and one thread that writes it.
//!
//! The state lives in memory; this module makes it survive `kill -9`. A caller submits changes under the lock of the
//! state they belong to, so they arrive in order. The caller answers its client only after [`PendingCommit::done`].
//! The writer commits all changes that have gathered as one transaction: under load many calls share a commit, and a
//! lone call commits at once.
//!
//! WAL with `synchronous=NORMAL` loses nothing when the process is killed. A power cut may lose the last commits, never
//! consistency. After a failed write the store refuses every further change, so that no unsaved change is confirmed.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use parking_lot::{Condvar, Mutex};
use rusqlite::{Connection, Transaction};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

/// Version of the tables. Another version is refused, never migrated: the data are test data.
pub(crate) const SCHEMA_VERSION: i64 = 1;
/// `application_id` of our files: "TLAW".
const APPLICATION_ID: i64 = 0x544C_4157;
/// Calls with uncommitted changes (ours); further calls wait.
const PENDING_CALLS_MAX: usize = 4_096;
/// Pages in the write-ahead log before a checkpoint (ours): 16 MiB, so a quarter of SQLite's default `fsync` rate.
const CHECKPOINT_PAGES: i64 = 4_000;
/// Size to which a checkpoint truncates the write-ahead log, in bytes (ours).
const WAL_BYTES_KEPT: i64 = 64 * 1_024 * 1_024;
/// Prepared statements cached; this crate has fewer.
const STATEMENTS_CACHED: usize = 64;

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum StoreError {
    /// A write failed. Permanent until restart.
    #[error("a write to the data folder failed; see the endpoint's log, then restart it")]
    Broken,
    #[error("the endpoint is shutting down")]
    Closed,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum LoadError {
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
    #[error("another process uses the file")]
    InUse,
    #[error("the file has version {found}, this program reads version {SCHEMA_VERSION}")]
    OtherVersion { found: i64 },
    #[error("it is not a file of this program")]
    Foreign,
    #[error("unreadable row: {0}")]
    Row(String),
}

/// A change that the writer applies within its transaction.
pub(crate) trait Write: std::fmt::Debug + Send + 'static {
    fn apply(&self, tx: &Transaction<'_>) -> rusqlite::Result<()>;
}

/// Converts a number for SQLite. Times and keys stay far below 2^63.
pub(crate) fn column(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// Opens the file, or creates it with this schema (SQL), and checks that it is ours. `added` creates the tables that
/// files of earlier versions lack.
///
/// # Errors
/// [`LoadError`], without the path.
pub(crate) fn open(path: &Path, schema: &str, added: &str) -> Result<Connection, LoadError> {
    let conn = Connection::open(path)?;
    conn.set_prepared_statement_cache_capacity(STATEMENTS_CACHED);
    // The state in memory is authoritative, so no other process may write. The lock ends with the process, also on a kill,
    // and SQLite needs no shared-memory index under it.
    conn.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
    let in_use = |error: rusqlite::Error| match error.sqlite_error_code() {
        Some(rusqlite::ErrorCode::DatabaseBusy | rusqlite::ErrorCode::DatabaseLocked) => {
            LoadError::InUse
        }
        Some(rusqlite::ErrorCode::NotADatabase) => LoadError::Foreign,
        _ => LoadError::Sqlite(error),
    };
    let pragma = |name: &str| {
        conn.pragma_query_value(None, name, |row| row.get::<_, i64>(0))
            .map_err(in_use)
    };
    let (application, version) = (pragma("application_id")?, pragma("user_version")?);
    let is_new = conn
        .query_row("SELECT count(*) FROM sqlite_schema", [], |row| {
            row.get::<_, i64>(0)
        })
        .map_err(in_use)?
        == 0;
    match (is_new, application, version) {
        (false, APPLICATION_ID, SCHEMA_VERSION) | (true, _, _) => {}
        (false, APPLICATION_ID, found) => return Err(LoadError::OtherVersion { found }),
        _ => return Err(LoadError::Foreign),
    }
    conn.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))
        .map_err(in_use)?;
    conn.pragma_update(None, "synchronous", "NORMAL")?;
    conn.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
    conn.pragma_update_and_check(None, "journal_size_limit", WAL_BYTES_KEPT, |_| Ok(()))?;
    if is_new {
        conn.execute_batch(&format!(
            "BEGIN IMMEDIATE; {schema} PRAGMA application_id = {APPLICATION_ID}; \
             PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;"
        ))
        .map_err(in_use)?;
    } else {
        // Takes the lock now: a second process then fails at its start, not at its first write.
        conn.execute_batch(&format!("BEGIN IMMEDIATE; {added} COMMIT;"))
            .map_err(in_use)?;
    }
    Ok(conn)
}

/// Submits changes to the writer. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Store {
    /// `None` if the state is in memory only.
    shared: Option<Arc<Shared>>,
}

#[derive(Debug)]
struct Shared {
    queue: Mutex<WriteQueue>,
    arrived: Condvar,
    broken: AtomicBool,
    permits: Arc<Semaphore>,
}

#[derive(Debug, Default)]
struct WriteQueue {
    jobs: Vec<WriteJob>,
    closed: bool,
}

#[derive(Debug)]
struct WriteJob {
    changes: Vec<Box<dyn Write>>,
    done: oneshot::Sender<Result<(), StoreError>>,
    _permit: OwnedSemaphorePermit,
}

/// Permit to submit the changes of one call.
#[derive(Debug)]
pub(crate) struct SubmitPermit(Option<OwnedSemaphorePermit>);

/// Submitted changes that are not known to be on disk.
#[derive(Debug)]
#[must_use = "a call may be answered only when its changes are committed"]
pub(crate) struct PendingCommit(Option<oneshot::Receiver<Result<(), StoreError>>>);

/// The writer thread; ends on drop.
#[derive(Debug)]
pub(crate) struct Writer {
    shared: Arc<Shared>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Store {
    /// Creates a store that saves nothing.
    pub(crate) fn ephemeral() -> Self {
        Self { shared: None }
    }

    /// Creates a store over an open file, and its writer thread.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub(crate) fn over(conn: Connection) -> std::io::Result<(Self, Writer)> {
        let shared = Arc::new(Shared {
            queue: Mutex::default(),
            arrived: Condvar::new(),
            broken: AtomicBool::new(false),
            permits: Arc::new(Semaphore::new(PENDING_CALLS_MAX)),
        });
        let of_writer = Arc::clone(&shared);
        let thread = thread::Builder::new()
            .name("localaws-store".into())
            .spawn(move || write_until_closed(conn, &of_writer))?;
        Ok((
            Self {
                shared: Some(Arc::clone(&shared)),
            },
            Writer {
                shared,
                thread: Some(thread),
            },
        ))
    }

    /// Waits for a permit to submit. Call it before taking the lock of the state.
    pub(crate) async fn reserve(&self) -> SubmitPermit {
        let Some(shared) = &self.shared else {
            return SubmitPermit(None);
        };
        let permit = Arc::clone(&shared.permits).acquire_owned().await;
        SubmitPermit(Some(permit.expect("the semaphore is never closed")))
    }

    /// Hands changes to the writer. Call it under the lock of the state they belong to.
    pub(crate) fn submit(
        &self,
        permit: SubmitPermit,
        changes: impl IntoIterator<Item = impl Write>,
    ) -> PendingCommit {
        let (Some(shared), Some(permit)) = (&self.shared, permit.0) else {
            return PendingCommit(None);
        };
        let changes: Vec<_> = changes
            .into_iter()
            .map(|change| Box::new(change) as Box<dyn Write>)
            .collect();
        if changes.is_empty() {
            return PendingCommit(None);
        }
        let (done, receiver) = oneshot::channel();
        let mut queue = shared.queue.lock();
        if queue.closed {
            // The receiver is returned below, so the send cannot fail.
            let _ = done.send(Err(StoreError::Closed));
        } else {
            queue.jobs.push(WriteJob {
                changes,
                done,
                _permit: permit,
            });
            if queue.jobs.len() == 1 {
                shared.arrived.notify_one();
            }
        }
        PendingCommit(Some(receiver))
    }

    /// Whether the store accepts changes.
    pub(crate) fn is_healthy(&self) -> bool {
        self.shared
            .as_ref()
            .is_none_or(|shared| !shared.broken.load(Ordering::Relaxed))
    }
}

impl PendingCommit {
    /// Waits until the changes are on disk.
    ///
    /// # Errors
    /// [`StoreError`] if they never will be.
    pub(crate) async fn done(self) -> Result<(), StoreError> {
        match self.0 {
            Some(receiver) => receiver.await.unwrap_or(Err(StoreError::Closed)),
            None => Ok(()),
        }
    }
}

impl Drop for Writer {
    /// Commits the submitted changes, closes the file and ends the thread. Blocks.
    fn drop(&mut self) {
        self.shared.queue.lock().closed = true;
        self.shared.arrived.notify_one();
        if self
            .thread
            .take()
            .is_some_and(|thread| thread.join().is_err())
        {
            tracing::error!("store writer panicked");
        }
    }
}

fn write_until_closed(mut conn: Connection, shared: &Shared) {
    let mut broken = false;
    loop {
        let jobs = {
            let mut queue = shared.queue.lock();
            while queue.jobs.is_empty() && !queue.closed {
                shared.arrived.wait(&mut queue);
            }
            std::mem::take(&mut queue.jobs)
        };
        if jobs.is_empty() {
            break;
        }
        let committed = if broken {
            Err(StoreError::Broken)
        } else {
            commit(&mut conn, &jobs)
        };
        if committed.is_err() && !broken {
            broken = true;
            shared.broken.store(true, Ordering::Relaxed);
        }
        for job in jobs {
            // A client that disconnected has no receiver.
            let _ = job.done.send(committed);
        }
    }
    if let Err((_, error)) = conn.close() {
        tracing::warn!(%error, "data file not closed cleanly: the next start recovers it");
    }
}

fn commit(conn: &mut Connection, jobs: &[WriteJob]) -> Result<(), StoreError> {
    let write = |conn: &mut Connection| {
        let tx = conn.transaction()?;
        for change in jobs.iter().flat_map(|job| &job.changes) {
            change.apply(&tx)?;
        }
        tx.commit()
    };
    write(conn).map_err(|error| {
        tracing::error!(%error, "write to the data file failed: every further change is refused");
        StoreError::Broken
    })
}
