//! Changes of a table's encryption, which dynoxide lacks, and descriptions that show them.

use bytes::Bytes;
use http_body_util::Full;
use hyper::HeaderMap;
use serde_json::{Value, json};

use super::{CRC32, DynamoDb, settings::Encryption, whole_body};
use crate::protocol::{self, AwsError, Reply};

/// Members of `UpdateTable` that change nothing by themselves.
const NO_CHANGE: [&str; 2] = ["TableName", "AttributeDefinitions"];
/// Members of `UpdateTable` that AWS supports and this endpoint does not.
const UNSUPPORTED: [&str; 5] = [
    "ReplicaUpdates",
    "WarmThroughput",
    "MultiRegionConsistency",
    "GlobalTableWitnessUpdates",
    "GlobalTableSettingsReplicationMode",
];

impl DynamoDb {
    pub(super) async fn update_table(
        &self,
        headers: &HeaderMap,
        body: Bytes,
    ) -> Result<Reply, AwsError> {
        let Ok(Value::Object(mut request)) = serde_json::from_slice(&body) else {
            return self.forward(headers, body).await;
        };
        request.retain(|_, value| !value.is_null());
        if let Some(member) = UNSUPPORTED
            .iter()
            .find(|member| request.contains_key(**member))
        {
            return Err(AwsError::bad_request(
                "ValidationException",
                format!("This endpoint does not support {member} of UpdateTable; leave it out."),
            ));
        }
        if let Some(stream) = request.get("StreamSpecification") {
            self.check_stream(headers, &request["TableName"], stream)
                .await?;
        }
        let Some(specification) = request.remove("SSESpecification") else {
            return self.forward(headers, body).await;
        };
        let encryption = Encryption::parse(&specification, self.arns.scope())
            .map_err(|text| AwsError::bad_request("ValidationException", text))?;
        let Some(name) = request.get("TableName").and_then(Value::as_str) else {
            return self.forward(headers, body).await;
        };
        let name = name.to_owned();
        let is_alone = request
            .keys()
            .all(|member| NO_CHANGE.contains(&member.as_str()));
        let reply = if is_alone {
            let described = json!({"TableName": name}).to_string();
            let headers = super::with_target(headers, "DescribeTable");
            self.forward(&headers, described.into()).await?
        } else {
            let request = Value::Object(request).to_string();
            self.forward(headers, request.into()).await?
        };
        if !reply.status().is_success() {
            return Ok(reply);
        }
        self.change_settings(&name, |settings| settings.encryption = Some(encryption))
            .await?;
        let body = whole_body(reply.into_body()).await;
        let mut response: Value = serde_json::from_slice(&body).unwrap_or_default();
        if is_alone {
            response = json!({"TableDescription": response["Table"]});
        }
        Ok(protocol::json(protocol::DYNAMODB, &response))
    }

    /// Refuses a stream that is enabled or disabled already.
    async fn check_stream(
        &self,
        headers: &HeaderMap,
        table: &Value,
        stream: &Value,
    ) -> Result<(), AwsError> {
        let asked = json!({"TableName": table});
        let described = self.ask(headers, "DescribeTable", &asked).await?;
        let Some(described) = described else {
            // dynoxide reports a missing table.
            return Ok(());
        };
        let is_on = described["Table"]["StreamSpecification"]["StreamEnabled"] == true;
        let wanted = stream["StreamEnabled"] == true;
        if is_on != wanted {
            return Ok(());
        }
        let state = if is_on { "an enabled" } else { "a disabled" };
        let name = table.as_str().unwrap_or_default();
        Err(AwsError::bad_request(
            "ValidationException",
            format!("Table already has {state} stream: TableName: {name}"),
        ))
    }

    /// Changes the expiry of a table's items, unless it is so already.
    pub(super) async fn update_time_to_live(
        &self,
        headers: &HeaderMap,
        body: Bytes,
    ) -> Result<Reply, AwsError> {
        let request: Value = serde_json::from_slice(&body).unwrap_or_default();
        let asked = json!({"TableName": request["TableName"]});
        let described = self.ask(headers, "DescribeTimeToLive", &asked).await?;
        let wanted = request["TimeToLiveSpecification"]["Enabled"].as_bool();
        if let (Some(described), Some(wanted)) = (described, wanted) {
            let status = &described["TimeToLiveDescription"]["TimeToLiveStatus"];
            if (status == "ENABLED") == wanted {
                let state = if wanted { "enabled" } else { "disabled" };
                return Err(AwsError::bad_request(
                    "ValidationException",
                    format!("TimeToLive is already {state}"),
                ));
            }
        }
        self.forward(headers, body).await
    }

    /// Shows a changed encryption in the response of an action that describes a table.
    pub(super) async fn describe(&self, reply: Reply) -> Reply {
        if self
            .settings
            .lock()
            .values()
            .all(|s| s.encryption.is_none())
        {
            return reply;
        }
        let (mut head, body) = reply.into_parts();
        let body = whole_body(body).await;
        let mut response: Value = serde_json::from_slice(&body).unwrap_or_default();
        let mut changed = false;
        for member in ["Table", "TableDescription"] {
            let table = &mut response[member];
            let settings = self.settings.lock();
            let encryption = table["TableName"]
                .as_str()
                .and_then(|name| settings.get(name)?.encryption.as_ref());
            if let Some(encryption) = encryption {
                encryption.show(table);
                changed = true;
            }
        }
        if !changed {
            return Reply::from_parts(head, Full::new(body));
        }
        head.headers.remove(CRC32);
        if let Some(members) = response.as_object_mut() {
            members.retain(|_, value| !value.is_null());
        }
        Reply::from_parts(head, Full::new(response.to_string().into()))
    }
}
