//! The one policy this endpoint can enforce: a session with a certain tag reaches only the items whose partition key
//! equals the tag's value.
//!
//! It stands for the IAM condition `dynamodb:LeadingKeys` with `${aws:PrincipalTag/…}`, guarded by `Null`. A request that
//! names no partition, for example a Scan, is denied. No rule is set at start.

use hyper::{HeaderMap, StatusCode};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{protocol::AwsError, sts};

#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rule {
    /// Key of the session tag.
    tag: String,
    /// Name of the partition key.
    attribute: String,
}

/// The rule of one endpoint.
#[derive(Debug, Default)]
pub(crate) struct LeadingKeys(Mutex<Option<Rule>>);

impl LeadingKeys {
    /// Sets a rule, given as JSON.
    ///
    /// # Errors
    /// A sentence for the tester; the rule does not change then.
    pub(crate) fn enforce(&self, json: &[u8]) -> Result<(), String> {
        let rule = serde_json::from_slice(json).map_err(|error| {
            format!(
                "expected {{\"tag\":\"<session tag>\",\"attribute\":\"<partition key>\"}}: {error}"
            )
        })?;
        *self.0.lock() = Some(rule);
        Ok(())
    }

    pub(crate) fn clear(&self) {
        *self.0.lock() = None;
    }

    pub(crate) fn rule(&self) -> Option<Rule> {
        self.0.lock().clone()
    }

    /// Authorizes a DynamoDB call.
    ///
    /// # Errors
    /// `AccessDeniedException`; `ExpiredToken` for an expired session.
    pub(crate) fn check(
        &self,
        headers: &HeaderMap,
        action: &str,
        body: &[u8],
    ) -> Result<(), AwsError> {
        let Some(rule) = self.rule() else {
            return Ok(());
        };
        let Some(session) = sts::session(headers)? else {
            return Ok(());
        };
        let Some((_, value)) = session.tags.iter().find(|(key, _)| *key == rule.tag) else {
            return Ok(());
        };
        let request: Value = serde_json::from_slice(body).unwrap_or_default();
        let keys = leading_keys(action, &request, &rule.attribute);
        if keys.is_some_and(|keys| keys.iter().all(|key| key == value)) {
            return Ok(());
        }
        let message = format!(
            "User: {} is not authorized to perform: dynamodb:{action} because no identity-based policy allows the \
             dynamodb:{action} action",
            session.arn()
        );
        Err(AwsError::new(
            StatusCode::BAD_REQUEST,
            "AccessDeniedException",
            message,
        ))
    }
}

/// Returns the partition keys that a request names, or `None` if one of its parts names none.
fn leading_keys<'a>(action: &str, request: &'a Value, attribute: &str) -> Option<Vec<&'a str>> {
    let key_of = |item: &'a Value| item.get(attribute)?.get("S")?.as_str();
    let keys: Vec<_> = match action {
        "GetItem" | "UpdateItem" | "DeleteItem" => vec![key_of(&request["Key"])],
        "PutItem" => vec![key_of(&request["Item"])],
        "Query" => vec![key_of_condition(request, attribute)],
        "BatchGetItem" => {
            let tables = request["RequestItems"].as_object()?.values();
            tables
                .flat_map(|table| table["Keys"].as_array().into_iter().flatten())
                .map(key_of)
                .collect()
        }
        "BatchWriteItem" => {
            let writes = request["RequestItems"]
                .as_object()?
                .values()
                .filter_map(Value::as_array)
                .flatten();
            writes
                .map(|write| {
                    key_of(&write["PutRequest"]["Item"])
                        .or_else(|| key_of(&write["DeleteRequest"]["Key"]))
                })
                .collect()
        }
        "TransactWriteItems" | "TransactGetItems" => {
            let parts = request["TransactItems"]
                .as_array()?
                .iter()
                .filter_map(Value::as_object);
            let operations = parts.flat_map(serde_json::Map::values);
            operations
                .map(|operation| key_of(&operation["Key"]).or_else(|| key_of(&operation["Item"])))
                .collect()
        }
        _ => return None,
    };
    let keys: Option<Vec<_>> = keys.into_iter().collect();
    keys.filter(|keys| !keys.is_empty())
}

/// Returns the value that a Query's condition requires the attribute to equal.
fn key_of_condition<'a>(request: &'a Value, attribute: &str) -> Option<&'a str> {
    let condition = request["KeyConditionExpression"].as_str()?;
    let named = |name: &str| match name.starts_with('#') {
        true => request["ExpressionAttributeNames"][name].as_str() == Some(attribute),
        false => name == attribute,
    };
    let terms = condition
        .split(" AND ")
        .flat_map(|term| term.split(" and "))
        .filter_map(|term| term.split_once('='));
    let value = terms
        .map(|(name, value)| {
            (
                name.trim_matches([' ', '(']),
                value.trim_matches([' ', ')']),
            )
        })
        .find_map(|(name, value)| named(name).then_some(value))?;
    request["ExpressionAttributeValues"][value]["S"].as_str()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn keys(action: &str, request: &Value) -> Option<Vec<String>> {
        leading_keys(action, request, "owner")
            .map(|keys| keys.into_iter().map(ToOwned::to_owned).collect())
    }

    #[test]
    fn every_partition_key_of_a_request_is_found() {
        let item = |owner: &str| json!({"owner": {"S": owner}, "id": {"S": "1"}});
        let cases = [
            ("GetItem", json!({"Key": item("a")}), &["a"][..]),
            ("PutItem", json!({"Item": item("a")}), &["a"]),
            (
                "BatchGetItem",
                json!({"RequestItems": {"t": {"Keys": [item("a"), item("b")]}}}),
                &["a", "b"],
            ),
            (
                "BatchWriteItem",
                json!({"RequestItems": {"t": [{"PutRequest": {"Item": item("a")}}, {"DeleteRequest": {"Key": item("b")}}]}}),
                &["a", "b"],
            ),
            (
                "TransactWriteItems",
                json!({"TransactItems": [{"Put": {"Item": item("a")}}, {"ConditionCheck": {"Key": item("b")}}]}),
                &["a", "b"],
            ),
        ];
        for (action, request, expected) in cases {
            let expected: Vec<_> = expected.iter().map(ToString::to_string).collect();
            assert_eq!(keys(action, &request), Some(expected), "{action}");
        }
        let query = |condition: &str| {
            json!({"KeyConditionExpression": condition, "ExpressionAttributeNames": {"#o": "owner"},
                "ExpressionAttributeValues": {":o": {"S": "a"}, ":i": {"S": "1"}}})
        };
        for condition in [
            "owner = :o",
            "owner=:o AND id BETWEEN :i AND :i",
            "id = :i and #o = :o",
            "(owner = :o) AND (id < :i)",
        ] {
            assert_eq!(
                keys("Query", &query(condition)),
                Some(vec!["a".to_owned()]),
                "{condition}"
            );
        }
    }

    #[test]
    fn a_request_without_a_partition_key_has_none() {
        for (action, request) in [
            ("Scan", json!({"TableName": "t"})),
            ("DescribeTable", json!({"TableName": "t"})),
            ("GetItem", json!({"Key": {"id": {"S": "1"}}})),
            ("GetItem", json!({"Key": {"owner": {"N": "1"}}})),
            (
                "Query",
                json!({"KeyConditionExpression": "id = :i", "ExpressionAttributeValues": {":i": {"S": "a"}}}),
            ),
            ("BatchGetItem", json!({"RequestItems": {}})),
            (
                "TransactWriteItems",
                json!({"TransactItems": [{"Put": {"Item": {"id": {"S": "1"}}}}]}),
            ),
        ] {
            assert_eq!(keys(action, &request), None, "{action} {request}");
        }
    }
}
