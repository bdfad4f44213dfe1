//! Point-in-time recovery, which dynoxide lacks: a stored flag per table, without backups.

use bytes::Bytes;
use hyper::{HeaderMap, StatusCode, header::HeaderValue};
use serde_json::{Value, json};

use super::{DynamoDb, TARGET, persist::RecoveryChange};
use crate::protocol::{self, AwsError, Reply, now_ms};

/// Days of recovery points (AWS).
const RECOVERY_DAYS: u64 = 35;

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

    /// Deletes a table and its flag.
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

    /// Returns the table that a request names, if it exists.
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
        let permit = self.store.reserve().await;
        let commit = {
            let mut tables = self.recoverable();
            let changed = if enabled {
                tables.insert(name.to_owned())
            } else {
                tables.remove(name)
            };
            let change = if enabled {
                RecoveryChange::Recoverable
            } else {
                RecoveryChange::NotRecoverable
            };
            let change = changed.then(|| change(name.to_owned()));
            self.store.submit(permit, change)
        };
        commit.done().await.map_err(|error| {
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
