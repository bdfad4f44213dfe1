//! Refusals of Query and Scan that dynoxide lacks: empty key values, and attributes that an index does not have.

use std::collections::BTreeSet;

use hyper::HeaderMap;
use serde_json::{Map, Value, json};

use super::DynamoDb;
use super::expressions::{Token, names, resolve, tokens, top_level_attributes};
use crate::protocol::AwsError;

impl DynamoDb {
    /// Checks a Query or Scan. Returns whether the request needs attributes that its local index does not have.
    ///
    /// # Errors
    /// `ValidationException`.
    pub(super) async fn check_read(
        &self,
        action: &str,
        headers: &HeaderMap,
        request: &Value,
    ) -> Result<bool, AwsError> {
        if let Some(attribute) = empty_key(request) {
            return Err(AwsError::bad_request(
                "ValidationException",
                format!(
                    "One or more parameter values are not valid. The AttributeValue for a key attribute cannot contain an \
                     empty string value. Key: {attribute}"
                ),
            ));
        }
        let Some(index) = request["IndexName"].as_str() else {
            return Ok(false);
        };
        let (projected, filtered) = (projected_attributes(request), filtered_attributes(request));
        if projected.is_empty() && filtered.is_empty() {
            return Ok(false);
        }
        let Some(index) = self.index(headers, &request["TableName"], index).await? else {
            // dynoxide reports a missing table or index.
            return Ok(false);
        };
        // A local index reads such attributes from the table, but does not filter by them. A Scan filters by none.
        if action == "Query" {
            let missing = index.missing(&filtered);
            if !missing.is_empty() {
                return Err(AwsError::bad_request(
                    "ValidationException",
                    format!(
                        "One or more parameter values were invalid: Secondary index {} does not project one or more \
                         filter attributes: [{missing}]",
                        index.name
                    ),
                ));
            }
        }
        let missing = index.missing(&projected);
        if index.is_global && !missing.is_empty() {
            return Err(AwsError::bad_request(
                "ValidationException",
                format!(
                    "One or more parameter values were invalid: Global secondary index {} does not project [{missing}]",
                    index.name
                ),
            ));
        }
        Ok(!missing.is_empty())
    }

    /// Returns the index of a table, unless it has all attributes.
    async fn index(
        &self,
        headers: &HeaderMap,
        table: &Value,
        name: &str,
    ) -> Result<Option<Index>, AwsError> {
        let described = self
            .ask(headers, "DescribeTable", &json!({"TableName": table}))
            .await?;
        Ok(described.and_then(|described| Index::of(&described["Table"], name)))
    }
}

/// An index that has some of its table's attributes.
#[derive(Debug, PartialEq, Eq)]
struct Index {
    name: String,
    is_global: bool,
    attributes: BTreeSet<String>,
}

impl Index {
    fn of(table: &Value, name: &str) -> Option<Self> {
        let find = |member: &str| {
            let indexes = table[member].as_array()?;
            indexes.iter().find(|index| index["IndexName"] == name)
        };
        let (index, is_global) = match find("GlobalSecondaryIndexes") {
            Some(index) => (index, true),
            None => (find("LocalSecondaryIndexes")?, false),
        };
        if index["Projection"]["ProjectionType"] == "ALL" {
            return None;
        }
        let keys = |schema: &Value| -> Vec<String> {
            let elements = schema.as_array().into_iter().flatten();
            elements
                .filter_map(|element| Some(element["AttributeName"].as_str()?.to_owned()))
                .collect()
        };
        let included = index["Projection"]["NonKeyAttributes"].as_array();
        let included = included.into_iter().flatten().filter_map(Value::as_str);
        let mut attributes: BTreeSet<String> = included.map(ToOwned::to_owned).collect();
        attributes.extend(keys(&table["KeySchema"]));
        attributes.extend(keys(&index["KeySchema"]));
        Some(Self {
            name: name.to_owned(),
            is_global,
            attributes,
        })
    }

    /// Returns the attributes that the index does not have, as AWS lists them.
    fn missing(&self, attributes: &BTreeSet<String>) -> String {
        let missing: Vec<_> = attributes.difference(&self.attributes).cloned().collect();
        missing.join(", ")
    }
}

/// Returns the attributes that a request asks for by name.
fn projected_attributes(request: &Value) -> BTreeSet<String> {
    let asked = request["AttributesToGet"].as_array();
    let asked = asked.into_iter().flatten().filter_map(Value::as_str);
    let mut attributes: BTreeSet<String> = asked.map(ToOwned::to_owned).collect();
    if let Some(expression) = request["ProjectionExpression"].as_str() {
        attributes.extend(top_level_attributes(expression, names(request)));
    }
    attributes
}

/// Returns the attributes that a request filters by.
fn filtered_attributes(request: &Value) -> BTreeSet<String> {
    let filtered = request["QueryFilter"].as_object();
    let mut attributes: BTreeSet<String> =
        filtered.into_iter().flat_map(Map::keys).cloned().collect();
    if let Some(expression) = request["FilterExpression"].as_str() {
        attributes.extend(top_level_attributes(expression, names(request)));
    }
    attributes
}

/// Returns an attribute whose key condition or start key is empty.
fn empty_key(request: &Value) -> Option<String> {
    let legacy = request["KeyConditions"].as_object().into_iter().flatten();
    let in_legacy = legacy
        .filter(|(_, condition)| {
            let values = condition["AttributeValueList"].as_array();
            values.into_iter().flatten().any(is_empty)
        })
        .map(|(name, _)| name.clone());
    let start = request["ExclusiveStartKey"]
        .as_object()
        .into_iter()
        .flatten();
    let in_start = start
        .filter(|(_, value)| is_empty(value))
        .map(|(name, _)| name.clone());
    in_legacy
        .chain(in_start)
        .next()
        .or_else(|| empty_in_condition(request))
}

/// Returns an attribute that a key condition compares with an empty value.
fn empty_in_condition(request: &Value) -> Option<String> {
    let condition = request["KeyConditionExpression"].as_str()?;
    let values = &request["ExpressionAttributeValues"];
    let (mut attribute, mut has_empty, mut is_range) = (None, false, false);
    for token in tokens(condition) {
        match token {
            Token::Word(word) if word.eq_ignore_ascii_case("BETWEEN") => is_range = true,
            Token::Word(word) if word.eq_ignore_ascii_case("AND") => {
                // The `AND` of a `BETWEEN` ends no condition.
                if !std::mem::take(&mut is_range) {
                    if has_empty {
                        break;
                    }
                    attribute = None;
                }
            }
            Token::Word("begins_with") | Token::Open | Token::Dot | Token::Symbol(_) => {}
            Token::Word(word) => attribute = Some(resolve(word, names(request))),
            Token::Value(value) => has_empty |= is_empty(&values[value]),
        }
    }
    attribute.filter(|_| has_empty)
}

fn is_empty(value: &Value) -> bool {
    ["S", "B"].iter().any(|kind| value[kind] == "")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn empty_of(condition: &str) -> Option<String> {
        empty_key(&json!({
            "KeyConditionExpression": condition,
            "ExpressionAttributeNames": {"#k": "key"},
            "ExpressionAttributeValues": {
                ":x": {"S": "x"}, ":e": {"S": ""}, ":b": {"B": ""}, ":n": {"N": "1"},
            },
        }))
    }

    #[test]
    fn an_empty_value_is_found_in_each_form_of_a_key_condition() {
        for (condition, attribute) in [
            ("pk = :e", "pk"),
            ("#k=:e", "key"),
            (":e = pk", "pk"),
            ("pk = :b", "pk"),
            ("pk = :x AND sk = :e", "sk"),
            ("sk = :x and #k = :e", "key"),
            ("pk = :e AND sk = :x", "pk"),
            ("(pk = :x) AND (begins_with(sk, :e))", "sk"),
            ("pk = :x AND sk BETWEEN :e AND :x", "sk"),
            ("pk = :x AND sk between :x and :e", "sk"),
            ("sk BETWEEN :x AND :x AND pk = :e", "pk"),
            ("pk = :x AND sk >= :e", "sk"),
        ] {
            assert_eq!(
                empty_of(condition).as_deref(),
                Some(attribute),
                "{condition}"
            );
        }
        for condition in [
            "pk = :x",
            "pk = :x AND sk BETWEEN :x AND :x",
            "pk = :n",
            "",
            "pk = :no",
        ] {
            assert_eq!(empty_of(condition), None, "{condition}");
        }
    }

    #[test]
    fn an_empty_value_is_found_in_legacy_conditions_and_start_keys() {
        let legacy =
            |value: &Value| json!({"KeyConditions": {"pk": {"AttributeValueList": [value]}}});
        assert_eq!(empty_key(&legacy(&json!({"S": ""}))).as_deref(), Some("pk"));
        assert_eq!(empty_key(&legacy(&json!({"S": "x"}))), None);
        let start = json!({"ExclusiveStartKey": {"pk": {"S": "x"}, "sk": {"B": ""}}});
        assert_eq!(empty_key(&start).as_deref(), Some("sk"));
        let filter =
            json!({"FilterExpression": "a = :e", "ExpressionAttributeValues": {":e": {"S": ""}}});
        assert_eq!(empty_key(&filter), None);
    }

    #[test]
    fn an_index_has_its_keys_those_of_the_table_and_what_it_includes() {
        let key = |name: &str| json!({"AttributeName": name});
        let index = |name: &str, projection: Value| json!({"IndexName": name, "KeySchema": [key(name)], "Projection": projection});
        let table = json!({
            "KeySchema": [key("pk"), key("sk")],
            "GlobalSecondaryIndexes": [
                index("keys", json!({"ProjectionType": "KEYS_ONLY"})),
                index("all", json!({"ProjectionType": "ALL"})),
            ],
            "LocalSecondaryIndexes": [
                index("some", json!({"ProjectionType": "INCLUDE", "NonKeyAttributes": ["a"]})),
            ],
        });
        let of = |name: &str| Index::of(&table, name);
        assert_eq!((of("all"), of("none")), (None, None));
        let asked: BTreeSet<String> = ["a", "b", "keys", "pk", "sk"].map(Into::into).into();
        let keys = of("keys").unwrap();
        assert_eq!(
            (keys.is_global, keys.missing(&asked)),
            (true, "a, b".into())
        );
        let some = of("some").unwrap();
        assert_eq!(
            (some.is_global, some.missing(&asked)),
            (false, "b, keys".into())
        );
    }
}
