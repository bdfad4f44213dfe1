//! The durable half of the endpoint: one SQLite file, one thread that writes it.
//!
//! State lives in memory; this module makes it survive `kill -9`. Callers submit changes under the lock of
//! the state they changed, so changes arrive in order, and answer their client only once
//! [`Pending::committed`] says so. The writer takes whatever has gathered and commits it as one
//! transaction: at load many calls share a commit, and a lone call waits for nobody.
//!
//! WAL with `synchronous=NORMAL` loses nothing to a killed process; a power cut may lose the last commits,
//! never consistency. When a write fails the store stops taking changes: every later call that would change
//! something is refused, instead of answering what is not kept.

use std::{
    path::Path,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use rusqlite::{Connection, Transaction};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

/// Version of the tables in the file. Another version is refused, never migrated: the data are test data.
pub(crate) const SCHEMA_VERSION: i64 = 1;
/// Marks a SQLite file as ours: "TLAW".
const APPLICATION_ID: i64 = 0x544C_4157;
/// Calls with changes on their way to the disk (ours); further calls wait their turn.
const PENDING_CALLS_MAX: usize = 4_096;
/// Pages in the write-ahead log before it is folded into the file (ours): 16 MiB, against a `fsync` each
/// 4 MiB by default.
const CHECKPOINT_PAGES: i64 = 4_000;
/// Size the write-ahead log is cut back to, in bytes (ours).
const WAL_BYTES_KEPT: i64 = 64 * 1_024 * 1_024;
/// Prepared statements kept; this crate has fewer.
const STATEMENTS_CACHED: usize = 64;

/// Why the store cannot take a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum StoreError {
    /// An earlier write failed; see the log. Permanent until restart.
    #[error("the data folder cannot be written any more; see the endpoint's log")]
    Broken,
    /// The endpoint is shutting down.
    #[error("the endpoint is shutting down")]
    Closed,
}

/// Why the state cannot be read at the start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LoadError {
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
    #[error("another process holds it")]
    InUse,
    #[error("it has version {found}, this program reads version {SCHEMA_VERSION}")]
    OtherVersion { found: i64 },
    #[error("it is not a file of this program")]
    Foreign,
    #[error("unreadable row: {0}")]
    Row(String),
}

/// One change of the state, whoever made it.
pub(crate) trait Change: std::fmt::Debug + Send + 'static {
    /// Writes it down.
    ///
    /// # Errors
    /// What SQLite answers.
    fn apply(&self, tx: &Transaction<'_>) -> rusqlite::Result<()>;
}

/// A number as SQLite keeps it. Times and keys stay far below 2^63.
pub(crate) fn column(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// Opens the file, creating it with this schema (SQL) when missing, and checks that it is ours.
///
/// # Errors
/// [`LoadError`]; the caller adds the path.
pub(crate) fn open(path: &Path, schema: &str) -> Result<Connection, LoadError> {
    let conn = Connection::open(path)?;
    conn.set_prepared_statement_cache_capacity(STATEMENTS_CACHED);
    // The state in memory is the truth while we run: nobody else may write. The exclusive lock goes with
    // the process, however it ends, and spares SQLite its shared-memory index.
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
        // Takes the lock now, so that a second process fails at its start and not at its first write.
        conn.execute_batch("BEGIN IMMEDIATE; COMMIT;")
            .map_err(in_use)?;
    }
    Ok(conn)
}

/// Takes changes to the disk. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Store {
    /// `None` when the state is kept in memory only.
    shared: Option<Arc<Shared>>,
}

#[derive(Debug)]
struct Shared {
    inbox: Mutex<Inbox>,
    arrived: Condvar,
    broken: AtomicBool,
    room: Arc<Semaphore>,
}

#[derive(Debug, Default)]
struct Inbox {
    jobs: Vec<Job>,
    closed: bool,
}

#[derive(Debug)]
struct Job {
    changes: Vec<Box<dyn Change>>,
    done: oneshot::Sender<Result<(), StoreError>>,
    _room: OwnedSemaphorePermit,
}

/// Leave to submit one call's changes.
#[derive(Debug)]
pub(crate) struct Room(Option<OwnedSemaphorePermit>);

/// Changes on their way to the disk.
#[derive(Debug)]
#[must_use = "a call may be answered only when its changes are committed"]
pub(crate) struct Pending(Option<oneshot::Receiver<Result<(), StoreError>>>);

/// The writer thread; ends when told to.
#[derive(Debug)]
pub(crate) struct Writer {
    shared: Arc<Shared>,
    thread: thread::JoinHandle<()>,
}

impl Store {
    /// A store that keeps nothing.
    pub(crate) fn ephemeral() -> Self {
        Self { shared: None }
    }

    /// A store over an open file, and the thread that writes it.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub(crate) fn over(conn: Connection) -> std::io::Result<(Self, Writer)> {
        let shared = Arc::new(Shared {
            inbox: Mutex::default(),
            arrived: Condvar::new(),
            broken: AtomicBool::new(false),
            room: Arc::new(Semaphore::new(PENDING_CALLS_MAX)),
        });
        let theirs = Arc::clone(&shared);
        let thread = thread::Builder::new()
            .name("localaws-store".into())
            .spawn(move || write_until_closed(conn, &theirs))?;
        Ok((
            Self {
                shared: Some(Arc::clone(&shared)),
            },
            Writer { shared, thread },
        ))
    }

    /// Waits for leave to submit. To be called before taking the lock of the state.
    pub(crate) async fn room(&self) -> Room {
        let Some(shared) = &self.shared else {
            return Room(None);
        };
        let permit = Arc::clone(&shared.room).acquire_owned().await;
        Room(Some(permit.expect("the semaphore is never closed")))
    }

    /// Hands changes to the writer; to be called under the lock of the state they belong to.
    pub(crate) fn submit(
        &self,
        room: Room,
        changes: impl IntoIterator<Item = impl Change>,
    ) -> Pending {
        let (Some(shared), Some(room)) = (&self.shared, room.0) else {
            return Pending(None);
        };
        let changes: Vec<_> = changes
            .into_iter()
            .map(|change| Box::new(change) as Box<dyn Change>)
            .collect();
        if changes.is_empty() {
            return Pending(None);
        }
        let (done, receiver) = oneshot::channel();
        let mut inbox = lock(&shared.inbox);
        if inbox.closed {
            // Ignored on purpose: the receiver is in our hands, a line below.
            let _ = done.send(Err(StoreError::Closed));
        } else {
            inbox.jobs.push(Job {
                changes,
                done,
                _room: room,
            });
            if inbox.jobs.len() == 1 {
                shared.arrived.notify_one();
            }
        }
        Pending(Some(receiver))
    }

    /// Whether changes are still taken.
    pub(crate) fn is_healthy(&self) -> bool {
        self.shared
            .as_ref()
            .is_none_or(|shared| !shared.broken.load(Ordering::Relaxed))
    }
}

impl Pending {
    /// Waits until the changes are on disk.
    ///
    /// # Errors
    /// [`StoreError`] when they will never be.
    pub(crate) async fn committed(self) -> Result<(), StoreError> {
        match self.0 {
            Some(receiver) => receiver.await.unwrap_or(Err(StoreError::Closed)),
            None => Ok(()),
        }
    }
}

impl Writer {
    /// Writes what was submitted, closes the file and ends the thread. Blocks.
    pub(crate) fn close(self) {
        lock(&self.shared.inbox).closed = true;
        self.shared.arrived.notify_one();
        if self.thread.join().is_err() {
            tracing::error!("the store's thread panicked");
        }
    }
}

fn lock(inbox: &Mutex<Inbox>) -> MutexGuard<'_, Inbox> {
    // A panic elsewhere leaves the list of jobs whole.
    inbox.lock().unwrap_or_else(PoisonError::into_inner)
}

fn write_until_closed(mut conn: Connection, shared: &Shared) {
    let mut broken = false;
    loop {
        let jobs = {
            let mut inbox = lock(&shared.inbox);
            while inbox.jobs.is_empty() && !inbox.closed {
                inbox = shared
                    .arrived
                    .wait(inbox)
                    .unwrap_or_else(PoisonError::into_inner);
            }
            std::mem::take(&mut inbox.jobs)
        };
        if jobs.is_empty() {
            break;
        }
        let outcome = if broken {
            Err(StoreError::Broken)
        } else {
            commit(&mut conn, &jobs)
        };
        if outcome.is_err() && !broken {
            broken = true;
            shared.broken.store(true, Ordering::Relaxed);
        }
        for job in jobs {
            // A client that went away has nobody waiting.
            let _ = job.done.send(outcome);
        }
    }
    if let Err((_, error)) = conn.close() {
        tracing::warn!(%error, "the data file did not close cleanly; it is safe, the next start recovers it");
    }
}

fn commit(conn: &mut Connection, jobs: &[Job]) -> Result<(), StoreError> {
    let write = |conn: &mut Connection| {
        let tx = conn.transaction()?;
        for change in jobs.iter().flat_map(|job| &job.changes) {
            change.apply(&tx)?;
        }
        tx.commit()
    };
    write(conn).map_err(|error| {
        tracing::error!(%error, "cannot write the data file; refusing every change from now on");
        StoreError::Broken
    })
}
