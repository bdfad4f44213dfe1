//! Table ARNs: AWS takes them wherever it takes a table's name, dynoxide only names; and the ARNs dynoxide
//! shows name a region and account of its own.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use crate::realm::Realm;

/// How dynoxide's ARNs start, after the service's name.
const THEIRS: &str = ":dynoxide:000000000000:";
/// Actions whose answers show ARNs. Others may hold the customer's data, which is left alone.
const SHOWING_ARNS: [&str; 6] = [
    "CreateTable",
    "DescribeTable",
    "UpdateTable",
    "DeleteTable",
    "ListStreams",
    "DescribeStream",
];
/// Members of answers that have tables as keys.
const KEYED_BY_TABLE: [&str; 3] = ["UnprocessedItems", "UnprocessedKeys", "Responses"];

/// Translates between this endpoint's ARNs and what dynoxide knows.
#[derive(Debug)]
pub(super) struct Arns {
    realm: Realm,
    /// How the ARNs of our tables start.
    prefix: String,
}

impl Arns {
    pub(super) fn new(realm: Realm) -> Self {
        let prefix = format!(
            "arn:aws:dynamodb:{}:{}:table/",
            realm.region, realm.account_id
        );
        Self { realm, prefix }
    }

    /// The request with names in place of ARNs, and the tables that were named by ARN. `None` when there
    /// is nothing to translate, which is told without parsing.
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

    /// Puts ARNs back as keys where the request had them.
    pub(super) fn to_arns(&self, answer: &mut Value, named: &BTreeSet<String>) {
        for member in KEYED_BY_TABLE {
            let Some(tables) = answer.get_mut(member).and_then(Value::as_object_mut) else {
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

    /// The answer with this endpoint's region and account in its ARNs, if the action shows any.
    pub(super) fn localize(&self, action: &str, answer: &[u8]) -> Option<String> {
        if !SHOWING_ARNS.contains(&action) {
            return None;
        }
        let text = std::str::from_utf8(answer).ok()?;
        let ours = format!(":{}:{}:", self.realm.region, self.realm.account_id);
        text.contains(THEIRS).then(|| text.replace(THEIRS, &ours))
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
        Arns::new(Realm {
            region: "us-east-1".into(),
            account_id: "000000000000".into(),
        })
    }

    fn names(request: &Value) -> Option<Value> {
        arns()
            .to_names(request.to_string().as_bytes())
            .map(|(request, _)| request)
    }

    #[test]
    fn arns_become_names_wherever_a_table_is_named() {
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
    fn requests_without_arns_and_items_that_hold_some_are_left_alone() {
        for request in [
            json!({"TableName": "items"}),
            json!({"TableName": "items", "Item": {"a": {"S": ARN}}}),
        ] {
            assert_eq!(names(&request), None, "{request}");
        }
    }

    #[test]
    fn answers_name_tables_as_the_request_did() {
        let mut answer = json!({"UnprocessedItems": {"items": [1], "other": [2]}});
        arns().to_arns(&mut answer, &BTreeSet::from(["items".to_owned()]));
        assert_eq!(
            answer,
            json!({"UnprocessedItems": {ARN: [1], "other": [2]}})
        );
    }

    #[test]
    fn shown_arns_are_ours() {
        let theirs = br#"{"TableArn":"arn:aws:dynamodb:dynoxide:000000000000:table/items"}"#;
        assert_eq!(
            arns().localize("DescribeTable", theirs).unwrap(),
            format!(r#"{{"TableArn":"{ARN}"}}"#)
        );
        assert_eq!(arns().localize("GetItem", theirs), None);
    }
}
