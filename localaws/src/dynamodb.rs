//! DynamoDB by dynoxide: runs its server, forwards calls to it, and answers the few it lacks.
//!
//! dynoxide offers its HTTP dispatch only as a whole server, and its handlers block on SQLite. So it runs on a
//! thread of its own with its own small runtime, behind a loopback port, and one pooled client forwards.
//! This module owns that thread and the point-in-time-recovery flags; tables and items are dynoxide's.

use std::{
    collections::BTreeSet,
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    sync::{Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::{
    HeaderMap, Method, Request, StatusCode,
    header::{CONNECTION, CONTENT_LENGTH, HOST, HeaderValue, TRANSFER_ENCODING},
};
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use rusqlite::{Connection, Transaction};
use serde_json::{Map, Value, json};
use tokio::sync::oneshot;
use tokio_util::task::TaskTracker;

use crate::{
    faults::EntryFaults,
    protocol::{self, AwsError, Reply, now_ms},
    store::{self, LoadError, Store},
};

/// The table of this module.
pub(crate) const SCHEMA: &str = "CREATE TABLE recoverable_tables (name TEXT PRIMARY KEY) STRICT;";

/// Header that names the operation.
const TARGET: &str = "x-amz-target";
/// Checksum of the answer; wrong once we change the answer.
const CRC32: &str = "x-amz-crc32";
/// Idle connections kept to dynoxide (ours): it works off one call at a time anyway.
const IDLE_CONNECTIONS_MAX: usize = 32;
/// Longest a shutdown waits for dynoxide to close its file.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);
/// Days AWS keeps recovery points.
const RECOVERY_DAYS: u64 = 35;

/// A table's recovery flag.
#[derive(Debug)]
pub(crate) enum Change {
    /// Switched on.
    Recoverable(String),
    /// Switched off, or the table is gone.
    NotRecoverable(String),
}

impl Change {
    pub(crate) fn apply(&self, tx: &Transaction<'_>) -> rusqlite::Result<()> {
        match self {
            Self::Recoverable(name) => {
                tx.prepare_cached("INSERT OR IGNORE INTO recoverable_tables VALUES (?1)")?.execute([name])?;
            }
            Self::NotRecoverable(name) => {
                tx.prepare_cached("DELETE FROM recoverable_tables WHERE name = ?1")?.execute([name])?;
            }
        }
        Ok(())
    }
}

/// Reads the recovery flags.
///
/// # Errors
/// What SQLite answers.
pub(crate) fn load(conn: &Connection) -> Result<BTreeSet<String>, LoadError> {
    let mut statement = conn.prepare("SELECT name FROM recoverable_tables")?;
    let names = statement.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
    Ok(names)
}

/// DynamoDB of one endpoint.
#[derive(Debug)]
pub(crate) struct DynamoDb {
    addr: SocketAddr,
    client: Client<HttpConnector, Full<Bytes>>,
    recoverable: Mutex<BTreeSet<String>>,
    store: Store,
}

/// The thread dynoxide runs on.
#[derive(Debug)]
pub(crate) struct Engine {
    stop: oneshot::Sender<()>,
    stopped: oneshot::Receiver<()>,
}

/// Spawns the client's connections onto the endpoint's tracker.
#[derive(Clone, Debug)]
struct Tracked(TaskTracker);

impl<F> hyper::rt::Executor<F> for Tracked
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    fn execute(&self, future: F) {
        self.0.spawn(future);
    }
}

impl DynamoDb {
    /// Opens dynoxide's file, or a database in memory, and serves it.
    ///
    /// # Errors
    /// Why it cannot be opened or served, as text.
    pub(crate) fn start(
        file: Option<&Path>,
        recoverable: BTreeSet<String>,
        store: Store,
        tracker: &TaskTracker,
    ) -> Result<(Self, Engine), String> {
        let database = open(file)?;
        let listener =
            std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(|error| error.to_string())?;
        listener.set_nonblocking(true).map_err(|error| error.to_string())?;
        let addr = listener.local_addr().map_err(|error| error.to_string())?;
        let (stop, stopping) = oneshot::channel();
        let (ended, stopped) = oneshot::channel();
        thread::Builder::new()
            .name("localaws-dynamodb".into())
            .spawn(move || {
                serve(listener, database, stopping);
                // Nobody waits any more when the shutdown timed out.
                let _ = ended.send(());
            })
            .map_err(|error| error.to_string())?;
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let client = Client::builder(Tracked(tracker.clone()))
            .pool_max_idle_per_host(IDLE_CONNECTIONS_MAX)
            .build(connector);
        let this = Self { addr, client, recoverable: Mutex::new(recoverable), store };
        Ok((this, Engine { stop, stopped }))
    }

    /// Runs one operation: `target` is the whole header, `action` the part after the dot.
    ///
    /// # Errors
    /// What AWS would answer, where the answer is ours.
    pub(crate) async fn call(
        &self,
        action: &str,
        headers: &HeaderMap,
        body: Bytes,
        faults: &EntryFaults,
    ) -> Result<Reply, AwsError> {
        match action {
            "DescribeContinuousBackups" => self.describe_backups(headers, &body).await,
            "UpdateContinuousBackups" => self.update_backups(headers, &body).await,
            "BatchWriteItem" if !faults.is_empty() => self.write_some(headers, body, faults).await,
            "DeleteTable" => {
                let reply = self.forward(headers, body.clone()).await?;
                if reply.status().is_success()
                    && let Some(name) = table_name(&body)
                {
                    self.set_recoverable(&name, false).await?;
                }
                Ok(reply)
            }
            _ => self.forward(headers, body).await,
        }
    }

    async fn forward(&self, headers: &HeaderMap, body: Bytes) -> Result<Reply, AwsError> {
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = format!("http://{}/", self.addr).parse().expect("an address makes a URI");
        *request.headers_mut() = headers.clone();
        for hop in [CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING, HOST] {
            request.headers_mut().remove(hop);
        }
        let failed = |error: &dyn std::fmt::Display| {
            tracing::error!(%error, "dynoxide did not answer");
            AwsError::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "InternalServerError",
                "The table engine did not answer.",
            )
        };
        let response = self.client.request(request).await.map_err(|error| failed(&error))?;
        let (mut head, body) = response.into_parts();
        let body = body.collect().await.map_err(|error| failed(&error))?.to_bytes();
        for hop in [CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING] {
            head.headers.remove(hop);
        }
        Ok(Reply::from_parts(head, Full::new(body)))
    }

    /// Forwards part of a `BatchWriteItem` and returns the rest as unprocessed, as the faults want it.
    async fn write_some(
        &self,
        headers: &HeaderMap,
        body: Bytes,
        faults: &EntryFaults,
    ) -> Result<Reply, AwsError> {
        let Ok(mut request) = serde_json::from_slice::<Value>(&body) else {
            return self.forward(headers, body).await;
        };
        let held_back = hold_back(&mut request, || faults.draw_unprocessed());
        if held_back.is_empty() {
            return self.forward(headers, body).await;
        }
        let nothing_left = request["RequestItems"].as_object().is_none_or(Map::is_empty);
        if nothing_left {
            return Ok(protocol::json(protocol::DYNAMODB, &json!({"UnprocessedItems": held_back})));
        }
        let reply = self.forward(headers, request.to_string().into()).await?;
        if !reply.status().is_success() {
            return Ok(reply);
        }
        let (mut head, body) = reply.into_parts();
        let body =
            body.collect().await.map_or_else(|never| match never {}, http_body_util::Collected::to_bytes);
        let mut answer: Value = serde_json::from_slice(&body).unwrap_or_else(|_| json!({}));
        merge_unprocessed(&mut answer, held_back);
        head.headers.remove(CRC32);
        Ok(Reply::from_parts(head, Full::new(answer.to_string().into())))
    }

    async fn describe_backups(&self, headers: &HeaderMap, body: &Bytes) -> Result<Reply, AwsError> {
        let name = self.existing_table(headers, body).await?;
        Ok(self.backups(&name))
    }

    async fn update_backups(&self, headers: &HeaderMap, body: &Bytes) -> Result<Reply, AwsError> {
        let name = self.existing_table(headers, body).await?;
        let request: Value = serde_json::from_slice(body).unwrap_or_default();
        let enabled = request["PointInTimeRecoverySpecification"]["PointInTimeRecoveryEnabled"]
            .as_bool()
            .ok_or_else(|| {
                AwsError::bad_request(
                    "ValidationException",
                    "1 validation error detected: Value null at \
                     'pointInTimeRecoverySpecification.pointInTimeRecoveryEnabled' failed to satisfy constraint: Member \
                     must not be null",
                )
            })?;
        self.set_recoverable(&name, enabled).await?;
        Ok(self.backups(&name))
    }

    fn backups(&self, name: &str) -> Reply {
        let mut recovery = json!({"PointInTimeRecoveryStatus": "DISABLED"});
        if self.recoverable().contains(name) {
            let now_s = now_ms() / 1_000;
            recovery = json!({
                "PointInTimeRecoveryStatus": "ENABLED",
                "RecoveryPeriodInDays": RECOVERY_DAYS,
                "EarliestRestorableDateTime": now_s,
                "LatestRestorableDateTime": now_s,
            });
        }
        let description = json!({
            "ContinuousBackupsStatus": "ENABLED",
            "PointInTimeRecoveryDescription": recovery,
        });
        protocol::json(protocol::DYNAMODB, &json!({"ContinuousBackupsDescription": description}))
    }

    /// The table a request names, if dynoxide has it.
    async fn existing_table(&self, headers: &HeaderMap, body: &Bytes) -> Result<String, AwsError> {
        let name = table_name(body).ok_or_else(|| {
            AwsError::bad_request(
                "ValidationException",
                "1 validation error detected: Value null at 'tableName' failed to satisfy constraint: Member must not \
                 be null",
            )
        })?;
        let mut headers = headers.clone();
        headers.insert(TARGET, HeaderValue::from_static("DynamoDB_20120810.DescribeTable"));
        let probe = json!({"TableName": name}).to_string();
        let reply = self.forward(&headers, probe.into()).await?;
        if reply.status().is_success() {
            return Ok(name);
        }
        Err(AwsError::bad_request("TableNotFoundException", format!("Table not found: {name}")))
    }

    async fn set_recoverable(&self, name: &str, enabled: bool) -> Result<(), AwsError> {
        let room = self.store.room().await;
        let pending = {
            let mut tables = self.recoverable();
            let changed = if enabled { tables.insert(name.to_owned()) } else { tables.remove(name) };
            let change = if enabled { Change::Recoverable } else { Change::NotRecoverable };
            let change = changed.then(|| store::Change::DynamoDb(change(name.to_owned())));
            self.store.submit(room, change)
        };
        pending.committed().await.map_err(|error| {
            AwsError::new(StatusCode::INTERNAL_SERVER_ERROR, "InternalServerError", error.to_string())
        })
    }

    fn recoverable(&self) -> MutexGuard<'_, BTreeSet<String>> {
        // A set of names stays whole whoever panics.
        self.recoverable.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Engine {
    /// Stops dynoxide and waits, for a bounded time, until its file is closed.
    pub(crate) async fn stop(self) {
        // A receiver that is gone means the thread has ended already.
        let _ = self.stop.send(());
        if tokio::time::timeout(CLOSE_TIMEOUT, self.stopped).await.is_err() {
            tracing::warn!("dynoxide did not stop in time; its file recovers at the next start");
        }
    }
}

fn open(file: Option<&Path>) -> Result<dynoxide::Database, String> {
    let Some(file) = file else {
        return dynoxide::Database::memory().map_err(|error| error.to_string());
    };
    let path = file.to_str().ok_or("its path is not UTF-8")?;
    let database = dynoxide::Database::new(path).map_err(|error| error.to_string())?;
    // Its end-of-import call sets what we want from the start: `synchronous=NORMAL`, which is safe in WAL mode
    // against a killed process and spares a disk flush per write.
    database.disable_bulk_loading().map_err(|error| error.to_string())?;
    Ok(database)
}

fn serve(listener: std::net::TcpListener, database: dynoxide::Database, stopping: oneshot::Receiver<()>) {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return tracing::error!(%error, "cannot start dynoxide's runtime"),
    };
    let outcome = runtime.block_on(async {
        let listener = tokio::net::TcpListener::from_std(listener).map_err(|error| error.to_string())?;
        let stop = async {
            // A sender that is gone means the same as one that says so.
            let _ = stopping.await;
        };
        dynoxide::server::serve_with_shutdown(listener, database, stop).await
    });
    if let Err(error) = outcome {
        tracing::error!(%error, "dynoxide stopped");
    }
}

/// The table a request names, by name or ARN.
fn table_name(body: &[u8]) -> Option<String> {
    let request: Value = serde_json::from_slice(body).ok()?;
    let name = request.get("TableName")?.as_str()?;
    Some(name.rsplit(":table/").next().unwrap_or(name).to_owned())
}

/// Takes the write requests out of `request` that `draw` picks; returns them by table.
fn hold_back(request: &mut Value, mut draw: impl FnMut() -> bool) -> Map<String, Value> {
    let mut held_back = Map::new();
    let Some(tables) = request.get_mut("RequestItems").and_then(Value::as_object_mut) else {
        return held_back;
    };
    for (table, writes) in tables.iter_mut() {
        let Some(list) = writes.as_array_mut() else { continue };
        let (held, kept): (Vec<_>, Vec<_>) = std::mem::take(list).into_iter().partition(|_| draw());
        *list = kept;
        if !held.is_empty() {
            held_back.insert(table.clone(), Value::Array(held));
        }
    }
    tables.retain(|_, writes| writes.as_array().is_none_or(|list| !list.is_empty()));
    held_back
}

/// Adds what was held back to what dynoxide itself left unprocessed.
fn merge_unprocessed(answer: &mut Value, held_back: Map<String, Value>) {
    if !answer["UnprocessedItems"].is_object() {
        answer["UnprocessedItems"] = json!({});
    }
    for (table, mut writes) in held_back {
        match answer["UnprocessedItems"][&table].as_array_mut() {
            Some(list) => list.append(writes.as_array_mut().expect("held back as a list")),
            None => answer["UnprocessedItems"][&table] = writes,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn held_back_writes_are_returned_and_not_sent() {
        let mut request = json!({"RequestItems": {"a": [1, 2, 3], "b": [4]}});
        let mut n = 0;
        let held_back = hold_back(&mut request, || {
            n += 1;
            n % 2 == 0
        });
        assert_eq!(request, json!({"RequestItems": {"a": [1, 3]}}));
        assert_eq!(Value::Object(held_back.clone()), json!({"a": [2], "b": [4]}));
        let mut answer = json!({"UnprocessedItems": {"a": [9]}});
        merge_unprocessed(&mut answer, held_back);
        assert_eq!(answer, json!({"UnprocessedItems": {"a": [9, 2], "b": [4]}}));
    }

    #[test]
    fn tables_are_named_by_name_or_arn() {
        assert_eq!(table_name(br#"{"TableName":"t"}"#).as_deref(), Some("t"));
        let arn = br#"{"TableName":"arn:aws:dynamodb:us-east-1:000000000000:table/t"}"#;
        assert_eq!(table_name(arn).as_deref(), Some("t"));
        assert_eq!(table_name(b"{}"), None);
    }
}
