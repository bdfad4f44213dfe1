//! Point-in-time recovery, which dynoxide lacks: a stored period per table, without backups.

use bytes::Bytes;
use hyper::HeaderMap;
use serde_json::{Value, json};

use super::{DynamoDb, settings::RECOVERY_DAYS_DEFAULT};
use crate::protocol::{self, AwsError, Reply, now_ms};

/// Days of recovery points that a request may ask for (AWS).
const RECOVERY_DAYS: std::ops::RangeInclusive<u64> = 1..=RECOVERY_DAYS_DEFAULT;

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
        let specification = &request["PointInTimeRecoverySpecification"];
        let enabled = specification["PointInTimeRecoveryEnabled"].as_bool();
        let enabled = enabled.ok_or_else(|| {
            missing("pointInTimeRecoverySpecification.pointInTimeRecoveryEnabled")
        })?;
        let days = recovery_days(&specification["RecoveryPeriodInDays"])?;
        self.change_settings(&name, |settings| {
            settings.recovery_days = enabled.then_some(days);
        })
        .await?;
        Ok(self.backups(&name))
    }

    /// Deletes a table and its settings.
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
            self.change_settings(&name, |settings| *settings = Default::default())
                .await?;
        }
        Ok(reply)
    }

    fn backups(&self, name: &str) -> Reply {
        let days = self.settings.lock().get(name).and_then(|s| s.recovery_days);
        let mut recovery = json!({"PointInTimeRecoveryStatus": "DISABLED"});
        if let Some(days) = days {
            let now_s = now_ms() / 1_000;
            recovery = json!({
                "PointInTimeRecoveryStatus": "ENABLED",
                "RecoveryPeriodInDays": days,
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
        let probe = json!({"TableName": name});
        match self.ask(headers, "DescribeTable", &probe).await? {
            Some(_) => Ok(name),
            None => Err(AwsError::bad_request(
                "TableNotFoundException",
                format!("Table not found: {name}"),
            )),
        }
    }
}

/// Reads the days of a request; without a number, AWS's default.
fn recovery_days(asked: &Value) -> Result<u64, AwsError> {
    if asked.is_null() {
        return Ok(RECOVERY_DAYS_DEFAULT);
    }
    let Some(days) = asked.as_i64() else {
        return Err(AwsError::bad_request(
            "SerializationException",
            format!("{asked} cannot be converted to Integer"),
        ));
    };
    let fits = u64::try_from(days)
        .ok()
        .filter(|days| RECOVERY_DAYS.contains(days));
    fits.ok_or_else(|| {
        let bound = if days < 1 {
            "greater than or equal to 1"
        } else {
            "less than or equal to 35"
        };
        AwsError::bad_request(
            "ValidationException",
            format!(
                "1 validation error detected: Value '{days}' at \
                 'pointInTimeRecoverySpecification.recoveryPeriodInDays' failed to satisfy constraint: Member must have \
                 value {bound}"
            ),
        )
    })
}

pub(super) fn table_name(body: &[u8]) -> Option<String> {
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
