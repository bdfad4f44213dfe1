//! Table ARNs in requests and responses.
//!
//! AWS accepts an ARN wherever it accepts a table name; dynoxide accepts names alone. Its own ARNs have a fixed region and
//! account, which this module replaces.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use crate::arn_scope::ArnScope;

/// Region and account in dynoxide's ARNs.
const DYNOXIDE_SCOPE: &str = ":dynoxide:000000000000:";
/// Actions with ARNs in their responses. Other responses may hold items, which must not change.
const ACTIONS_WITH_ARNS: [&str; 6] = [
    "CreateTable",
    "DescribeTable",
    "UpdateTable",
    "DeleteTable",
    "ListStreams",
    "DescribeStream",
];
/// Response members whose keys are tables.
const KEYED_BY_TABLE: [&str; 3] = ["UnprocessedItems", "UnprocessedKeys", "Responses"];

#[derive(Debug)]
pub(super) struct Arns {
    scope: ArnScope,
    /// Start of the ARNs of this endpoint's tables.
    prefix: String,
}

impl Arns {
    pub(super) fn new(scope: ArnScope) -> Self {
        let prefix = format!("{}table/", scope.prefix("dynamodb"));
        Self { scope, prefix }
    }

    pub(super) fn scope(&self) -> &ArnScope {
        &self.scope
    }

    /// Returns the request with names instead of ARNs, and the tables that it named by ARN. `None` without ARNs; then
    /// most requests are not parsed.
    pub(super) fn to_names(&self, body: &[u8]) -> Option<(Value, BTreeSet<String>)> {
        if !std::str::from_utf8(body).ok()?.contains(&self.prefix) {
            return None;
        }
        let mut request: Value = serde_json::from_slice(body).ok()?;
        let mut named = BTreeSet::new();
        self.rename_member(&mut request, &mut named);
        if let Some(tables) = request
            .get_mut("RequestItems")
            .and_then(Value::as_object_mut)
        {
            let renamed: Map<_, _> = std::mem::take(tables)
                .into_iter()
                .map(|(table, requests)| (self.rename(table, &mut named), requests))
                .collect();
            *tables = renamed;
        }
        for item in request
            .get_mut("TransactItems")
            .and_then(Value::as_array_mut)
            .into_iter()
            .flatten()
        {
            for operation in item.as_object_mut().into_iter().flat_map(Map::values_mut) {
                self.rename_member(operation, &mut named);
            }
        }
        (!named.is_empty()).then_some((request, named))
    }

    /// Replaces the keys of the response by ARNs where the request named the table by ARN.
    pub(super) fn to_arns(&self, response: &mut Value, named: &BTreeSet<String>) {
        for member in KEYED_BY_TABLE {
            let Some(tables) = response.get_mut(member).and_then(Value::as_object_mut) else {
                continue;
            };
            let renamed: Map<_, _> = std::mem::take(tables)
                .into_iter()
                .map(|(table, entries)| {
                    let key = if named.contains(&table) {
                        format!("{}{table}", self.prefix)
                    } else {
                        table
                    };
                    (key, entries)
                })
                .collect();
            *tables = renamed;
        }
    }

    /// Returns the response with this endpoint's region and account in its ARNs, if it has ARNs.
    pub(super) fn localize(&self, action: &str, response: &[u8]) -> Option<String> {
        if !ACTIONS_WITH_ARNS.contains(&action) {
            return None;
        }
        let text = std::str::from_utf8(response).ok()?;
        let ours = format!(":{}:{}:", self.scope.region, self.scope.account_id);
        text.contains(DYNOXIDE_SCOPE)
            .then(|| text.replace(DYNOXIDE_SCOPE, &ours))
    }

    fn rename_member(&self, request: &mut Value, named: &mut BTreeSet<String>) {
        if let Some(Value::String(table)) = request.get_mut("TableName") {
            *table = self.rename(std::mem::take(table), named);
        }
    }

    fn rename(&self, table: String, named: &mut BTreeSet<String>) -> String {
        match table.strip_prefix(&self.prefix) {
            Some(name) => {
                named.insert(name.to_owned());
                name.to_owned()
            }
            None => table,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const ARN: &str = "arn:aws:dynamodb:us-east-1:000000000000:table/items";

    fn arns() -> Arns {
        Arns::new(ArnScope::sample())
    }

    fn names(request: &Value) -> Option<Value> {
        arns()
            .to_names(request.to_string().as_bytes())
            .map(|(request, _)| request)
    }

    #[test]
    fn arns_become_names_in_every_table_member() {
        assert_eq!(
            names(&json!({"TableName": ARN, "x": ARN})),
            Some(json!({"TableName": "items", "x": ARN}))
        );
        assert_eq!(
            names(&json!({"RequestItems": {ARN: [1]}})),
            Some(json!({"RequestItems": {"items": [1]}}))
        );
        let transaction = json!({"TransactItems": [{"Put": {"TableName": ARN}}]});
        assert_eq!(
            names(&transaction),
            Some(json!({"TransactItems": [{"Put": {"TableName": "items"}}]}))
        );
    }

    #[test]
    fn requests_without_table_arns_and_arns_in_items_do_not_change() {
        for request in [
            json!({"TableName": "items"}),
            json!({"TableName": "items", "Item": {"a": {"S": ARN}}}),
        ] {
            assert_eq!(names(&request), None, "{request}");
        }
    }

    #[test]
    fn a_response_names_tables_as_the_request_did() {
        let mut response = json!({"UnprocessedItems": {"items": [1], "other": [2]}});
        arns().to_arns(&mut response, &BTreeSet::from(["items".to_owned()]));
        assert_eq!(
            response,
            json!({"UnprocessedItems": {ARN: [1], "other": [2]}})
        );
    }

    #[test]
    fn arns_in_responses_have_this_endpoints_region_and_account() {
        let of_dynoxide = br#"{"TableArn":"arn:aws:dynamodb:dynoxide:000000000000:table/items"}"#;
        assert_eq!(
            arns().localize("DescribeTable", of_dynoxide).unwrap(),
            format!(r#"{{"TableArn":"{ARN}"}}"#)
        );
        assert_eq!(arns().localize("GetItem", of_dynoxide), None);
    }
}
