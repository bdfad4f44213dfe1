//! Point-in-time recovery, which dynoxide lacks: a flag per table, remembered and shown, with nothing behind it.

use std::collections::BTreeSet;

use bytes::Bytes;
use hyper::{HeaderMap, StatusCode, header::HeaderValue};
use rusqlite::{Connection, Transaction};
use serde_json::{Value, json};

use super::{DynamoDb, TARGET};
use crate::{
    protocol::{self, AwsError, Reply, now_ms},
    store::{self, LoadError},
};

/// The table of this module.
pub(crate) const SCHEMA: &str = "CREATE TABLE recoverable_tables (name TEXT PRIMARY KEY) STRICT;";

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

impl store::Change for Change {
    fn apply(&self, tx: &Transaction<'_>) -> rusqlite::Result<()> {
        match self {
            Self::Recoverable(name) => {
                tx.prepare_cached("INSERT OR IGNORE INTO recoverable_tables VALUES (?1)")?
                    .execute([name])?;
            }
            Self::NotRecoverable(name) => {
                tx.prepare_cached("DELETE FROM recoverable_tables WHERE name = ?1")?
                    .execute([name])?;
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
    let names = statement
        .query_map([], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    Ok(names)
}

impl DynamoDb {
    pub(super) async fn describe_backups(
        &self,
        headers: &HeaderMap,
        body: &[u8],
    ) -> Result<Reply, AwsError> {
        let name = self.existing_table(headers, body).await?;
        Ok(self.backups(&name))
    }

    pub(super) async fn update_backups(
        &self,
        headers: &HeaderMap,
        body: &[u8],
    ) -> Result<Reply, AwsError> {
        let name = self.existing_table(headers, body).await?;
        let request: Value = serde_json::from_slice(body).unwrap_or_default();
        let enabled = &request["PointInTimeRecoverySpecification"]["PointInTimeRecoveryEnabled"];
        let enabled = enabled.as_bool().ok_or_else(|| {
            missing("pointInTimeRecoverySpecification.pointInTimeRecoveryEnabled")
        })?;
        self.set_recoverable(&name, enabled).await?;
        Ok(self.backups(&name))
    }

    /// Deletes a table, and its flag with it.
    pub(super) async fn delete_table(
        &self,
        headers: &HeaderMap,
        body: Bytes,
    ) -> Result<Reply, AwsError> {
        let name = table_name(&body);
        let reply = self.forward(headers, body).await?;
        if reply.status().is_success()
            && let Some(name) = name
        {
            self.set_recoverable(&name, false).await?;
        }
        Ok(reply)
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
        protocol::json(
            protocol::DYNAMODB,
            &json!({"ContinuousBackupsDescription": description}),
        )
    }

    /// The table a request names, if dynoxide has it.
    async fn existing_table(&self, headers: &HeaderMap, body: &[u8]) -> Result<String, AwsError> {
        let name = table_name(body).ok_or_else(|| missing("tableName"))?;
        let mut headers = headers.clone();
        headers.insert(
            TARGET,
            HeaderValue::from_static("DynamoDB_20120810.DescribeTable"),
        );
        let probe = json!({"TableName": name}).to_string();
        let reply = self.forward(&headers, probe.into()).await?;
        if reply.status().is_success() {
            return Ok(name);
        }
        Err(AwsError::bad_request(
            "TableNotFoundException",
            format!("Table not found: {name}"),
        ))
    }

    async fn set_recoverable(&self, name: &str, enabled: bool) -> Result<(), AwsError> {
        let room = self.store.room().await;
        let pending = {
            let mut tables = self.recoverable();
            let changed = if enabled {
                tables.insert(name.to_owned())
            } else {
                tables.remove(name)
            };
            let change = if enabled {
                Change::Recoverable
            } else {
                Change::NotRecoverable
            };
            let change = changed.then(|| change(name.to_owned()));
            self.store.submit(room, change)
        };
        pending.committed().await.map_err(|error| {
            AwsError::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "InternalServerError",
                error.to_string(),
            )
        })
    }
}

fn table_name(body: &[u8]) -> Option<String> {
    let request: Value = serde_json::from_slice(body).ok()?;
    Some(request.get("TableName")?.as_str()?.to_owned())
}

fn missing(member: &str) -> AwsError {
    AwsError::bad_request(
        "ValidationException",
        format!(
            "1 validation error detected: Value null at '{member}' failed to satisfy constraint: Member must not be null"
        ),
    )
}
