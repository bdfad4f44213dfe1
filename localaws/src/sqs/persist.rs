//! Queues and messages in SQLite: tables, writes, and the load at start.
//!
//! A message is one row, written once. Its receives are a small row of their own, so that a receive does not rewrite the
//! body.

use std::{collections::BTreeMap, sync::Arc};

use rusqlite::{Connection, OptionalExtension as _, Transaction, params};
use uuid::Uuid;

use super::{
    attributes,
    core::{Core, effects::QueueChange},
    md5::Digest,
    message::{MessageState, Payload, QueuedMessage, Receives, Seq},
    names::{QueueId, QueueName},
    queue::Queue,
    settings::Settings,
};
use crate::store::{self, LoadError, column};

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

impl store::Write for QueueChange {
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
            Self::Receive {
                seq,
                receives,
                until_ms,
            } => put_receives(tx, *seq, *receives, *until_ms)?,
            Self::Move {
                seq,
                queue,
                redriven_from,
                receives,
            } => {
                tx.prepare_cached(
                    "UPDATE messages SET queue = ?2, redriven_from = ?3, ready_at_ms = 0 WHERE seq = ?1",
                )?
                .execute(params![
                    column(seq.0),
                    column(queue.0),
                    redriven_from.as_deref()
                ])?;
                put_receives(tx, *seq, *receives, 0)?;
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

fn put_receives(
    tx: &Transaction<'_>,
    seq: Seq,
    receives: Receives,
    until_ms: u64,
) -> rusqlite::Result<()> {
    tx.prepare_cached("INSERT OR REPLACE INTO leases VALUES (?1, ?2, ?3, ?4, ?5)")?
        .execute(params![
            column(seq.0),
            receives.count,
            column(receives.first_ms),
            column(receives.latest_ms),
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

/// Loads queues and messages into an empty [`Core`].
///
/// # Errors
/// SQLite errors; an unreadable row.
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
        let mut receives = Receives::default();
        if let Some(count) = row.get::<_, Option<u32>>(11)? {
            receives = Receives {
                count,
                first_ms: number(12)?,
                latest_ms: number(13)?,
            };
            ready_at_ms = ready_at_ms.max(number(14)?);
        }
        let redriven_from = row.get::<_, Option<String>>(10)?.map(Into::into);
        let message = QueuedMessage {
            payload: Arc::new(payload),
            redriven_from,
            receives,
            state: MessageState::Ready { position: 0 },
        };
        core.load_message(QueueId(number(1)?), seq, message, ready_at_ms, now_ms);
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
            .with(&attributes, &core.scope)
            .map_err(|error| {
                bad(&format!(
                    "{error} (was the queue created for another account or region?)"
                ))
            })?;
        let tags = serde_json::from_str(&row.get::<_, String>(5)?).map_err(|_| bad("tags"))?;
        let mut queue = Queue::new(QueueId(number(0)?), name, settings, tags, number(2)?);
        queue.modified_ms = number(3)?;
        core.load_queue(queue);
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
