//! Queues and messages in SQLite: what changes, how it is written, how it is read back at the start.
//!
//! A message is one row that is written once; its receives are a small row of their own, so that a lease
//! rewrites some bytes, not the body.

use std::{collections::BTreeMap, sync::Arc};

use rusqlite::{Connection, OptionalExtension as _, Transaction, params};
use uuid::Uuid;

use super::{
    attributes,
    core::{Core, QueueId},
    md5::Digest,
    message::{Entry, Payload, Place, Receipt, Seq},
    names::QueueName,
    queue::Queue,
    settings::Settings,
};
use crate::store::{self, LoadError, column};

/// The tables of this module.
pub(crate) const SCHEMA: &str = "
    CREATE TABLE queues (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        name TEXT NOT NULL UNIQUE,
        created_ms INTEGER NOT NULL,
        modified_ms INTEGER NOT NULL,
        attributes TEXT NOT NULL,
        tags TEXT NOT NULL
    ) STRICT;
    CREATE TABLE messages (
        seq INTEGER PRIMARY KEY,
        queue INTEGER NOT NULL,
        id BLOB NOT NULL,
        body TEXT NOT NULL,
        attributes BLOB,
        group_id TEXT,
        trace_header TEXT,
        sender_id TEXT NOT NULL,
        sent_ms INTEGER NOT NULL,
        ready_at_ms INTEGER NOT NULL,
        redriven_from TEXT
    ) STRICT;
    CREATE TABLE leases (
        seq INTEGER PRIMARY KEY,
        receives INTEGER NOT NULL,
        first_ms INTEGER NOT NULL,
        latest_ms INTEGER NOT NULL,
        until_ms INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE last_seq (one INTEGER PRIMARY KEY CHECK (one = 1), seq INTEGER NOT NULL) STRICT;
";

/// One step of the state in the store.
#[derive(Debug)]
pub(crate) enum Change {
    /// A queue is new, or its attributes or tags are.
    PutQueue {
        id: QueueId,
        name: QueueName,
        created_ms: u64,
        modified_ms: u64,
        attributes: BTreeMap<&'static str, String>,
        tags: BTreeMap<String, String>,
    },
    /// A queue is gone; its messages go by [`Change::DeleteMessages`].
    DeleteQueue(QueueId),
    /// A message was sent.
    Insert {
        seq: Seq,
        queue: QueueId,
        payload: Arc<Payload>,
        ready_at_ms: u64,
    },
    /// A message was received, or its lease changed.
    Lease {
        seq: Seq,
        receipt: Receipt,
        until_ms: u64,
    },
    /// A message went to another queue and is ready there.
    Move {
        seq: Seq,
        queue: QueueId,
        redriven_from: Option<Arc<str>>,
        receipt: Receipt,
    },
    /// A message is gone.
    DeleteMessage(Seq),
    /// Many messages are gone.
    DeleteMessages(Vec<Seq>),
    /// Message keys up to this one may be given out. A key is never used twice, not even after its message
    /// is gone and the endpoint restarted: an old receipt handle would then fit a new message.
    ReserveSeqs(u64),
}

impl Change {
    /// The change that stores a queue as it is.
    pub(crate) fn put_queue(queue: &Queue) -> Self {
        Self::PutQueue {
            id: queue.id,
            name: queue.name.clone(),
            created_ms: queue.created_ms,
            modified_ms: queue.modified_ms,
            attributes: queue.settings.render(),
            tags: queue.tags.clone(),
        }
    }
}

impl store::Change for Change {
    fn apply(&self, tx: &Transaction<'_>) -> rusqlite::Result<()> {
        match self {
            Self::PutQueue {
                id,
                name,
                created_ms,
                modified_ms,
                attributes,
                tags,
            } => {
                let json = |map: serde_json::Result<String>| map.expect("a map of strings is JSON");
                tx.prepare_cached(
                    "INSERT INTO queues (id, name, created_ms, modified_ms, attributes, tags)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6)
                     ON CONFLICT (id) DO UPDATE SET modified_ms = ?4, attributes = ?5, tags = ?6",
                )?
                .execute(params![
                    column(id.0),
                    name.as_str(),
                    column(*created_ms),
                    column(*modified_ms),
                    json(serde_json::to_string(attributes)),
                    json(serde_json::to_string(tags)),
                ])?;
            }
            Self::DeleteQueue(id) => {
                tx.prepare_cached("DELETE FROM queues WHERE id = ?1")?
                    .execute([column(id.0)])?;
            }
            Self::Insert {
                seq,
                queue,
                payload,
                ready_at_ms,
            } => {
                insert(tx, *seq, *queue, payload, *ready_at_ms)?;
            }
            Self::Lease {
                seq,
                receipt,
                until_ms,
            } => put_lease(tx, *seq, *receipt, *until_ms)?,
            Self::Move {
                seq,
                queue,
                redriven_from,
                receipt,
            } => {
                tx.prepare_cached(
                    "UPDATE messages SET queue = ?2, redriven_from = ?3, ready_at_ms = 0 WHERE seq = ?1",
                )?
                .execute(params![
                    column(seq.0),
                    column(queue.0),
                    redriven_from.as_deref()
                ])?;
                put_lease(tx, *seq, *receipt, 0)?;
            }
            Self::DeleteMessage(seq) => delete(tx, *seq)?,
            Self::DeleteMessages(seqs) => {
                for seq in seqs {
                    delete(tx, *seq)?;
                }
            }
            Self::ReserveSeqs(last) => {
                tx.prepare_cached("INSERT OR REPLACE INTO last_seq VALUES (1, ?1)")?
                    .execute([column(*last)])?;
            }
        }
        Ok(())
    }
}

fn insert(
    tx: &Transaction<'_>,
    seq: Seq,
    queue: QueueId,
    payload: &Payload,
    ready_at_ms: u64,
) -> rusqlite::Result<()> {
    let attributes = (!payload.attributes.is_empty())
        .then(|| serde_json::to_vec(&payload.attributes).expect("attributes are JSON"));
    tx.prepare_cached(
        "INSERT INTO messages VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, NULL)",
    )?
    .execute(params![
        column(seq.0),
        column(queue.0),
        payload.id.as_bytes().as_slice(),
        payload.body,
        attributes,
        payload.group.as_deref(),
        payload.trace_header,
        &*payload.sender_id,
        column(payload.sent_ms),
        column(ready_at_ms),
    ])?;
    Ok(())
}

fn put_lease(
    tx: &Transaction<'_>,
    seq: Seq,
    receipt: Receipt,
    until_ms: u64,
) -> rusqlite::Result<()> {
    tx.prepare_cached("INSERT OR REPLACE INTO leases VALUES (?1, ?2, ?3, ?4, ?5)")?
        .execute(params![
            column(seq.0),
            receipt.receives,
            column(receipt.first_ms),
            column(receipt.latest_ms),
            column(until_ms),
        ])?;
    Ok(())
}

fn delete(tx: &Transaction<'_>, seq: Seq) -> rusqlite::Result<()> {
    tx.prepare_cached("DELETE FROM messages WHERE seq = ?1")?
        .execute([column(seq.0)])?;
    tx.prepare_cached("DELETE FROM leases WHERE seq = ?1")?
        .execute([column(seq.0)])?;
    Ok(())
}

/// Reads queues and messages into an empty [`Core`].
///
/// # Errors
/// What SQLite answers, or a row this version cannot read.
pub(crate) fn load(conn: &Connection, core: &mut Core, now_ms: u64) -> Result<(), LoadError> {
    load_queues(conn, core)?;
    let mut statement = conn.prepare(
        "SELECT seq, queue, id, body, attributes, group_id, trace_header, sender_id, sent_ms, ready_at_ms,
                redriven_from, receives, first_ms, latest_ms, until_ms
         FROM messages LEFT JOIN leases USING (seq) ORDER BY seq",
    )?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let number = |index: usize| row.get::<_, i64>(index).map(i64::unsigned_abs);
        let seq = Seq(number(0)?);
        let bad = |what: &str| LoadError::Row(format!("message {}: {what}", seq.0));
        let body: String = row.get(3)?;
        let stored: Option<Vec<u8>> = row.get(4)?;
        let attributes = match stored {
            Some(json) => attributes::parse_stored(&json).ok_or_else(|| bad("attributes"))?,
            None => BTreeMap::new(),
        };
        let payload = Payload {
            id: Uuid::from_slice(row.get_ref(2)?.as_blob().map_err(|_| bad("id"))?)
                .map_err(|_| bad("id"))?,
            body_md5: Digest::of_body(&body),
            body,
            attributes_md5: Digest::of_attributes(attributes.iter().map(|(n, v)| (n.as_str(), v))),
            attributes,
            group: row.get::<_, Option<String>>(5)?.map(Into::into),
            trace_header: row.get(6)?,
            sender_id: row.get::<_, String>(7)?.into(),
            sent_ms: number(8)?,
        };
        let mut ready_at_ms = number(9)?;
        let mut receipt = Receipt::default();
        if let Some(receives) = row.get::<_, Option<u32>>(11)? {
            receipt = Receipt {
                receives,
                first_ms: number(12)?,
                latest_ms: number(13)?,
            };
            ready_at_ms = ready_at_ms.max(number(14)?);
        }
        let redriven_from = row.get::<_, Option<String>>(10)?.map(Into::into);
        let entry = Entry {
            payload: Arc::new(payload),
            redriven_from,
            receipt,
            place: Place::Ready { turn: 0 },
        };
        core.adopt_message(QueueId(number(1)?), seq, entry, ready_at_ms, now_ms);
    }
    Ok(())
}

fn load_queues(conn: &Connection, core: &mut Core) -> Result<(), LoadError> {
    let mut statement = conn.prepare(
        "SELECT id, name, created_ms, modified_ms, attributes, tags FROM queues ORDER BY id",
    )?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let number = |index: usize| row.get::<_, i64>(index).map(i64::unsigned_abs);
        let text: String = row.get(1)?;
        let bad = |what: &str| LoadError::Row(format!("queue {text}: {what}"));
        let name = QueueName::parse(&text).map_err(|_| bad("name"))?;
        let attributes: BTreeMap<String, String> =
            serde_json::from_str(&row.get::<_, String>(4)?).map_err(|_| bad("attributes"))?;
        let settings = Settings::default()
            .with(&attributes, &core.realm)
            .map_err(|error| {
                bad(&format!(
                    "{error} (was it made for another account or region?)"
                ))
            })?;
        let tags = serde_json::from_str(&row.get::<_, String>(5)?).map_err(|_| bad("tags"))?;
        let mut queue = Queue::new(QueueId(number(0)?), name, settings, tags, number(2)?);
        queue.modified_ms = number(3)?;
        core.adopt(queue);
    }
    let last_queue: Option<i64> = conn
        .query_row(
            "SELECT seq FROM sqlite_sequence WHERE name = 'queues'",
            [],
            |row| row.get(0),
        )
        .optional()?;
    let last_seq: Option<i64> = conn
        .query_row("SELECT seq FROM last_seq", [], |row| row.get(0))
        .optional()?;
    core.resume_keys(
        last_queue.unwrap_or(0).unsigned_abs(),
        last_seq.unwrap_or(0).unsigned_abs(),
    );
    Ok(())
}
